"""Judged answers are read in a stable order, found by what people look for, and paged."""

from __future__ import annotations

from pathlib import Path

import pytest

from halo_forge.core.errors import StoreFault
from halo_forge.core.types import Sample, Verdict, VerifyResult
from halo_forge.report.samples import (
    Answer,
    Wanted,
    best,
    diagnostics,
    outcome,
    program,
    read_answers,
    sample_document,
    select_answers,
    worst,
)
from halo_forge.rlvr.statistics import error_class
from tests.fakes import make_prompt, make_sample, make_verdict
from tests.run_directory import make_run

EASY = make_prompt("easy", "Add two numbers.", language="python")
HARD = make_prompt("hard", "Sort the Lines.")
FAILED = {"stage": "compile", "diagnostic": "syntax", "language": "python"}


def _cycle(*rewards: float) -> list[Verdict]:
    """Return answers to EASY, all but the last, and one to HARD, written down last one first."""
    *easy, hard = rewards
    verdicts = [make_verdict(EASY, i, reward, metadata=FAILED) for i, reward in enumerate(easy)]
    return [make_verdict(HARD, 0, hard, "```py\nx = 1\n```"), *reversed(verdicts)]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Two cycles of three answers, and held-out answers before them."""
    training = {1: _cycle(1.0, 0.0, 0.5), 2: _cycle(1.0, 1.0, 0.0)}
    return make_run(tmp_path / "run", training, {0: [make_verdict("other", 0, 1.0)]})


def _ids(answers: list[Answer]) -> list[str]:
    return [f"{answer.cycle} {answer.id}" for answer in answers]


def test_order_is_that_of_cycles_prompts_and_indices(run: Path) -> None:
    """Not the order in which verdicts came in; so a page means the same at every call."""
    assert _ids(list(read_answers(run, "training"))) == [
        *("1 hard#0", "1 easy#0", "1 easy#1"),
        *("2 hard#0", "2 easy#0", "2 easy#1"),
    ]
    assert _ids(list(read_answers(run, "heldout"))) == ["0 other#0"]
    assert _ids(list(read_answers(run, "training", [2, 9])))[0] == "2 hard#0"


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (Wanted(), 6),
        (Wanted(cycles=(2,)), 3),
        (Wanted(prompt="easy"), 4),
        (Wanted(prompt="sort the l"), 2),
        (Wanted(text="X = 1"), 2),
        (Wanted(outcome="pass"), 3),
        (Wanted(outcome="compiles"), 1),
        (Wanted(outcome="fails", prompt="hard"), 1),
        (Wanted(error="syntax"), 1),
        (Wanted(error="synt"), 0),
    ],
)
def test_filters(run: Path, wanted: Wanted, found: int) -> None:
    """Each filter takes what it says; together they narrow."""
    assert len(select_answers(read_answers(run, "training"), wanted, 0, 99)[0]) == found


def test_pages(run: Path) -> None:
    """Pages follow on one another, and the total is that of all pages."""
    everything = list(read_answers(run, "training"))
    pages = [select_answers(everything, Wanted(), offset, 4) for offset in (0, 4, 8)]
    assert [total for _, total in pages] == [6, 6, 6]
    assert [answer for page, _ in pages for answer in page] == everything


def test_a_torn_last_line_is_passed_over(run: Path) -> None:
    """A run that is being written can be looked at."""
    path = run / "cycle_2_verified.jsonl"
    path.write_bytes(path.read_bytes() + b'{"id": "easy#2", "rew')
    assert len(list(read_answers(run, "training"))) == 6


@pytest.mark.parametrize("line", ["{}", '{"id": 1}', "x", '{"id": "a", "reward": 7}'])
def test_damage_is_named(run: Path, line: str) -> None:
    """What is no judged sample is said with its place."""
    (run / "cycle_1_verified.jsonl").write_text(f"{line}\n")
    with pytest.raises(StoreFault, match=r"cycle_1_verified\.jsonl:1: "):
        list(read_answers(run, "training"))


def test_reward_out_of_range_is_damage(run: Path) -> None:
    """It is not taken for a bug of ours."""
    path = run / "cycle_1_verified.jsonl"
    path.write_text(path.read_text().replace('"reward":0.5', '"reward":5.5'))
    with pytest.raises(StoreFault, match="reward: "):
        list(read_answers(run, "training"))


def test_pictures_that_are_gone_are_not_needed(tmp_path: Path) -> None:
    """A run can be looked at on another machine, where the pictures of its questions are not."""
    asked = make_prompt("seen", "What is it?", images=("/nowhere/picture.png",))
    path = make_run(tmp_path / "run", {1: [make_verdict(asked, 0, 1.0)]})
    (answer,) = read_answers(path, "training")
    assert answer.prompt is not None
    assert answer.prompt.text == "What is it?"


def test_without_prompts_file(run: Path) -> None:
    """Answers can be read without the prompts, which are then unknown."""
    (run / "prompts.jsonl").unlink()
    assert {answer.prompt for answer in read_answers(run, "training")} == {None}


@pytest.mark.parametrize(
    ("metadata", "success", "name"),
    [
        ({"diagnostic": "syntax", "stage": "compile"}, False, "syntax"),
        ({"limits": ["cpu_time"], "stage": "run"}, False, "cpu_time"),
        ({"limits": [], "stage": "run"}, False, "run"),
        ({}, False, "other"),
        ({"stage": "run", "limits": ["cpu_time"]}, True, None),
    ],
)
def test_error_class(metadata: dict[str, object], success: bool, name: str | None) -> None:
    """The diagnostic's class, else the limit, else the stage."""
    assert error_class(VerifyResult(success, float(success), metadata=metadata)) == name


def test_outcomes() -> None:
    """Success by the verifier's word, else by the ladder."""
    results = [VerifyResult(True, 0.6), *(VerifyResult(False, r) for r in (0.7, 0.3, 0.1))]
    assert [outcome(result) for result in results] == ["pass", "compiles", "compiles", "fails"]


def test_diagnostics_are_not_said_twice() -> None:
    """An error that the details hold already is left out."""
    assert diagnostics(VerifyResult(False, 0, "failed: x", "x")) == ["failed: x"]
    assert diagnostics(VerifyResult(False, 0, "failed", "x\n")) == ["failed", "x"]
    assert diagnostics(VerifyResult(True, 1)) == []


def test_code_and_document(run: Path) -> None:
    """The code is what stands in the answer's fence; the document has it beside the answer."""
    answer = next(read_answers(run, "training"))
    assert program(answer) == "x = 1\n"
    document = sample_document(answer)
    assert (document["code"], document["completion"]) == ("x = 1\n", "```py\nx = 1\n```")
    assert (document["cycle"], document["kind"], document["outcome"]) == (1, "training", "compiles")


def _answer(prompt: str, index: int, reward: float) -> Answer:
    sample: Sample = make_sample(prompt, index)
    result = VerifyResult(reward == 1, reward)
    return Answer(
        "training", 1, sample.id, prompt, index, sample.prompt, "x", "stop", "start", result
    )


def test_best_and_worst() -> None:
    """One a prompt; the best of hard prompts and the failures on easy ones come first."""
    answers = [
        *(_answer("easy", i, r) for i, r in enumerate((1, 1, 1, 0))),
        *(_answer("hard", i, r) for i, r in enumerate((0, 0, 1, 0.5))),
        *(_answer("none", i, 0.5) for i in range(4)),
    ]
    assert [answer.id for answer in best(answers, 5)] == ["hard#2", "easy#0", "none#0"]
    assert [answer.id for answer in worst(answers, 5)] == ["easy#3", "hard#0", "none#0"]
    assert len(best(answers, 1)) == len(worst(answers, 1)) == 1
