"""Hidden tests that are source code: scored where asked for, and never worth anything."""

import pytest

from halo_forge.config.sections import VerifierSettings
from halo_forge.core.errors import VerifierFault
from halo_forge.core.types import Message, Prompt, Reference, Sample
from halo_forge.rlvr.judges import make_verifier
from halo_forge.rlvr.verifiers import MBPPVerifier

_RIGHT = "```python\ndef f(n):\n    return 2 * n\n```"
_MEMORISED = "```python\ndef f(n):\n    return {1: 2, 2: 4}.get(n)\n```"
_TESTS = "assert f(1) == 2\nassert f(2) == 4\n"
_HIDDEN = "assert f(3) == 6\nassert f(2) == 4\n"


def _sample(answer, hidden=_HIDDEN):
    reference = Reference(test_code=_TESTS, hidden_test_code=hidden, entry_point="f")
    return Sample(Prompt("p", (Message("user", "Double."),), reference, "python"), 0, answer)


def test_hidden_tests_are_counted_and_not_rewarded(sandbox):
    """A program that knows the tests by heart has the whole reward, and is found out beside it."""
    with MBPPVerifier(timeout=5, sandbox=sandbox, score_hidden=True) as verifier:
        right, known = (verifier.judge(_sample(one)) for one in (_RIGHT, _MEMORISED))
    assert (right.reward, known.reward) == (1.0, 1.0)
    assert (right.metadata["hidden_passed"], right.metadata["hidden_total"]) == (2, 2)
    assert (known.metadata["hidden_passed"], known.metadata["hidden_total"]) == (1, 2)
    assert known.metadata["tests_total"] == 2


def test_not_run_unless_asked_for(sandbox):
    """While training they cost nothing and show nothing."""
    with MBPPVerifier(timeout=5, sandbox=sandbox) as verifier:
        verdict = verifier.judge(_sample(_MEMORISED, hidden="this is no Python"))
    assert "hidden_total" not in verdict.metadata


def test_hidden_tests_that_cannot_be_run(sandbox):
    """They are our fault, and say whose they are."""
    with (
        MBPPVerifier(timeout=5, sandbox=sandbox, score_hidden=True) as verifier,
        pytest.raises(VerifierFault, match=r"'p' \(hidden\) cannot be run"),
    ):
        verifier.judge(_sample(_RIGHT, hidden="assert ("))


def test_the_setting_reaches_the_verifier():
    """What evaluation asks for is what the verifier of functions does."""
    with make_verifier(VerifierSettings(type="mbpp"), score_hidden=True) as verifier:
        assert verifier._score_hidden
