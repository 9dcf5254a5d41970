"""The table of toolchains: all that is specific to a compiler or interpreter is a row here."""

from __future__ import annotations

import re
from dataclasses import replace

from halo_forge.core.errors import UserError
from halo_forge.rlvr.verifiers import scripts
from halo_forge.rlvr.verifiers.languages import LANGUAGES, find_language
from halo_forge.rlvr.verifiers.microsoft import CL, CL_C, DOTNET, MCS
from halo_forge.rlvr.verifiers.toolchain import DRIVER, OWN, PACKAGES, RUNNER, Toolchain

__all__ = ["NATIVE", "OWN_PYTHON", "TOOLCHAINS", "resolve"]

_C_MUTES = re.compile(
    r"#\s*pragma\s+(?:GCC|clang)\s+(?:diagnostic|system_header)|\b_Pragma\s*\(|"
    r"^\s*#\s*(?:line\s+)?\d+\s+\"[^\"\n]*\"\s+\d",
    re.MULTILINE,
)


def _kinds(*rows: tuple[str, str]) -> tuple[tuple[str, re.Pattern[str]], ...]:
    return tuple((kind, re.compile(pattern)) for kind, pattern in rows)


_C_KINDS = _kinds(
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
    "-Wfatal-errors",  # not -fmax-errors=1, which reads on to the next error
    "-fno-diagnostics-show-caret",
    "-fdiagnostics-color=never",
    "-fmessage-length=0",
    "-fmax-include-depth=64",
    "-frandom-seed=0",
)

_CLANG_INSTALL = (
    ("Fedora", "sudo dnf install clang"),
    ("Debian/Ubuntu", "sudo apt install clang"),
    ("macOS", "xcode-select --install"),
)
_CLANG_GUARDS = (
    "-ferror-limit=1",
    "-fno-caret-diagnostics",
    "-fno-color-diagnostics",
    "-fmessage-length=0",
)

# -O1 costs what -O0 does, since less code reaches the assembler, and the tests run faster.
_QUIET = ("-O1", "-w")
_STRICT = ("-O1", "-Wall", "-Wextra")


_POWERSHELL_INSTALL = (
    ("any system", "pip install 'halo-forge[powershell]'"),
    ("Windows, Linux, macOS", "https://aka.ms/install-powershell"),
)

_GXX_GUARDS = (*_GCC_GUARDS, "-ftemplate-depth=256", "-fconstexpr-ops-limit=10000000")

_GXX = Toolchain(
    name="g++",
    language=LANGUAGES["cpp"],
    driver="g++",
    build=(DRIVER, *_GXX_GUARDS, "main.cpp", "-o", "program"),
    precompile=(
        "sh", "-c", scripts.PRECOMPILE_GXX, DRIVER, scripts.INSTANTIATE_EARLY, *_GXX_GUARDS,
    ),
    flags=("-std=c++17", *_QUIET),
    strict=("-std=c++17", *_STRICT),
    linkers=(("mold", "-fuse-ld=mold"), ("ld.lld", "-fuse-ld=lld")),
    unlinked=("-c",),
    warning=re.compile(r"\bwarning:"),
    mutes=_C_MUTES,
    error=_C_ERROR,
    kinds=_C_KINDS,
    good='#include <cstdio>\nint main() { std::puts("ok"); }\n',
    bad="int main() { return undeclared; }\n",
    install=_GCC_INSTALL,
)  # fmt: skip
_GCC = replace(
    _GXX,
    name="gcc",
    language=LANGUAGES["c"],
    driver="gcc",
    build=(DRIVER, *_GCC_GUARDS, "main.c", "-o", "program"),
    precompile=(DRIVER, *_GCC_GUARDS, "-x", "c-header", "preamble.h", "-o", "preamble.h.gch"),
    flags=("-std=gnu17", *_QUIET),
    strict=("-std=gnu17", *_STRICT),
    links=("-lm",),
    good='#include <stdio.h>\nint main(void) { puts("ok"); return 0; }\n',
    bad="int main(void) { return undeclared; }\n",
)
_CLANGXX = replace(
    _GXX,
    name="clang++",
    driver="clang++",
    precompile=(),
    build=(
        DRIVER, *_CLANG_GUARDS, "-ftemplate-depth=256", "-fconstexpr-steps=10000000",
        "main.cpp", "-o", "program",
    ),
    install=_CLANG_INSTALL,
)  # fmt: skip
_CLANG = replace(
    _GCC,
    name="clang",
    driver="clang",
    precompile=(),
    build=(DRIVER, *_CLANG_GUARDS, "main.c", "-o", "program"),
    install=_CLANG_INSTALL,
)
_WINE = ("sh", "-c", scripts.RUN_BY_WINE, RUNNER)
_MINGW_INSTALL = (
    ("Fedora", "sudo dnf install mingw64-gcc-c++ wine"),
    ("Debian/Ubuntu", "sudo apt install g++-mingw-w64-x86-64-posix wine"),
    ("macOS", "brew install mingw-w64"),
)

TOOLCHAINS: dict[str, Toolchain] = {
    toolchain.name: toolchain
    for toolchain in (
        _GXX,
        _GCC,
        _CLANGXX,
        _CLANG,
        replace(
            _GXX,
            name="mingw-g++",
            driver="x86_64-w64-mingw32-g++",
            build=(*_GXX.build[:-1], "program.exe"),
            product="program.exe",
            linkers=(),
            links=("-static",),  # so that a run needs no library beside the program
            run=_WINE,
            runner="wine",
            install=_MINGW_INSTALL,
        ),
        replace(
            _GCC,
            name="mingw-gcc",
            driver="x86_64-w64-mingw32-gcc",
            build=(*_GCC.build[:-1], "program.exe"),
            product="program.exe",
            linkers=(),
            links=("-static",),  # so that a run needs no library beside the program
            run=_WINE,
            runner="wine",
            install=_MINGW_INSTALL,
        ),
        CL,
        CL_C,
        Toolchain(
            name="rustc",
            language=LANGUAGES["rust"],
            driver="rustc",
            build=(
                DRIVER, "--edition=2021", "--color=never", "-Cdebuginfo=0", "-Ccodegen-units=1",
                "main.rs", "-o", "program",
            ),
            flags=("-Copt-level=1", "-Awarnings"),
            strict=("-Copt-level=1",),
            linkers=(
                ("ld.lld", "-Clink-arg=-fuse-ld=lld"),
                ("mold", "-Clink-arg=-fuse-ld=mold"),
            ),
            unlinked=("--crate-type=lib",),
            warning=re.compile(r"^warning\b"),
            mutes=re.compile(r"#!?\s*\[\s*(?:allow|expect)\b|\bcfg_attr\b"),
            error=re.compile(r"^error\b"),
            kinds=_kinds(
                ("link", r"linking with"),
                ("undeclared", r"E0(?:412|423|424|425|432|433|405|599|609|610)\b|cannot find"),
                ("type", r"E0(?:277|282|283|308|369|600|604|605|606|614)\b|mismatched types"),
                ("borrow", r"E0(?:381|382|384|499|50[1-9]|515|596|597|716)\b"),
                ("arguments", r"E0(?:050|060|061|106|107)\b"),
                ("unsafe", r"E0133\b"),
                ("syntax", r"expected|unknown start|unterminated|unclosed|mismatched closing"),
            ),
            good='fn main() { println!("ok"); }\n',
            bad="fn main() { undeclared(); }\n",
            install=(
                ("Fedora", "sudo dnf install rust"),
                ("Debian/Ubuntu", "sudo apt install rustc"),
                ("any system", "https://rustup.rs"),
            ),
        ),
        Toolchain(
            name="go",
            language=LANGUAGES["go"],
            driver="go",
            # No modules and no C: what a program may import is the standard library.
            build=("sh", "-c", scripts.BUILD_GO, DRIVER),
            stock=(
                ("sh", "-c", scripts.LIST_GO_PACKAGES, DRIVER),
                ("importcfg", "importcfg.link", "tools"),
            ),
            version=(DRIVER, "version"),
            error=re.compile(r"^\./main\.go:\d+|^main\.go:\d+|^# |undefined"),
            kinds=_kinds(
                ("missing-header", r"cannot find package|no required module|is not in (?:GO|std)"),
                ("unused", r"declared (?:but|and) not used|imported (?:and|but) not used"),
                ("undeclared", r"undefined|undeclared|has no field or method"),
                ("redefinition", r"redeclared"),
                ("syntax", r"syntax error|non-declaration statement|unexpected"),
                ("type", r"cannot use|mismatched types|cannot convert|invalid operation"),
                ("arguments", r"(?:too many|not enough) arguments|missing return"),
                ("link", r"function main is undeclared"),
            ),
            good='package main\n\nimport "fmt"\n\nfunc main() { fmt.Println("ok") }\n',
            bad="package main\n\nfunc main() { undeclared() }\n",
            install=(
                ("Fedora", "sudo dnf install golang"),
                ("Debian/Ubuntu", "sudo apt install golang-go"),
                ("macOS", "brew install go"),
            ),
        ),
        DOTNET,
        MCS,
        Toolchain(
            name="pwsh",
            language=LANGUAGES["powershell"],
            driver="pwsh",
            build=(
                DRIVER, "-NoLogo", "-NoProfile", "-NonInteractive", "-Command",
                scripts.PARSE_POWERSHELL,
            ),
            run=(),
            product=None,
            error=re.compile(r"^main\.ps1:\d+: "),
            good="Write-Output ok\n",
            bad="if ( { undeclared\n",
            install=_POWERSHELL_INSTALL,
        ),
        Toolchain(
            name="tree-sitter",
            language=LANGUAGES["powershell"],
            driver="python3",
            package="tree_sitter_pwsh",
            heuristic=True,
            build=(DRIVER, "-I", "-S", "-B", "-c", scripts.PARSE_BY_GRAMMAR, PACKAGES),
            run=(),
            product=None,
            version=(DRIVER, "-I", "-S", "-B", "-c", scripts.GRAMMAR_VERSION, PACKAGES),
            error=re.compile(r"^main\.ps1:\d+: "),
            good="Write-Output ok\n",
            bad="if ( { undeclared\n",
            install=_POWERSHELL_INSTALL,
        ),
        Toolchain(
            name="python",
            language=LANGUAGES["python"],
            driver="python3",
            build=(DRIVER, "-I", "-S", "-B", "-W", "ignore", "-c", scripts.PARSE_PYTHON),
            # Not -I: it would drop PYTHONHASHSEED, and the order of a printed set is a verdict.
            run=(DRIVER, "-B", "-s", "main.py"),
            product=None,
            error=re.compile(r"^(?:main\.py:\d+: )?[A-Za-z_][\w.]*(?:Error|Exception|Interrupt)\b"),
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

NATIVE = tuple(
    row for row in TOOLCHAINS.values() if not row.remote and not row.name.startswith("mingw")
)
"""Toolchains for this machine; of several for a language, the first that is installed is used."""


OWN_PYTHON = replace(TOOLCHAINS["python"], name="own python", driver=OWN)
"""For functions, whose tests may need packages that are installed beside halo-forge."""


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
    return next(row for row in NATIVE if row.language == found)
