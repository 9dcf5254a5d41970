"""`raft train`, `demo` and `benchmark run`: settings in, one call, the result out."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from halo_forge.cli import main
from halo_forge.config.base import flatten
from halo_forge.config.benchmark import BenchmarkConfig
from halo_forge.config.load import dump_yaml
from halo_forge.config.raft import RaftConfig
from halo_forge.tracking.base import NullObserver, Observer

LOW = {"mean": 0.3, "low": 0.2, "high": 0.4, "units": 40}
HIGH = {"mean": 0.75, "low": 0.65, "high": 0.85, "units": 40}
PAIRED = {"difference": HIGH, "p_value": 0.0001}


class Trainer:
    """Stands in for the loop: notes what it is given and leaves a run directory."""

    calls: list[Trainer]
    interrupts = False
    evaluates = True

    def __init__(self, config: RaftConfig, observer: Observer, fork: Path | None) -> None:
        self.config, self.observer, self.fork = config, observer, fork
        Trainer.calls.append(self)

    def train(self) -> None:
        """Write what a run of one cycle writes."""
        if self.interrupts:
            raise KeyboardInterrupt
        folder = self.fork or Path(self.config.output_dir)
        (folder / "cycle_1_final").mkdir(parents=True)
        (folder / "cycle_1_final" / "adapter_config.json").touch()
        (folder / "run.json").write_text('{"guarded": {}}', "utf-8")
        (folder / "config.yaml").write_text(dump_yaml(self.config), "utf-8")
        before = {"samples": 160, "compile_rate": LOW, "pass_rate": LOW}
        after = {
            "samples": 160,
            "compile_rate": HIGH,
            "pass_rate": HIGH,
            "differences": {"compile_rate": PAIRED},
        }
        cycles = [
            {"cycle": 0, "heldout": before},
            {"cycle": 1, "training_seconds": 9, "heldout": after},
        ]
        if not self.evaluates:
            cycles = [{"cycle": 1, "training_seconds": 9}]
        (folder / "raft_statistics.json").write_text(json.dumps(cycles), "utf-8")


@pytest.fixture
def trainer(monkeypatch: pytest.MonkeyPatch) -> type[Trainer]:
    """The loop replaced by its stand-in."""
    module = ModuleType("halo_forge.rlvr.raft_trainer")
    stand_in = type("StandIn", (Trainer,), {})
    module.RAFTTrainer = stand_in  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(Trainer, "calls", [], raising=False)
    return stand_in


def test_raft_train_shows_before_and_after(
    trainer: type[Trainer], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The loop gets the settings; the rates, the run and the next command are printed."""
    run = tmp_path / "my run"
    flags = ["--cycles", "1", "--no-lora", "--checkpoint", "sft", "--keep_percent", "0.25"]

    assert main(["raft", "train", "-o", str(run), *flags, "--progress", "none"]) == 0

    (call,) = trainer.calls
    assert (call.config.raft.num_cycles, call.config.lora.enabled) == (1, False)
    assert (call.config.sft_checkpoint, call.config.raft.keep_top_percent) == ("sft", 0.25)
    assert call.fork is None
    assert isinstance(call.observer, NullObserver)
    out = capsys.readouterr().out
    assert "Held-out: 40 prompts, 160 answers" in out
    assert "30.0% [20.0, 40.0]  75.0% [65.0, 85.0]  +75.0 [+65.0, +85.0]  <0.001" in out
    assert f"Run:  '{run}', 1 of 1 cycles" in out
    assert f"Next: halo-forge benchmark run --model '{run}/cycle_1_final'" in out


def test_raft_train_as_json(
    trainer: type[Trainer], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With --json stdout is one document, the statistics as they were written."""
    run = tmp_path / "run"

    assert main(["raft", "train", "-o", str(run), "--json"]) == 0

    document = json.loads(capsys.readouterr().out)
    assert document["run"] == str(run)
    assert [cycle["cycle"] for cycle in document["cycles"]] == [0, 1]


def test_fork_is_where_the_run_goes_on(
    trainer: type[Trainer], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--fork DIR` is handed to the loop, and its run is shown."""
    fork = tmp_path / "fork"

    assert main(["raft", "train", "-o", str(tmp_path / "run"), "--fork", str(fork), "-q"]) == 0

    assert trainer.calls[0].fork == fork
    assert f"Run:  {fork}" in capsys.readouterr().out


def test_replay_takes_the_settings_of_its_run(
    trainer: type[Trainer], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All of them, its prompts as it read them, and over these the flags that are given."""
    run, new = tmp_path / "run", tmp_path / "new"
    flags = ["--cycles", "1", "--temperature", "0.9", "--eval-prompts", "gone.jsonl"]
    assert main(["raft", "train", "-o", str(run), *flags, "-q"]) == 0
    assert main(["raft", "replay", str(run), "--algorithm", "raft++", "-o", str(new), "-q"]) == 0
    config = trainer.calls[-1].config
    assert (config.replay, config.output_dir) == (str(run), str(new))
    assert (config.raft.algorithm, config.raft.num_cycles) == ("raft++", 1)
    assert config.generation.temperature == 0.9
    assert config.prompts == str(run / "prompts.jsonl")
    assert config.eval_prompts == str(run / "eval_prompts.jsonl")
    assert f"Run:  {new}, 1 of 1 cycles" in capsys.readouterr().out


def test_replay_needs_a_run_and_a_place(
    trainer: type[Trainer], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is not written into the old run, nor anywhere by default."""
    run = tmp_path / "run"
    assert main(["raft", "replay", str(run), "-o", str(tmp_path / "new")]) == 2
    assert f"{run}: not a run directory" in capsys.readouterr().err
    assert main(["raft", "train", "-o", str(run), "-q"]) == 0
    assert main(["raft", "replay", str(run)]) == 2
    assert "say where it goes with --output DIR" in capsys.readouterr().err
    assert main(["raft", "replay", str(run), "-o", str(run)]) == 2
    assert "is the run itself" in capsys.readouterr().err
    assert len(trainer.calls) == 1


def test_nothing_held_out(
    trainer: type[Trainer],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Without held-out prompts nothing is claimed."""
    monkeypatch.setattr(trainer, "evaluates", False)

    assert main(["raft", "train", "-o", str(tmp_path / "run"), "-q"]) == 0
    assert "nothing was compared" in capsys.readouterr().out


def test_interrupted_run_says_how_to_go_on(
    trainer: type[Trainer],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Ctrl-C ends with 130 and the way on."""
    monkeypatch.setattr(trainer, "interrupts", True)

    assert main(["raft", "train", "-o", str(tmp_path / "r"), "--progress", "plain"]) == 130

    said = capsys.readouterr().err
    assert f"{tmp_path / 'r'} keeps what is done; the same command goes on from there" in said
    assert said.endswith("halo-forge: interrupted\n")


def test_dry_run_counts_and_stops(
    trainer: type[Trainer], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Settings with sources, prompts, answers and what is done; nothing is started."""
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text('{"prompt": "one"}\n{"prompt": "two"}\n', "utf-8")
    run = tmp_path / "run"
    flags = ["-o", str(run), "-p", str(prompts), "--samples-per-prompt", "3"]

    assert main(["raft", "train", "--dry-run", *flags]) == 0

    assert trainer.calls == []
    assert not run.exists()
    out = capsys.readouterr().out
    assert "A cycle: 2 prompts x 3 = 6 answers" in out
    assert f"Cycles: 0 of 3 done in {run}" in out
    assert "halo-forge plan, with the same flags" in out
    assert "--samples-per-prompt" in out


def test_dry_run_knows_what_is_done(
    trainer: type[Trainer], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """After a cycle the plan says so, in JSON too."""
    run = tmp_path / "run"
    main(["raft", "train", "-o", str(run), "-q"])
    capsys.readouterr()

    assert main(["raft", "train", "-o", str(run), "--dry-run", "--json"]) == 0

    plan = json.loads(capsys.readouterr().out)
    assert plan["cycles_done"] == 1
    assert plan["config"]["output_dir"] == str(run)
    assert plan["sources"]["output_dir"] == "--output"


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["-c", "no.yaml"], "no.yaml: No such file"),
        (["--cycles", "-1"], "--cycles: must be at least 0"),
        (["--dry-run", "-p", "no.jsonl"], "no.jsonl"),
    ],
)
def test_bad_input(
    flags: list[str], said: str, trainer: type[Trainer], capsys: pytest.CaptureFixture[str]
) -> None:
    """What is wrong is said before anything is started."""
    assert main(["raft", "train", *flags]) == 2
    assert trainer.calls == []
    assert said in capsys.readouterr().err


def test_demo_is_the_preset(
    trainer: type[Trainer], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`demo` runs the shipped configuration, with its output moved when asked."""
    assert main(["demo", "-o", str(tmp_path / "demo"), "--set", "seed=5", "-q"]) == 0

    (call,) = trainer.calls
    assert call.config.output_dir == str(tmp_path / "demo")
    assert call.config.eval_prompts == "builtin:cpp/heldout"
    assert call.config.seed == 5
    assert "after cycle 1" in capsys.readouterr().out


def test_demo_dry_run(capsys: pytest.CaptureFixture[str]) -> None:
    """Its plan names the preset as the source."""
    assert main(["demo", "--dry-run", "--json"]) == 0

    plan = json.loads(capsys.readouterr().out)
    assert plan["sources"]["eval_prompts"].startswith("builtin:demo:")
    assert plan["prompts"] > plan["heldout_prompts"] > 0


class Result:
    """Stands in for a benchmark's result."""

    def to_dict(self) -> dict[str, Any]:
        """Return rates and what they took."""
        return {
            "pass_at_k": {"1": LOW, "4": HIGH},
            "compile_at_k": {"1": HIGH},
            "by_category": {},
            "untested": 0,
            "prompts": 3,
            "samples_per_prompt": 4,
            "mode": "sampled",
            "tokens": {"generated": 9, "mean": 0.75, "cut": 0},
            "timing": {
                "tokens_generated": 9,
                "generation_seconds": 1.0,
                "verification_added_seconds": 0.0,
                "total_seconds": 2.0,
            },
        }


@pytest.fixture
def benchmarked(monkeypatch: pytest.MonkeyPatch) -> list[BenchmarkConfig]:
    """The benchmark replaced by a stand-in; what it was asked to do."""
    asked: list[BenchmarkConfig] = []

    def run_benchmark(config: BenchmarkConfig, observer: Observer) -> Result:
        asked.append(config)
        return Result()

    module = ModuleType("halo_forge.benchmark.runner")
    module.run_benchmark = run_benchmark  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return asked


def test_benchmark_run(
    benchmarked: list[BenchmarkConfig], capsys: pytest.CaptureFixture[str]
) -> None:
    """Flags reach the benchmark; compile@k and pass@k are printed apart."""
    flags = ["--samples", "4", "--k", "1,4", "--no-run-after-compile", "-m", "x", "-o", "out"]

    assert main(["benchmark", "run", *flags]) == 0

    (config,) = benchmarked
    assert (config.samples, config.k, config.model.name) == (4, (1, 4), "x")
    assert config.verifier.run_after_compile is False
    out = capsys.readouterr().out
    assert "compile@1" in out
    assert "pass@4" in out
    assert "Every answer: out" in out


def test_benchmark_as_json(
    benchmarked: list[BenchmarkConfig], capsys: pytest.CaptureFixture[str]
) -> None:
    """With --json stdout is the result."""
    assert main(["benchmark", "run", "--json", "-q"]) == 0
    assert json.loads(capsys.readouterr().out) == Result().to_dict()


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_benchmark_dry_run(
    flags: list[str],
    benchmarked: list[BenchmarkConfig],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A dry run shows the settings and starts nothing."""
    assert main(["benchmark", "run", "--dry-run", "--seed", "7", *flags]) == 0
    assert benchmarked == []
    assert "--seed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "settings"),
    [
        (["--dataset", "mbpp_plus"], {"benchmark": "mbpp_plus"}),
        (["--base-model", "org/base"], {"base_model": "org/base"}),
        (["--cross-compile"], {"verifier.type": "mingw"}),
        (["--cross-compile", "--verifier", "gcc"], {"verifier.type": "mingw"}),
    ],
)
def test_what_benchmark_run_takes_too(
    flags: list[str], settings: dict[str, str], benchmarked: list[BenchmarkConfig]
) -> None:
    """A benchmark by name, an adapter's base, and Windows as the target."""
    assert main(["benchmark", "run", *flags]) == 0
    (config,) = benchmarked
    found = flatten(config.model_dump(mode="json"))
    assert {key: found[key] for key in settings} == settings


def test_another_verifier_does_not_cross_compile(
    benchmarked: list[BenchmarkConfig], capsys: pytest.CaptureFixture[str]
) -> None:
    """It is not replaced in silence."""
    assert main(["benchmark", "run", "--cross-compile", "--verifier", "execution"]) == 2
    assert "'execution' is asked for" in capsys.readouterr().err
    assert benchmarked == []
