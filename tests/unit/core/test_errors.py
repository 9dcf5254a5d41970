"""Errors carry the exit codes of the contract."""

from __future__ import annotations

import pytest

from halo_forge.core import errors


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("UserError", 2),
        ("ConfigError", 2),
        ("CheckFailed", 1),
        ("Fault", 3),
        ("SandboxFault", 3),
        ("VerifierFault", 3),
        ("ModelFault", 3),
        ("StoreFault", 3),
    ],
)
def test_exit_codes(name: str, code: int) -> None:
    """Who has to act is told by the exit code; every error is halo-forge's own."""
    kind = getattr(errors, name)
    assert kind.exit_code == code
    assert issubclass(kind, errors.HaloForgeError)
    assert issubclass(kind, errors.Fault) is (code == 3)


def test_all_errors_have_a_test() -> None:
    """No error is added without an exit code that was thought about."""
    marks = test_exit_codes.pytestmark
    tested = {name for name, _ in marks[0].args[1]}
    assert tested == set(errors.__all__) - {"HaloForgeError"}


def test_configuration_reports_every_problem() -> None:
    """All problems are kept, and shown one a line."""
    error = errors.ConfigError(["a.yaml:1: x", "a.yaml:2: y"])
    assert error.problems == ("a.yaml:1: x", "a.yaml:2: y")
    assert str(error) == "a.yaml:1: x\na.yaml:2: y"
