"""Verifiers: from a model's answer to a verdict one can train on.

Light by contract: importing this package loads no engine, model or learner, and not torch.
"""

from halo_forge.core.types import TestCase, VerifyResult
from halo_forge.rlvr.verifiers.base import RewardLevel, Verifier
from halo_forge.rlvr.verifiers.compile import GCCVerifier
from halo_forge.rlvr.verifiers.execution import ExecutionVerifier

__all__ = [
    "ExecutionVerifier",
    "GCCVerifier",
    "RewardLevel",
    "TestCase",
    "Verifier",
    "VerifyResult",
]
