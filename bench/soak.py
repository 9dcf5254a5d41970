"""Do ten thousand jobs leave anything behind?

    python bench/soak.py [--jobs 10000] [--backend namespaces]

Runs honest and hostile programs in turn, each by an interpreter of its own and by a fork of a warm
one where the backend has that, and looks, every tenth of the way, at the sandbox's processes: how
many there are, how many are dead and not reaped, their memory, descriptors and mounts; and at the
control groups and files it keeps. Exit code 1 if any of them grew after the first tenth.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import psutil

from halo_forge.sandbox import Job, Limits, Step, Warm, python_executable
from halo_forge.sandbox.backends import CONFINED, UNSAFE, open_backend
from halo_forge.sandbox.client import BrokerSandbox

__all__ = ["main"]

_PROGRAMS = (
    "print(sum(range(1000)))",
    "raise SystemExit(3)",
    "import os; os.fork() or os.setsid() or __import__('time').sleep(100)",
    "print('x' * 10**6)",
    "import os; open(os.environ['TMPDIR'] + '/litter', 'w').write('x' * 10**6)",
    "import os; os.chdir(os.environ['TMPDIR'])\nfor _ in range(99): os.mkdir('d'); os.chdir('d')",
    "x = bytearray(10**9)",
    "import os; [os.pipe() for _ in range(1000)]",
    "import os; os.kill(os.getppid(), 9)",
)
_WARM = b"""
import sys

def prepare(go_on):
    go_on()

def main(_):
    exec(sys.stdin.read())
"""
_COUNTED = ("processes", "zombies", "KiB", "descriptors", "mounts", "groups")
_GROWTH = 1.1
_SLACK = {
    "KiB": 4 << 10,
    "processes": 2,
    "zombies": 2,
    "groups": 1,
}  # a supervisor may still be going down


def main() -> int:
    """Run the jobs, print what is looked at, and tell whether it stays."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--backend", default=CONFINED[0], choices=[*CONFINED, UNSAFE])
    options = parser.parse_args()
    looks: list[dict[str, int]] = []
    jobs = [job for program in _PROGRAMS for job in _cold_and_warm(program.encode())]
    with tempfile.TemporaryDirectory() as place, contextlib.ExitStack() as stack:
        Path(place).chmod(0o711)
        tempfile.tempdir = place
        sandbox = stack.enter_context(open_backend(options.backend))
        started = time.monotonic()
        for number in range(options.jobs):
            sandbox.run(jobs[number % len(jobs)])
            if (number + 1) % max(1, options.jobs // 10) == 0:
                looks.append(_look(sandbox))
                if len(looks) == 1:
                    print("   jobs  seconds", *(f"{name:>11}" for name in looks[0]))
                seconds = time.monotonic() - started
                print(f"{number + 1:7}  {seconds:7.1f}", *(f"{n:11}" for n in looks[-1].values()))
    first, last = looks[0], looks[-1]
    grown = [name for name in first if last[name] > first[name] * _GROWTH + _SLACK.get(name, 0)]
    print(f"grew: {', '.join(grown)}" if grown else "constant")
    return int(bool(grown))


def _cold_and_warm(program: bytes) -> Iterator[Job]:
    python = (python_executable(), "-I", "-S", "-B")
    limits = Limits(cpu=1, memory=64 << 20, processes=8, disk=2 << 20)
    yield Job({"main.py": program}, None, (Step((*python, "main.py"), limits=limits),))
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("warm.py", _WARM)
        archive.writestr("__main__.py", "import warm\nwarm.main([])\n")
    argv, cold = (*python, "soak.pyz"), {"soak.pyz": packed.getvalue()}
    warm = Warm("soak", {"warm.py": _WARM}, argv, "warm:main", ("warm:prepare",), cold)
    yield Job({}, None, (Step(argv, program, limits),), warm=warm)


def _look(sandbox: BrokerSandbox) -> dict[str, int]:
    """Count what could pile up, when nothing runs."""
    found = dict.fromkeys(_COUNTED, 0)
    ours = psutil.Process(sandbox.broker_pid).children(recursive=True)
    for process in ours:
        with contextlib.suppress(psutil.NoSuchProcess, OSError):
            found["zombies"] += process.status() == psutil.STATUS_ZOMBIE
            found["KiB"] += process.memory_info().rss >> 10
            found["descriptors"] += process.num_fds()
            found["mounts"] += len(Path(f"/proc/{process.pid}/mounts").read_text().splitlines())
        found["processes"] += 1
    makers = {str(process.pid) for process in ours}
    for group in Path("/sys/fs/cgroup").glob("**/halo-forge-*"):
        maker = group.name.rpartition("-")[2]
        found["groups"] += maker in makers or not Path("/proc", maker).exists()
    found["files"] = sum(1 for _ in Path(tempfile.gettempdir()).glob("**/*"))
    return found


if __name__ == "__main__":
    sys.exit(main())
