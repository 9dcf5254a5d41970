"""Landlock as the kernel of this machine has it, with rules of older versions too."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from halo_forge.sandbox import kernel, landlock, python_executable
from halo_forge.sandbox.children import fork_child
from halo_forge.sandbox.killing import kill_fenced, kill_user
from halo_forge.sandbox.landlock import Access
from halo_forge.sandbox.landlock_cell import promises
from tests.needs import lacking

_OURS = landlock.version()
_USER = 60_000


@pytest.fixture(autouse=True)
def _landlock() -> None:
    if _OURS < landlock.SCOPES_SINCE:
        lacking(f"Linux 6.12 with Landlock is needed, and this has version {_OURS}")


def _confined(abi: int, allowed: dict[Path, Access], work: Callable[[], None]) -> bool:
    """Do ``work`` under rules of version ``abi``; return whether nothing was refused."""

    def child() -> None:
        ruleset = landlock.new_ruleset(abi)
        for path, access in allowed.items():
            landlock.allow(ruleset, abi, os.open(path, os.O_PATH), access)
        kernel.set_no_new_privileges()
        kernel.restrict_self(ruleset)
        try:
            work()
        except PermissionError:
            os._exit(3)

    status = os.waitstatus_to_exitcode(os.waitpid(fork_child(child), 0)[1])
    assert status in {0, 3}
    return status == 0


@pytest.mark.parametrize("abi", range(1, _OURS + 1))
def test_rules_of_every_version(abi: int, tmp_path: Path) -> None:
    """Files beyond the rules are refused with each version, truncation since the third."""
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.write_text("x")
    rules = {inside: Access.READ | Access.CHANGE}
    assert _confined(abi, rules, lambda: (inside / "new").write_text("x") and None)
    assert not _confined(abi, rules, lambda: outside.read_text() and None)
    assert not _confined(abi, rules, (tmp_path / "new").touch)
    assert not _confined(abi, {inside: Access.READ}, (inside / "more").touch)
    assert _confined(abi, rules, lambda: os.truncate(outside, 0)) == (abi < 3)
    assert _confined(abi, rules, lambda: os.kill(os.getppid(), 0)) == (abi < landlock.SCOPES_SINCE)


def test_promises_follow_the_version() -> None:
    """What an older kernel does not do is not claimed to be done by Landlock."""
    rows = {abi: {p.name: p for p in promises(abi, private_user=True)} for abi in (3, 4, 6)}
    assert [rows[abi]["network"].by for abi in rows] == [
        "seccomp", "seccomp and Landlock 4", "seccomp and Landlock 6",
    ]  # fmt: skip
    assert [rows[abi]["tree_kill"].by for abi in rows] == [
        "a user of its own", "a user of its own", "Landlock 6, signals kept within",
    ]  # fmt: skip
    shared = {p.name: p.level for p in promises(6, private_user=False)}
    assert (shared["processes"], shared["other_samples"]) == ("none", "partial")


_HIDING = """
import os, sys, time
for _ in range(5):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            print("x", flush=True)
            time.sleep(600)
        os._exit(0)
time.sleep(600)
"""


@pytest.fixture
def bystander() -> Iterator[subprocess.Popen[bytes]]:
    """A process that must live."""
    with subprocess.Popen(["/bin/sleep", "600"]) as process:
        yield process
        process.kill()


def _kills_all(fence: bool, kill: Callable[[int], int], user: int | None = None) -> bool:
    """Start a family that hides, in a child, and return whether ``kill`` gets all of it."""

    def child() -> None:
        kernel.adopt_orphans()
        if fence:
            landlock.fence_signals()
        argv = [python_executable(), "-I", "-S", "-c", _HIDING]
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, user=user)
        assert process.stdout is not None
        process.stdout.read(10)  # all five are there
        time.sleep(0.05)
        os._exit(0 if kill(process.pid) >= 6 else 1)

    return os.waitpid(fork_child(child), 0)[1] == 0


def test_one_stroke_kills_the_family(bystander: subprocess.Popen[bytes]) -> None:
    """Behind the fence kill(-1) kills what hid in other sessions, and nobody else."""
    assert _kills_all(True, kill_fenced)
    assert bystander.poll() is None


def test_no_stroke_without_a_fence(bystander: subprocess.Popen[bytes]) -> None:
    """Without the fence the same order would kill everybody, and is not given."""
    with pytest.raises(RuntimeError, match="fence"):
        kill_fenced(0)
    assert bystander.poll() is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start programs as another user")
def test_a_users_processes_are_killed(bystander: subprocess.Popen[bytes]) -> None:
    """Where there is no fence, the user that only these programs have tells them apart."""
    assert _kills_all(False, lambda _: kill_user(_USER), user=_USER)
    assert bystander.poll() is None


_COUNTING = """
import threading, time
from halo_forge.sandbox.landlock_cell import count_processes
before = count_processes()
for _ in range(9):
    threading.Thread(target=time.sleep, args=(1,)).start()
print(count_processes() - before)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become a user with no processes")
def test_processes_are_counted_by_trying(root: Path) -> None:
    """Nine threads more are nine processes more to the kernel."""
    counted = subprocess.run(
        [python_executable(), "-c", _COUNTING],
        user=_USER,
        group=_USER,
        extra_groups=[],
        env={"PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"},
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    assert counted.stdout == "9\n", counted.stderr
