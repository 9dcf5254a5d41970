"""Comparisons are paired by problem, and refused where something else than the model differs."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from halo_forge.benchmark.compare import Comparison, Moved, compare
from halo_forge.benchmark.measured import Measured, read_measured
from halo_forge.benchmark.pass_at_k import pass_at_k
from halo_forge.benchmark.runner import run_benchmark
from halo_forge.cli import main
from halo_forge.config.benchmark import BenchmarkConfig
from halo_forge.core.errors import StoreFault, UserError
from halo_forge.report.comparison import moved_lines, sentence
from halo_forge.store.codec import verdict_record
from halo_forge.store.records import Journal
from halo_forge.store.run_dir import RunDir
from tests.fakes import Diary, FakeVerifier, Offline, make_verdict, plug_in, write_script

NAMES = [f"task{n}" for n in range(8)]


@pytest.fixture(autouse=True)
def _fakes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Benchmarks need no torch; the working directory is empty."""
    checkpoint = ModuleType("halo_forge.models.checkpoint")
    checkpoint.model_digest = lambda ref: f"digest of {ref}"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, checkpoint.__name__, checkpoint)
    plug_in(monkeypatch, "verifiers", "fake", FakeVerifier)
    plug_in(monkeypatch, "engines", "offline", Offline)
    monkeypatch.chdir(tmp_path)


def bench(name: str, passed: list[int], ask: str = "Do", **changes: Any) -> Path:
    """Run a benchmark in which `passed[i]` of 4 answers to problem i pass."""
    rows = [{"id": one, "prompt": f"{ask} {one}."} for one in NAMES[: len(passed)]]
    Path("prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    answers = {
        one: ["pass"] * count + ["fail"] * (4 - count)
        for one, count in zip(NAMES, passed, strict=False)
    }
    values = {
        "model": {"name": f"model-{name}"},
        "output_dir": name,
        "prompts": "prompts.jsonl",
        "samples": 4,
        "k": (1,),
        "generation": {"engine": "offline", "script": str(write_script(Path("script"), answers))},
        "verifier": {"type": "fake"},
        **changes,
    }
    run_benchmark(BenchmarkConfig.model_validate(values), Diary())
    return Path(name)


def measured(counts: list[int], n: int = 4, **changes: Any) -> Measured:
    """Return a measurement without a folder."""
    named = {f"p{at:02}": count for at, count in enumerate(counts)}
    made = Measured("one", "a model", n, named, {"prompts": "x", "verifier.type": "fake"}, {})
    return replace(made, **changes)


def test_paired_by_problem(capsys: pytest.CaptureFixture[str]) -> None:
    """Mean difference, problems gained and lost, and the sentence, from what is on disk."""
    bench("base", [0, 1, 2, 0, 4, 0, 3, 1])
    bench("more", [2, 1, 4, 1, 4, 3, 4, 0])

    assert main(["benchmark", "compare", "base", "more/result.json", "--json"]) == 0

    [found] = json.loads(capsys.readouterr().out)
    assert found["difference"]["mean"] == pytest.approx((2 + 2 + 1 + 3 + 1 - 1) / 4 / 8)
    assert found["difference"]["units"] == 8
    assert (found["gained"], found["lost"]) == (["task0", "task3", "task5"], ["task7"])
    assert {one["problem"]: one["after"] for one in found["moved"]}["task2"] == 4
    assert (found["baseline_model"], found["other_model"]) == ("model-base", "model-more")
    assert found["settings_that_differ"] == {
        "model.content": ["digest of model-base", "digest of model-more"]
    }

    assert main(["benchmark", "compare", "base", "more", "base"]) == 0

    out = capsys.readouterr().out
    assert "pass@1: 8 problems, 4 answers to each" in out
    assert f"more: {found['sentence']}." in out
    assert "  task5 0/4 -> 3/4\n" in out
    assert "Lost (some solved it, now none): 1\n  task7 1/4 -> 0/4\n" in out
    assert "base: +0.0 points" in out
    assert "Better on 5 problems, worse on 1." in out


def test_other_rate_and_k(capsys: pytest.CaptureFixture[str]) -> None:
    """pass@k is computed from the same answers; k above their number is refused."""
    bench("base", [1, 0, 2])
    bench("more", [2, 0, 2])

    assert main(["benchmark", "compare", "base", "more", "--k", "2", "--json"]) == 0
    [found] = json.loads(capsys.readouterr().out)
    assert found["rate"] == "pass@2"
    expected = (pass_at_k(4, 2, 2) - pass_at_k(4, 1, 2)) / 3
    assert found["difference"]["mean"] == pytest.approx(expected)

    assert main(["benchmark", "compare", "base", "more", "--rate", "compile"]) == 0
    assert "compile@1" in capsys.readouterr().out

    assert main(["benchmark", "compare", "base", "more", "--k", "5"]) == 2
    assert "k = 5 needs at least 5 samples a problem; these have 4" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"ask": "Make"}, "other prompts (4 and 4 problems, of the same ids: their text"),
        ({"passed": [1, 1, 1]}, "other prompts (4 and 3 problems, 3 in both)"),
        ({"samples": 3}, "4 and 3 samples a problem"),
        ({"verifier": {"type": "fake", "options": {"bonus": 0.5}}}, "verifier.fingerprint: "),
        ({"verifier": {"type": "fake", "timeout": 3}}, "verifier.timeout: 30.0 and 3.0"),
    ],
)
def test_what_is_not_comparable(
    changes: dict[str, Any], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another reason than the model is named, and no figure is given."""
    bench("base", [1, 1, 1, 1])
    bench("other", **{"passed": [2, 2, 2, 2], **changes})
    assert main(["benchmark", "compare", "base", "other"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert f"base and other: {said}" in err


def test_what_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    """One result, no such path, an unfinished benchmark, a folder of something else."""
    base = bench("base", [1, 1])
    assert main(["benchmark", "compare", "base"]) == 2
    assert "the baseline first" in capsys.readouterr().err
    with pytest.raises(UserError, match="no such file"):
        read_measured(Path("nowhere"))
    Path("empty").mkdir()
    with pytest.raises(UserError, match=r"there is no run\.json beside it"):
        read_measured(Path("empty"))
    with pytest.raises(UserError, match="neither a finished benchmark nor"):
        read_measured(base / "config.yaml")
    (base / "result.json").unlink()
    with pytest.raises(UserError, match="this benchmark is not finished"):
        read_measured(base)


def test_lost_and_damaged_answers_are_noticed() -> None:
    """A figure is never made of the answers that happen to be left."""
    path = bench("base", [1, 1]) / "samples.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-1]))
    with pytest.raises(StoreFault, match="holds 7 answers, 8 were judged"):
        read_measured(Path("base"))
    path.write_bytes(b"".join([*lines[:3], b'{"id": "x"}\n', *lines[3:]]))
    with pytest.raises(StoreFault, match=r"samples\.jsonl:4: not a judged sample \(prompt_id: "):
        read_measured(Path("base"))


def test_evaluations_of_a_run() -> None:
    """A run stands for its last held-out evaluation, and each of them can be named."""
    run = RunDir(Path("run"))
    guarded = {
        "eval_prompts.content": "digest",
        "prompts.content": "of training",
        "evaluation.samples_per_prompt": 2,
        "verifier.fingerprint": "fake",
    }
    run.claim(guarded, {}, "")
    for cycle, passes in enumerate([1, 3]):
        with Journal(run.eval_path(cycle), lambda record: str(record["id"])) as journal:
            for at in range(4):
                verdict = make_verdict(f"p{at // 2}", at % 2, 1.0 if at < passes else 0.5)
                assert verdict.result is not None
                journal.append(verdict_record(verdict.sample, verdict.result))
        run.update_statistics(cycle, {"heldout": {"samples": 4}})

    last, first = read_measured(Path("run")), read_measured(run.eval_path(0))
    assert (last.counts, first.counts) == ({"p0": 2, "p1": 1}, {"p0": 1, "p1": 0})
    assert last.conditions == {"prompts": "digest", "verifier.fingerprint": "fake"}
    assert compare(first, last).change.difference.mean == 0.5
    with pytest.raises(UserError, match="neither a finished benchmark nor"):
        read_measured(run.config_path)
    assert last.settings == {"prompts.content": "of training"}  # may differ, and is named


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_mean_difference_and_mirror(data: st.DataObject) -> None:
    """It is the difference of the means of pass@k, and the other way round its negative."""
    n = data.draw(st.integers(1, 8))
    pairs = data.draw(st.lists(st.tuples(*[st.integers(0, n)] * 2), min_size=1, max_size=12))
    k = data.draw(st.integers(1, n))
    old, new = (measured([pair[side] for pair in pairs], n) for side in (0, 1))
    there, back = compare(old, new, k=k), compare(new, old, k=k)
    expected = sum(pass_at_k(n, b, k) - pass_at_k(n, a, k) for a, b in pairs) / len(pairs)
    assert there.change.difference.mean == pytest.approx(expected)
    assert back.change.difference.mean == pytest.approx(-expected)
    assert there.is_shown == back.is_shown
    mirrored = [Moved(one.problem, one.after, one.before) for one in back.moved]
    assert [*there.moved] == mirrored
    assert {one.problem for one in there.gained} == {one.problem for one in back.lost}
    assert sum(a != b for a, b in pairs) == len(there.moved)


def test_compare_refuses_by_itself() -> None:
    """Callers of the function need not remember to ask first."""
    with pytest.raises(UserError, match="4 and 3 samples a problem"):
        compare(measured([1, 2]), measured([1, 2], 3))


def _sentence(old: list[int], new: list[int]) -> tuple[Comparison, str]:
    found = compare(measured(old), measured(new))
    return found, sentence(found)


def test_sentences() -> None:
    """A sentence says what was found, what it shows, and what it could not have shown."""
    found, said = _sentence([0] * 8 + [2] * 32, [2] * 8 + [2] * 30 + [1] * 2)
    assert found.is_shown
    assert said.startswith("+8.8 points, 95 % interval ")
    assert ", 40 problems; 40 problems cannot show less than 6." in said

    found, said = _sentence([0, 1] * 8, [1, 0] * 8)
    assert not found.is_shown
    assert said.startswith("+0.0 points")
    assert ": no difference is shown; 16 problems cannot show less than 12.5 points" in said

    found, said = _sentence([0] * 5, [4] * 5)
    assert not found.is_shown
    assert said.endswith("5 problems cannot show a difference, whatever it is: 6 are the fewest")


def test_long_lists_are_cut_and_said_so() -> None:
    """Twenty are named to a person."""
    lines = moved_lines(compare(measured([0] * 25), measured([1] * 25)))
    assert lines[1] == "Gained (none solved it, now some): 25"
    assert lines[-1] == "  and 5 more (--json names all)"
