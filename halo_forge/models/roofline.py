"""The least time that a machine needs for a piece of work: the roofline, as pure arithmetic.

Work is so many floating-point operations and so many bytes read; a machine does so many of each a
second, and the slower of the two decides (Williams, Waterman and Patterson 2009, "Roofline",
doi:10.1145/1498765.1498785). What is counted is what has to be done: no padding, no prompt twice,
no logits of prompts. Every weight counts for every token, so mixtures of experts look dearer than
they are.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

__all__ = ["Rates", "Shape", "Work", "decode_work", "prefill_work", "step_work", "training_work"]


@dataclass(frozen=True, slots=True)
class Rates:
    """What a device reaches when nothing is in its way.

    Attributes:
        flops: Floating-point operations a second of a large matrix product.
        reading: Bytes a second of reading what is in no cache.
    """

    flops: float
    reading: float


@dataclass(frozen=True, slots=True)
class Shape:
    """A causal language model as numbers.

    Attributes:
        layers: Blocks of attention and feed-forward.
        linear: Weights of the matrices in all blocks, adapters left out.
        head: Weights of the output layer.
        parameters: All weights, shared ones once, adapters left out.
        adapters: Weights of the adapters that are trained; 0 without.
        queries: Width of the queries in one layer: heads x head size.
        keys: Width of the keys in one layer, which is that of the values.
        width: Numbers of a hidden state.
        vocabulary: Logits of a position.
    """

    layers: int
    linear: int
    head: int
    parameters: int
    adapters: int
    queries: int
    keys: int
    width: int
    vocabulary: int

    def cut(self, layers: int) -> Shape:
        """Return the shape of the same model with its first ``layers`` blocks alone."""
        linear = self.linear * layers // self.layers
        return replace(
            self,
            layers=layers,
            linear=linear,
            adapters=self.adapters * layers // self.layers,
            parameters=self.parameters - self.linear + linear,
        )


@dataclass(frozen=True, slots=True)
class Work:
    """Floating-point operations, and bytes read."""

    flops: float = 0.0
    bytes: float = 0.0

    def __add__(self, other: Work) -> Work:
        return Work(self.flops + other.flops, self.bytes + other.bytes)

    def __mul__(self, times: float) -> Work:
        return Work(self.flops * times, self.bytes * times)

    def seconds(self, rates: Rates) -> float:
        """Return the time below which it cannot be done."""
        return max(self.flops / rates.flops, self.bytes / rates.reading)

    def one_by_one(self, rates: Rates) -> float:
        """Return the time when computing and reading do not overlap: for comparing like work."""
        return self.flops / rates.flops + self.bytes / rates.reading

    def limit(self, rates: Rates) -> str:
        """Name what decides."""
        computing = self.flops / rates.flops > self.bytes / rates.reading
        return "matrix products" if computing else "memory bandwidth"


def prefill_work(shape: Shape, length: int, size: int) -> Work:
    """Return the work of running a prompt once, the logits of its last position included.

    Args:
        shape: The model.
        length: Tokens of the prompt.
        size: Bytes of a number.
    """
    flops = 2 * shape.linear * length + 2 * shape.head + 2 * _pairs(shape) * length * length / 2
    return Work(flops, (shape.linear + shape.head) * size)


def step_work(shape: Shape, rows: int, positions: float, size: int) -> Work:
    """Return the work of one decoding step: a new token in each row.

    Args:
        shape: The model.
        rows: Answers decoded together.
        positions: Positions that a row looks back on, on average.
        size: Bytes of a number.
    """
    return decode_work(shape, rows, rows * positions, 1, size)


def decode_work(shape: Shape, tokens: float, seen: float, steps: float, size: int) -> Work:
    """Return the work of many tokens: weights read once a step, keys and values once a token.

    Args:
        shape: The model.
        tokens: Tokens decoded.
        seen: Positions that they look back on, summed over the tokens.
        steps: Decoding steps.
        size: Bytes of a number.
    """
    weights = shape.linear + shape.head
    return Work(
        2 * weights * tokens + 2 * _pairs(shape) * seen,
        size * (weights * steps + 2 * shape.layers * shape.keys * seen),
    )


def training_work(
    shape: Shape, answers: Iterable[tuple[int, int]], *, reference: bool = False
) -> Work:
    """Return the work of one pass forward and backward over answers, one after the other.

    A product with frozen weights needs 2 operations a weight and token forward, and 2 for the
    gradient of its input; with trained ones 2 more for their own. The output layer sees completions
    alone. Causal attention has half of all pairs. Bytes do not decide here and are left out.

    Args:
        shape: The model; without adapters all weights are trained.
        answers: Of each answer its tokens, prompt included, and those of its completion.
        reference: Whether the start model reads them too, forward only.
    """
    each = 4 * shape.linear + 6 * shape.adapters if shape.adapters else 6 * shape.linear
    head = 4 * shape.head if shape.adapters else 6 * shape.head
    passes = 3  # of attention: forward, and backward for its queries and for its keys
    if reference:
        each, head, passes = each + 2 * shape.linear, head + 2 * shape.head, passes + 1
    flops = 0.0
    for length, completion in answers:
        attention = passes * 2 * _pairs(shape) * length * length / 2
        flops += each * length + head * completion + attention
    return Work(flops)


def _pairs(shape: Shape) -> int:
    """Return the multiplications of a pair of positions: with its key, and with its value."""
    return 2 * shape.layers * shape.queries
