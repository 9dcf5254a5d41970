"""Do ten thousand jobs leave anything behind?

    python bench/soak.py [--jobs 10000] [--backend namespaces]

Runs honest and hostile programs in turn and looks, every tenth of the way, at the sandbox's
processes: how many there are, their memory, descriptors and mounts. Exit code 1 if any of them grew
after the first tenth.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import psutil

from halo_forge.sandbox import Job, Limits, Step, python_executable
from halo_forge.sandbox.backends import CONFINED, UNSAFE, open_backend
from halo_forge.sandbox.client import BrokerSandbox

__all__ = ["main"]

_PROGRAMS = (
    "print(sum(range(1000)))",
    "raise SystemExit(3)",
    "import os; os.fork() or os.setsid() or __import__('time').sleep(100)",
    "print('x' * 10**6)",
    "open('/tmp/litter', 'w').write('x' * 10**6)",
    "x = bytearray(10**9)",
    "import os; [os.pipe() for _ in range(1000)]",
    "import os; os.kill(os.getppid(), 9)",
)
_GROWTH = 1.1
_SLACK = 4 << 20


def main() -> int:
    """Run the jobs, print what is looked at, and tell whether it stays."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--backend", default=CONFINED[0], choices=[*CONFINED, UNSAFE])
    options = parser.parse_args()
    looks = []
    with open_backend(options.backend) as sandbox:
        print("   jobs  seconds  processes  resident MiB  descriptors  mounts")
        started = time.monotonic()
        for number in range(options.jobs):
            _run(sandbox, _PROGRAMS[number % len(_PROGRAMS)])
            if (number + 1) % max(1, options.jobs // 10) == 0:
                looks.append(_look())
                count, memory, descriptors, mounts = looks[-1]
                print(
                    f"{number + 1:7}  {time.monotonic() - started:7.1f}  {count:9}  "
                    f"{memory / 2**20:12.1f}  {descriptors:11}  {mounts:6}"
                )
    first, last = looks[0], looks[-1]
    grown = [after > before * _GROWTH + _SLACK * (n == 1) for n, (before, after)
             in enumerate(zip(first, last, strict=True))]  # fmt: skip
    print("grew" if any(grown) else "constant")
    return int(any(grown))


def _run(sandbox: BrokerSandbox, program: str) -> None:
    limits = Limits(cpu=1, memory=64 << 20, processes=8, disk=2 << 20)
    step = Step((python_executable(), "-I", "-S", "-B", "main.py"), limits=limits)
    sandbox.run(Job({"main.py": program.encode()}, None, (step,)))


def _look() -> tuple[int, int, int, int]:
    """Return the number of the sandbox's processes, their bytes, descriptors and mounts."""
    count = memory = descriptors = mounts = 0
    for process in psutil.Process().children(recursive=True):
        try:
            memory += process.memory_info().rss
            descriptors += process.num_fds()
            mounts += len(Path(f"/proc/{process.pid}/mounts").read_text().splitlines())
        except (psutil.NoSuchProcess, OSError):
            continue
        count += 1
    return count, memory, descriptors, mounts


if __name__ == "__main__":
    sys.exit(main())
