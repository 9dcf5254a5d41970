"""The launcher for Windows, compiled by MinGW and run under Wine: job objects, pipes, limits."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

import halo_forge.sandbox.ssh
from halo_forge.core.errors import SandboxFault
from halo_forge.sandbox import Limits
from halo_forge.sandbox.ssh import steps
from tests.far_side.server import make_prefix

pytestmark = [
    pytest.mark.toolchain("x86_64-w64-mingw32-gcc"),
    pytest.mark.toolchain("wine"),
    pytest.mark.toolchain("wineserver"),
]

PROGRAM = r"""
#include <windows.h>
#include <stdio.h>
#include <string.h>
int main(int count, char **words) {
    char file[300];
    if (!strcmp(words[1], "echo")) {
        int c;
        while ((c = getchar()) != EOF) putchar(c);
        fputs("done", stderr);
        return 3;
    }
    if (!strcmp(words[1], "wait")) Sleep(100000);
    if (!strcmp(words[1], "flood")) for (;;) puts("xxxxxxxxxxxxxxxxxxxxxxxxxxxxxx");
    if (!strcmp(words[1], "leave")) {
        STARTUPINFOA start = {0};
        PROCESS_INFORMATION child;
        start.cb = sizeof start;
        GetModuleFileNameA(0, file, sizeof file - 10);
        strcat(file, " wait");
        CreateProcessA(0, file, 0, 0, TRUE, 0, 0, 0, &start, &child);
        puts("left one");
    }
    if (!strcmp(words[1], "where")) {
        HANDLE out = GetStdHandle(STD_OUTPUT_HANDLE);
        DWORD flags = 0, open = 0;
        for (size_t h = 4; h < 1024; h += 4)
            if ((HANDLE)h != out && GetFileType((HANDLE)h) == FILE_TYPE_PIPE) open++;
        GetCurrentDirectoryA(sizeof file, file);
        printf("%s %lu", file, open);
        return (int)flags;
    }
    return 0;
}
"""
WALL = Limits(cpu=60, wall=1.5, output=2000)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the launcher and a program for it."""
    place = tmp_path_factory.mktemp("launcher")
    source = Path(halo_forge.sandbox.ssh.__file__).with_name("launch.c")
    shutil.copy(source, place)
    (place / "program.c").write_text(PROGRAM)
    for name in ("launch", "program"):
        subprocess.run(
            ["x86_64-w64-mingw32-gcc", "-O1", "-Wall", "-Werror", f"{name}.c", "-o", f"{name}.exe"],
            cwd=place,
            check=True,
        )
    yield place
    environment = {"PATH": "/usr/bin:/bin", "WINEPREFIX": str(place / "prefix")}
    subprocess.run(["wineserver", "-k"], env=environment, check=False)


def _ask(place: Path, *asked: tuple[str, bytes, Limits]) -> list[object]:
    """Start a launcher, make the requests one after the other, and return what it says."""
    prefix = place / "prefix"
    environment = _environment(prefix) if prefix.exists() else make_prefix(prefix)
    windows = "Z:" + str(place).replace("/", "\\")

    async def talk() -> list[object]:
        launcher = await asyncio.create_subprocess_exec(
            "wine", "launch.exe", cwd=place, env=environment, stdin=-1, stdout=-1
        )
        assert launcher.stdin is not None
        await steps.read_greeting(launcher.stdout)
        said: list[object] = []
        for word, stdin, limits in asked:
            program = f"{windows}\\{word}"
            launcher.stdin.write(steps.request(windows, program, stdin, limits))
            try:
                said.append(await steps.read_outcome(launcher.stdout, limits, program))
            except SandboxFault as fault:
                said.append(str(fault))
        launcher.stdin.close()
        assert await launcher.wait() == 0
        return said

    return asyncio.run(talk())


def _environment(prefix: Path) -> dict[str, str]:
    return {"PATH": "/usr/bin:/bin", "WINEPREFIX": str(prefix), "WINEDEBUG": "-all"}


def test_steps_on_windows(place) -> None:
    """Streams, exit codes, limits and what a program leaves behind, over one channel in order."""
    text = "h\u00e4llo 1\nworld".encode()
    echo, wait, flood, leave, nothing, again = _ask(
        place,
        ("program.exe echo", text, WALL),
        ("program.exe wait", b"", WALL),
        ("program.exe flood", b"", WALL),
        ("program.exe leave", b"", WALL),
        ("nothing.exe", b"", WALL),
        ("program.exe echo", b"again", WALL),
    )
    assert (echo.status, echo.code, echo.stdout, echo.stderr) == (
        "nonzero", 3, text.replace(b"\n", b"\r\n"), b"done",
    )  # fmt: skip
    assert wait.status == "timeout"
    assert (flood.status, len(flood.stdout)) == ("output_limit", 2000)
    assert (leave.status, leave.stdout) == ("ok", b"left one\r\n")
    assert leave.wall < 20  # the child that holds its streams waits for 100 seconds
    assert "nothing.exe cannot be started" in nothing
    assert (again.stdout, again.stderr) == (b"again", b"done")


def test_a_program_starts_where_it_is_told_without_our_channel(place) -> None:
    """Its directory is the one that was asked for; of pipes it has its own three and no more."""
    (where,) = _ask(place, ("program.exe where", b"", WALL))
    directory, pipes = where.stdout.decode().split()
    assert directory == "Z:" + str(place).replace("/", "\\")
    assert int(pipes) <= 2
