"""How much memory a model may still take."""

from __future__ import annotations

import torch

from halo_forge.utils.hardware import Hardware

__all__ = ["free_memory"]


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
