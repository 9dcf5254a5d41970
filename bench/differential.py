"""Does anything that makes a C++ verdict cheap change one?

    python bench/differential.py --answers RESULTS [--answers MORE] [--prompts builtin:cpp/all]
        [--changes 1] [--limit N] [--strict]

RESULTS is the folder of `halo-forge benchmark run` or of a training run. Every answer in it, and
small changes of the reference solutions of the built-in C++ tasks, are judged three times, by the
tests of their tasks: by our `gcc` verifier; by the same without precompiled headers, with the
compiler's own linker and without the stop at the first error; and by plain ``g++ -O2``. Prints each
program whose reward differs, and each answer that was turned away before it reached the compiler
though plain g++ compiles it. With --strict, warnings count, and the third way has our flags too.
"""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import answers

from halo_forge.core.types import Sample, VerifyResult
from halo_forge.data.prompts import load_prompts
from halo_forge.rlvr.verifiers import GCCVerifier
from halo_forge.rlvr.verifiers.batch import judge_all
from halo_forge.rlvr.verifiers.languages import LANGUAGES
from halo_forge.rlvr.verifiers.mutation import mutants
from halo_forge.rlvr.verifiers.toolchain import DRIVER, Toolchain
from halo_forge.rlvr.verifiers.toolchains import TOOLCHAINS
from halo_forge.sandbox import Job, Limits, Sandbox, Step, open_sandbox
from halo_forge.utils.text import fenced

__all__ = ["main"]

_GXX = TOOLCHAINS["g++"]
_SLOW = replace(
    _GXX,
    precompile=(),
    linkers=(),
    build=tuple(word for word in _GXX.build if word != "-Wfatal-errors"),
)
_BARE = replace(
    _SLOW, build=(DRIVER, "main.cpp", "-o", "program"), flags=("-std=c++17", "-O2", "-w")
)


class _Slow(GCCVerifier):
    toolchains: ClassVar[tuple[Toolchain, ...]] = (_SLOW,)


class _Bare(GCCVerifier):
    toolchains: ClassVar[tuple[Toolchain, ...]] = (_BARE,)


def main() -> None:
    """Judge every program three ways and print where they differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--answers", type=Path, action="append", required=True)
    parser.add_argument("--prompts", default="builtin:cpp/all")
    parser.add_argument("--changes", type=int, default=1)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--strict", action="store_true")
    options = parser.parse_args()
    real = [one.sample for one in answers.load(options.answers, options.prompts)][: options.limit]
    changed = _changed(options.prompts, options.changes)[: options.limit]
    print(f"{len(real)} different answers, {len(changed)} changed reference solutions")
    samples = [*real, *changed]
    with open_sandbox() as sandbox:
        ours, slow, bare = (
            _judge(kind, samples, sandbox, strict=options.strict)
            for kind in (GCCVerifier, _Slow, _Bare)
        )
        print("rewards: ", dict(sorted(Counter(one.reward for one in ours.values()).items())))
        _differences("with and without our shortcuts", samples, ours, slow)
        _differences("ours and plain g++ -O2", samples, ours, bare)
        _turned_away(samples, ours, sandbox)


def _changed(prompts: str, changes: int) -> list[Sample]:
    samples = []
    for prompt in load_prompts(prompts):
        solution = prompt.reference.solution
        if solution is not None:
            found = mutants(solution, LANGUAGES["cpp"], limit=changes)
            samples += [
                Sample(prompt, 1000 + n, fenced(m.code, "cpp")) for n, m in enumerate(found)
            ]
    return samples


def _judge(
    kind: type[GCCVerifier], samples: list[Sample], sandbox: Sandbox, *, strict: bool
) -> dict[str, VerifyResult]:
    with kind(
        run_after_compile=True, run_timeout=2, warn_as_error=strict, sandbox=sandbox
    ) as verifier:
        judged = list(judge_all(verifier, samples))
    for verdict in judged:
        if verdict.result is None:
            print(f"not judged: {verdict.sample.id}: {verdict.fault}")
    return {verdict.sample.id: verdict.result for verdict in judged if verdict.result is not None}


def _differences(
    what: str,
    samples: list[Sample],
    ours: dict[str, VerifyResult],
    other: dict[str, VerifyResult],
) -> None:
    pairs = [(ours[one.id], other[one.id], one) for one in samples if one.id in other]
    differ = [pair for pair in pairs if pair[0].reward != pair[1].reward]
    words = sum(a.error != b.error for a, b, _ in pairs)
    print(f"{what}: {len(differ)} of {len(pairs)} rewards differ, and {words} messages")
    for mine, theirs, sample in differ:
        print(
            f"  {sample.id}: {mine.reward:g} {mine.details!r}, {theirs.reward:g} {theirs.details!r}"
        )


def _turned_away(samples: list[Sample], ours: dict[str, VerifyResult], sandbox: Sandbox) -> None:
    """Print the answers that no compiler saw, though plain g++ would have compiled them."""
    limits = Limits(cpu=30, memory=2 << 30, file_size=64 << 20, disk=64 << 20)
    argv = ("g++", "-O2", "-std=c++17", "-w", "main.cpp")
    with GCCVerifier(sandbox=sandbox) as verifier:
        for sample in samples:
            verdict = ours[sample.id]
            if verdict.metadata["stage"] == "substance":
                _, _, code = verifier.identity(sample)
                files = {"main.cpp": code.encode("utf-8", "replace")}
                built = sandbox.run(Job(files, Step(argv, limits=limits))).build
                if built is not None and built.ok:
                    print(f"  {sample.id}: turned away, {verdict.details}; plain g++ compiles it")


if __name__ == "__main__":
    main()
