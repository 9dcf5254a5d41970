"""What does a verdict on a C++ answer cost, beside a plain compiler call for each?

    python bench/verify.py --samples RUN/cycle_1_verified.jsonl --prompts RUN/prompts.jsonl
        [--limit 120] [--rounds 3]

Judges real answers of a model by tests, two ways in turn: our `execution` verifier, and a pool of
threads that has plain ``g++ -O2`` build each answer and runs it on each test. Since an answer never
runs unconfined, the plain way too uses the sandbox; what an empty job costs there is printed, to be
taken off. Prints CPU milliseconds an answer beside those of the programs, which are the same, their
ratio by round, how busy the cores were, and every answer on which the two disagree.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from halo_forge.core.types import Sample
from halo_forge.data.prompts import load_prompts
from halo_forge.rlvr.verifiers import ExecutionVerifier
from halo_forge.rlvr.verifiers.batch import judge_all
from halo_forge.rlvr.verifiers.extract import extract_code
from halo_forge.rlvr.verifiers.matching import matches
from halo_forge.sandbox import (
    Guarantee,
    Job,
    JobResult,
    Limits,
    Sandbox,
    Status,
    Step,
    open_sandbox,
)
from halo_forge.utils.kernel_facts import available_cores

__all__ = ["main"]


def main() -> None:
    """Judge the answers in turns and print what it cost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=Path, required=True)
    parser.add_argument("--prompts", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=120)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    prompts = {prompt.id: prompt for prompt in load_prompts(options.prompts)}
    rows = [json.loads(line) for line in options.samples.read_text("utf-8").splitlines()]
    samples = [
        Sample(prompts[row["prompt_id"]], row["index"], row["completion"])
        for row in rows[: options.limit]
    ]
    with open_sandbox() as opened:
        sandbox = Counting(opened)
        verifier = ExecutionVerifier(sandbox=sandbox)
        verifier.start([sample.prompt for sample in samples])
        codes = [extract_code(one.completion, one.prompt.language) for one in samples]
        ways = {
            "ours": lambda: _ours(verifier, samples),
            "plain g++ -O2": lambda: _plain(sandbox, samples, codes),
        }
        _compare(ways, sandbox, samples, options.rounds)
        print(f"an empty job: {1000 * _empty_job(sandbox):.1f} ms CPU")


class Counting(Sandbox):
    """A sandbox that adds up what programs used, apart from what compilers did."""

    def __init__(self, inner: Sandbox) -> None:
        self._inner = inner
        self._lock = threading.Lock()
        self.backend = inner.backend
        self.programs = 0.0

    def run(self, job: Job) -> JobResult:
        """Run a job and count."""
        result = self._inner.run(job)
        with self._lock:
            self.programs += sum(run.cpu for run in result.runs)
        return result

    def guarantees(self) -> tuple[Guarantee, ...]:
        """Return those of the sandbox behind."""
        return self._inner.guarantees()

    def close(self) -> None:
        """Leave the sandbox behind open."""


def _compare(
    ways: dict[str, Callable[[], list[float]]],
    sandbox: Counting,
    samples: list[Sample],
    rounds: int,
) -> None:
    """Run the ways in turn and print CPU without that of the programs, which is the same."""
    cpu: dict[str, list[float]] = {name: [] for name in ways}
    wall: dict[str, list[float]] = {name: [] for name in ways}
    busy: dict[str, list[float]] = {name: [] for name in ways}
    rewards: dict[str, list[float]] = {}
    for number in range(rounds):
        for name in list(ways)[:: 1 if number % 2 else -1]:
            started, used, programs = time.perf_counter(), _cpu(), sandbox.programs
            rewards[name] = ways[name]()
            ran = sandbox.programs - programs
            cpu[name].append(_cpu() - used - ran)
            wall[name].append(time.perf_counter() - started)
            busy[name].append((_cpu() - used) / wall[name][-1] / available_cores())
            print(f"{name}: programs {1000 * ran / len(samples):.1f} ms CPU an answer")
    ours, plain = ways
    compiled = sum(reward >= 0.5 for reward in rewards[ours]) / len(samples)
    print(f"{len(samples)} answers, {compiled:.0%} compile; {rounds} rounds")
    for name in ways:
        each = [1000 * value / len(samples) for value in cpu[name]]
        print(
            f"{name:>14}: {statistics.median(each):6.1f} ms CPU an answer beside that "
            f"(rounds {', '.join(f'{one:.1f}' for one in each)}), "
            f"{statistics.median(busy[name]):.0%} of the cores"
        )
    ratios = [p / o for p, o in zip(cpu[plain], cpu[ours], strict=True)]
    print(f"ratio of CPU: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
    for sample, mine, other in zip(samples, rewards[ours], rewards[plain], strict=True):
        if mine != other:
            print(f"{sample.id}: ours {mine:g}, plain {other:g}")


def _cpu() -> float:
    """Return CPU seconds of this process, of its ended children, and of our sandbox's workers."""
    own = sum(
        usage.ru_utime + usage.ru_stime
        for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )
    return own + _descendants(os.getpid())


def _descendants(process: int) -> float:
    """Return CPU seconds of the living descendants and of the children they have waited for."""
    total = 0.0
    for task in Path(f"/proc/{process}/task").iterdir():
        for child in (task / "children").read_text().split():
            fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
            total += sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
            total += _descendants(int(child))
    return total


def _ours(verifier: ExecutionVerifier, samples: list[Sample]) -> list[float]:
    rewards = {v.sample.id: v.result.reward for v in judge_all(verifier, samples) if v.result}
    return [rewards[sample.id] for sample in samples]


def _plain(sandbox: Sandbox, samples: list[Sample], codes: list[str]) -> list[float]:
    limits = Limits(cpu=30, memory=2 << 30, file_size=64 << 20, disk=64 << 20)
    argv = ("g++", "-std=c++17", "-O2", "-w", "main.cpp", "-o", "program")

    def judge(number: int) -> float:
        if not codes[number].strip():
            return 0.0
        tests = samples[number].prompt.reference.tests
        runs = tuple(Step(("./program",), test.input.encode()) for test in tests)
        files = {"main.cpp": codes[number].encode("utf-8", "replace")}
        late = frozenset({Status.TIMEOUT, Status.CPU_LIMIT})
        result = sandbox.run(Job(files, Step(argv, limits=limits), runs, stop_on=late))
        if result.build is None or not result.build.ok:
            return 0.0
        passed = sum(
            run.ok and matches("exact", test.expected, run.stdout.decode("utf-8", "replace"))
            for run, test in zip(result.runs, tests, strict=False)
        )
        return 0.5 + 0.5 * passed / len(tests)

    with ThreadPoolExecutor(available_cores()) as pool:
        return list(pool.map(judge, range(len(samples))))


def _empty_job(sandbox: Sandbox, times: int = 200) -> float:
    """Return the CPU seconds of a job that builds nothing and runs nothing."""
    used = _cpu()
    for _ in range(times):
        sandbox.run(Job(runs=(Step(("/bin/true",)),)))
    return (_cpu() - used) / times


if __name__ == "__main__":
    main()
