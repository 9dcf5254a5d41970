"""Hostile programs, one file each under ``samples/``; a new attack is a new file.

A sample begins with comment lines ``key: value``:

- ``what``: the attack in words; ``expect``: allowed statuses of the hostile step
- ``stage``: ``build`` when the compiler is attacked; default ``run``
- ``limits``: ``name=value`` pairs; ``stdin``: number of bytes given
- ``leftovers``, ``signal``: exact values; ``needs``: a guarantee; ``machine``: an architecture

``@CANARY@`` in a sample stands for the path of a secret file of the host; running programs get
it as their first argument, then an open port, an abstract socket, socket files for streams and
for datagrams, and a process of the host. A program that prints ``ESCAPED``, or the secret
itself, has won.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass
from pathlib import Path

import pytest

from halo_forge.rlvr.verifiers.toolchain import Toolchain, driver_path, runner_path
from halo_forge.rlvr.verifiers.toolchains import TOOLCHAINS
from halo_forge.sandbox import Job, Limits, Outcome, Step
from halo_forge.sandbox.conformance import python_step
from halo_forge.sandbox.policy import Level
from tests.adversarial.conftest import Arena
from tests.needs import lacking

SAMPLES = sorted(Path(__file__).with_name("samples").glob("*.sample"))
_COMPILE = ("g++", "-O0", "-w", "-o", "prog", "main.cpp")
_TOOLCHAINS = {"cs": "mcs", "go": "go", "rs": "rustc"}


@dataclass(frozen=True)
class Sample:
    source: str
    language: str
    head: dict[str, str]

    @classmethod
    def read(cls, path: Path, canary: Path) -> Sample:
        source = path.read_text()
        marker = "# " if path.name.endswith(".py.sample") else "// "
        head: dict[str, str] = {}
        for line in source.splitlines():
            key, colon, value = line.removeprefix(marker).partition(": ")
            if not (line.startswith(marker) and colon and key.isidentifier()):
                break
            head[key] = value
        language = path.name.split(".")[1]
        return cls(source.replace("@CANARY@", str(canary)), language, head)

    @property
    def limits(self) -> Limits:
        pairs = (word.split("=") for word in self.head.get("limits", "").split())
        values = {
            key: float(value) if key in {"cpu", "wall"} else int(value) for key, value in pairs
        }
        return Limits(**values)

    @property
    def attacks_compiler(self) -> bool:
        return self.head.get("stage") == "build"

    def job(self, arguments: tuple[str, ...], backend: str) -> Job:
        stdin = bytes(int(self.head.get("stdin", "0")))
        if self.language == "py":
            step = python_step(*arguments, stdin=stdin, limits=self.limits)
            return Job({"main.py": self.source.encode()}, runs=(step,))
        compiler, program = _COMPILE, ("./prog",)
        if self.language in _TOOLCHAINS:
            compiler, program = _commands(TOOLCHAINS[_TOOLCHAINS[self.language]], backend)
        limits = self.limits if self.attacks_compiler else Limits(cpu=20, memory=2 << 30)
        build = Step(compiler, limits=limits)
        run = Step(
            (*program, *arguments), stdin, Limits() if self.attacks_compiler else self.limits
        )
        return Job({f"main.{self.language}": self.source.encode()}, build, (run,))


def _commands(toolchain: Toolchain, backend: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return how a program is built and run."""
    driver = driver_path(toolchain)
    if driver is None:
        lacking(f"{toolchain.driver} is not installed")
    if backend != "namespaces" and Path(driver).is_relative_to(Path.home()):
        pytest.skip(f"{driver} lies in a home, and {backend} cannot show that")
    runner = runner_path(toolchain)
    built = toolchain.build_argv(driver, toolchain.flags)
    return tuple(built), tuple(toolchain.run_argv(driver, runner, Limits().memory))


def _attack(arena: Arena, sample: Sample) -> tuple[Outcome, tuple[Outcome, ...]]:
    """Return the outcome of the hostile step, and all outcomes."""
    result = arena.sandbox.run(sample.job(arena.host.arguments, arena.sandbox.backend))
    outcomes = (*filter(None, [result.build]), *result.runs)
    if sample.attacks_compiler:
        return outcomes[0], outcomes
    assert result.runs, f"the attack did not compile: {outcomes[0].stderr.decode()}"
    return result.runs[0], outcomes


def _skip_unless_applicable(arena: Arena, sample: Sample) -> None:
    enforced = {g.name for g in arena.sandbox.guarantees() if g.level is Level.ENFORCED}
    if not enforced.issuperset(sample.head.get("needs", "").split()):
        pytest.skip(f"{arena.sandbox.backend} does not enforce {sample.head['needs']} here")
    if sample.head.get("machine", platform.machine()) != platform.machine():
        pytest.skip(f"an attack on {sample.head['machine']}")


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name.removesuffix(".sample"))
def test_attack_is_contained(arena: Arena, path: Path) -> None:
    """The attack ends as expected, steals and changes nothing, and the next program is safe."""
    attack(arena, path)


def attack(arena: Arena, path: Path) -> None:
    """Let a sample try what it can, and look what came of it."""
    sample = Sample.read(path, arena.host.canary)
    _skip_unless_applicable(arena, sample)
    outcome, everything = _attack(arena, sample)
    said = b"".join(o.stdout + o.stderr for o in everything)
    assert outcome.status in sample.head["expect"].split(), (outcome, said[-500:])
    assert not any(b"ESCAPED" in o.stdout for o in everything), said[:500]
    assert arena.host.canary.read_bytes() not in said
    if "signal" in sample.head:
        assert outcome.signal == int(sample.head["signal"])
    if "leftovers" in sample.head:
        assert outcome.leftovers == int(sample.head["leftovers"])
    arena.assert_unharmed()
