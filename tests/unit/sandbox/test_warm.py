"""Code that is loaded once and forked: it runs as in an interpreter of its own, knowing nothing."""

from __future__ import annotations

import io
import os
import signal
import zipfile
from dataclasses import replace

import psutil
import pytest

from halo_forge.core.errors import SandboxFault
from halo_forge.sandbox import Job, Limits, Status, Step, Warm, own_python, python_executable
from halo_forge.sandbox.backends import open_backend
from halo_forge.sandbox.wire import decode_job, encode_job

_CODE = """\
import json, os, sys

ready = []

def prepare(word, go_on):
    ready.append(word)
    go_on()

def main(arguments):
    word = arguments[0]
    if word == "look":
        print(json.dumps({
            "argv": sys.argv[1:], "environment": dict(os.environ), "stdin": sys.stdin.read(),
            "directory": os.getcwd(), "user": os.getuid(), "order": list({"one", "two", "three"}),
            "descriptors": len(os.listdir("/proc/self/fd")), "executable": sys.executable,
            "path": [one for one in sys.path if one[-9:] != "trial.pyz"],
            "file": open("main.py").read(),
            "modules": [name for name in sys.modules if name.startswith("halo")],
            "effective": [line for line in open("/proc/self/status") if line.startswith("Cap")],
        }))
    elif word == "prepared":
        print(ready)
    elif word == "raise":
        raise ValueError("no luck")
    elif word == "exit":
        sys.exit(int(arguments[1]))
    elif word == "words":
        sys.exit("some words")
    elif word == "loop":
        while True: pass
    elif word == "eat":
        bytearray(1 << 30)
    elif word == "talk":
        while True: print("x" * 1000)
    elif word == "scan":
        needle = bytes(int(two, 16) for two in arguments[1].split("."))
        found = 0
        with open("/proc/self/mem", "rb", 0) as memory:
            for line in open("/proc/self/maps"):
                span, rights = line.split()[:2]
                start, end = (int(word, 16) for word in span.split("-"))
                try:
                    memory.seek(start)
                    found += memory.read(end - start).count(needle) if "r" in rights else 0
                except (OSError, OverflowError, ValueError):
                    pass
        print(found - 1)  # the needle itself
"""


def _archive() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("trial.py", _CODE)
        archive.writestr(
            "__main__.py",
            "import sys, trial\ntrial.ready.append('now')\ntrial.main(sys.argv[1:])\n",
        )
    return packed.getvalue()


def _warm(code: str = _CODE, key: str = "trial") -> Warm:
    argv = (own_python(), "-B", "-s", "trial.pyz")
    files, cold = {"trial.py": code.encode()}, {"trial.pyz": _archive()}
    return Warm(key, files, argv, "trial:main", ("trial:prepare", "now"), cold)


def _step(*arguments: str, stdin: bytes = b"", limits: Limits | None = None) -> Step:
    return Step((*_warm().argv, *arguments), stdin, limits or Limits(cpu=2))


def _run(sandbox, *steps: Step, warm: Warm | None, files=()):
    if sandbox.backend != "namespaces":  # where a worker's user may not enter root's home
        steps = tuple(replace(one, argv=(python_executable(), *one.argv[1:])) for one in steps)
        warm = warm and replace(warm, argv=steps[0].argv[: len(warm.argv)])
    found = {"main.py": b"pass", **({} if warm else _warm().cold), **dict(files)}
    return sandbox.run(Job(found, runs=steps, warm=warm)).runs


@pytest.mark.parametrize(
    "step",
    [
        _step("look", "\xe9", stdin="h\xe9".encode()),
        _step("raise"),
        _step("exit", "3"),
        _step("exit", "0"),
        _step("words"),
        _step("loop", limits=Limits(cpu=0.5, wall=60)),
        _step("eat", limits=Limits(memory=200 << 20)),
        _step("talk"),
    ],
    ids=lambda step: " ".join(step.argv[4:]).replace("\xe9", "e"),
)
def test_warm_is_as_cold(sandbox, step) -> None:
    """A run ends, says and sees the same whether its code was loaded before or not."""
    (cold,) = _run(sandbox, step, warm=None)
    for _ in range(2):
        (warm,) = _run(sandbox, step, warm=_warm())
        assert (warm.status, warm.code, warm.signal) == (cold.status, cold.code, cold.signal)
        assert warm.stdout == cold.stdout
        assert warm.stderr.splitlines()[-1:] == cold.stderr.splitlines()[-1:]


def test_it_is_loaded_once(sandbox) -> None:
    """Each run finds what was prepared, as it was then."""
    first, second = _run(sandbox, _step("prepared"), _step("prepared"), warm=_warm())
    assert first.stdout == second.stdout == b"['now']\n"


def test_no_earlier_job_is_in_memory(sandbox) -> None:
    """Neither the input, the files, nor the arguments of other jobs can be found in memory."""
    secret = os.urandom(12).hex()
    hidden = ".".join(f"{ord(letter):x}" for letter in secret)
    told = _step("look", secret, stdin=secret.encode() * 50)
    for warm in (None, _warm()):
        _run(sandbox, told, warm=warm, files={"secret": secret.encode() * 50}.items())
    (seen,) = _run(sandbox, _step("scan", hidden), warm=_warm())
    assert (seen.status, seen.stdout) == (Status.OK, b"0\n"), seen.stderr
    (shown,) = _run(sandbox, _step("scan", hidden, secret), warm=_warm())
    assert int(shown.stdout) > 0  # the search finds what is there


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import nothing_of_that_name", "ModuleNotFoundError"),
        ("def main(x): pass\ndef prepare(x, y): 1 / 0", "ZeroDiv"),
        ("def prepare(x, y): pass\ndef main(x): pass", "did not go on"),
    ],
)
def test_code_that_cannot_be_loaded_is_a_fault(sandbox, code, said) -> None:
    """What is warm is ours, so a job is not to blame for it; the next job is served."""
    if sandbox.backend != "namespaces":
        pytest.skip(f"{sandbox.backend} starts every run cold")
    with pytest.raises(SandboxFault, match=said):
        _run(sandbox, _step("prepared"), warm=_warm(code, key="broken"))
    (after,) = _run(sandbox, _step("prepared"), warm=_warm())
    assert after.ok


def test_a_killed_warm_process_costs_nothing(sandbox) -> None:
    """Whoever kills it, the job is run in a fresh worker."""
    (before,) = _run(sandbox, _step("prepared"), warm=_warm())
    broker = psutil.Process(sandbox.broker_pid)
    for process in broker.children(recursive=True)[-1:]:
        os.kill(process.pid, signal.SIGKILL)
    (after,) = _run(sandbox, _step("prepared"), warm=_warm())
    assert after.stdout == before.stdout


def test_runs_that_do_not_begin_so_are_refused() -> None:
    """What is warm can stand only for the argv that it says."""
    with pytest.raises(ValueError, match="a run of trial begins with"):
        Job(runs=(Step(("/bin/true",)),), warm=_warm())


def test_what_is_warm_is_sent_once() -> None:
    """The second job names it; the first brings all of it, with what a cold start needs."""
    known: dict[str, Warm] = {}
    first = Job({"a": b"1"}, runs=(_step("look"),), warm=_warm())
    second = replace(first, files={"b": b"2"})
    head, blobs = encode_job(first)
    assert decode_job(head, blobs, known) == first
    head, fewer = encode_job(second, known)
    assert decode_job(head, fewer, known) == second
    assert sum(map(len, fewer)) < sum(map(len, blobs)) / 10


def test_nothing_outlives_the_sandbox() -> None:
    """The processes that hold the code end with the worker."""
    with open_backend("namespaces", workers=1) as sandbox:
        _run(sandbox, _step("prepared"), warm=_warm())
        family = psutil.Process(sandbox.broker_pid).children(recursive=True)
        assert len(family) >= 3
    assert not psutil.wait_procs(family, timeout=10)[1]
