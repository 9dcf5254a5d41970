"""Does the wall between tests and program change a verdict? HumanEval+ and MBPP+ answer.

    python bench/evalplus.py --data FOLDER [--changes 3] [--limit N]

FOLDER holds HumanEvalPlus.jsonl.gz and MbppPlus.jsonl.gz as evalplus releases them. Every reference
solution must pass on the base and the plus inputs. Small changes of it are judged twice: by our
verifier, across the wall, and by Python itself, with test and program in one process. Prints each
disagreement, the counts, and CPU seconds for a verdict of either.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from halo_forge.core.types import Message, Prompt, Reference, Sample
from halo_forge.data.evalplus import tests_of
from halo_forge.rlvr.verifiers import HumanEvalVerifier
from halo_forge.rlvr.verifiers.batch import judge_all
from halo_forge.rlvr.verifiers.languages import LANGUAGES
from halo_forge.rlvr.verifiers.mutation import mutants
from halo_forge.sandbox import Job, Limits, Sandbox, Status, Step, open_sandbox, python_executable
from halo_forge.utils.jsonl import read_jsonl
from halo_forge.utils.text import fenced

__all__ = ["main"]

_SECONDS = 20.0
_FILES = ("HumanEvalPlus.jsonl.gz", "MbppPlus.jsonl.gz")
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
    rows = (row for _, row in read_jsonl(path, exact=True) if isinstance(row, dict))
    for row in itertools.islice(rows, options.limit):
        reference = _reference(row)
        prompt = Prompt(
            row["task_id"],
            (Message("user", row["prompt"]),),
            Reference(test_code=tests_of(row, reference), entry_point=row["entry_point"]),
            "python",
        )
        made = mutants(reference, LANGUAGES["python"], limit=options.changes)
        programs = [("", reference), *((f"line {m.line}: {m.change}", m.code) for m in made)]
        for number, (change, program) in enumerate(programs):
            yield Case(Sample(prompt, number, fenced(program, "python")), change, program)


def _reference(row: dict[str, Any]) -> str:
    solution = row["canonical_solution"]
    return solution if row["task_id"].startswith("Mbpp") else row["prompt"] + solution


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
