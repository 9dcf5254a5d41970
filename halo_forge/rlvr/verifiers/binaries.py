"""A folder in which the programs that answers were built into are kept for people to look at.

What lies there is hostile: it is read out of the sandbox as bytes, written without the right to be
executed, and never read again by us. So it saves no compilation, and cannot spoil a verdict.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from halo_forge.core.errors import VerifierFault
from halo_forge.core.identity import digest
from halo_forge.rlvr.verifiers.workbench import Tool
from halo_forge.sandbox import Limits, Outcome, Step

__all__ = ["BinaryFolder"]

_MOST = 64 << 20
# Of regular files alone, and inside, where a link leads to nothing of the host.
_READ = '[ -f "$0" ] && [ ! -L "$0" ] && exec cat "$0"'


class BinaryFolder:
    """Keeps programs under the digest of all that made them: source, toolchain and flags.

    Args:
        folder: Where; made when it is first needed.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self._folder = Path(folder).expanduser()

    def name(self, source: bytes, tool: Tool) -> str:
        """Return the name of the file for what ``tool`` makes of ``source``."""
        made_by = [tool.toolchain.name, tool.version, *tool.flags]
        text = source.decode("utf-8", "backslashreplace")
        return digest([text, made_by]) + (Path(tool.toolchain.product or "").suffix or ".bin")

    def step(self, tool: Tool) -> Step:
        """Return the run that reads a program out of the sandbox."""
        program = f"./{tool.toolchain.product}"
        limits = Limits(cpu=10, output=_MOST)
        return Step(("sh", "-c", _READ, program), limits=limits)

    def keep(self, name: str, read: Outcome) -> bool:
        """Write what was read under ``name``, whole or not at all; False when it was no program.

        Raises:
            VerifierFault: If it cannot be written.
        """
        if not read.ok or not read.stdout:
            return False
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            if not (self._folder / name).exists():
                self._write(name, read.stdout)
        except OSError as error:
            raise VerifierFault(f"cannot keep a program in {self._folder}: {error}") from error
        return True

    def _write(self, name: str, content: bytes) -> None:
        handle, temporary = tempfile.mkstemp(dir=self._folder, prefix=".", suffix=".tmp")
        try:
            with open(handle, "wb") as file:  # noqa: PTH123 - a descriptor
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(self._folder / name)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
