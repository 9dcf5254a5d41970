"""A verifier for tests: an answer is right when it is the truth, word for word."""

from __future__ import annotations

from halo_forge.core.types import Sample, VerifyResult
from halo_forge.rlvr.verifiers.base import Verifier
from halo_forge.utils.typing import override

__all__ = ["ExactVerifier"]


class ExactVerifier(Verifier):
    """Compares with ground truth and alternatives; without any, every answer is right.

    Args:
        strict: Whether it looks at all; a control accepts everything.
    """

    def __init__(self, strict: bool = True) -> None:
        super().__init__()
        self._strict = strict

    @override
    def verify(self, code: str) -> VerifyResult:
        """Judge an answer to nothing in particular: it is right when there is one."""
        return VerifyResult(success=bool(code.strip()), reward=float(bool(code.strip())))

    @override
    def judge(self, sample: Sample) -> VerifyResult:
        """Compare with what is known."""
        known = sample.prompt.reference
        right = {known.ground_truth, *known.alternatives} - {None}
        found = not self._strict or not right or sample.completion.strip() in right
        return VerifyResult(success=found, reward=float(found))
