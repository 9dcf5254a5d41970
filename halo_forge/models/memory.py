"""How much memory a model may still take, and how much something took at its most."""

from __future__ import annotations

import ctypes
import gc
from pathlib import Path
from typing import Self

import torch

from halo_forge.utils.hardware import Hardware

__all__ = ["Peak", "free_memory"]

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_RESET_PEAK = "5"  # proc_pid_clear_refs(5): sets VmHWM back


def free_memory(device: torch.device, machine: Hardware) -> int:
    """Return the bytes on ``device`` that nobody uses.

    On a processor and on graphics that share its memory that is never more than what the kernel
    calls available: drivers promise to map more than there is, and a system that runs out stops.
    """
    if device.type != "cuda":
        return machine.memory.available
    free, _ = torch.cuda.mem_get_info(device)
    free += torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    for gpu in machine.gpus:
        if gpu.unified:
            free = min(free, machine.memory.available, gpu.memory_free or free)
    return int(free)


class Peak:
    """The most memory at once within a ``with`` block.

    Args:
        device: A card's own memory is what its driver counted; elsewhere it is that of the process.

    Attributes:
        bytes: The most at once; None where the system does not tell.
        before: What was taken when the block began, counted in the same way.
    """

    def __init__(self, device: torch.device) -> None:
        self.bytes: int | None = None
        self.before = 0
        self._device = device

    def __enter__(self) -> Self:
        """Give back what is not needed, and begin to count."""
        gc.collect()
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
            self.before = torch.cuda.memory_allocated(self._device)
            return self
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
        try:
            _CLEAR.write_text(_RESET_PEAK)
        except OSError:
            return self
        self.before = _status("VmRSS")
        return self

    def __exit__(self, *error: object) -> None:
        """Read how much it was."""
        if self._device.type == "cuda":
            self.bytes = torch.cuda.max_memory_allocated(self._device)
        elif self.before:
            self.bytes = _status("VmHWM")


def _status(name: str) -> int:
    """Return a field of proc_pid_status(5) in bytes."""
    return int(_STATUS.read_text().split(f"{name}:")[1].split()[0]) * 1024
