"""What one program leaves behind for the next: nothing."""

from __future__ import annotations

import pytest

from halo_forge.sandbox import Job, Limits, Step
from halo_forge.sandbox.conformance import python_step, run_python
from tests.adversarial.conftest import Arena

_PLACES = ("/tmp", "/dev/shm", "/var/tmp", "/run", "/run/lock", "/box", "/dev")
_OWN = "os.environ['TMPDIR']"

_PLANT = f"""
import os
for place in (*{_PLACES!r}, {_OWN}):
    for name in ("sitecustomize.py", "conftest.py", "usercustomize.py", "left-behind"):
        try:
            with open(place + "/" + name, "w") as stream:
                stream.write("print('ESCAPED')")
        except OSError:
            pass
"""

_LOOK = f"""
import os
def names_in(place):
    try:
        return os.listdir(place)
    except OSError:
        return []
for place in (*{_PLACES!r}, {_OWN}):
    for name in names_in(place):
        if name in ("sitecustomize.py", "conftest.py", "usercustomize.py", "left-behind"):
            print("ESCAPED", place, name)
"""


def test_planted_files_are_gone(arena: Arena) -> None:
    """Files planted in every writable place are invisible to the next run and the next job."""
    files = {"plant.py": _PLANT.encode(), "main.py": _LOOK.encode()}
    plant = Step((python_step().argv[0], "plant.py"))
    runs = arena.sandbox.run(Job(files, build=plant, runs=(plant, python_step()))).runs
    assert runs[1].status == "ok"
    later = run_python(arena.sandbox, _LOOK)
    assert (later.status, later.stdout) == ("ok", b"")
    arena.assert_unharmed()


def test_system_v_and_sockets_do_not_persist(arena: Arena) -> None:
    """An abstract socket bound by one job is gone in the next, where it can be bound at all."""
    bind = (
        "import socket\ntry: socket.socket(socket.AF_UNIX).bind('\\0meeting-point')\n"
        "except PermissionError: pass"
    )
    assert run_python(arena.sandbox, bind).status == "ok"
    assert run_python(arena.sandbox, bind).status == "ok"


@pytest.mark.parametrize(
    "trap",
    [
        "os.symlink('/etc/passwd', 'prog')",
        "os.mkfifo('prog')",
        "os.mkdir('prog')",
        "open('prog', 'w').truncate(10 << 20)",
        "os.write(os.open('prog', os.O_CREAT | os.O_WRONLY, 0o755), b'\\x7fELF' + bytes(100))",
        "None",
    ],
)
def test_artefact_traps(arena: Arena, trap: str) -> None:
    """A build whose product is no program makes the run fail, and harms nobody."""
    job = Job(
        {"main.py": f"import os; {trap}".encode()},
        build=python_step(),
        runs=(Step(("./prog",), limits=Limits(cpu=1)),),
    )
    result = arena.sandbox.run(job)
    assert result.runs[0].status in {"nonzero", "crash"}
    arena.assert_unharmed()


def test_build_cannot_hold_the_box_open(arena: Arena) -> None:
    """A daemon of the build is dead before the run, and unreadable leftovers are removed."""
    build = (
        "import os, time\nos.makedirs('deep/er'); os.mkdir('deep/est', 0)\n"
        "try: os.chmod('deep/er', 0); os.chmod('deep', 0)\nexcept PermissionError: pass\n"
        "if os.fork() == 0:\n    os.setsid(); time.sleep(600)\n"
    )
    job = Job({"main.py": build.encode()}, build=python_step(), runs=(Step(("/bin/true",)),))
    result = arena.sandbox.run(job)
    assert result.build is not None
    assert result.build.leftovers == 1
    assert result.runs[0].status == "ok"
    arena.assert_unharmed()


def test_many_jobs_leave_no_trace(arena: Arena) -> None:
    """Twenty small jobs leave neither processes nor mounts nor descriptors in the worker."""
    for _ in range(20):
        assert arena.sandbox.run(Job(runs=(Step(("/bin/true",)),))).runs[0].status == "ok"
    source = "print(len(open('/proc/self/mounts').readlines()))"
    first = run_python(arena.sandbox, source).stdout
    for _ in range(10):
        run_python(arena.sandbox, "raise SystemExit(1)")
    assert run_python(arena.sandbox, source).stdout == first
    arena.assert_unharmed()
