"""What a toolchain is: a compiler or interpreter, and all that is specific to it.

A `Language` is what the model writes; a `Toolchain` is what we do with it: the argv that builds,
the argv that runs, how diagnostics read, how to install it. Several may serve one language; the
table of them is `toolchains`.

Nothing here starts a process; drivers are tried in the sandbox (`workbench`).
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from halo_forge.core.errors import VerifierFault
from halo_forge.rlvr.verifiers.languages import Language
from halo_forge.sandbox import own_python, packages_with, python_executable

__all__ = [
    "DRIVER",
    "HEAP",
    "OWN",
    "PACKAGES",
    "RUNNER",
    "Toolchain",
    "driver_path",
    "require",
    "runner_path",
]


DRIVER = "{driver}"
"""Stands for the driver's path in the argv templates."""

HEAP = "{heap}"
"""Stands in a run's argv for the bytes of its heap, in hexadecimal: most of its memory."""

OWN = "{own python}"
"""As a driver: the interpreter that runs halo-forge."""

PACKAGES = "{packages}"
"""Stands for the folder of the Python package that a build needs."""

RUNNER = "{runner}"
"""Stands for the runner's path in the argv templates."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Toolchain:
    """A compiler or interpreter and how to use it.

    Attributes:
        name: Key in `TOOLCHAINS`.
        language: What it builds.
        driver: Program looked up on PATH; `DRIVER` in the argv templates.
        build: Argv of the build step, without the caller's flags.
        flags: Used when the caller gives none.
        strict: Used instead of ``flags`` when warnings count.
        precompile: Argv that makes ``preamble.h.gch`` of ``preamble.h``, without flags; empty where
            headers are not precompiled.
        stock: Argv that makes, of nothing but the toolchain, what every build can use, and the
            names of that; a build is told where it lies by ``-kept=``.
        linkers: Programs that link faster than the driver's own choice, best first, and the flag
            that takes each.
        links: Appended after the source: libraries every program may use.
        unlinked: Flags that stop before linking, for answers that are functions.
        package: Python package that a build needs; the driver is then the Python that has it.
        heuristic: The build's word is good evidence and not the language's own.
        remote: Found where its sandbox is, which is not this machine.
        swapped: Diagnostics come on standard output and the version on standard error.
        run: Argv of a run; empty where nothing is ever run.
        runner: Program that a run needs beside the driver; `RUNNER` in ``run``. Where it is
            missing, programs are built and not run.
        product: File that a build makes and a run starts; ``None`` where there is none here.
        reserve: Bytes of address space that a run-time maps and does not use.
        version: Argv whose first line of output names the version.
        warning: Matches a warning in the build's output.
        mutes: Matches source text that silences warnings.
        error: Matches the line of a diagnostic that says what is wrong.
        kinds: Classes of diagnostics, first match wins.
        good: A program that must build, run and print ``ok``.
        bad: A program that must not build.
        install: Package to install, by family of systems.
    """

    name: str
    language: Language
    driver: str
    build: tuple[str, ...]
    flags: tuple[str, ...] = ()
    strict: tuple[str, ...] = ()
    precompile: tuple[str, ...] = ()
    stock: tuple[tuple[str, ...], tuple[str, ...]] | None = None
    linkers: tuple[tuple[str, str], ...] = ()
    links: tuple[str, ...] = ()
    unlinked: tuple[str, ...] = ()
    package: str | None = None
    heuristic: bool = False
    remote: bool = False
    swapped: bool = False
    run: tuple[str, ...] = ("./program",)
    runner: str | None = None
    product: str | None = "program"
    reserve: int = 0
    version: tuple[str, ...] = (DRIVER, "--version")
    warning: re.Pattern[str] | None = None
    mutes: re.Pattern[str] | None = None
    error: re.Pattern[str]
    kinds: tuple[tuple[str, re.Pattern[str]], ...] = ()
    good: str
    bad: str
    install: tuple[tuple[str, str], ...]

    def build_argv(self, driver: str, flags: Sequence[str], *, link: bool = True) -> list[str]:
        """Return the argv of the build step with ``driver`` and ``flags`` filled in."""
        last = self.unlinked if self.unlinked and not link else self.links
        return [*self._filled(self.build, driver), *flags, *last]

    def run_argv(self, driver: str, runner: str | None, memory: int) -> list[str]:
        """Return the argv of a run that may use ``memory`` bytes."""
        heap = hex(memory // 4 * 3)
        return [word.replace(HEAP, heap) for word in self._filled(self.run, driver, runner)]

    def stock_argv(self, driver: str) -> list[str]:
        """Return the argv that makes the stock."""
        return self._filled(self.stock[0] if self.stock else (), driver)

    def version_argv(self, driver: str) -> list[str]:
        """Return the argv that prints the version."""
        return self._filled(self.version, driver)

    def _filled(self, template: Sequence[str], driver: str, runner: str | None = None) -> list[str]:
        packages = packages_with(self.package) if self.package else None
        filled = {DRIVER: driver, RUNNER: runner or "", PACKAGES: packages or ""}
        return [filled.get(part, part) for part in template]


def driver_path(toolchain: Toolchain) -> str | None:
    """Return the absolute path of a toolchain's driver, if it is here; its name, if remote."""
    if toolchain.remote:
        return toolchain.driver
    if toolchain.package is not None and packages_with(toolchain.package) is None:
        return None
    if toolchain.package is not None or toolchain.driver == OWN:
        return own_python()
    if toolchain.driver == "python3":
        return python_executable()
    return _found(toolchain.driver)


def runner_path(toolchain: Toolchain) -> str | None:
    """Return the absolute path of the program that runs what was built, if one is needed."""
    return None if toolchain.runner is None else _found(toolchain.runner)


def require(toolchain: Toolchain) -> str:
    """Return the absolute path of a toolchain's driver.

    Raises:
        VerifierFault: If it is not installed; the message says how to install it.
    """
    path = driver_path(toolchain)
    if path is None:
        ways = "; ".join(f"{system}: {command}" for system, command in toolchain.install)
        what = f"the Python package {toolchain.package}" if toolchain.package else toolchain.driver
        raise VerifierFault(
            f"{what} is not "
            f"{'installed' if toolchain.package else 'on PATH'}, "
            f"so {toolchain.language.label} cannot be judged. "
            f"Install it ({ways})."
        )
    return path


def _found(program: str) -> str | None:
    path = shutil.which(program)
    if path is not None and Path(path).resolve().name == "rustup":
        return _behind_rustup(program)
    return path


def _behind_rustup(program: str) -> str | None:
    """Return the real program that rustup's stand-in would start, which needs its settings."""
    home = Path(os.environ.get("RUSTUP_HOME", Path.home() / ".rustup"))
    try:
        settings = (home / "settings.toml").read_text(encoding="utf-8")
    except OSError:
        return None
    chosen = re.search(r'^default_toolchain\s*=\s*"([\w.-]+)"', settings, re.MULTILINE)
    path = home / "toolchains" / (chosen[1] if chosen else "") / "bin" / program
    return str(path) if path.is_file() else None
