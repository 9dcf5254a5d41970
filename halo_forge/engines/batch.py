"""Rows that are decoded together: filled, advanced, ended, and filled again.

It knows tokens, rows and the law they are drawn by; the model is behind `Stepper`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache

from halo_forge.core.errors import ModelFault
from halo_forge.core.types import FinishReason, Prompt
from halo_forge.engines.admission import ROW_STEP
from halo_forge.engines.row_cache import WINDOW_STEP, RowCache
from halo_forge.engines.sampling import Law, draw, penalise

__all__ = ["Batch", "Prefix", "Row", "Stepper", "Waiting"]


@dataclass(slots=True)
class Waiting:
    """A prompt, and its samples that no row has begun.

    Attributes:
        prompt: The prompt.
        ids: Its tokens.
        indices: Samples, ascending.
    """

    prompt: Prompt
    ids: tuple[int, ...]
    indices: deque[int]


@dataclass(slots=True)
class Row:
    """A sample under way.

    Attributes:
        source: Where it comes from.
        index: Which sample of the prompt.
        uniforms: Its random numbers, one a token that it may have.
        tokens: What was drawn.
        logprobs: Its log-probabilities.
    """

    source: Waiting
    index: int
    uniforms: list[float]
    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Prefix:
    """A prompt that was run once.

    Attributes:
        cache: Its keys and values.
        logits: (1, vocabulary) after it.
        shift: Place of the next token less the tokens before it: a picture's tokens may share
            places.
    """

    cache: DynamicCache
    logits: Tensor
    shift: int = 0


class Stepper(Protocol):
    """What a batch asks of the model."""

    law: Law
    repetition_penalty: float

    def prefill(self, ids: tuple[int, ...], prompt: Prompt | None = None) -> Prefix:
        """Run the tokens of a prompt once, with its pictures."""
        ...

    def forward(self, tokens: Tensor, cache: RowCache) -> Tensor:
        """Run one position a row; return the logits (rows, vocabulary)."""
        ...

    def new_cache(self, rows: int, length: int) -> RowCache:
        """Return an empty cache."""
        ...

    def new_row(self, source: Waiting, index: int) -> Row:
        """Return an empty row with its own random stream."""
        ...

    def ended(self, row: Row) -> FinishReason | None:
        """Say why a row has ended, or None when it has not."""
        ...


class Batch:
    """Rows that are decoded together, and the prompt that waiting samples start from.

    Args:
        stepper: The model.
        rows: Rows, a multiple of `ROW_STEP`.
        length: Positions a row can hold.
        queue: Prompts; taken from the head, and from the last one sample by sample.
    """

    def __init__(self, stepper: Stepper, rows: int, length: int, queue: deque[Waiting]) -> None:
        self._stepper = stepper
        self._queue = queue
        self._cache = stepper.new_cache(rows, length)
        self._rows: list[Row | None] = [None] * rows
        device = self._cache.lengths.device
        self._tokens = torch.zeros(rows, dtype=torch.long, device=device)
        self._seen = None
        if stepper.repetition_penalty != 1:
            self._seen = torch.zeros(rows, length, dtype=torch.long, device=device)
        self._prefix: tuple[Waiting, Prefix] | None = None
        self._steps = 0

    def run(self) -> Iterator[tuple[Row, FinishReason]]:
        """Yield every sample of the queue as it ends."""
        while True:
            yield from self._admit()
            if not any(self._rows):
                return
            yield from self._step()

    def unfinished(self) -> list[Waiting]:
        """Return what has begun and not ended, to be begun again."""
        begun: dict[int, Waiting] = {}
        for row in self._rows:
            if row is not None:
                again = begun.setdefault(
                    id(row.source), Waiting(row.source.prompt, row.source.ids, deque())
                )
                again.indices.append(row.index)
        return list(begun.values())

    def _admit(self) -> Iterator[tuple[Row, FinishReason]]:
        """Fill free rows; yield samples that ended at their first token."""
        free = deque(i for i, row in enumerate(self._rows) if row is None)
        while free and self._queue:
            source = self._queue[0]
            if self._prefix is None or self._prefix[0] is not source:
                self._prefix = source, self._stepper.prefill(source.ids, source.prompt)
            yield from self._start(*self._prefix, free)
            if not source.indices:
                self._queue.popleft()
                self._prefix = None

    def _start(
        self, source: Waiting, prefix: Prefix, free: deque[int]
    ) -> Iterator[tuple[Row, FinishReason]]:
        """Draw the first token of as many waiting samples as there are free rows."""
        count = min(len(free), len(source.indices))
        rows = [self._stepper.new_row(source, index) for index in list(source.indices)[:count]]
        logits = prefix.logits.expand(count, -1)
        if self._seen is not None:
            history = torch.tensor([source.ids], device=logits.device).expand(count, -1)
            logits = penalise(logits, history, self._stepper.repetition_penalty)
        self._draw(list(rows), logits)
        for row in rows:
            reason = self._stepper.ended(row)
            if reason is None:
                # whatever fails for want of memory fails here, while the sample still waits
                self._cache.load(free[0], prefix.cache, len(source.ids), prefix.shift)
                self._place(row, free.popleft())
            source.indices.popleft()
            if reason is not None:
                yield row, reason

    def _place(self, row: Row, slot: int) -> None:
        self._rows[slot] = row
        self._tokens[slot] = row.tokens[-1]
        if self._seen is not None:
            seen = (*row.source.ids, *row.tokens)
            self._seen[slot] = seen[0]
            self._seen[slot, : len(seen)] = torch.tensor(seen)

    def _step(self) -> Iterator[tuple[Row, FinishReason]]:
        """Advance every row by one token; yield those that end."""
        active = self._arrange()
        logits = self._stepper.forward(self._tokens[:active], self._cache)
        self._cache.advance(active)
        rows = self._rows[:active]
        if self._seen is not None:
            # before its first token an idle row has seen token 0 alone, and nobody reads its draw
            logits = penalise(logits, self._seen[:active], self._stepper.repetition_penalty)
        drawn = self._draw(rows, logits)
        self._tokens[:active] = drawn
        if self._seen is not None:
            places = self._cache.lengths[:active, None].clamp(max=self._seen.shape[1] - 1)
            self._seen[:active].scatter_(1, places, drawn[:, None])
        for slot, row in enumerate(rows):
            reason = self._stepper.ended(row) if row is not None else None
            if row is None or reason is not None:
                self._rows[slot] = None
                self._cache.release(slot)
            if row is not None and reason is not None:
                yield row, reason

    def _draw(self, rows: list[Row | None], logits: Tensor) -> Tensor:
        """Draw one token for each row and record it; the device is waited for once."""
        uniform = torch.tensor([row.uniforms[len(row.tokens)] if row else 0.0 for row in rows])
        tokens, logprobs = draw(logits, self._stepper.law, uniform.to(logits.device))
        # ids below 2^24 are exact in float32, so one transfer carries both
        told = torch.stack([tokens.float(), logprobs]).tolist()
        for row, token, logprob in zip(rows, *told, strict=True):
            if row is not None:
                if not abs(logprob) < torch.inf:
                    raise _no_distribution(row)
                row.tokens.append(int(token))
                row.logprobs.append(logprob)
        return tokens

    def _arrange(self) -> int:
        """Put the rows where a step costs least; return how many to compute."""
        busy = [i for i, row in enumerate(self._rows) if row is not None]
        wanted = -(-len(busy) // ROW_STEP) * ROW_STEP
        if busy[-1] >= wanted:
            holes = [i for i in range(wanted) if self._rows[i] is None]
            for source, target in zip((i for i in busy if i >= wanted), holes, strict=False):
                self._cache.move(source, target)
                self._take(source, target)
                self._rows[target], self._rows[source] = self._rows[source], None
        self._steps += 1
        if self._steps % WINDOW_STEP == 0:
            order = self._cache.better_order(wanted)
            if order is not None:
                self._cache.reorder(order)
                self._take(order, list(range(wanted)))
                self._rows[:wanted] = [self._rows[i] for i in order]
        return wanted

    def _take(self, source: int | list[int], target: int | list[int]) -> None:
        """Move what is kept of rows beside their keys and values."""
        self._tokens[target] = self._tokens[source]
        if self._seen is not None:
            self._seen[target] = self._seen[source]


def _no_distribution(row: Row) -> ModelFault:
    """Say that a model gave figures that nothing can be drawn from."""
    return ModelFault(
        f"prompt {row.source.prompt.id}, sample {row.index}: after {len(row.tokens)} tokens the "
        "model's logits are not numbers (NaN or infinite). Its weights are damaged or training has "
        "diverged: take an earlier checkpoint or a lower learning rate, or try "
        "hardware.bf16: false."
    )
