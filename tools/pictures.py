"""`python -m tools.pictures RUN [CONFIG]`: make docs/images from a run, and from one that goes on.

Of RUN: its report, and two terminal views. Of a training by CONFIG: the terminal in the middle of
its second cycle, when the run is given up. The pictures show what the commands print on a terminal
and what a browser makes of the report; nothing is drawn here a second time. They need Chromium and
tmux.
"""

from __future__ import annotations

import io
import os
import pty
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from rich.console import Console
from rich.text import Text

__all__ = ["main", "photograph", "recorded", "terminal_svg", "watched"]

IMAGES = Path("docs/images")
_COLUMNS, _LINES = 132, 200
_SCREEN = 30
_AMIDST = re.compile(r"Cycle 2 of .* verify\b[^\n]* [2-9]\d/\d+ samples[^\n]*ETA", re.DOTALL)
_WINDOW = "1180,1175"
_THEMES = {"light": "1", "dark": "0"}  # as Blink numbers them
_SHOWN = {
    "runs-show": ("runs", "show"),
    "runs-samples": ("runs", "samples", "--held-out", "--cycle", "0", "--limit", "3"),
}
_FONT = "ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace"
_SVG = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: %s; font-size: {char_height}px; line-height: {line_height}px; }}
.{unique_id}-title {{ font: 18px system-ui, sans-serif; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" />
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


def recorded(argv: list[str], cwd: Path) -> str:
    """Return what a command writes to a terminal of its own, colours and all."""
    near, far = pty.openpty()
    env = os.environ | {"COLUMNS": str(_COLUMNS), "LINES": str(_LINES), "TERM": "xterm-256color"}
    env.pop("NO_COLOR", None)
    process = subprocess.Popen(argv, cwd=cwd, env=env, stdout=far, stderr=far)
    os.close(far)
    chunks = []
    with suppress(OSError):  # Linux says so when the other side is closed
        while chunk := os.read(near, 1 << 16):
            chunks.append(chunk)
    os.close(near)
    text = b"".join(chunks).decode().replace("\r\n", "\n")
    if process.wait():
        raise SystemExit(f"{shlex.join(argv)} failed: {text}")
    return text


def watched(argv: list[str], cwd: Path, sign: re.Pattern[str]) -> str:
    """Return what stands on a terminal, colours and all, as soon as ``sign`` stands there.

    The command is ended then.
    """
    tmux = ["tmux", "-L", f"pictures-{os.getpid()}", "-f", "/dev/null"]
    size = ["-x", str(_COLUMNS), "-y", str(_SCREEN)]
    subprocess.run([*tmux, "new-session", "-d", *size, "-c", str(cwd), *argv], check=True)
    try:
        while True:
            shown = subprocess.run(
                [*tmux, "capture-pane", "-p", "-e"], check=True, capture_output=True
            ).stdout.decode()
            if sign.search(Text.from_ansi(shown).plain):
                return shown
            time.sleep(0.2)
    finally:
        subprocess.run([*tmux, "kill-server"], check=False, capture_output=True)


def terminal_svg(text: str, title: str) -> str:
    """Return terminal output as a picture, fonts of the reader's own."""
    console = Console(record=True, width=_COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print(Text.from_ansi(text.rstrip() + "\n"))  # the last line's tails need room below
    return console.export_svg(title=title, code_format=_SVG % _FONT, unique_id="terminal")


def photograph(page: Path, picture: Path, theme: str) -> None:
    """Let Chromium draw a page as it opens from disk, in a profile that is thrown away."""
    with tempfile.TemporaryDirectory() as profile:
        flags = [
            *("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"),
            *("--no-first-run", "--hide-scrollbars", f"--window-size={_WINDOW}"),
            f"--user-data-dir={profile}",
            f"--blink-settings=preferredColorScheme={_THEMES[theme]}",
            f"--screenshot={picture.resolve()}",
        ]
        subprocess.run(
            ["chromium", *flags, page.resolve().as_uri()],
            check=True,
            capture_output=True,
            timeout=300,
        )


def main(run: Path, config: Path | None = None, images: Path = IMAGES) -> None:
    """Write the pictures of ``run``, and of a training by ``config``."""
    for program in ("chromium", "tmux"):
        if shutil.which(program) is None:
            raise SystemExit(f"{program} is not installed")
    images.mkdir(parents=True, exist_ok=True)
    home = run.resolve().parents[1]
    shown = run.resolve().relative_to(home).as_posix()
    halo = [sys.executable, "-m", "halo_forge"]
    if config is not None:
        told = ["raft", "train", "--config", config.as_posix()]
        with tempfile.TemporaryDirectory() as folder:
            seen = watched([*halo, *told, "--output", folder + "/run"], Path.cwd(), _AMIDST)
        svg = terminal_svg(seen, shlex.join(["halo-forge", *told]))
        (images / "raft-train.svg").write_text(svg, encoding="utf-8")
    for name, (group, command, *flags) in _SHOWN.items():
        told = [group, command, shown, *flags]
        svg = terminal_svg(recorded([*halo, *told], home), shlex.join(["halo-forge", *told]))
        (images / f"{name}.svg").write_text(svg, encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "report.html"
        recorded([*halo, "runs", "report", shown, "-o", str(page), "--samples", "2"], home)
        for theme in _THEMES:
            photograph(page, images / f"report-{theme}.png", theme)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
