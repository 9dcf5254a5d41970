"""The table of toolchains: all that is specific to a compiler or interpreter is a row here.

A `Language` is what the model writes; a `Toolchain` is what we do with it: the argv that builds,
the argv that runs, how diagnostics read, how to install it. Several may serve one language.

Nothing here starts a process; drivers are tried in the sandbox (`workbench`).
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass

from halo_forge.core.errors import UserError, VerifierFault
from halo_forge.rlvr.verifiers.languages import LANGUAGES, Language, find_language
from halo_forge.sandbox import python_executable

__all__ = ["DRIVER", "TOOLCHAINS", "Toolchain", "driver_path", "require", "resolve"]


DRIVER = "{driver}"
"""Stands for the driver's path in the argv templates."""


@dataclass(frozen=True, slots=True)
class Toolchain:
    """A compiler or interpreter and how to use it.

    Attributes:
        name: Key in `TOOLCHAINS`.
        language: What it builds.
        driver: Program looked up on PATH; `DRIVER` in the argv templates.
        build: Argv of the build step, without the caller's flags.
        flags: Used when the caller gives none.
        strict: Used instead of ``flags`` when warnings count.
        links: Appended after the source: libraries every program may use.
        unlinked: Flag that stops before linking, for answers that are functions.
        run: Argv of a run.
        version: Argv whose first line of output names the version.
        warning: Matches a warning in the build's standard error.
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
    flags: tuple[str, ...]
    strict: tuple[str, ...]
    links: tuple[str, ...]
    unlinked: str | None
    run: tuple[str, ...]
    version: tuple[str, ...]
    warning: re.Pattern[str] | None
    mutes: re.Pattern[str] | None
    error: re.Pattern[str]
    kinds: tuple[tuple[str, re.Pattern[str]], ...]
    good: str
    bad: str
    install: tuple[tuple[str, str], ...]

    def build_argv(self, driver: str, flags: Sequence[str], *, link: bool = True) -> list[str]:
        """Return the argv of the build step with ``driver`` and ``flags`` filled in."""
        argv = _filled(self.build, driver)
        if self.unlinked is not None and not link:
            return [*argv, *flags, self.unlinked]
        return [*argv, *flags, *self.links]

    def run_argv(self, driver: str) -> list[str]:
        """Return the argv of a run."""
        return _filled(self.run, driver)

    def version_argv(self, driver: str) -> list[str]:
        """Return the argv that prints the version."""
        return _filled(self.version, driver)


_C_MUTES = re.compile(
    r"#\s*pragma\s+(?:GCC|clang)\s+(?:diagnostic|system_header)|\b_Pragma\s*\(|"
    r"^\s*#\s*(?:line\s+)?\d+\s+\"[^\"\n]*\"\s+\d",
    re.MULTILINE,
)
_C_KINDS = tuple(
    (kind, re.compile(pattern))
    for kind, pattern in (
        ("internal", r"internal compiler error|Killed signal|out of memory"),
        ("missing-header", r"No such file or directory|file not found"),
        ("link", r"undefined reference|multiple definition|ld returned|undefined symbol"),
        ("undeclared", r"undeclared|not declared|not been declared|not a member of|has no member|"
                       r"does not name a type|unknown type|implicit declaration"),
        ("redefinition", r"redefinition|redeclar|conflicting"),
        ("syntax", r"expected|stray|missing terminating|unterminated|extra qualification"),
        ("type", r"cannot convert|invalid conversion|no match|no matching|incompatible|"
                 r"invalid operands|cannot bind|discards qualifiers|invalid use|no viable|"
                 r"makes (?:integer|pointer)|could not convert|invalid types"),
        ("arguments", r"too (?:few|many) arguments"),
    )
)  # fmt: skip
_C_ERROR = re.compile(
    r"\berror:|fatal error:|undefined reference|multiple definition|internal compiler error"
)
_GCC_INSTALL = (
    ("Fedora", "sudo dnf install gcc gcc-c++"),
    ("Debian/Ubuntu", "sudo apt install g++"),
    ("macOS", "xcode-select --install"),
)

# Bounds on what hostile source can make GCC do, and the same text of diagnostics everywhere.
_GCC_GUARDS = (
    "-fmax-errors=1",
    "-fno-diagnostics-show-caret",
    "-fdiagnostics-color=never",
    "-fmessage-length=0",
    "-fmax-include-depth=64",
    "-frandom-seed=0",
)

# -O1 costs what -O0 does, since less code reaches the assembler, and the tests run faster.
_GCC_QUIET = ("-O1", "-w")
_GCC_STRICT = ("-O1", "-Wall", "-Wextra")

_PARSE = """\
import sys
try:
    with open("main.py", "rb") as file:
        compile(file.read(), "main.py", "exec", dont_inherit=True)
except Exception as error:
    what = getattr(error, "msg", None) or error
    where = f"main.py:{getattr(error, 'lineno', None) or 0}"
    print(f"{where}: {type(error).__name__}: {what}", file=sys.stderr)
    sys.exit(1)
"""

TOOLCHAINS: dict[str, Toolchain] = {
    toolchain.name: toolchain
    for toolchain in (
        Toolchain(
            name="g++",
            language=LANGUAGES["cpp"],
            driver="g++",
            build=(
                DRIVER, *_GCC_GUARDS, "-ftemplate-depth=256", "-fconstexpr-ops-limit=10000000",
                "main.cpp", "-o", "program",
            ),
            flags=("-std=c++17", *_GCC_QUIET),
            strict=("-std=c++17", *_GCC_STRICT),
            links=(),
            unlinked="-c",
            run=("./program",),
            version=(DRIVER, "--version"),
            warning=re.compile(r"\bwarning:"),
            mutes=_C_MUTES,
            error=_C_ERROR,
            kinds=_C_KINDS,
            good='#include <cstdio>\nint main() { std::puts("ok"); }\n',
            bad="int main() { return undeclared; }\n",
            install=_GCC_INSTALL,
        ),
        Toolchain(
            name="gcc",
            language=LANGUAGES["c"],
            driver="gcc",
            build=(DRIVER, *_GCC_GUARDS, "main.c", "-o", "program"),
            flags=("-std=gnu17", *_GCC_QUIET),
            strict=("-std=gnu17", *_GCC_STRICT),
            links=("-lm",),
            unlinked="-c",
            run=("./program",),
            version=(DRIVER, "--version"),
            warning=re.compile(r"\bwarning:"),
            mutes=_C_MUTES,
            error=_C_ERROR,
            kinds=_C_KINDS,
            good='#include <stdio.h>\nint main(void) { puts("ok"); return 0; }\n',
            bad="int main(void) { return undeclared; }\n",
            install=_GCC_INSTALL,
        ),
        Toolchain(
            name="python",
            language=LANGUAGES["python"],
            driver="python3",
            build=(DRIVER, "-I", "-S", "-B", "-W", "ignore", "-c", _PARSE),
            flags=(),
            strict=(),
            links=(),
            unlinked=None,
            # Not -I: it would drop PYTHONHASHSEED, and the order of a printed set is a verdict.
            run=(DRIVER, "-B", "-s", "main.py"),
            version=(DRIVER, "--version"),
            warning=None,
            mutes=None,
            error=re.compile(r"^(?:main\.py:\d+: )?[A-Za-z_][\w.]*(?:Error|Exception|Interrupt)\b"),
            kinds=(),
            good='print("ok")\n',
            bad="print(\n",
            install=(
                ("Fedora", "sudo dnf install python3"),
                ("Debian/Ubuntu", "sudo apt install python3"),
                ("macOS", "brew install python"),
            ),
        ),
    )
}  # fmt: skip

_BY_LANGUAGE = {toolchain.language.name: toolchain for toolchain in TOOLCHAINS.values()}


def resolve(language: str) -> Toolchain:
    """Return the default toolchain of a language given by name, alias or fence tag.

    Raises:
        UserError: If no toolchain builds that language.
    """
    found = find_language(language)
    if found is None:
        raise UserError(
            f"no toolchain for language {language!r}. Known: {', '.join(sorted(LANGUAGES))}."
        )
    return _BY_LANGUAGE[found.name]


def driver_path(toolchain: Toolchain) -> str | None:
    """Return the absolute path of a toolchain's driver on this machine, if it is here."""
    if toolchain.name == "python":
        return python_executable()
    return shutil.which(toolchain.driver)


def require(toolchain: Toolchain) -> str:
    """Return the absolute path of a toolchain's driver.

    Raises:
        VerifierFault: If it is not installed; the message says how to install it.
    """
    path = driver_path(toolchain)
    if path is None:
        ways = "; ".join(f"{system}: {command}" for system, command in toolchain.install)
        raise VerifierFault(
            f"{toolchain.driver} is not on PATH, so {toolchain.language.label} cannot be judged. "
            f"Install it ({ways})."
        )
    return path


def _filled(template: Sequence[str], driver: str) -> list[str]:
    return [driver if part == DRIVER else part for part in template]
