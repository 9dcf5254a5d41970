"""A plan of the tiny model: everything is really read, measured and rehearsed."""

import logging
from pathlib import Path

import pytest

from halo_forge.config.raft import RaftConfig
from halo_forge.core.errors import UserError
from halo_forge.data.prompts import load_prompts, write_prompts
from halo_forge.models import speed
from halo_forge.models.roofline import Rates
from halo_forge.rlvr import survey as surveying
from halo_forge.rlvr.material import read_material
from halo_forge.rlvr.survey import survey
from halo_forge.tracking.base import NullObserver


@pytest.fixture
def make(tiny_model_dir, tmp_path: Path, monkeypatch):
    """Settings of a small run of the tiny model; its rates are given, not measured."""
    monkeypatch.setenv("HALO_FORGE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(speed, "measure_rates", lambda *_: Rates(1e11, 1e10))
    prompts = tmp_path / "prompts.jsonl"
    write_prompts(prompts, load_prompts("builtin:cpp/train")[:4])

    def settings(**sections: dict[str, object]) -> RaftConfig:
        whole: dict[str, object] = {
            "model": {"name": str(tiny_model_dir)},
            "output_dir": str(tmp_path / "run"),
            "prompts": str(prompts),
            "raft": {"num_cycles": 2, "samples_per_prompt": 4},
            "generation": {"max_new_tokens": 32, "batch_size": 16},
            "hardware": {"device": "cpu", "bf16": False},
            "lora": {"r": 4, "dropout": 0.0},
        }
        return RaftConfig.model_validate(whole | sections)

    return settings


@pytest.mark.toolchain("g++")
def test_a_plan_from_measurements(make, tmp_path) -> None:
    """Every stage has memory and seconds; the run directory is not touched."""
    found = survey(make(), None, NullObserver())
    stages = {stage.name: stage for stage in found.stages}
    assert list(stages) == ["start", "rollout", "verification, rollout", "training"]
    assert found.problems == ()
    assert found.seconds is not None
    assert 0 < found.seconds[0] < found.seconds[1]
    assert stages["rollout"].times == 2
    assert stages["rollout"].note == "16 rows"
    assert stages["verification, rollout"].seconds[1] > 0
    assert stages["training"].memory["activations"] > 0
    assert found.peak > stages["rollout"].memory["process"] > 2**26
    assert found.disk["checkpoints"] > 0
    assert not (tmp_path / "run").exists()


def test_nothing_to_judge(make, monkeypatch, tmp_path) -> None:
    """Prompts without solutions are planned without verification, and that is said."""
    prompts = tmp_path / "bare.jsonl"
    prompts.write_text('{"prompt": "one"}\n{"prompt": "two words"}\n', "utf-8")
    config = make().model_copy(update={"prompts": str(prompts)})
    found = survey(config, None, NullObserver())
    assert not any("verification" in stage.name for stage in found.stages)
    assert any("verification is left out" in line for line in found.assumptions)


def test_what_cannot_fit_is_not_tried(make, monkeypatch, caplog) -> None:
    """Where weights do not fit nothing is loaded: trying would end the process."""
    monkeypatch.setattr(surveying, "_rehearse", lambda *_: pytest.fail("rehearsed"))
    monkeypatch.setattr("halo_forge.models.memory.free_memory", lambda *_: -(2**40))
    with caplog.at_level(logging.ERROR):
        found = survey(make(), None, NullObserver())
    assert any("smaller model" in problem for problem in found.problems)
    assert found.seconds is None


def test_nothing_to_do(make) -> None:
    """No cycle and nothing held out is said to be nothing, not taken for a fault of ours."""
    with pytest.raises(UserError, match="nothing is to be done: no cycles"):
        survey(make(raft={"num_cycles": 0}), None, NullObserver())


def test_other_engines_are_not_planned(make) -> None:
    """What a server takes is not known here."""
    config = make(generation={"engine": "scripted", "script": "x"})
    with pytest.raises(UserError, match="engine transformers alone"):
        survey(config, None, NullObserver())


def test_the_run_that_is_planned_is_the_run(make, tmp_path) -> None:
    """What the run would refuse has no plan, and benchmarks' tasks are left out as it does."""
    own = str(tmp_path / "prompts.jsonl")
    with pytest.raises(UserError, match="also trained on"):
        survey(make(eval_prompts=own), None, NullObserver())
    benchmark = tmp_path / "benchmark.jsonl"
    write_prompts(benchmark, load_prompts(own)[:1])
    config = make(decontaminate={"against": (str(benchmark),)})
    assert len(read_material(config).prompts) == 3
