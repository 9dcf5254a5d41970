"""Controls, curriculum, shaping and stopping in the loop: what they do, and after a kill."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from halo_forge.core.types import VerifyResult
from halo_forge.rlvr.history import tallies
from halo_forge.store.records import read_records
from tests.fakes import FakeVerifier, make_prompt, write_script
from tests.unit.rlvr.test_cycle import Stage, _Killed, _Nth, _timeless

CONTROLS = ("unverified", "shuffled", "compile-only")
GOOD = {"*": ["pass a", "pass b"]}
BAD = {"*": ["fail a", "fail b"]}
MIXED = {"*": ["pass a", "fail b"]}
MANY = tuple(make_prompt(f"h{n}") for n in range(8))


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """An empty run directory."""
    return Stage(tmp_path / "run")


def _journal(path: Path) -> dict[str, Any]:
    return {record["id"]: record for record in read_records(path)}


@pytest.mark.parametrize("control", CONTROLS)
def test_controls_have_the_same_answers_and_say_what_they_are(
    stage: Stage, tmp_path: Path, control: str
) -> None:
    """Cycle 1 samples and judges what the verified run does; every trace names the control."""
    verified = Stage(tmp_path / "verified")
    verified.go(cycles=1)
    stage.go(cycles=1, control=control)
    for name in ("samples_path", "verified_path"):
        ours, theirs = (_journal(getattr(one.run, name)(1)) for one in (stage, verified))
        assert ours == theirs
    ours, theirs = (one.run.read_statistics() for one in (stage, verified))
    for key in ("success_rate", "compile_rate", "reward_distribution", "total_samples"):
        assert ours[1][key] == theirs[1][key]
    assert ours[1]["control"] == control
    assert "control" not in theirs[1]
    assert stage.learner.requests[0].meta["control"] == control
    assert stage.diary.messages[0].startswith(f"CONTROL {control}, not a verified run")


def test_training_below_the_threshold_is_said(stage: Stage) -> None:
    """Only a control does it, and the record and a message count it."""
    stage.go(cycles=1, control="unverified")
    record = stage.run.read_statistics()[1]
    kept = [example.id for example in stage.learner.examples[0]]
    rewards = [_journal(stage.run.verified_path(1))[name]["reward"] for name in kept]
    below = sum(reward < 0.5 for reward in rewards)
    assert record["kept_below_threshold"] == below > 0
    assert any("reward below 0.5" in text for text in stage.diary.messages)


def test_a_gap_to_hidden_tests_is_an_alarm(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers that pass what rewards them and fail what is hidden: noted, tracked, and said."""
    verify = FakeVerifier.verify

    def gamed(self: FakeVerifier, code: str) -> VerifyResult:
        result = verify(self, code)
        return replace(result, metadata=result.metadata and {**result.metadata, "hidden_passed": 0})

    monkeypatch.setattr(FakeVerifier, "verify", gamed)
    stage.heldout = MANY
    _by_policy(stage, stage.run.path.parent, {"start-model": MIXED, "cycle_1_final": GOOD})
    stage.go(cycles=1)
    before, after = (record["heldout"] for record in stage.run.read_statistics())
    assert (before["hidden_gap"]["mean"], after["hidden_gap"]["mean"]) == (0.5, 1.0)
    assert after["hidden_pass_rate"]["mean"] == 0.0
    assert after["hidden_gap_alarm"]
    assert any("WARNING: held-out after cycle 1: answers pass" in m for m in stage.diary.messages)
    assert any(line.get("eval/hidden_gap") == 1.0 for line in stage.metrics())


def _by_policy(stage: Stage, folder: Path, answers: dict[str, dict[str, list[str]]]) -> None:
    stage.heldout = MANY
    for policy, texts in answers.items():
        stage.scripts[policy] = write_script(folder / f"{policy}.jsonl", texts)


FALLING = {
    "start-model": MIXED,
    "cycle_1_final": {**GOOD, "t1": ["pass a"]},
    "cycle_2_final": {**BAD, "t1": ["pass a"]},
}


@pytest.mark.parametrize(
    ("action", "started"),
    [("stop", None), ("rollback", "cycle_1_final"), ("continue", "cycle_2_final")],
)
def test_degradation(stage: Stage, tmp_path: Path, action: str, started: str | None) -> None:
    """After a fall the run stops, goes on from the best cycle, or goes on, and notes which."""
    _by_policy(stage, tmp_path, FALLING)
    stage.go(cycles=3, steering={"stopping": {"on_degradation": action}})
    records = stage.run.read_statistics()
    assert records[1]["decision"] == {"action": "continue", "best": 1, "why": "", "fallen": {}}
    assert records[2]["decision"]["action"] == action
    assert records[2]["decision"]["best"] == 1
    assert "held-out pass rate fell by 100.0 points since cycle 1" in records[2]["decision"]["why"]
    assert stage.run.best_cycle == 1
    trained = [line for line in stage.log if line.startswith("fit cycle_3")]
    assert trained == ([f"fit cycle_3_final from {started}"] if started else [])
    if action == "rollback":
        assert records[3]["start"] == 1
        assert {r["policy"] for r in read_records(stage.run.samples_path(3))} == {"cycle_1"}
    again = stage.run.statistics_path.read_bytes()
    stage.go(cycles=3, steering={"stopping": {"on_degradation": action}})
    assert stage.run.statistics_path.read_bytes() == again


def test_plateau(stage: Stage) -> None:
    """Cycles without a better rate end the run; 0 never does, and goes on with what ended."""
    stage.go(cycles=4, steering={"stopping": {"plateau": 2}})  # every policy says the same
    assert [record["cycle"] for record in stage.run.read_statistics()] == [0, 1, 2]
    assert "no better held-out pass rate in 2 cycles since the start" in stage.diary.messages[-1]
    stage.go(cycles=4, steering={"stopping": {"plateau": 0}})
    assert [record["cycle"] for record in stage.run.read_statistics()] == [0, 1, 2, 3, 4]


def test_retired_prompts_and_those_tried_again(tmp_path: Path) -> None:
    """t1 passes in half of its answers and retires at that; t3 fails and rests a cycle."""
    answers = {"t1": ["pass a", "fail b"], "t2": ["pass a", *["fail b"] * 3], "t3": ["fail a"]}
    stage = Stage(tmp_path, answers)
    curriculum = {"retire_at": 0.5, "retry_after": 1}
    stage.go(cycles=4, heldout=False, steering={"curriculum": curriculum})
    found = tallies(stage.run, range(1, 5))
    assert ["".join(sorted(one)) for one in found.values()] == ["t1t2t3", "t2", "t2t3", "t2"]


def test_all_retired_ends_the_run(tmp_path: Path) -> None:
    """Nothing is left to learn; the run ends and says so."""
    stage = Stage(tmp_path, GOOD)
    stage.go(cycles=3, steering={"curriculum": {"retire_at": 1.0}, "stopping": {"plateau": 0}})
    assert [record["cycle"] for record in stage.run.read_statistics()] == [0, 1]
    assert "nothing is left for cycle 2" in stage.diary.messages[-1]
    assert "nothing is left for cycle 2" in stage.run.read_statistics()[1]["ended"]


STEERED: list[dict[str, Any]] = [
    {"control": "unverified"},
    {"control": "shuffled"},
    {"steering": {"curriculum": {"kind": "adaptive", "share": 0.4, "up": 0.3, "retry_after": 1}}},
    {"steering": {"curriculum": {"kind": "progressive", "share": 0.4, "retire_at": 0.6}}},
    {"steering": {"shaping": {"kind": "adaptive"}}},
    {"steering": {"shaping": {"kind": "annealing"}}},
    {"steering": {"stopping": {"on_degradation": "rollback"}}},
]


@pytest.mark.parametrize("how", STEERED, ids=str)
@pytest.mark.parametrize(
    ("place", "nth"), [("before_sample", 30), ("judging", 9), ("before_fit", 2), ("after_fit", 2)]
)
def test_killed_it_decides_the_same(
    tmp_path: Path, how: dict[str, Any], place: str, nth: int
) -> None:
    """A run killed on its way ends with the checkpoints and decisions of a calm one."""
    calm, struck = Stage(tmp_path / "calm"), Stage(tmp_path / "struck")
    for one in (calm, struck):
        _by_policy(one, tmp_path, FALLING)
        one.scripts.pop("start-model")
    calm.go(cycles=3, **how)
    setattr(struck, place, _Nth(nth))
    with pytest.raises(_Killed):
        struck.go(cycles=3, **how)
    struck.go(cycles=3, **how)
    assert struck.learner.examples == calm.learner.examples
    assert [r.policy.rpartition("/")[2] for r in struck.learner.requests] == [
        r.policy.rpartition("/")[2] for r in calm.learner.requests
    ]
    found, wanted = (_timeless(one.run.read_statistics()) for one in (struck, calm))
    for ours, theirs in zip(found, wanted, strict=True):
        assert ours == {name: theirs[name] for name in ours}
        assert theirs.keys() - ours.keys() <= {
            "steps", "loss", "grad_norm", "training_entropy", "training_tokens"
        }  # fmt: skip
