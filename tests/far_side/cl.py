"""Stands in for Microsoft's compiler where there is none: its words, another's work.

It takes the options that the table of toolchains gives to `cl`, lets MinGW-w64 build a program for
Windows, and says what that says in the form, on the stream and with the codes of `cl`. Programs run
under Wine. In place of our launcher for Windows (`launch.c`) it installs the one beside this file.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
CODES = (
    ("error", r"was not declared|undeclared", "C2065"),
    ("error", r"No such file", "C1083"),
    ("error", r"expected", "C2143"),
    ("error", r"", "C2440"),
    ("warning", r"unused variable", "C4101"),
    ("warning", r"", "C4018"),
)
DIAGNOSTIC = re.compile(
    r"(main\.c\w*):(\d+):(?:\d+:)? (?:fatal )?(error|warning): (.*?)(?: \[-W.*)?"
)
UNRESOLVED = re.compile(r".*undefined reference to [`'](.*)'")
PROGRAM = """\
#!/bin/sh
export WINEPREFIX={prefix} WINEDEBUG=-all
export WINEDLLOVERRIDES="mscoree=;mshtml=;winemenubuilder.exe=;winedbg.exe="
exec wine {program} 2>/dev/null
"""


def translated(line: str) -> str | None:
    """Return a line of GCC's as `cl` would put it, or None for what it would not say."""
    found = DIAGNOSTIC.fullmatch(line)
    if found is not None:
        file, number, kind, text = found.groups()
        code = next(c for k, pattern, c in CODES if k == kind and re.search(pattern, text))
        return f"{file}({number}): {kind} {code}: {text}"
    found = UNRESOLVED.fullmatch(line)
    return found and f"main.obj : error LNK2019: unresolved external symbol {found[1]}"


def main(arguments: list[str]) -> int:
    """Do what `cl` would do, as far as the tests ask for it."""
    if not arguments:
        print("Microsoft (R) C/C++ Optimizing Compiler Version 19.0 (stand-in)", file=sys.stderr)
        print("usage: cl [ option... ] filename... [ /link linkoption... ]")
        return 0
    source = next(word for word in arguments if not word.startswith("/"))
    print(source, flush=True)
    if source == "launch.c":
        shutil.copy(HERE / "launcher.py", "launch.exe")
        return 0
    flags = ["-Wall", "-Wextra"] if "/W4" in arguments else ["-w"]
    target = Path(next(word[4:] for word in arguments if word.startswith("/Fe:")))
    built = target.with_suffix(".built.exe")
    ends = ["-c", "-o", "main.obj"] if "/c" in arguments else ["-static", "-o", str(built)]
    driver = "x86_64-w64-mingw32-" + ("g++" if source.endswith(".cpp") else "gcc")
    made = subprocess.run(
        [driver, *flags, "-O1", "-fno-diagnostics-show-caret", source, *ends],
        stderr=subprocess.PIPE, text=True, errors="replace", check=False,
    )  # fmt: skip
    for line in made.stderr.splitlines():
        said = translated(line)
        if said:
            print(said)
    if made.returncode == 0 and "/c" not in arguments:
        target.write_text(PROGRAM.format(prefix=HERE.parent / "prefix", program=built))
        target.chmod(0o755)
    return 2 if made.returncode else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
