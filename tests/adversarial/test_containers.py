"""In containers, as root and as an ordinary user: what is promised there, holds."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from halo_forge.core.errors import SandboxFault
from halo_forge.sandbox import Job, Step, landlock, open_sandbox, python_executable
from halo_forge.sandbox.client import BrokerSandbox
from halo_forge.sandbox.conformance import CHECKS, Check, applies, run_checks, run_python
from tests.adversarial import test_samples
from tests.adversarial.conftest import Arena, Host
from tests.needs import lacking

_NOBODY = 65534
_SAMPLES = (
    *("02_raw_clone_bomb", "16_environment", "17_expected", "18_read_init", "21_unix", "22_kill"),
    *("22_limit_init", "22_slows_down", "23_ptrace", "24_write", "24_changes", "25_overwrites"),
    *("28_new", "29_set_uid", "30_odd", "32_locks", "33_daemon", "35_zombies", "61_incbin"),
)
_ENTRANCE = """\
#!/bin/sh
for scratch; do :; done
chown {user} "$scratch"
export PYTHONPATH={root} PYTHONDONTWRITEBYTECODE=1
exec {python} {root}/tests/container.py {kind} {user} env -i {python} "$@"
"""

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can lock itself in like that")


@contextmanager
def _in_container(kind: str, user: int, host: Host, root: Path, place: Path) -> Iterator[Arena]:
    """Open the best sandbox there is when its broker lives in a container."""
    entrance, python = place / "python", python_executable()
    entrance.write_text(_ENTRANCE.format(kind=kind, user=user, root=root, python=python))
    entrance.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.executable", str(entrance))
        with open_sandbox(workers=1) as sandbox:
            assert isinstance(sandbox, BrokerSandbox)
            arena = Arena(sandbox, host)
            arena.settle()
            yield arena


@pytest.fixture(scope="module", params=[0, _NOBODY], ids=["root", "nobody"])
def contained(
    request: pytest.FixtureRequest, host: Host, root: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Arena]:
    """What there is in plain Docker."""
    if landlock.version() < landlock.SCOPES_SINCE:
        lacking("Linux 6.12 with Landlock is needed to keep signals within")
    place = tmp_path_factory.mktemp("container")
    with _in_container("docker", request.param, host, root, place) as arena:
        yield arena


@pytest.mark.parametrize("user", [0, _NOBODY], ids=["root", "nobody"])
def test_namespaces_without_proc(user: int, host: Host, root: Path, tmp_path: Path) -> None:
    """Where parts of /proc are hidden none can be mounted: programs do without, and all holds."""
    with _in_container("podman", user, host, root, tmp_path) as arena:
        sandbox = arena.sandbox
        if sandbox.backend != "namespaces":
            lacking("the kernel refuses user namespaces")
        (files,) = (promise for promise in sandbox.guarantees() if promise.name == "files")
        assert (files.level, files.by) == (
            "enforced",
            "mount namespace, read-only root, /proc empty",
        )
        problems = [(check.name, problem) for check, problem in run_checks(sandbox) if problem]
        assert problems == []
        for name in ("16_environment", "18_read_init", "33_daemon"):
            test_samples.attack(arena, _sample(name))


def _sample(name: str) -> Path:
    (path,) = (path for path in test_samples.SAMPLES if path.name.startswith(name))
    return path


def test_landlock_is_chosen(contained: Arena, request: pytest.FixtureRequest) -> None:
    """The backend is found by trying, and says what it does not do."""
    levels = {guarantee.name: guarantee.level for guarantee in contained.sandbox.guarantees()}
    alone = "nobody" not in request.node.name
    assert contained.sandbox.backend == "landlock"
    assert levels == {
        "network": "enforced",
        "files": "partial",
        "tree_kill": "enforced",
        "memory_sum": "partial",
        "processes": "enforced" if alone else "none",
        "disk": "partial",
        "other_samples": "enforced" if alone else "partial",
    }
    with pytest.raises(SandboxFault, match=r"landlock: works, but does not enforce files"):
        open_sandbox(workers=1, require=["files"])


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_it_conforms(contained: Arena, check: Check) -> None:
    """All that it claims has been checked."""
    if applies(check, contained.sandbox):
        check.run(contained.sandbox)


@pytest.mark.parametrize("name", _SAMPLES)
def test_attacks_are_contained(contained: Arena, name: str) -> None:
    """The attacks on what is shared with the host come to nothing."""
    test_samples.attack(contained, _sample(name))


@pytest.mark.toolchain("g++")
def test_built_programs_run(contained: Arena) -> None:
    """What a linker may not make executable is so afterwards, and a later run cannot change it."""
    tamper = (
        "import os\nfor attempt in (lambda: os.chmod('prog', 0), lambda: os.utime('prog', (1, 1)),"
        "    lambda: os.chmod('.', 0o777), lambda: os.setxattr('prog', 'user.x', b'x')):\n"
        "    try: attempt(); print('ESCAPED')\n    except OSError: pass"
    )
    source = b'#include <cstdio>\nint main() { std::puts("built"); }\n'
    build = Step(("g++", "-w", "-o", "prog", "main.cpp"))
    run = Step(("./prog",))
    meddle = Step((python_executable(), "-I", "-S", "meddle.py"))
    files = {"main.cpp": source, "meddle.py": tamper.encode()}
    outcomes = contained.sandbox.run(Job(files, build, (run, meddle, run))).runs
    assert [outcome.stdout for outcome in outcomes] == [b"built\n", b"", b"built\n"]


def test_siblings_are_out_of_reach(contained: Arena) -> None:
    """The places of other runs and of other workers cannot be opened, even knowing their names."""
    source = (
        "import os\nown = os.environ['TMPDIR']\nbase = os.path.dirname(own)\n"
        "for name in ('', '/..', '/kept/..', '/tmp-0', '/box-0/..'):\n    place = base + name\n"
        "    if os.path.realpath(place) == own: continue\n"
        "    try: print('ESCAPED', place, os.listdir(place))\n    except OSError: pass\n"
        "open(own + '/secret', 'w').write('x')"
    )
    for _ in range(3):
        outcome = run_python(contained.sandbox, source)
        assert (outcome.status, outcome.stdout) == ("ok", b"")
