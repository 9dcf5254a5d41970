"""The base class is all that a user's own verifier needs, and it costs nothing to import."""

from __future__ import annotations

import subprocess
import sys

import pytest

from halo_forge.core import registry
from halo_forge.core.errors import VerifierFault
from halo_forge.rlvr.verifiers import (
    ExecutionVerifier,
    GCCVerifier,
    RewardLevel,
    Verifier,
    VerifyResult,
)


def your_check(code: str) -> bool:
    """Stand in for the README's placeholder."""
    return "1" in code


your_verification_logic = your_check


class MyVerifier(Verifier):
    """The README's first example, word for word."""

    def verify(self, code: str) -> VerifyResult:
        # Extract code from model output
        extracted = self.extract_code(code)

        # Your verification logic
        success = your_check(extracted)

        return VerifyResult(
            success=success,
            reward=1.0 if success else 0.0,
            details="Verification passed" if success else "Failed",
            error=None if success else "Error message",
        )


class MyDomainVerifier(Verifier):
    """The README's second example, word for word."""

    def __init__(self, config, max_workers=8):
        super().__init__(max_workers=max_workers)
        self.config = config

    def verify(self, output: str) -> VerifyResult:
        # Your domain-specific verification
        is_valid = your_verification_logic(output)

        return VerifyResult(
            success=is_valid, reward=1.0 if is_valid else 0.0, details="Verification details"
        )

    def cleanup(self):
        # Optional: cleanup resources
        pass


def test_readme_example_runs() -> None:
    """The custom verifier of the README judges fenced code."""
    with MyVerifier() as verifier:
        assert verifier.verify("```python\nprint(1)\n```").reward == 1.0
        assert verifier.verify("1. I cannot.").error == "Error message"


def test_readme_domain_template_runs(make_sample) -> None:
    """The domain template of the README works in a batch and with samples."""
    with MyDomainVerifier({"a": 1}) as verifier:
        rewards = [result.reward for result in verifier.verify_batch(["1", "2", "1"], ["p"] * 3)]
        assert rewards == [1.0, 0.0, 1.0]
        assert verifier.judge(make_sample("1")).success


def test_ladder() -> None:
    """The rungs are numbers in the order of the contract."""
    assert list(RewardLevel) == [0.0, 0.3, 0.5, 0.7, 1.0]


def test_registered_verifiers_are_finished() -> None:
    """Every registered verifier can be loaded and made."""
    needed = {
        "chained": {"verifiers": [GCCVerifier()]},
        "msvc": {"host": "winbox", "user": "judge", "ssh_key": "key"},
        "subprocess": {"command": "cat {file}"},
    }
    for name in registry.names("verifiers"):
        with registry.load("verifiers", name)(**needed.get(name, {})) as verifier:
            assert isinstance(verifier, Verifier)
    assert registry.load("verifiers", "gcc") is GCCVerifier
    assert registry.load("verifiers", "execution") is ExecutionVerifier


@pytest.mark.parametrize("workers", [0, -1])
def test_workers_must_be_positive(workers: int) -> None:
    """Zero workers would judge nothing for ever."""
    with pytest.raises(ValueError, match="max_workers"):
        MyDomainVerifier({}, max_workers=workers)


def test_verifiers_are_light() -> None:
    """Importing them loads no heavy library."""
    code = (
        "import sys, halo_forge.rlvr.verifiers as v; v.GCCVerifier; "
        "print(*{'torch', 'transformers', 'numpy', 'datasets', 'pydantic'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_fault_is_an_exception() -> None:
    """What keeps a verifier from judging is raised, not scored."""
    with pytest.raises(VerifierFault, match="no tests"):
        ExecutionVerifier().verify("print(1)")
