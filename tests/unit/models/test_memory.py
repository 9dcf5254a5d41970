"""How much memory a model may still take."""

from dataclasses import replace

import pytest
import torch

from halo_forge.models.memory import free_memory
from halo_forge.utils.hardware import Cpu, Gpu, Hardware, Memory

GIB = 2**30
MACHINE = Hardware(Cpu("", 2, avx512=False, amx=False, bf16=False), Memory(64 * GIB, 20 * GIB), ())


@pytest.mark.parametrize(
    ("unified", "memory_free", "expected"),
    [(True, 90 * GIB, 20), (True, 12 * GIB, 12), (True, None, 20), (False, 12 * GIB, 46)],
)
def test_free_memory(monkeypatch, unified, memory_free, expected) -> None:
    """Shared memory counts once: the least of what driver, card and kernel promise."""
    cuda = torch.cuda
    monkeypatch.setattr(cuda, "mem_get_info", lambda _: (40 * GIB, 90 * GIB))
    monkeypatch.setattr(cuda, "memory_reserved", lambda _: 9 * GIB)
    monkeypatch.setattr(cuda, "memory_allocated", lambda _: 3 * GIB)
    card = Gpu("amd", "", "gfx1151", 90 * GIB, memory_free, unified=unified)
    machine = replace(MACHINE, gpus=(card,))
    assert free_memory(torch.device("cuda"), machine) == expected * GIB
    assert free_memory(torch.device("cpu"), machine) == 20 * GIB
