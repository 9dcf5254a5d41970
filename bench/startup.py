"""What does it cost to ask `halo-forge` for help, and do its verifiers stay light?

    python bench/startup.py [--rounds 15] [--json FILE]

In each round ``python -c pass``, ``halo-forge --help`` and the import of the verifiers take their
turn, each in a process of its own, after one turn that does not count. The aim for ``--help`` is
three times the CPU time of ``python -c pass`` and 100 ms, by medians; of the heavy libraries the
verifiers may load none. Prints CPU milliseconds with their spread; exits with 1 where an aim is
missed.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from measure import Measured, Spread
from results import write_result

__all__ = ["main"]

_HELP = "import sys; from halo_forge.cli import main; sys.exit(main(['--help']))"
_WAYS: Mapping[str, Sequence[str]] = {
    "python -c pass": ("-c", "pass"),
    "halo-forge --help": ("-c", _HELP),
    "import halo_forge.rlvr.verifiers": ("-c", "import halo_forge.rlvr.verifiers"),
}
_HEAVY = ("torch", "transformers", "peft", "trl", "datasets", "tensorboard", "gguf")
_TIMES, _MORE = 3, 0.1


def main() -> int:
    """Start each way in turn, print what it took, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found = _measure(options.rounds)
    report = _report(found)
    _show(report)
    if options.json:
        claim = {
            "name": "processor time of --help, as a share of three times python -c pass and 100 ms",
            "value": report["of_aim"],
            "aim": [0, 1],
            "limit": "startup",
        }
        write_result(options.json, [claim], report)
    return 0 if report["kept"] else 1


def _measure(rounds: int) -> dict[str, Measured[None]]:
    found: dict[str, Measured[None]] = {name: Measured() for name in _WAYS}
    for number in range(rounds + 1):
        for name in list(_WAYS)[:: -1 if number % 2 else 1]:
            _take(found[name], _WAYS[name])
    return {name: measured.after(1) for name, measured in found.items()}


def _take(measured: Measured[None], arguments: Sequence[str]) -> None:
    """Start Python and note what the kernel counted for it; see wait4(2)."""
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{shlex.join(arguments)} ended with {process.returncode}")
    measured.wall.append(time.perf_counter() - started)
    measured.cpu.append(used.ru_utime + used.ru_stime)


def _heavy_in_verifiers() -> list[str]:
    """Return the heavy libraries that a fresh interpreter has loaded with the verifiers."""
    code = "import sys, halo_forge.rlvr.verifiers; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return sorted(set(_HEAVY) & set(done.stdout.split()))


def _report(found: Mapping[str, Measured[None]]) -> dict[str, Any]:
    nothing, help_, _ = found.values()
    limit = _TIMES * Spread.of(nothing.cpu).median + _MORE
    heavy = _heavy_in_verifiers()
    return {
        "ways": {
            name: {"cpu_seconds": Spread.of(one.cpu), "wall_seconds": Spread.of(one.wall)}
            for name, one in found.items()
        },
        "rounds": len(nothing.cpu),
        "aim_cpu_seconds": limit,
        "of_aim": Spread.of(help_.cpu).scaled(1 / limit),
        "heavy_in_verifiers": heavy,
        "kept": Spread.of(help_.cpu).median < limit and not heavy,
    }


def _show(report: Mapping[str, Any]) -> None:
    for name, way in report["ways"].items():
        print(f"{name:>32}: {way['cpu_seconds'].scaled(1000):.0f} ms CPU")
    aim = report["aim_cpu_seconds"] * 1000
    print(f"aim for --help: {aim:.0f} ms; {report['of_aim']:.0%} of it")
    print("the verifiers load", ", ".join(report["heavy_in_verifiers"]) or "no heavy library")


if __name__ == "__main__":
    sys.exit(main())
