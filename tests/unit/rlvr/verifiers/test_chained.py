"""Stages in order, their weights, and what a failing one leaves."""

from __future__ import annotations

import math

import pytest

from halo_forge.core.errors import VerifierFault
from halo_forge.core.types import VerifyResult
from halo_forge.rlvr.verifiers import ChainedVerifier, ExecutionVerifier, GCCVerifier, Verifier


class Stage(Verifier):
    """Gives what it was told to give, and counts."""

    def __init__(self, reward: float, *, success: bool = True, workers: int = 1) -> None:
        super().__init__(workers)
        self.result = VerifyResult(success, reward, f"gave {reward}", None, {"stage": "x"})
        self.asked = self.closed = self.started = 0

    def verify(self, code: str) -> VerifyResult:
        self.asked += 1
        return self.result

    def start(self, prompts=()) -> None:
        self.started += 1

    def cleanup(self) -> None:
        self.closed += 1


def test_all_passed() -> None:
    """The reward of a whole chain is the weighted sum, and 1 exactly when all gave 1."""
    assert ChainedVerifier([Stage(0.5), Stage(1.0)]).verify("x").reward == 0.75
    ten = ChainedVerifier([Stage(1.0)] * 10)
    assert ten.verify("x").reward == 1.0
    thirds = ChainedVerifier([Stage(1.0)] * 3, [0.3, 0.3, 0.4])
    assert thirds.verify("x") == VerifyResult(
        True,
        1.0,
        "stage 3 of 3: gave 1.0",
        None,
        {
            "stage": "x",
            "stages": [{"verifier": "Stage", "success": True, "reward": 1.0, "details": "gave 1.0"}]
            * 3,
        },
    )


def test_a_failing_stage_ends_the_chain() -> None:
    """It gives its part, later ones are not asked."""
    first, second, third = Stage(1.0), Stage(0.5, success=False), Stage(1.0)
    result = ChainedVerifier([first, second, third], [0.2, 0.4, 0.4]).verify("x")
    assert (result.success, result.reward) == (False, pytest.approx(0.2 + 0.4 * 0.5))
    assert result.details == "stage 2 of 3: gave 0.5"
    assert [len(result.metadata["stages"]), third.asked] == [2, 0]


@pytest.mark.parametrize(
    "weights", [[1.0], [0.5, 0.6], [-0.5, 1.5], [math.nan, 1.0], [math.inf, 0.0], [0.5, 0.5, 0.0]]
)
def test_wrong_weights(weights) -> None:
    """Weights are one for each stage and together 1."""
    with pytest.raises(ValueError, match="weights"):
        ChainedVerifier([Stage(1.0), Stage(1.0)], weights)
    with pytest.raises(ValueError, match="at least one"):
        ChainedVerifier([])


def test_stages_are_started_and_closed_with_the_chain() -> None:
    """The chain is as wide as its widest stage and takes care of all of them."""
    stages = [Stage(1.0, workers=2), Stage(1.0, workers=5)]
    with ChainedVerifier(stages) as chain:
        chain.start()
        assert chain.max_workers == 5
    assert [(stage.started, stage.closed) for stage in stages] == [(1, 1), (1, 1)]
    weighted = ChainedVerifier(stages, [0.1, 0.9])
    assert weighted.fingerprint() != chain.fingerprint()


ADD = "#include <iostream>\nint main() { int a, b; std::cin >> a >> b; std::cout << a %s b; }\n"


@pytest.mark.toolchain("g++")
def test_real_stages_get_prompt_and_tests(sandbox, make_sample) -> None:
    """Compile, then test: prompt and tests reach the second stage, a fault is a fault."""
    chain = ChainedVerifier(
        [GCCVerifier(sandbox=sandbox), ExecutionVerifier(sandbox=sandbox)], [0.2, 0.8]
    )
    from halo_forge.core.types import TestCase

    tests = (TestCase("1 2", "3"), TestCase("4 -4", "0"))
    rewards = [
        chain.judge(make_sample(f"```cpp\n{code}```", tests=tests)).reward
        for code in ("int main() { nothing; }", ADD % "-", ADD % "+")
    ]
    assert rewards == pytest.approx([0.0, 0.2 * 0.5 + 0.8 * 0.5, 0.2 * 0.5 + 0.8])
    with pytest.raises(VerifierFault, match="no tests"):
        chain.judge(make_sample(f"```cpp\n{ADD % '+'}```"))
