"""Verifiers: from a model's answer to a verdict one can train on.

Light by contract: importing this package loads no engine, model or learner, and not torch.
"""

from halo_forge.core.types import TestCase, VerifyResult
from halo_forge.rlvr.verifiers.base import RewardLevel, Verifier
from halo_forge.rlvr.verifiers.chained import ChainedVerifier
from halo_forge.rlvr.verifiers.compile import (
    AutoVerifier,
    ClangVerifier,
    DotNetVerifier,
    GCCVerifier,
    GoVerifier,
    MinGWVerifier,
    MultiLanguageVerifier,
    PowerShellVerifier,
    PythonVerifier,
    RustVerifier,
)
from halo_forge.rlvr.verifiers.custom import SubprocessVerifier
from halo_forge.rlvr.verifiers.execution import ExecutionVerifier
from halo_forge.rlvr.verifiers.remote_compile import RemoteMSVCVerifier
from halo_forge.rlvr.verifiers.test_runner import (
    HumanEvalVerifier,
    MBPPVerifier,
    PytestVerifier,
    UnittestVerifier,
)
from halo_forge.rlvr.verifiers.vision.verifier import VisionVerifier

__all__ = [
    "AutoVerifier",
    "ChainedVerifier",
    "ClangVerifier",
    "DotNetVerifier",
    "ExecutionVerifier",
    "GCCVerifier",
    "GoVerifier",
    "HumanEvalVerifier",
    "MBPPVerifier",
    "MinGWVerifier",
    "MultiLanguageVerifier",
    "PowerShellVerifier",
    "PytestVerifier",
    "PythonVerifier",
    "RemoteMSVCVerifier",
    "RewardLevel",
    "RustVerifier",
    "SubprocessVerifier",
    "TestCase",
    "UnittestVerifier",
    "Verifier",
    "VerifyResult",
    "VisionVerifier",
]
