"""Choosing a backend by running real jobs on each, best first."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from halo_forge.core.errors import SandboxFault, UserError
from halo_forge.sandbox.base import Sandbox
from halo_forge.sandbox.client import BrokerSandbox
from halo_forge.sandbox.policy import GUARANTEES, Guarantee, Level
from halo_forge.sandbox.proof import prove
from halo_forge.utils.kernel_facts import workers_for_all_cores

__all__ = ["CONFINED", "UNSAFE", "Finding", "open_backend", "open_sandbox", "probe"]

CONFINED = ("namespaces", "bwrap", "landlock")
UNSAFE = "unsafe"

_REMEDIES = """\
What can be done:
  - allow user namespaces: sysctl kernel.unprivileged_userns_clone=1 (Debian),
    sysctl kernel.apparmor_restrict_unprivileged_userns=0 (Ubuntu 24.04 and later),
    or raise user.max_user_namespaces
  - in Docker: run with --security-opt seccomp=unconfined, or use podman; what works there as
    it is, landlock, needs Linux 6.2 (as an ordinary user 6.12), and hides no names
  - install bubblewrap (the program bwrap), which many distributions trust
  - --unsafe-no-sandbox runs programs with limits but without any confinement: only for
    programs you would run by hand"""


class Finding(NamedTuple):
    """What was found out about one backend on this machine.

    Attributes:
        backend: Its name.
        works: An honest program ran in it.
        reason: Why it does not work; empty when it does.
        guarantees: What it promises here.
    """

    backend: str
    works: bool
    reason: str
    guarantees: tuple[Guarantee, ...]


def open_backend(backend: str, *, workers: int | None = None, niceness: int = 0) -> BrokerSandbox:
    """Open one backend by name and try its guarantees.

    Raises:
        SandboxFault: If it does not work on this machine.
    """
    if backend != UNSAFE and sys.platform != "linux":
        raise SandboxFault(f"the backend {backend!r} needs Linux, and this is {sys.platform}")
    count = workers if workers is not None else workers_for_all_cores()
    sandbox = BrokerSandbox(backend, workers=max(1, count), niceness=niceness)
    try:
        sandbox.prove(prove(sandbox))
    except BaseException:
        sandbox.close()
        raise
    return sandbox


def open_sandbox(
    *,
    workers: int | None = None,
    unsafe: bool = False,
    require: Iterable[str] = (),
    niceness: int = 0,
) -> Sandbox:
    """Open the best sandbox that works here.

    Args:
        workers: How many jobs may run at one time; cores and one more when ``None``.
        unsafe: Accept running without any confinement if nothing better works.
        require: Names of guarantees that must be enforced.
        niceness: How far programs step back for others, 0 to 19; see nice(2).

    Raises:
        SandboxFault: If no backend works, or none enforces what is required; the message names
            each backend, why it failed, and what can be done.
        UserError: If a name in ``require`` is unknown.
    """
    required = tuple(require)
    unknown = [name for name in required if name not in GUARANTEES]
    if unknown:
        raise UserError(f"unknown guarantee {unknown[0]!r}; there are {', '.join(GUARANTEES)}")
    failures: list[str] = []
    for backend in (*CONFINED, UNSAFE) if unsafe else CONFINED:
        try:
            sandbox = open_backend(backend, workers=workers, niceness=niceness)
        except SandboxFault as fault:
            failures.append(f"  {backend}: {fault}")
            continue
        missing = list(_missing(required, sandbox.guarantees()))
        if not missing:
            return sandbox
        sandbox.close()
        failures.append(f"  {backend}: works, but does not enforce {', '.join(missing)}")
    raise SandboxFault("\n".join(["no sandbox for untrusted programs:", *failures, _REMEDIES]))


def _missing(required: Iterable[str], guarantees: tuple[Guarantee, ...]) -> Iterator[str]:
    levels = {guarantee.name: guarantee.level for guarantee in guarantees}
    for name in required:
        if levels[name] is not Level.ENFORCED:
            yield f"{name} ({levels[name]})"


def probe() -> list[Finding]:
    """Try every backend on this machine by running jobs, best first."""
    findings = []
    for backend in (*CONFINED, UNSAFE):
        try:
            with open_backend(backend, workers=1) as sandbox:
                findings.append(Finding(backend, True, "", sandbox.guarantees()))  # noqa: FBT003
        except SandboxFault as fault:
            findings.append(Finding(backend, False, str(fault), ()))  # noqa: FBT003
    return findings
