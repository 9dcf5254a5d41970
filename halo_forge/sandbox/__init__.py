"""Confinement for hostile programs: compilers and what they compile, with limits.

Linux first: namespaces of our own, else bubblewrap, else Landlock; elsewhere only an explicit
unsafe backend. A job's build and runs happen in a broker's workers, never in the calling process;
see `Sandbox`.
"""

from __future__ import annotations

from halo_forge.sandbox.backends import open_sandbox, probe
from halo_forge.sandbox.base import Sandbox
from halo_forge.sandbox.paths import own_python, packages_with, python_executable
from halo_forge.sandbox.policy import (
    Guarantee,
    Job,
    JobResult,
    Kept,
    Limits,
    Outcome,
    Status,
    Step,
    Warm,
)

__all__ = [
    "Guarantee",
    "Job",
    "JobResult",
    "Kept",
    "Limits",
    "Outcome",
    "Sandbox",
    "Status",
    "Step",
    "Warm",
    "open_sandbox",
    "own_python",
    "packages_with",
    "probe",
    "python_executable",
]
