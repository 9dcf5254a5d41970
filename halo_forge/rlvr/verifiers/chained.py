"""Several verifiers one after the other, as stages of one judgement."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from halo_forge.core.types import Prompt, Sample, VerifyResult
from halo_forge.rlvr.verifiers.base import Verifier
from halo_forge.utils.typing import override

__all__ = ["ChainedVerifier"]

_EXACT = 1e-9


class ChainedVerifier(Verifier):
    """Asks its stages in order and stops at the first that is not passed.

    The reward is the weighted sum over the stages that were asked: those passed, and the failing
    one with what it gave in part. ``success`` means that every stage was passed. Each stage gets
    the whole answer with its prompt and tests.

    ::

        ChainedVerifier([GCCVerifier(warn_as_error=True), ExecutionVerifier()], weights=[0.2, 0.8])

    Args:
        verifiers: The stages; closed with this verifier.
        weights: Share of the reward of each stage, together 1; equal when absent.

    Attributes:
        stages: The stages, in order.

    Raises:
        ValueError: If there is no stage, or the weights are not one for each that sum to 1.
    """

    def __init__(
        self, verifiers: Sequence[Verifier], weights: Sequence[float] | None = None
    ) -> None:
        if not verifiers:
            raise ValueError("a chain needs at least one verifier")
        super().__init__(max(verifier.max_workers for verifier in verifiers))
        self.stages = tuple(verifiers)
        self._weights = _checked(weights, len(self.stages))

    @override
    def verify(self, code: str) -> VerifyResult:
        """Judge one answer on its own by all stages."""
        return self._ask(lambda stage: stage.verify(code))

    @override
    def judge(self, sample: Sample) -> VerifyResult:
        """Judge an answer together with its prompt by all stages."""
        return self._ask(lambda stage: stage.judge(sample))

    @override
    def identity(self, sample: Sample) -> Hashable:
        """Return what the stages' verdicts depend on."""
        return tuple(stage.identity(sample) for stage in self.stages)

    @override
    def extract_code(self, text: str) -> str:
        """Return the program as the first stage reads it."""
        return self.stages[0].extract_code(text)

    @override
    def program(self, sample: Sample) -> str:
        """Return the program as the first stage judges it."""
        return self.stages[0].program(sample)

    @override
    def start(self, prompts: Sequence[Prompt] = ()) -> None:
        """Start every stage."""
        for stage in self.stages:
            stage.start(prompts)

    @override
    def fingerprint(self) -> str:
        """Return the fingerprints of the stages and their weights."""
        stages = [stage.fingerprint() for stage in self.stages]
        return f"{super().fingerprint()}: {stages} {self._weights}"

    @override
    @contextmanager
    def afresh(self) -> Iterator[None]:
        """Let no stage remember verdicts while the context lasts."""
        with ExitStack() as contexts:
            for stage in self.stages:
                contexts.enter_context(stage.afresh())
            yield

    @override
    def cleanup(self) -> None:
        """Free what the stages hold."""
        for stage in self.stages:
            stage.cleanup()

    def _ask(self, judge: Callable[[Verifier], VerifyResult]) -> VerifyResult:
        results: list[VerifyResult] = []
        for stage in self.stages:
            results.append(judge(stage))
            if not results[-1].success:
                break
        last = results[-1]
        earned = zip(self._weights, results, strict=False)
        reward = 1.0 if _all_whole(results, self.stages) else sum(w * r.reward for w, r in earned)
        metadata = {
            **last.metadata,
            "stages": [
                {
                    "verifier": type(stage).__name__,
                    "success": result.success,
                    "reward": result.reward,
                    "details": result.details,
                }
                for stage, result in zip(self.stages, results, strict=False)
            ],
        }
        details = f"stage {len(results)} of {len(self.stages)}: {last.details}"
        return VerifyResult(last.success, reward, details, last.error, metadata)


def _all_whole(results: Sequence[VerifyResult], stages: Sequence[Verifier]) -> bool:
    """Tell whether every stage gave all it has; the sum of weights may miss 1 by a rounding."""
    return len(results) == len(stages) and all(result.reward == 1.0 for result in results)


def _checked(weights: Sequence[float] | None, stages: int) -> tuple[float, ...]:
    if weights is None:
        return (1 / stages,) * stages
    whole = tuple(float(weight) for weight in weights)
    if len(whole) != stages:
        raise ValueError(f"{len(whole)} weights for {stages} verifiers: give one for each")
    # Written so that a NaN, of which every comparison is false, is refused too.
    if not all(0 <= weight <= 1 for weight in whole) or not abs(math.fsum(whole) - 1) <= _EXACT:
        raise ValueError(f"weights must be from 0 to 1 and sum to 1, got {list(whole)}")
    return whole
