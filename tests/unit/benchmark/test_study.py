"""A study: the same seeds with the verifier and without, resumed, and told in one table."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from halo_forge.benchmark.study import Study, arm_result
from halo_forge.cli import main
from halo_forge.config.study import Arm
from halo_forge.core.identity import derive_seed
from halo_forge.core.types import Prompt, TrainingExample, VerifyResult
from halo_forge.engines.base import EngineSpec
from halo_forge.report.study import study_sentence
from halo_forge.rlvr import raft_trainer
from halo_forge.sft.base import FitReport, FitRequest
from halo_forge.store.records import read_records
from halo_forge.store.run_dir import RunDir
from tests.fakes import FakeLearner, FakeVerifier, make_sample, plug_in
from tests.unit.benchmark.test_compare import measured

START = 3


class Learnable:
    """Passes as often, of ten times, as the policy's folder says; 3 where it says nothing."""

    asked: list[tuple[str, int]]

    def __init__(self, spec: EngineSpec) -> None:
        self._spec = spec

    def __enter__(self) -> Learnable:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def generate(self, requests: Any, seed: int) -> Iterator[Any]:
        """Yield answers whose luck hangs on seed, prompt and index."""
        skill = _skill(self._spec.policy)
        for request in requests:
            for index in request.indices:
                Learnable.asked.append((Path(self._spec.policy).name, index))
                luck = derive_seed(seed, request.prompt.id, index) % 10
                yield self._answer(request.prompt, index, luck < skill)

    def _answer(self, prompt: Prompt, index: int, passes: bool) -> Any:
        text = f"{'pass' if passes else 'fail'} {index}"
        return make_sample(prompt, index, text, policy=self._spec.label)


def _skill(policy: str) -> int:
    path = Path(policy) / "skill"
    return int(path.read_text()) if path.is_file() else START


class Imitator(FakeLearner):
    """Becomes as good as what it is shown: from 3, all wrong, to 9, all right."""

    interrupt_at = 0
    spoilt: str | None = None
    forgets = False

    def fit(
        self, examples: Sequence[TrainingExample], request: FitRequest, observer: Any
    ) -> FitReport:
        """Write the share of right answers among the examples."""
        if len(self.requests) + 1 == self.interrupt_at:
            self.interrupt_at = 0
            raise KeyboardInterrupt
        texts = [bytes(one.input_ids[one.completion_start :]).decode() for one in examples]
        report = super().fit(examples, request, observer)
        right = sum(text.startswith("pass") for text in texts)
        skill = START + 6 * right // len(texts)
        is_spoilt = self.spoilt is not None and request.meta.get("control") == self.spoilt
        (request.output / "skill").write_text("0" if is_spoilt or self.forgets else str(skill))
        return report


class FencedToo(FakeVerifier):
    """Judges references as well, which stand in a fence."""

    def verify(self, code: str) -> VerifyResult:
        """Judge by the first word of the program."""
        return super().verify(code.removeprefix("```cpp\n"))


class Tuner:
    """Stands in for fine-tuning: its model is one better than the start."""

    configs: list[Any]

    def __init__(self, config: Any, observer: Any) -> None:
        del observer
        self._config = config
        Tuner.configs.append(config)

    def train(self) -> dict[str, Any]:
        """Write the model."""
        folder = Path(self._config.output_dir) / "final_model"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "skill").write_text(str(START + 1))
        return {"final_model": str(folder)}


@pytest.fixture
def learner(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Imitator:
    """A learner, an engine and a verifier without torch; the working directory is empty."""
    made = Imitator()
    checkpoint = ModuleType("halo_forge.models.checkpoint")
    checkpoint.model_digest = lambda ref: f"digest of {Path(ref).name}"  # type: ignore[attr-defined]
    tuning = ModuleType("halo_forge.sft.trainer")
    tuning.SFTTrainer = Tuner  # type: ignore[attr-defined]
    for module in (checkpoint, tuning):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(raft_trainer, "_learner", lambda keeper: made)
    monkeypatch.setattr(Learnable, "asked", [], raising=False)
    monkeypatch.setattr(Tuner, "configs", [], raising=False)
    plug_in(monkeypatch, "verifiers", "fake", FencedToo)
    plug_in(monkeypatch, "engines", "learnable", Learnable)
    monkeypatch.chdir(tmp_path)
    for name, count in (("train", 12), ("heldout", 16)):
        rows = [
            {"prompt": f"{name} {n}", "reference": "pass", "language": "cpp"} for n in range(count)
        ]
        Path(f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return made


FLAGS = ["--cycles", "2", "--samples-per-prompt", "4", "-p", "train.jsonl", "--progress", "none"]
FLAGS += ["--eval-prompts", "heldout.jsonl", "--verifier", "fake", "--seeds", "2"]
FLAGS += ["--set", "generation.engine=learnable", "--set", "report_to=[]"]
ARMS = "verified,unverified,shuffled,sft"


def study(output: str, *more: str) -> int:
    """Run a study, as the command does."""
    return main(["raft", "study", "-o", output, "--arms", ARMS, *FLAGS, *more])


def _journal(path: Path) -> dict[str, Any]:
    return {record["id"]: record for record in read_records(path)}


@pytest.mark.usefixtures("learner")
def test_the_verifiers_part(capsys: pytest.CaptureFixture[str]) -> None:
    """What the verified arm has above a control, paired by prompt, over both seeds."""
    assert study("out", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found == json.loads(Path("out/study.json").read_text())
    passing = found["rates"]["pass"]
    arms = {one["arm"]: one for one in passing["arms"]}
    assert list(arms) == ARMS.split(",")
    assert 0.2 < passing["before"]["mean"] < 0.4
    assert arms["verified"]["gain"]["shown"]
    assert arms["verified"]["rate"]["mean"] == pytest.approx(0.9, abs=0.08)
    assert arms["verified"]["verified_above_it"] is None
    for control in ("unverified", "shuffled"):
        assert arms[control]["verified_above_it"]["low"] > 0.2
        assert arms[control]["gain"]["mean"] + arms[control]["verified_above_it"][
            "mean"
        ] == pytest.approx(arms["verified"]["gain"]["mean"])
        assert arms[control]["gain_by_seed"].keys() == {"0", "1"}
    assert 0 < arms["sft"]["gain"]["mean"] < 0.3
    assert "points are the verifier's (95 % interval +" in passing["sentence"]
    assert passing["sentence"].endswith(": 16 prompts, 2 seeds")

    assert study("out") == 0
    out = capsys.readouterr().out
    assert "Held-out full-pass rate: 16 prompts, 8 answers to each from 2 seeds" in out
    assert f"{passing['sentence']}." in out
    assert "compile rate" not in out  # the fake verifier's is the same: told once
    assert "By seed: full-pass rate, in points" in out
    sampled = {arm: one["tokens_sampled"] for arm, one in arms.items()}
    assert sampled["sft"] == 0
    assert sampled["verified"] == sum(
        len(record["token_ids"])
        for seed in (0, 1)
        for cycle in (1, 2)
        for record in read_records(RunDir(Path(f"out/seed_{seed}/verified")).samples_path(cycle))
    )


def test_every_run_says_what_it_is(learner: Imitator, capsys: pytest.CaptureFixture[str]) -> None:
    """Each arm is a run directory that names its control, with as many trained answers or fewer."""
    study("out", "--seeds", "1")
    kept: dict[str, int] = {}
    for arm in ("verified", "unverified", "shuffled"):
        run = RunDir(Path("out/seed_0") / arm)
        info = run.read_info()
        assert info is not None
        assert info["guarded"]["raft.control"] == ("none" if arm == "verified" else arm)
        kept[arm] = run.read_statistics()[1]["kept"]
    assert kept["unverified"] == kept["verified"] >= kept["shuffled"]
    assert len(learner.requests) == 3 * 2
    assert [config.seed for config in Tuner.configs] == [0]
    capsys.readouterr()
    assert main(["runs", "list", "out"]) == 0
    out = capsys.readouterr().out
    assert "fake (CONTROL unverified)" in out
    assert main(["runs", "show", "out/seed_0/shuffled"]) == 0
    assert capsys.readouterr().out.startswith("CONTROL shuffled: not a verified run")
    assert main(["runs", "show", "out/seed_0/verified"]) == 0
    assert "CONTROL" not in capsys.readouterr().out


def test_first_answers_are_sampled_once(learner: Imitator) -> None:
    """Before the first selection all arms of a seed are one run, and give the same answers."""
    study("out", "--seeds", "1")
    sampled = list(Learnable.asked)
    start = sum(policy == "smollm2" or ":" in policy for policy, _ in sampled)
    assert start == 16 * 4 + 12 * 4
    alone = ["raft", "train", "-o", "alone", "--control", "unverified", *FLAGS[:-6], *FLAGS[-4:]]
    assert main(alone) == 0
    ours, theirs = RunDir(Path("out/seed_0/unverified")), RunDir(Path("alone"))
    for cycle in (1, 2):
        for path in (RunDir.samples_path, RunDir.verified_path, RunDir.eval_path):
            assert _journal(path(ours, cycle)) == _journal(path(theirs, cycle))
    assert _journal(ours.eval_path(0)) == _journal(theirs.eval_path(0))
    del learner


def test_interrupted_it_goes_on(learner: Imitator) -> None:
    """The same command ends with the same findings; no training that is done is done again.

    Cycles that some arm has had more of are not its gain.
    """
    study("calm", "--seeds", "1")
    wanted = json.loads(Path("calm/study.json").read_text())
    learner.requests.clear()
    for at in (2, 5):
        learner.interrupt_at = at
        assert study("out", "--seeds", "1") == 130
    assert study("out", "--seeds", "1") == 0
    assert json.loads(Path("out/study.json").read_text()) == wanted
    assert len(learner.requests) == 6
    learner.forgets = True  # what comes after the cycles of the others
    assert study("out", "--seeds", "1", "--cycles", "3", "--arms", "verified,shuffled") == 0
    assert study("out", "--seeds", "1") == 0
    assert json.loads(Path("out/study.json").read_text()) == wanted
    learner.requests.clear()
    asked = len(Learnable.asked)
    assert study("out", "--seeds", "1") == 0
    assert (len(learner.requests), len(Learnable.asked)) == (0, asked)


def test_an_arm_that_ends_early_is_measured_there(
    learner: Imitator, capsys: pytest.CaptureFixture[str]
) -> None:
    """Too few answers to train on end an arm, not the study, and the table says so."""
    learner.spoilt = "shuffled"
    assert study("out", "--seeds", "1") == 0
    out = capsys.readouterr().out
    assert "Ended early, and measured there: shuffled, seed 0: cycle 2: 0 of 48 answers" in out
    found = json.loads(Path("out/study.json").read_text())
    assert list(found["ended_early"]) == ["shuffled, seed 0"]
    arms = {one["arm"]: one for one in found["rates"]["pass"]["arms"]}
    assert arms["shuffled"]["rate"]["mean"] == 0.0


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--arms", "verified"], "'verified' and one other at the least"),
        (["--arms", "unverified,shuffled"], "'verified' and one other at the least"),
        (["--set", "raft.control=shuffled"], "the arms of a study say it"),
        (["--sampling", "adaptive"], "generation.sampling = adaptive: tells a control"),
        (["--arms", "verified,random"], "arms"),
        (["--algorithm", "raft++"], "arm unverified: "),
        (["--arms", "verified,compile-only", "--reward-threshold", "0.7"], "arm compile-only: "),
        (["--set", "replay=run"], "a study samples its own answers"),
    ],
)
@pytest.mark.usefixtures("learner")
def test_what_cannot_be_compared_is_refused(
    flags: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything is run."""
    assert main(["raft", "study", "-o", "out", *FLAGS, *flags]) == 2
    assert said in capsys.readouterr().err
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("verified", "control", "said"),
    [
        ([4] * 12, [1] * 12, "75.0 points are the verifier's (95 % interval +"),
        ([1] * 12, [4] * 12, "with the verifier it is 75.0 points worse (95 % interval -"),
        ([2, 3] * 6, [3, 2] * 6, "beyond shuffled no part is shown to be the verifier's (95 %"),
        ([4] * 3, [1] * 3, "so few prompts show nothing)"),
        ([0] * 12, [0] * 12, "No gain is shown: +0.0 points of held-out full-pass rate, shuffled"),
    ],
)
def test_what_is_said_of_a_part(verified: list[int], control: list[int], said: str) -> None:
    """Shown, worse, not shown, too few to show, and no gain at all."""
    pooled = {"before training": measured([0] * len(verified))}
    pooled |= {"verified": measured(verified), "shuffled": measured(control)}
    arms: tuple[Arm, ...] = ("verified", "shuffled")
    results = [arm_result(arm, pooled, {0: 0.0}, 0) for arm in arms]
    assert said in study_sentence(Study([0], {"pass": results}, {}), "pass")


@pytest.mark.usefixtures("learner")
def test_other_settings_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """A study is not continued with other settings; held-out prompts and references are needed."""
    assert study("out", "--arms", "verified,shuffled", "--seeds", "1") == 0
    assert study("out", "--temperature", "0.9") == 2
    assert "generation.temperature: 0.7 then, 0.9 now" in capsys.readouterr().err
    Path("train.jsonl").write_text('{"prompt": "one"}\n{"prompt": "two"}\n')
    assert study("new") == 2
    assert "none of the 2 training prompts has one" in capsys.readouterr().err
    rows = [{"prompt": word, "reference": word, "language": "cpp"} for word in ("pass", "fail")]
    Path("train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert study("new") == 2
    err = capsys.readouterr().err
    assert "1 of 2 do not pass fake, first that of " in err
    assert not Path("new/references.jsonl").exists()
    assert main(["raft", "study", "-o", "new", "--verifier", "fake"]) == 2
    assert "give them with --eval-prompts" in capsys.readouterr().err


@pytest.mark.usefixtures("learner")
def test_dry_run_runs_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """It lists the runs and how far they are."""
    assert study("out", "--dry-run", "--json") == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["runs"][0] == {"run": "out/seed_0/verified", "done": 0, "cycles": 2}
    assert len(plan["runs"]) == 8
    assert not Path("out").exists()
