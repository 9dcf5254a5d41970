"""A run reads the base from the disk once, or each stage in its own process: the same run."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from halo_forge.config.raft import RaftConfig
from halo_forge.core.errors import Fault
from halo_forge.core.identity import derive_seed
from halo_forge.core.types import VerifyResult
from halo_forge.models.kept import BaseKeeper
from halo_forge.rlvr.raft_trainer import RAFTTrainer
from halo_forge.rlvr.verifiers.base import Verifier
from halo_forge.store.run_dir import RunDir
from halo_forge.tracking.base import NullObserver, Observer
from tests.fakes import plug_in

CYCLES = 2


class _Taste(Verifier):
    """Likes half of all answers, always the same."""

    def verify(self, code: str) -> VerifyResult:
        """Judge by a hash."""
        good = derive_seed(0, code) % 2 == 0
        return VerifyResult(good, float(good))


class _Killer(NullObserver):
    """Kills the training process as soon as it says that it trains."""

    def message(self, text: str) -> None:
        """Look for the line that the child sends."""
        if text.startswith("Training:"):
            (child,) = multiprocessing.active_children()
            child.kill()


def _train(
    folder: Path, model: Path, cycles: int, isolation: str, observer: Observer | None = None
) -> RunDir:
    prompts, heldout = folder / "train.jsonl", folder / "heldout.jsonl"
    folder.mkdir(exist_ok=True)
    for file, texts in ((prompts, ("one", "two", "three")), (heldout, ("four", "five"))):
        file.write_text("".join(json.dumps({"prompt": text}) + "\n" for text in texts))
    config = RaftConfig.model_validate(
        {
            "model": {"name": str(model)},
            "output_dir": str(folder / "run"),
            "prompts": str(prompts),
            "eval_prompts": str(heldout) if cycles > 1 else None,
            "raft": {"num_cycles": cycles, "samples_per_prompt": 8},
            # a model of chance seldom ends by itself
            "generation": {"max_new_tokens": 24, "stop": ["e", "t", " "], "temperature": 1.0},
            "evaluation": {"samples_per_prompt": 2},
            "training": {"learning_rate": 1e-2, "gradient_accumulation_steps": 1},
            "hardware": {
                "device": "cpu",
                "gradient_checkpointing": "off",
                "stage_isolation": isolation,
            },
            "verifier": {"type": "taste"},
            "report_to": [],
        }
    )
    RAFTTrainer(config, observer=observer).train()
    return RunDir(folder / "run")


def _samples(run: RunDir, cycles: int = CYCLES) -> list[dict[str, dict[str, Any]]]:
    """Return what was generated and judged in each pass, by id; the order is that of chance."""
    paths = [run.samples_path(n) for n in range(1, cycles + 1)]
    paths += [run.eval_path(n) for n in range(cycles + 1) if cycles > 1]
    found = []
    for path in paths:
        records = map(json.loads, path.read_text().splitlines())
        found.append({record["id"]: record for record in records})
    return found


@pytest.fixture
def trained(
    tiny_model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], tuple[RunDir, int]]:
    """Run cycles in a folder; return the run and how often whole weights were read."""
    from transformers import AutoModelForCausalLM

    plug_in(monkeypatch, "verifiers", "taste", _Taste)
    real = AutoModelForCausalLM.from_pretrained

    def train(name: str) -> tuple[RunDir, int]:
        reads: list[Any] = []

        def noting(folder: Path, **settings: Any) -> Any:
            reads.append(folder)
            return real(folder, **settings)

        monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", noting)
        return _train(tmp_path / name, tiny_model_dir, CYCLES, "off"), len(reads)

    return train


def test_one_load_for_all_cycles_and_the_same_run(
    trained: Callable[[str], tuple[RunDir, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Samples, verdicts and adapters are bit by bit those of a run that loads for every stage."""
    kept, reads = trained("kept")
    assert reads == 1
    monkeypatch.setattr(
        BaseKeeper, "lend", lambda self, wanted: wanted.read(wanted.dtype, wanted.attn)
    )
    fresh, reads = trained("fresh")
    assert reads == 1 + 3 * CYCLES  # baseline; then generating, training and measuring
    assert _samples(kept) == _samples(fresh)
    for cycle in range(1, CYCLES + 1):
        ours, theirs = (
            (run.checkpoint_path(cycle) / "adapter_model.safetensors").read_bytes()
            for run in (kept, fresh)
        )
        assert ours == theirs


def test_each_stage_in_its_own_process(
    tiny_model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed while it trains, the run says so and goes on; in the end it is the same run."""
    plug_in(monkeypatch, "verifiers", "taste", _Taste)
    together = _train(tmp_path / "together", tiny_model_dir, 1, "off")
    monkeypatch.setattr(
        "halo_forge.models.load._load_base", lambda *a, **k: pytest.fail("loaded in this process")
    )
    apart = tmp_path / "apart"
    with pytest.raises(Fault, match="stage training was killed by SIGKILL"):
        _train(apart, tiny_model_dir, 1, "on", _Killer())
    assert not RunDir(apart / "run").is_complete(1)
    run = _train(apart, tiny_model_dir, 1, "on")
    assert _samples(run, 1) == _samples(together, 1)
    ours, theirs = (
        (one.checkpoint_path(1) / "adapter_model.safetensors").read_bytes()
        for one in (run, together)
    )
    assert ours == theirs
    info = run.read_info()
    assert info is not None
    assert info["attempts"][-1]["profile"]["stage_isolation"] is True
