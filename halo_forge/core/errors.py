"""The exceptions of halo-forge, named by who has to act.

::

    HaloForgeError                exit code
    |-- UserError                 2   the input is wrong: what, where, how to mend it
    |   `-- ConfigError           2   every problem of a configuration at once
    |-- CheckFailed               1   a check or a gate said no
    `-- Fault                     3   our trouble or the machine's, never the model's
        |-- SandboxFault          3   the sandbox broke or cannot give what was required
        |-- VerifierFault         3   a verifier could not judge (no compiler, disk full, ssh down)
        |-- ModelFault            3   a model or tokenizer could not be had or loaded
        `-- StoreFault            3   the run directory cannot be read or written

A *fault* is not a *failure*: a program that does not compile is a failure and an ordinary
result; a compiler that is missing is a fault, has no reward, and is tried again.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = [
    "CheckFailed",
    "ConfigError",
    "Fault",
    "HaloForgeError",
    "ModelFault",
    "SandboxFault",
    "StoreFault",
    "UserError",
    "VerifierFault",
]


class HaloForgeError(Exception):
    """Base of every error that halo-forge raises on purpose; shown without a traceback."""

    exit_code = 3


class UserError(HaloForgeError):
    """The user's input is wrong: a file, a key, a flag, a name."""

    exit_code = 2


class ConfigError(UserError):
    """A configuration with one or more problems, all of them reported at once."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


class CheckFailed(HaloForgeError):
    """A check ran and its answer is no."""

    exit_code = 1


class Fault(HaloForgeError):
    """Our failure or the machine's; it never counts against the model."""

    exit_code = 3


class SandboxFault(Fault):
    """The sandbox could not start, died, or lacks a guarantee that was required."""


class VerifierFault(Fault):
    """A verifier could not judge a sample; the sample stays owed."""


class ModelFault(Fault):
    """A model or tokenizer is missing, gated, unreadable or does not fit."""


class StoreFault(Fault):
    """The run directory cannot be read or written (disk full, permissions, damage)."""
