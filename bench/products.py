"""What packing the weights once does to the matrix products of a decoding step, in float32.

    python bench/products.py [--rounds 5] [--json FILE]

The layers of the built-in model's shape, with random numbers, for several numbers of rows, plain
and packed in turns. Prints milliseconds of one step, the ratio with its spread, the fraction of the
rate of a large square product in the same run, and whether a row gets the same bits as among 128.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from measure import Spread
from results import write_result
from torch import nn

from halo_forge.engines.packed import PackedLinear

__all__ = ["main"]

_LAYERS, _WIDTH, _INNER, _KEYS, _VOCABULARY = 30, 576, 1536, 192, 49152
_SAMPLE = 6
_SHAPES = [
    (_WIDTH, _WIDTH),
    (_WIDTH, _KEYS),
    (_WIDTH, _KEYS),
    (_WIDTH, _WIDTH),
    (_WIDTH, _INNER),
    (_WIDTH, _INNER),
    (_INNER, _WIDTH),
]


def _seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _step(layers: list[PackedLinear], head: PackedLinear, states: torch.Tensor) -> float:
    """Return the seconds of the products of a whole step, from a few layers that fill the cache."""
    some = _seconds(lambda: [layer(states[:, : layer.in_features]) for layer in layers])
    return some * _LAYERS / _SAMPLE + _seconds(lambda: head(states[:, :_WIDTH]))


def _exact(layer: PackedLinear, rows: int, *, packed: bool) -> bool:
    """Tell whether rows get the bits that they get among 128."""
    states = torch.randn(128, layer.in_features)
    found = []
    for count in (128, rows):
        layer.pack(count if packed else 0)
        found.append(layer(states[:count])[:rows])
    return torch.equal(*found)


@torch.inference_mode()
def main() -> None:
    """Time both in turns."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rounds = options.rounds
    claims: list[dict[str, Any]] = []
    layers = [PackedLinear(nn.Linear(a, b, bias=False)) for _ in range(_SAMPLE) for a, b in _SHAPES]
    head = PackedLinear(nn.Linear(_WIDTH, _VOCABULARY, bias=False))
    square = torch.randn(1024, 1024)
    rate = 2 * 1024**3 / min(_seconds(lambda: square @ square) for _ in range(9))
    print(f"large products {rate / 1e9:.0f} GFLOP/s")
    weights = _LAYERS * sum(a * b for a, b in _SHAPES) + _WIDTH * _VOCABULARY
    for rows in (8, 16, 32, 48, 64, 96, 128):
        states = torch.randn(rows, _INNER)
        times: dict[bool, list[float]] = {False: [], True: []}
        for _ in range(rounds + 1):
            for packed, taken in times.items():
                for layer in [*layers, head]:
                    layer.pack(rows if packed else 0)
                _step(layers, head, states)
                taken.append(_step(layers, head, states))
        plain, packed_ = times[False][1:], times[True][1:]
        ratio = Spread.of([a / b for a, b in zip(plain, packed_, strict=True)])
        least = 2 * weights * rows / rate
        bits = {
            way: all(_exact(one, rows, packed=way) for one in [*layers[:7], head]) for way in times
        }
        print(
            f"{rows:4} rows: plain {Spread.of(plain).scaled(1e3):.0f} ms, packed "
            f"{Spread.of(packed_).scaled(1e3):.0f} ms, {ratio:.2f} times as fast, "
            f"{least / Spread.of(packed_).median:.0%} of the large products' rate; "
            f"same bits: plain {bits[False]}, packed {bits[True]}"
        )
        name = f"products of a decoding step, {rows} rows, plain over packed weights"
        share = least / Spread.of(packed_).median
        claims.append({"name": name, "value": ratio, "roofline": share, "limit": "products"})
    if options.json:
        write_result(options.json, claims, {"flops": rate})


if __name__ == "__main__":
    main()
