"""A base that is kept in memory: what is lent is what would be read, and is read once."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from halo_forge.config.sections import LoraSettings
from halo_forge.engines.row_attention import ROW_ATTENTION
from halo_forge.models import load
from halo_forge.models.checkpoint import save_checkpoint
from halo_forge.models.kept import BaseKeeper
from halo_forge.models.lora import add_lora

GIB = 2**30


@pytest.fixture(scope="module")
def adapter_dir(tiny_model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter on the tiny model that changes its answers."""
    base = load.load_model(tiny_model_dir, dtype=torch.float32, trainable=True)
    adapted = add_lora(base, LoraSettings(), seed=1)
    for name, weight in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, generator=torch.Generator().manual_seed(2))
    folder = tmp_path_factory.mktemp("adapter") / "adapter"
    return save_checkpoint(adapted, load.load_tokenizer(tiny_model_dir), folder, tiny_model_dir, {})


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was read from the disk, and a machine with much memory."""
    found: list[str] = []
    real = AutoModelForCausalLM.from_pretrained

    def noting(folder: Path, **settings: Any) -> Any:
        found.append(Path(folder).resolve().name)
        return real(folder, **settings)

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", noting)
    monkeypatch.setattr(load, "free_memory", lambda device, machine: GIB)
    return found


def _assert_same(ours: torch.nn.Module, expected: torch.nn.Module) -> None:
    assert type(ours) is type(expected)
    for kind in ("named_parameters", "named_buffers"):
        one, two = dict(getattr(ours, kind)()), dict(getattr(expected, kind)())
        assert one.keys() == two.keys()
        for name, tensor in two.items():
            assert one[name].dtype == tensor.dtype, name
            assert torch.equal(one[name], tensor), name
            assert one[name].requires_grad == tensor.requires_grad, name
    assert [m.training for m in ours.modules()] == [m.training for m in expected.modules()]
    settings = [model.config.to_dict() | {"_name_or_path": ""} for model in (ours, expected)]
    assert settings[0] == settings[1]
    assert ours.config._attn_implementation == expected.config._attn_implementation


STAGES: list[tuple[str, dict[str, Any]]] = [
    ("base", {"dtype": torch.float32, "merge": True, "attn": ROW_ATTENTION}),
    ("base", {"dtype": torch.float32, "trainable": True, "attn": "eager"}),
    ("adapter", {"dtype": torch.float32, "merge": True}),
    ("adapter", {"dtype": torch.bfloat16, "merge": True, "attn": ROW_ATTENTION}),
    ("adapter", {"dtype": torch.bfloat16, "trainable": True}),
    ("base", {"dtype": torch.bfloat16}),
]
"""What decoders and learners ask for, in the order of no run in particular."""


@pytest.mark.parametrize("first", range(len(STAGES)))
def test_lent_is_what_would_be_read(
    tiny_model_dir: Path, adapter_dir: Path, reads: list[str], first: int
) -> None:
    """Weights, buffers, types, modes and settings are those of a fresh load; the disk is read once.

    Whatever stage comes first, and whatever the others did to the models they were lent.
    """
    folders = {"base": tiny_model_dir, "adapter": adapter_dir}
    keeper = BaseKeeper()
    for ref, settings in STAGES[first:] + STAGES[:first]:
        lent = load.load_model(folders[ref], keeper=keeper, **settings)
        _assert_same(lent, load.load_model(folders[ref], **settings))
        with torch.no_grad():
            for weight in lent.parameters():
                weight.data = weight.data * 2  # replaced, as an adapter that is folded in does
        lent.requires_grad_(False)
        lent.train()
    assert len(reads) == 1 + len(STAGES)


def test_frozen_weights_are_shared(tiny_model_dir: Path, reads: list[str]) -> None:
    """Two stages at once hold the same memory, not a copy of it."""
    keeper = BaseKeeper()
    one, two = (load.load_model(tiny_model_dir, dtype=torch.float32, keeper=keeper) for _ in "12")
    assert [p.data_ptr() for p in one.parameters()] == [p.data_ptr() for p in two.parameters()]
    assert len({id(p) for model in (one, two) for p in model.parameters()}) == 2 * len(
        list(one.parameters())
    )


def test_a_base_that_somebody_changed_is_read_again(
    tiny_model_dir: Path, reads: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    """A change in place would go into every later stage; it is found out, and said."""
    keeper = BaseKeeper()
    spoilt = load.load_model(tiny_model_dir, dtype=torch.float32, keeper=keeper)
    with torch.no_grad():
        next(spoilt.parameters()).add_(1.0)
    lent = load.load_model(tiny_model_dir, dtype=torch.float32, keeper=keeper)
    _assert_same(lent, load.load_model(tiny_model_dir, dtype=torch.float32))
    assert "changed in place" in caplog.text
    assert len(reads) == 3


def _touch(folder: Path) -> None:
    os.utime(folder / "model.safetensors", ns=(1, 1))


def _replace(folder: Path) -> None:
    shutil.copy2(folder / "model.safetensors", folder / "other")
    (folder / "other").replace(folder / "model.safetensors")


@pytest.mark.parametrize("change", [_touch, _replace])
def test_other_files_are_read(
    tiny_model_dir: Path, tmp_path: Path, reads: list[str], change: Callable[[Path], None]
) -> None:
    """A model whose files were written anew is not taken for the one in memory."""
    folder = Path(shutil.copytree(tiny_model_dir, tmp_path / "model"))
    keeper = BaseKeeper()
    for _ in range(2):
        load.load_model(folder, dtype=torch.float32, keeper=keeper)
    change(folder)
    for _ in range(2):
        load.load_model(folder, dtype=torch.float32, keeper=keeper)
    assert reads == ["model"] * 2


def test_short_memory(
    tiny_model_dir: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With less free than eight times its size a base is not kept, and one that is, is let go."""
    size = (tiny_model_dir / "model.safetensors").stat().st_size
    keeper = BaseKeeper()

    def stage(free: int) -> int:
        monkeypatch.setattr(load, "free_memory", lambda device, machine: free)
        load.load_model(tiny_model_dir, dtype=torch.float32, keeper=keeper)
        return len(reads)

    assert [stage(8 * size - 1), stage(8 * size - 1)] == [1, 2]
    assert [stage(8 * size), stage(7 * size)] == [3, 3]  # what is kept itself is not free
    assert [stage(7 * size - 1), stage(7 * size - 1)] == [3, 4]


def test_weights_that_are_trained_are_not_shared(tiny_model_dir: Path, reads: list[str]) -> None:
    """All weights trainable: read from the disk, and nothing is held beside them."""
    keeper = BaseKeeper()
    load.load_model(tiny_model_dir, dtype=torch.float32, keeper=keeper)
    for _ in range(2):
        load.load_model(
            tiny_model_dir, dtype=torch.float32, trainable=True, merge=True, keeper=keeper
        )
    load.load_model(tiny_model_dir, dtype=torch.float32, keeper=keeper)
    assert len(reads) == 4


def test_layers_with_a_type_of_their_own_are_read(
    tiny_model_dir: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model that would not be the same in another type is never lent."""
    from transformers import LlamaForCausalLM

    monkeypatch.setattr(LlamaForCausalLM, "_keep_in_fp32_modules_strict", {"mlp"})
    keeper = BaseKeeper()
    settings = {"dtype": torch.bfloat16}
    lent = [load.load_model(tiny_model_dir, keeper=keeper, **settings) for _ in range(2)]
    _assert_same(lent[1], load.load_model(tiny_model_dir, **settings))
    assert {p.dtype for p in lent[1].parameters()} == {torch.bfloat16, torch.float32}
    # the first is read in the type of the files before it is known
    assert len(reads) == 2 + 1 + 1
