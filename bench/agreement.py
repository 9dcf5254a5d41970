"""Do our verdicts on HumanEval+ and MBPP+ agree with those of evalplus itself?

    pip download --no-deps evalplus==0.3.1 -d wheels
    pip install tree-sitter-python==0.25.0
    halo-forge benchmark eval -b mbpp_plus --source FOLDER/MbppPlus.jsonl.gz ... -o answers/NAME
    python bench/agreement.py --data FOLDER --wheel wheels/evalplus-0.3.1-py3-none-any.whl \
        --answers answers/* --output results/agreement [--changes 1] [--seconds 240] [--only NAME]

FOLDER holds HumanEvalPlus.jsonl.gz and MbppPlus.jsonl.gz as evalplus releases them. Judged are
every reference solution, small changes of it, and the answers in the folders of benchmarks or in
the journals of runs (`cycle_N_eval.jsonl`), which come first. The other judge is evalplus's own
code out of its wheel: `untrusted_check` on the results that `trusted_exec` finds, after `sanitize`
for answers of a model, with its own limits of time. It runs in our sandbox too, since it confines
nothing. What was judged is kept in the output folder, and the same command goes on where it ended;
`--seconds` ends it early.

Prints a table, and each disagreement with a reason:

    extraction  evalplus agrees on the program that we found in the answer
    limits      they agree when both give five times as long, and ours as much memory as evalplus
    (a task)    as in _KNOWN
    unexplained
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from results import write_result

from halo_forge.benchmark.suites import settled
from halo_forge.config.benchmark import BenchmarkConfig
from halo_forge.core.identity import content_id
from halo_forge.core.types import Prompt, Sample
from halo_forge.data import public_datasets
from halo_forge.rlvr.judges import make_verifier
from halo_forge.rlvr.verifiers.base import Verifier
from halo_forge.rlvr.verifiers.batch import judge_all
from halo_forge.rlvr.verifiers.languages import LANGUAGES
from halo_forge.rlvr.verifiers.mutation import mutants
from halo_forge.sandbox import Job, Limits, Sandbox, Step, open_sandbox, own_python, packages_with
from halo_forge.store.records import Journal, read_records
from halo_forge.store.run_dir import RunDir
from halo_forge.utils.jsonl import read_jsonl
from halo_forge.utils.text import fenced, printable

__all__ = ["main"]

_FILES = {"mbpp_plus": "MbppPlus.jsonl.gz", "humaneval_plus": "HumanEvalPlus.jsonl.gz"}
_SECONDS, _LONGER = 6.0, 5.0
_MEMORY = 4 << 30
_CHUNK = 24

_KNOWN: Mapping[str, str] = {
    "HumanEval/32": "evalplus 0.3.1 fails every answer, the reference too: its check of this task "
    "passes over the line that counts what passed (comment of 2024-10-25 on evalplus#201)",
}
"""Why verdicts on a task differ, found by looking at both."""

_Name = tuple[str, str]

_JUDGE = """\
import json, os, sys
from unittest.mock import MagicMock
sys.set_int_max_str_digits(0)
sys.path.insert(0, "evalplus.whl")
sys.path.append(sys.argv[1])
for name in ("appdirs", "datasets", "tempdir", "termcolor", "tqdm", "wget"):
    sys.modules[name] = MagicMock()  # they fetch data and show progress
os.environ["EVALPLUS_MAX_MEMORY_BYTES"] = "-1"  # the sandbox's limit is as large as its own
from evalplus.config import DEFAULT_GT_TIME_LIMIT_FACTOR, DEFAULT_MIN_TIME_LIMIT
from evalplus.data.mbpp import mbpp_deserialize_inputs
from evalplus.eval import untrusted_check
from evalplus.eval._special_oracle import MBPP_OUTPUT_NOT_NONE_TASKS
from evalplus.gen.util import trusted_exec
from evalplus.sanitize import sanitize
order = json.load(sys.stdin)
longer = order["longer"]
for row, programs in order["tasks"]:
    entry, name = row["entry_point"], row["task_id"].split("/")[0].lower()
    inputs, wanted = {}, {}
    for part in ("base", "plus"):
        inputs[part] = row[part + "_input"]
        if name == "mbpp":
            inputs[part] = mbpp_deserialize_inputs(row["task_id"], inputs[part])
        truth = name == "mbpp" and entry in MBPP_OUTPUT_NOT_NONE_TASKS
        wanted[part] = trusted_exec(row["prompt"] + row["canonical_solution"], inputs[part],
                                    entry, record_time=True, output_not_none=truth)
    for key, program in programs.items():
        found = []
        code = sanitize(program, entry) if key.startswith("answer") else program
        for part, (outputs, seconds) in wanted.items():
            found.append(untrusted_check(
                name, code, inputs[part], entry, outputs, row["atol"], seconds, fast_check=True,
                min_time_limit=longer * DEFAULT_MIN_TIME_LIMIT,
                gt_time_limit_factor=longer * DEFAULT_GT_TIME_LIMIT_FACTOR)[0])
        print(json.dumps([key, found]), flush=True)
"""


@dataclass(frozen=True)
class Case:
    """A text that both judge.

    Attributes:
        benchmark: ``humaneval_plus`` or ``mbpp_plus``.
        kind: ``reference``, ``changed``, or whose answer it is.
        prompt: The task.
        text: The answer, or the program as one.
        program: The program, where it is known; that of an answer is to be found.
    """

    benchmark: str
    kind: str
    prompt: Prompt
    text: str
    program: str | None = None

    @property
    def key(self) -> str:
        """The same for the same text to the same task."""
        return f"{self.prompt.id}:{content_id(self.text)}"


@dataclass(frozen=True)
class Pair:
    """What both said.

    Attributes:
        ours: Our record.
        theirs: That of evalplus.
    """

    ours: Mapping[str, Any]
    theirs: Mapping[str, Any]

    @property
    def agree(self) -> bool:
        """Both accept it, or neither."""
        return bool(self.ours["passed"] == _passed(self.theirs, "own"))


def main() -> None:
    """Judge what is owed, and compare what is judged."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--wheel", type=Path, required=True)
    parser.add_argument("--answers", type=Path, nargs="*", default=[])
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--changes", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=1e9)
    parser.add_argument("--only", choices=sorted(_FILES))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    end = time.monotonic() + options.seconds
    rows = {row["task_id"]: row for row in _rows(options.data)}
    found = sorted(_cases(options), key=lambda case: case.kind != "answer")
    cases = list({case.key: case for case in found}.values())
    with open_sandbox(workers=2) as sandbox, _Judges(options, sandbox, rows) as judges:
        pairs = judges.judge(cases, end)
        owed = len(cases) - len(pairs)
        cases = [case for case in cases if case.key in pairs]
        apart = [case for case in cases if not pairs[case.key].agree]
        short = [case for case in apart if _at_limit(pairs[case.key])]
        longer = judges.judge(short, math.inf, _LONGER)
    if owed:
        print(f"{owed} are not judged yet; the same command goes on")
    reasons = {case.key: _reason(case, pairs[case.key], longer) for case in apart}
    for case in apart:
        print(_told(case, pairs[case.key], reasons[case.key]))
    table = _table(cases, pairs)
    for line in table:
        print(line)
    if options.json is not None:
        _write(options.json, cases, pairs, reasons, table)


def _rows(folder: Path) -> Iterator[dict[str, Any]]:
    for name in _FILES.values():
        yield from (
            row for _, row in read_jsonl(folder / name, exact=True) if isinstance(row, dict)
        )


def _cases(options: argparse.Namespace) -> Iterator[Case]:
    for name, file in _FILES.items():
        if options.only not in {None, name}:
            continue
        prompts = list(public_datasets.prompts(name, source=options.data / file))
        for prompt in prompts:
            code = str(prompt.reference.solution)
            yield Case(name, "reference", prompt, fenced(code, "python"), code)
            for one in mutants(code, LANGUAGES["python"], limit=options.changes):
                yield Case(name, "changed", prompt, fenced(one.code, "python"), one.code)
        known = {prompt.id: prompt for prompt in prompts}
        for place in options.answers:
            path = place if place.is_file() else RunDir(place).benchmark_samples_path
            for record in read_records(path):
                if record["prompt_id"] in known:
                    yield Case(name, "answer", known[record["prompt_id"]], record["completion"])


class _Judges:
    """Ours and theirs, with what each has said so far."""

    def __init__(
        self, options: argparse.Namespace, sandbox: Sandbox, rows: Mapping[str, dict[str, Any]]
    ) -> None:
        self._sandbox = sandbox
        self._rows = rows
        self._wheel = options.wheel.read_bytes()
        self._verifiers = ExitStack()
        self._made: dict[tuple[str, float], Verifier] = {}
        self._kept = Journal(options.output / "verdicts.jsonl", lambda record: str(record["id"]))

    def __enter__(self) -> _Judges:
        return self

    def __exit__(self, *details: object) -> None:
        self._verifiers.close()
        self._kept.close()

    def judge(self, cases: Sequence[Case], end: float, longer: float = 1.0) -> dict[str, Pair]:
        """Return what both say about as many cases as there is time for."""
        names = {case.key: f"{case.key} x{longer:g}" for case in cases}
        owed = [case for case in cases if names[case.key] not in self._kept]
        for start in range(0, len(owed), _CHUNK):
            if time.monotonic() > end:
                break
            some = owed[start : start + _CHUNK]
            ours = self._ours(some, longer)
            theirs = self._theirs(some, ours, longer)
            for case in some:
                record = {"ours": ours[case.key], "theirs": theirs[case.key]}
                self._kept.append({"id": names[case.key], **record})
        found = {key: self._kept.records.get(name) for key, name in names.items()}
        return {key: Pair(one["ours"], one["theirs"]) for key, one in found.items() if one}

    def _ours(self, cases: Sequence[Case], longer: float) -> dict[str, dict[str, Any]]:
        found = {}
        for name, some in groupby(cases, lambda case: case.benchmark):
            verifier = self._verifier(name, longer)
            by_id = {Sample(c.prompt, at, c.text).id: (c, at) for at, c in enumerate(some)}
            samples = [Sample(case.prompt, at, case.text) for case, at in by_id.values()]
            for verdict in judge_all(verifier, samples):
                if verdict.result is None:
                    raise SystemExit(f"{verdict.sample.id}: {verdict.fault}")
                case = by_id[verdict.sample.id][0]
                found[case.key] = _our_record(case, verdict.sample, verdict.result, verifier)
        return found

    def _verifier(self, name: str, longer: float) -> Verifier:
        """Return the benchmark's verifier, with a limit of time as for a small machine."""
        if (name, longer) not in self._made:
            limits = {"timeout": longer * _SECONDS, "max_workers": 2, "niceness": 0}
            if longer > 1:
                limits["memory_limit_mb"] = _MEMORY >> 20
            config = BenchmarkConfig.model_validate({"benchmark": name, "verifier": limits})
            made = self._verifiers.enter_context(make_verifier(settled(config).verifier))
            self._made[name, longer] = made
        return self._made[name, longer]

    def _theirs(
        self, cases: Sequence[Case], ours: Mapping[str, Mapping[str, Any]], longer: float
    ) -> dict[str, dict[str, Any]]:
        programs = {}
        for case in cases:
            programs["program", case.key] = case, ours[case.key]["program"]
            if case.program is None:
                programs["answer", case.key] = case, case.text
        said = self._ask(programs, longer)
        for name in programs.keys() - said.keys():  # it died with one of them
            alone = self._ask({name: programs[name]}, longer)
            said[name] = alone.get(name, ["died"])
        found: dict[str, dict[str, Any]] = {case.key: {} for case in cases}
        for (kind, key), verdict in said.items():
            found[key][kind] = verdict
        return {
            key: {"own": one.get("answer", one["program"]), **one} for key, one in found.items()
        }

    def _ask(self, programs: Mapping[_Name, tuple[Case, str]], longer: float) -> dict[_Name, Any]:
        """Return what evalplus says about programs."""
        tasks: dict[str, dict[str, str]] = {}
        for name, (case, program) in programs.items():
            tasks.setdefault(case.prompt.id, {})[" ".join(name)] = program
        order = {"tasks": [(self._rows[id_], some) for id_, some in tasks.items()]}
        argv = (own_python(), "-B", "main.py", str(packages_with("numpy")))
        seconds = 60 + 20 * longer * len(programs)
        limits = Limits(cpu=seconds, wall=2 * seconds, memory=_MEMORY)
        text = json.dumps({**order, "longer": longer})
        step = Step(argv, text.encode("utf-8", "replace"), limits)
        files = {"main.py": _JUDGE.encode(), "evalplus.whl": self._wheel}
        run = self._sandbox.run(Job(files, None, (step,))).runs[0]
        lines = [line for line in run.stdout.splitlines(keepends=True) if line.endswith(b"\n")]
        if not lines and len(programs) > 1:
            raise SystemExit(f"evalplus: {run.status} {run.stderr.decode()[-2000:]}")
        found = dict(map(json.loads, lines))
        return {name: found[" ".join(name)] for name in programs if " ".join(name) in found}


def _our_record(case: Case, sample: Sample, result: Any, verifier: Verifier) -> dict[str, Any]:
    return {
        "passed": result.success,
        "details": result.details,
        "limits": result.metadata.get("limits", []),
        "program": verifier.program(sample) if case.program is None else case.program,
    }


def _passed(theirs: Mapping[str, Any], kind: str) -> bool:
    return bool(theirs[kind] == ["pass", "pass"])


def _at_limit(pair: Pair) -> bool:
    """Tell whether somebody's time or memory was up."""
    short = bool(pair.ours["limits"]) or "MemoryError" in pair.ours["details"]
    return short or "timeout" in pair.theirs["own"]


def _reason(case: Case, pair: Pair, longer: Mapping[str, Pair]) -> str:
    if pair.ours["passed"] == _passed(pair.theirs, "program"):
        return "extraction"
    if case.key in longer and longer[case.key].agree:
        return "limits"
    return _KNOWN.get(case.prompt.id, "unexplained")


def _told(case: Case, pair: Pair, reason: str) -> str:
    ours = "pass" if pair.ours["passed"] else "fail"
    said = f"{case.key} ({case.kind}): ours {ours}, evalplus {'/'.join(pair.theirs['own'])}"
    return printable(f"{said}: {reason}. {pair.ours['details'][:200]}")


def _table(cases: Iterable[Case], pairs: Mapping[str, Pair]) -> list[str]:
    counts: dict[tuple[str, str], Counter[str]] = {}
    for case in cases:
        pair = pairs[case.key]
        words = {True: "pass", False: "fail"}
        ours, theirs = words[pair.ours["passed"]], words[_passed(pair.theirs, "own")]
        row = counts.setdefault((case.benchmark, case.kind), Counter())
        row[f"both {ours}" if ours == theirs else f"ours {ours}"] += 1
    names = ("both pass", "both fail", "ours pass", "ours fail")
    lines = ["| | | both pass | both fail | only ours passes | only evalplus passes |"]
    lines.append("|---|---|---|---|---|---|")
    for (benchmark, kind), row in sorted(counts.items()):
        lines.append(f"| {benchmark} | {kind} | {' | '.join(str(row[name]) for name in names)} |")
    return lines


def _write(
    path: Path,
    cases: Sequence[Case],
    pairs: Mapping[str, Pair],
    reasons: Mapping[str, str],
    table: Sequence[str],
) -> None:
    alike = sum(pair.agree for pair in pairs.values())
    known = sum(reason != "unexplained" for reason in reasons.values())
    claims = [
        {"name": "samples judged by both", "value": len(cases), "aim": 1000},
        {"name": "share on which both agree", "value": alike / len(cases), "aim": None},
        {"name": "share agreed or explained", "value": (alike + known) / len(cases), "aim": 1.0},
    ]
    apart = [
        _told(case, pairs[case.key], reasons[case.key]) for case in cases if case.key in reasons
    ]
    write_result(
        path, claims, {"table": table, "apart": apart, "reasons": Counter(reasons.values())}
    )


if __name__ == "__main__":
    main()
