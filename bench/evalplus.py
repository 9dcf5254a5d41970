"""Does the wall between tests and program change a verdict? HumanEval+ and MBPP+ answer.

    python bench/evalplus.py --data FOLDER [--changes 3] [--limit N]

FOLDER holds HumanEvalPlus.jsonl.gz and MbppPlus.jsonl.gz as evalplus releases them. Every reference
solution must pass on the base and the plus inputs. Small changes of it are judged twice: by our
verifier, across the wall, and by Python itself, with test and program in one process. Prints each
disagreement, the counts, and CPU seconds for a verdict of either.
"""

from __future__ import annotations

import argparse
import gzip
import json
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from halo_forge.core.types import Message, Prompt, Reference, Sample
from halo_forge.rlvr.verifiers import HumanEvalVerifier
from halo_forge.rlvr.verifiers.batch import judge_all
from halo_forge.rlvr.verifiers.languages import LANGUAGES
from halo_forge.rlvr.verifiers.mutation import mutants
from halo_forge.sandbox import Job, Limits, Sandbox, Status, Step, open_sandbox, python_executable
from halo_forge.utils.text import fenced

__all__ = ["main"]

_SECONDS = 20.0
_FILES = ("HumanEvalPlus.jsonl.gz", "MbppPlus.jsonl.gz")
# Tasks whose output evalplus compares as a set, or by whether there is one (evalplus 0.3.1,
# evalplus/eval/_special_oracle.py).
_SETS = [
    "Diff",
    "common_in_nested_lists",
    "extract_singly",
    "find_char_long",
    "find_dissimilar",
    "intersection_array",
    "larg_nnum",
    "similar_elements",
]
_TRUTHS = ["check_str", "text_match_three", "text_starta_endb"]

_TESTS = """\
import copy, json, math
_space = {{}}
exec({reference!r}, _space)
_reference = _space[{entry!r}]
_inputs = json.loads({inputs!r})

def _near(a, b, atol):
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(_near(x, y, atol) for x, y in zip(a, b))
    if isinstance(a, bool) or isinstance(b, bool) or not isinstance(b, (int, float)):
        return a == b
    return isinstance(a, (int, float)) and math.isclose(a, b, rel_tol=1e-7, abs_tol=atol)

def _floats(x):
    return isinstance(x, float) or (isinstance(x, (list, tuple)) and x and all(map(_floats, x)))

def _same(got, want, given):
    if {entry!r} == "find_zero":
        return abs(sum(c * math.pow(got, i) for i, c in enumerate(given[0]))) <= 1e-4
    if {entry!r} in {sets!r}:
        return set(got) == set(want)
    if {entry!r} in {truths!r}:
        return got == want if isinstance(want, bool) else (got is None) == (want is None)
    atol = {atol!r} or (1e-6 if _floats(want) else 0)
    return got == want or (atol != 0 and _near(got, want, atol))

def check(candidate):
    for given in _inputs:
        try:
            want = _reference(*copy.deepcopy(given))
        except Exception:
            continue
        assert _same(candidate(*copy.deepcopy(given)), want, given), given
"""
_TOGETHER = """\
import sys
sys.set_int_max_str_digits(0)
tests = {{}}
exec(compile({tests!r}, "tests", "exec"), tests)
program = {{"__name__": "solution"}}
try:
    exec(compile({program!r}, "program", "exec"), program)
    tests["check"](program[{entry!r}])
except BaseException as error:
    print("FAIL", type(error).__name__)
else:
    print("PASS")
"""


@dataclass(frozen=True)
class Case:
    """A program and what it is to be judged by."""

    sample: Sample
    change: str
    program: str


def main() -> None:
    """Judge every program both ways and compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--changes", type=int, default=3)
    parser.add_argument("--limit", type=int)
    options = parser.parse_args()
    cases = [case for name in _FILES for case in _cases(options.data / name, options)]
    with open_sandbox() as sandbox:
        ours, seconds = _ours(sandbox, cases)
        start = time.perf_counter()
        theirs = {case.sample.id: _theirs(sandbox, case) for case in cases}
        alone = time.perf_counter() - start
    counts = Counter(
        (case.change == "", ours[case.sample.id], theirs[case.sample.id]) for case in cases
    )
    for case in cases:
        mine, other = ours[case.sample.id], theirs[case.sample.id]
        if mine != other or (not case.change and not mine):
            print(f"{case.sample.id} [{case.change or 'reference'}]: ours {mine}, Python {other}")
    for (reference, mine, other), count in sorted(counts.items()):
        kind = "references" if reference else "changed programs"
        print(f"{count:5} {kind}: ours {_word(mine)}, Python {_word(other)}")
    print(f"wall seconds: ours {seconds:.1f}, one process each, one at a time {alone:.1f}")


def _word(passed: bool) -> str:
    return "pass" if passed else "fail"


def _cases(path: Path, options: argparse.Namespace) -> Iterator[Case]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file][: options.limit]
    for row in rows:
        reference = _reference(row)
        prompt = Prompt(
            row["task_id"],
            (Message("user", row["prompt"]),),
            Reference(test_code=_tests(row, reference), entry_point=row["entry_point"]),
            "python",
        )
        made = mutants(reference, LANGUAGES["python"], limit=options.changes)
        programs = [("", reference), *((f"line {m.line}: {m.change}", m.code) for m in made)]
        for number, (change, program) in enumerate(programs):
            yield Case(Sample(prompt, number, fenced(program, "python")), change, program)


def _reference(row: dict[str, Any]) -> str:
    solution = row["canonical_solution"]
    return solution if row["task_id"].startswith("Mbpp") else row["prompt"] + solution


def _tests(row: dict[str, Any], reference: str) -> str:
    return _TESTS.format(
        reference=reference,
        entry=row["entry_point"],
        inputs=json.dumps([*row["base_input"], *row["plus_input"]]),
        sets=_SETS,
        truths=_TRUTHS,
        atol=row["atol"],
    )


def _ours(sandbox: Sandbox, cases: list[Case]) -> tuple[dict[str, bool], float]:
    verifier = HumanEvalVerifier(timeout=_SECONDS, memory_limit_mb=1024, sandbox=sandbox)
    verifier.cache = None
    start = time.perf_counter()
    passed = {}
    for verdict in judge_all(verifier, [case.sample for case in cases]):
        if verdict.fault is not None:
            print(f"{verdict.sample.id}: fault: {verdict.fault}")
        passed[verdict.sample.id] = verdict.result is not None and verdict.result.success
    return passed, time.perf_counter() - start


def _theirs(sandbox: Sandbox, case: Case) -> bool:
    reference = case.sample.prompt.reference
    script = _TOGETHER.format(
        tests=reference.test_code, program=case.program, entry=reference.entry_point
    )
    limits = Limits(cpu=2 * _SECONDS, memory=1 << 30)
    step = Step((python_executable(), "-B", "-s", "main.py"), limits=limits)
    outcome = sandbox.run(Job({"main.py": script.encode()}, None, (step,))).runs[0]
    return outcome.status is Status.OK and outcome.stdout.endswith(b"PASS\n")


if __name__ == "__main__":
    main()
