"""What a device reaches: products of large matrices, and reading what is in no cache."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from halo_forge.models.constants import Constants, keep_constants, known_constants
from halo_forge.models.load import pick_device, pick_dtype
from halo_forge.models.roofline import Rates

__all__ = ["bench_machine", "known_rates", "measure_rates"]

_TRIES = 9
_SIZES = {"cpu": 1024, "cuda": 8192, "mps": 4096}
_READ_BYTES = 2**28
_COLUMNS = 2**10


@torch.inference_mode()
def measure_rates(dtype: torch.dtype, device: torch.device) -> Rates:
    """Measure for a second or two; the best of several tries counts.

    Args:
        dtype: Of the matrices.
        device: Where they lie.
    """
    size = _SIZES.get(device.type, _SIZES["cpu"])
    square = torch.randn(size, size, device=device).to(dtype)
    much = torch.ones(_READ_BYTES // 4, device=device).view(-1, _COLUMNS)
    vector = torch.ones(_COLUMNS, device=device)
    multiplying = _best(lambda: square @ square, device)
    # a product of a matrix with a vector reads the matrix once and computes next to nothing
    reading = _best(lambda: torch.mv(much, vector), device)
    return Rates(flops=2 * size**3 / multiplying, reading=_READ_BYTES / reading)


def known_rates(dtype: torch.dtype, device: torch.device) -> Rates:
    """Return the rates that were kept of this machine, or measure and keep them.

    Args:
        dtype: Of the matrices.
        device: Where they lie.

    Raises:
        StoreFault: If the cache folder cannot be written.
    """
    known = known_constants().get((device.type, str(dtype).removeprefix("torch.")))
    return _keep(dtype, device).rates if known is None else known.rates


def bench_machine(setting: str = "auto") -> list[Constants]:
    """Measure anew, and keep, the rates of every type that a run may compute in.

    Args:
        setting: The device, as `halo_forge.models.load.pick_device` takes it.

    Raises:
        UserError: If there is no such device.
        StoreFault: If the cache folder cannot be written.
    """
    device = pick_device(setting)
    types = dict.fromkeys([torch.float32, pick_dtype(bf16=True, device=device)])
    return [_keep(dtype, device) for dtype in types]


def _keep(dtype: torch.dtype, device: torch.device) -> Constants:
    name = str(dtype).removeprefix("torch.")
    found = Constants.now(device.type, name, measure_rates(dtype, device))
    keep_constants(found)
    return found


def _best(work: Callable[[], object], device: torch.device) -> float:
    times = []
    for _ in range(_TRIES):
        _wait(device)
        started = time.perf_counter()
        work()
        _wait(device)
        times.append(time.perf_counter() - started)
    return min(times)


def _wait(device: torch.device) -> None:
    """Let the device finish what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
