"""What any backend must do, as named checks: for the tests, `doctor`, and new backends.

Each check runs jobs in a sandbox and raises `CheckFailed` when something is not as promised. A
check that rests on a guarantee applies only where the sandbox claims it.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from halo_forge.core.errors import CheckFailed
from halo_forge.sandbox.base import Sandbox
from halo_forge.sandbox.paths import python_executable
from halo_forge.sandbox.policy import ENVIRONMENT, Job, Level, Limits, Outcome, Status, Step

__all__ = ["CHECKS", "Check", "applies", "python_step", "run_checks", "run_python"]

_BIG = bytes(range(256)) * 1200  # 300 KB: more than any pipe holds
_SHORT = Limits(cpu=1.0, wall=0.4)


@dataclass(frozen=True, slots=True)
class Check:
    """One named property.

    Attributes:
        name: For reports and test ids.
        needs: Guarantees it rests on.
        run: Raises `CheckFailed` when the property does not hold.
        level: How far those must be claimed at least.
    """

    name: str
    needs: tuple[str, ...]
    run: Callable[[Sandbox], None]
    level: Level = Level.PARTIAL


def python_step(*arguments: str, stdin: bytes = b"", limits: Limits | None = None) -> Step:
    """Return a step that runs ``main.py`` of its job with the sandbox's Python."""
    argv = (python_executable(), "-I", "-S", "main.py", *arguments)
    return Step(argv, stdin, limits or Limits())


def run_python(
    sandbox: Sandbox, source: str, *, stdin: bytes = b"", limits: Limits | None = None
) -> Outcome:
    """Run a Python program in ``sandbox`` and return its outcome."""
    step = python_step(stdin=stdin, limits=limits)
    return sandbox.run(Job({"main.py": source.encode()}, runs=(step,))).runs[0]


def applies(check: Check, sandbox: Sandbox) -> bool:
    """Return whether ``sandbox`` claims, as far as needed, all that ``check`` rests on."""
    enough = {check.level, Level.ENFORCED}
    claimed = {g.name for g in sandbox.guarantees() if g.level in enough}
    return claimed.issuperset(check.needs)


def run_checks(sandbox: Sandbox) -> Iterator[tuple[Check, str]]:
    """Run every check that applies; yield it with what went wrong, or ``""``."""
    for check in CHECKS:
        if applies(check, sandbox):
            try:
                check.run(sandbox)
            except CheckFailed as failure:
                yield check, str(failure)
            else:
                yield check, ""


def _expect(outcome: Outcome, *allowed: Status) -> None:
    if outcome.status not in allowed:
        wanted = " or ".join(allowed)
        said = outcome.stderr.decode(errors="replace").strip()[-300:]
        raise CheckFailed(f"expected {wanted}, got {outcome.status}; stderr: {said!r}")


def _expect_equal(what: str, got: object, wanted: object) -> None:
    if got != wanted:
        raise CheckFailed(f"{what}: expected {wanted!r:.200}, got {got!r:.200}")


def _answer(sandbox: Sandbox, source: str) -> Any:
    outcome = run_python(sandbox, source)
    _expect(outcome, Status.OK)
    return json.loads(outcome.stdout)


def _honest(sandbox: Sandbox) -> None:
    outcome = run_python(sandbox, "print(sum(map(int, input().split())))", stdin=b"19 23\n")
    _expect(outcome, Status.OK)
    _expect_equal("stdout", outcome.stdout, b"42\n")
    _expect_equal("leftovers", outcome.leftovers, 0)


def _round_trip(sandbox: Sandbox) -> None:
    echo = "import sys; sys.stdout.buffer.write(sys.stdin.buffer.read())"
    outcome = run_python(sandbox, echo, stdin=_BIG, limits=Limits(output=len(_BIG)))
    _expect(outcome, Status.OK)
    _expect_equal("echo", outcome.stdout, _BIG)


def _streams_apart(sandbox: Sandbox) -> None:
    outcome = run_python(sandbox, "import sys; print('out'); print('err', file=sys.stderr)")
    _expect_equal("streams", (outcome.stdout, outcome.stderr), (b"out\n", b"err\n"))


def _exit_code(sandbox: Sandbox) -> None:
    outcome = run_python(sandbox, "raise SystemExit(7)")
    _expect(outcome, Status.NONZERO)
    _expect_equal("code", outcome.code, 7)


def _crash(sandbox: Sandbox) -> None:
    outcome = run_python(sandbox, "import os; os.abort()")
    _expect(outcome, Status.CRASH)
    _expect_equal("signal", outcome.signal, 6)


def _empty_stdin(sandbox: Sandbox) -> None:
    _expect_equal("stdin", _answer(sandbox, "import sys; print(len(sys.stdin.read()))"), 0)


def _timeout(sandbox: Sandbox) -> None:
    _expect(run_python(sandbox, "import time; time.sleep(60)", limits=_SHORT), Status.TIMEOUT)


def _cpu_limit(sandbox: Sandbox) -> None:
    outcome = run_python(sandbox, "while True: pass", limits=Limits(cpu=1.0))
    _expect(outcome, Status.CPU_LIMIT)


def _output_limit(sandbox: Sandbox) -> None:
    for stream in ("stdout", "stderr"):
        flood = f"import sys\nwhile True: sys.{stream}.write('x' * 9999)"
        outcome = run_python(sandbox, flood, limits=Limits(output=10_000))
        _expect(outcome, Status.OUTPUT_LIMIT)
        _expect_equal(f"length of {stream}", len(getattr(outcome, stream)), 10_000)


def _memory_limit(sandbox: Sandbox) -> None:
    hog = "data = []\nwhile True: data.append(bytearray(4 << 20))"
    _expect(run_python(sandbox, hog, limits=Limits(memory=96 << 20)), Status.MEMORY_LIMIT)


def _file_limit(sandbox: Sandbox) -> None:
    writer = (
        "import os, signal\nsignal.signal(signal.SIGXFSZ, signal.SIG_DFL)\n"
        "f = open(os.environ['TMPDIR'] + '/big', 'wb')\n"
        "while True: f.write(bytes(1 << 16))"
    )
    _expect(run_python(sandbox, writer, limits=Limits(file_size=1 << 20)), Status.FILE_LIMIT)


def _environment(sandbox: Sandbox) -> None:
    got = _answer(sandbox, "import json, os; print(json.dumps(dict(os.environ)))")
    _expect_equal("names", sorted(got.keys() - {"LC_CTYPE"}), sorted(ENVIRONMENT))


def _build_then_run(sandbox: Sandbox) -> None:
    builder = b"open('built', 'w').write('made')"
    python = python_executable()
    job = Job(
        {"build.py": builder, "main.py": b"print(open('built').read())"},
        build=Step((python, "-I", "-S", "build.py")),
        runs=(python_step(),) * 2,
    )
    result = sandbox.run(job)
    _expect_equal("outputs", [run.stdout for run in result.runs], [b"made\n"] * 2)


def _failed_build(sandbox: Sandbox) -> None:
    job = Job({"main.py": b"raise SystemExit(1)"}, build=python_step(), runs=(python_step(),))
    result = sandbox.run(job)
    _expect_equal("runs after a failed build", result.runs, ())


def _read_only_box(sandbox: Sandbox) -> None:
    source = "import os\ntry: open('new', 'w')\nexcept OSError: print(1)\nelse: print(0)"
    _expect_equal("box refused", _answer(sandbox, source), 1)


def _fresh_tmp(sandbox: Sandbox) -> None:
    source = (
        b"import os; place = os.environ['TMPDIR']\n"
        b"print(os.listdir(place)); open(place + '/x', 'w')"
    )
    runs = sandbox.run(Job({"main.py": source}, runs=(python_step(),) * 2)).runs
    _expect_equal("listing", [run.stdout for run in runs], [b"[]\n"] * 2)


def _no_network(sandbox: Sandbox) -> None:
    source = (
        "import socket\ntry: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)"
        ".sendto(b'x', ('127.0.0.1', 9))\nexcept OSError: print(1)\nelse: print(0)"
    )
    _expect_equal("datagram refused", _answer(sandbox, source), 1)


def _no_host_files(sandbox: Sandbox) -> None:
    with tempfile.NamedTemporaryFile() as canary:
        paths = ("/etc/passwd", "/etc/shadow", "/var/log", "/sys/kernel", canary.name)
        source = f"import json, os; print(json.dumps([p for p in {paths} if os.path.exists(p)]))"
        _expect_equal("host paths seen", _answer(sandbox, source), [])


def _no_reading(sandbox: Sandbox) -> None:
    with tempfile.NamedTemporaryFile() as canary:
        canary.write(b"secret")
        canary.flush()
        places = ("/etc/passwd", "/etc/shadow", "/proc/1/environ", canary.name)
        source = (
            "import json\nseen = []\n"
            f"for place in {places}:\n"
            "    try: seen += [place] * len(open(place, 'rb').read(1))\n"
            "    except OSError: pass\n"
            "print(json.dumps(seen))"
        )
        _expect_equal("host files read", _answer(sandbox, source), [])


def _own_processes_only(sandbox: Sandbox) -> None:
    source = (
        "import os\ntry: print(sum(p.isdigit() for p in os.listdir('/proc')))\n"
        "except OSError: print(0)"
    )
    if _answer(sandbox, source) > 2:
        raise CheckFailed("a program sees processes that are not its own")


def _daemon_dies(sandbox: Sandbox) -> None:
    source = (
        "import os, time\n"
        "if os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        time.sleep(60)\n"
        "    os._exit(0)\nos.wait()\nprint('done', flush=True)"
    )
    outcome = run_python(sandbox, source)
    _expect(outcome, Status.OK)
    _expect_equal("leftovers", outcome.leftovers, 1)
    if outcome.wall > 30:
        raise CheckFailed("a run waited for the daemon it left behind")


def _fork_limit(sandbox: Sandbox) -> None:
    source = (
        "import os, time\nn = 0\ntry:\n    while n < 40:\n"
        "        if os.fork() == 0: time.sleep(60)\n        n += 1\nexcept OSError: pass\nprint(n)"
    )
    outcome = run_python(sandbox, source, limits=Limits(processes=8))
    _expect_equal("forks", outcome.stdout, b"7\n")


def _tools_still_work(sandbox: Sandbox) -> None:
    source = (
        "import asyncio, multiprocessing, socket, subprocess, tempfile, threading\n"
        "a, b = socket.socketpair(); a.send(b'x'); b.recv(1)\n"
        "t = threading.Thread(target=len, args=('',)); t.start(); t.join()\n"
        "tempfile.TemporaryFile().write(b'x')\n"
        "asyncio.run(asyncio.sleep(0))\n"
        "ours, theirs = multiprocessing.Pipe()\n"
        "p = multiprocessing.get_context('fork').Process(target=theirs.send, args=('x',))\n"
        "p.start(); ours.recv(); p.join()\n"
        "print(subprocess.run(['/bin/sh', '-c', 'echo 5'], capture_output=True).stdout.decode())"
    )
    _expect_equal("subprocess", _answer(sandbox, source), 5)


CHECKS = (
    Check("honest program", (), _honest),
    Check("300 KB in and out", (), _round_trip),
    Check("streams are kept apart", (), _streams_apart),
    Check("exit code", (), _exit_code),
    Check("crash", (), _crash),
    Check("stdin ends", (), _empty_stdin),
    Check("sleep is timed out", (), _timeout),
    Check("CPU time is limited", (), _cpu_limit),
    Check("output is limited", (), _output_limit),
    Check("memory is limited", (), _memory_limit),
    Check("files are limited", (), _file_limit),
    Check("environment is fixed", (), _environment),
    Check("runs see the build", (), _build_then_run),
    Check("no run after a failed build", (), _failed_build),
    Check("threads, pipes and children work", (), _tools_still_work),
    Check("box is read-only in runs", ("files",), _read_only_box),
    Check("every run has an empty /tmp", ("other_samples",), _fresh_tmp),
    Check("no network", ("network",), _no_network),
    Check("host files cannot be read", ("files",), _no_reading),
    Check("host files are invisible", ("files",), _no_host_files, Level.ENFORCED),
    Check("only own processes are visible", ("other_samples",), _own_processes_only),
    Check("daemons are killed", ("tree_kill",), _daemon_dies),
    Check("forks are limited", ("processes",), _fork_limit),
)
"""Every check, in the order in which a new backend had better pass them."""
