"""Who judges reference solutions: the verifier that the tests of each prompt are made for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from halo_forge.core import registry
from halo_forge.core.types import Reference, Sample, Verdict
from halo_forge.data.gold import Judge
from halo_forge.rlvr.verifiers.base import Verifier
from halo_forge.rlvr.verifiers.batch import judge_all

__all__ = ["gold_judge"]


@contextmanager
def gold_judge() -> Iterator[Judge]:
    """Yield what runs answers against their prompts' tests, in the sandbox, by default limits."""
    opened: dict[str, Verifier] = {}
    with ExitStack() as stack:

        def judge(samples: Sequence[Sample]) -> Iterator[Verdict]:
            fitting = [_fitting(sample.prompt.reference) for sample in samples]
            for name in sorted(set(fitting)):
                mine = [one for one, its in zip(samples, fitting, strict=True) if its == name]
                if name not in opened:
                    opened[name] = stack.enter_context(registry.load("verifiers", name)())
                opened[name].start([sample.prompt for sample in mine])
                yield from judge_all(opened[name], mine)

        yield judge


def _fitting(reference: Reference) -> str:
    if reference.test_code is None:
        return "execution"
    # It puts the head of the function before a solution that is only its body.
    return "humaneval" if reference.entry_point else "pytest"
