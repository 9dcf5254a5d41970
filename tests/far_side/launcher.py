#!/usr/bin/env python3
"""Stands in for `halo_forge/sandbox/ssh/launch.c` where programs do not run on Windows.

The same requests and answers; a process group of its own in place of a job object.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(process: int) -> float:
    """Return the CPU time of a process so far."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


class Run:
    """One program, its two streams, and what ends it."""

    def __init__(self, command: str, directory: str, room: int) -> None:
        self.room = room
        self.texts = {1: bytearray(), 2: bytearray()}
        self.overflow = False
        self.process = subprocess.Popen(
            shlex.split(command), cwd=directory, stdin=-1, stdout=-1, stderr=-1,
            start_new_session=True,
        )  # fmt: skip

    def listen(self, number: int) -> None:
        """Keep what fits."""
        stream = self.process.stdout if number == 1 else self.process.stderr
        while part := os.read(stream.fileno(), 65536):
            room = self.room - len(self.texts[number])
            self.texts[number] += part[:room]
            self.overflow |= len(part) > room

    def feed(self, stdin: bytes) -> None:
        """Write all of the input, as far as it is wanted."""
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(stdin)
            self.process.stdin.close()

    def watch(self, wall: float, cpu: float) -> str:
        """Wait for the end, and say what it was."""
        start = time.monotonic()
        while self.process.poll() is None:
            if self.overflow:
                return "output"
            if cpu_seconds(self.process.pid) > cpu:
                return "cpu"
            if time.monotonic() - start > wall:
                return "wall"
            time.sleep(0.005)
        return "ended"

    def kill(self) -> None:
        """End the whole group."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def serve(numbers: list[int], directory: str, command: str, stdin: bytes) -> None:
    """Run one step and answer."""
    wall, cpu, _, _, output = numbers
    try:
        run = Run(command, directory, output)
    except OSError as error:
        say(f"missing {error.errno} 0 0 0 0 0 0\n".encode())
        return
    threads = [threading.Thread(target=run.listen, args=(number,)) for number in (1, 2)]
    threads.append(threading.Thread(target=run.feed, args=(stdin,)))
    for thread in threads:
        thread.start()
    start = time.monotonic()
    how = run.watch(wall / 1000, cpu / 1000)
    run.kill()
    for thread in threads:
        thread.join()
    code = run.process.returncode
    code = 0xC0000005 if how == "ended" and code < 0 else max(code, 0)
    how = "output" if run.overflow else how
    spent = round(1000 * (time.monotonic() - start))
    out, err = run.texts.values()
    say(f"{how} {code} {spent} {spent} 0 0 {len(out)} {len(err)}\n".encode() + out + err)


def say(text: bytes) -> None:
    """Answer."""
    sys.stdout.buffer.write(text)
    sys.stdout.buffer.flush()


def main() -> None:
    """Serve requests until the channel ends."""
    say(b"halo-forge launcher 0\n")
    stdin = sys.stdin.buffer
    while line := stdin.readline():
        *numbers, directory, command, size = map(int, line.split())
        where, what = stdin.read(directory).decode(), stdin.read(command).decode()
        serve(numbers, where, what, stdin.read(size))


if __name__ == "__main__":
    main()
