"""How much memory a model may still take, and how much something took."""

from dataclasses import replace

import pytest
import torch

from halo_forge.models import memory
from halo_forge.models.memory import Peak, free_memory
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


def test_peak_of_a_block() -> None:
    """What was taken and given back again counts, what was taken before does not."""
    size = 200 << 20
    with Peak(torch.device("cpu")) as first:
        torch.ones(size // 4)
    with Peak(torch.device("cpu")) as second:
        pass
    if first.bytes is None:
        pytest.skip("this system does not tell")
    assert first.bytes - first.before > 0.9 * size
    assert second.bytes is not None
    assert second.bytes - second.before < size / 2


def test_where_nothing_tells(monkeypatch, tmp_path) -> None:
    """Without a way to reset the kernel's count there is no figure, rather than a wrong one."""
    monkeypatch.setattr(memory, "_CLEAR", tmp_path / "no" / "such")
    with Peak(torch.device("cpu")) as found:
        pass
    assert found.bytes is None
