"""One session on the far side: a folder of its own, launchers in it, and jobs run by them."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
import re
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from importlib.resources import files
from subprocess import list2cmdline
from typing import TYPE_CHECKING

from halo_forge.core.errors import SandboxFault
from halo_forge.sandbox.policy import Job, JobResult, Outcome, Step
from halo_forge.sandbox.ssh import steps
from halo_forge.sandbox.ssh.connection import Account, connect

if TYPE_CHECKING:
    from asyncssh import SFTPClient, SSHClientConnection, SSHClientProcess

__all__ = ["PRODUCTS", "FarSide", "Machine", "connection_errors"]

PRODUCTS = "{products}"
"""Stands at the head of a path in an argv for the folder of what a job's build makes."""

_PLAIN = re.compile(r"[\w.:/\\~-]+", re.ASCII)
_DRIVE = re.compile(r"/?[A-Za-z]:(?=/|$)")
_START_SECONDS = 60
_MARGIN_SECONDS = 30
_REMOVAL_SECONDS = 30


@dataclass(frozen=True, slots=True)
class FarSide:
    r"""How the far side is used.

    Attributes:
        input_dir: Folder for sources; a relative one lies in the account's home.
        output_dir: Folder for what is built.
        shell_command: Command line of the account's shell that runs ``{command}`` in ``{folder}``
            where a compiler ``cl`` is found. Beside it lies ``enter.bat``, which finds Visual
            Studio's.
        keep_products: Leave what was built in ``output_dir``.

    Raises:
        ValueError: If a folder's name would need quoting in a shell.
    """

    input_dir: str = "halo-forge/in"
    output_dir: str = "halo-forge/out"
    shell_command: str = r"cmd /d /c {folder}\enter.bat {command}"
    keep_products: bool = False

    def __post_init__(self) -> None:
        """Refuse names that a shell would read in its own way."""
        for name in ("input_dir", "output_dir"):
            folder = getattr(self, name)
            if not _PLAIN.fullmatch(folder) or folder.startswith("-"):
                raise ValueError(
                    f"{name} must consist of letters, digits and . _ - : / \\, got {folder!r}"
                )


@dataclass(frozen=True, slots=True)
class _Folder:
    """A folder of the far side by its absolute path, as SFTP writes it."""

    path: str

    def __truediv__(self, name: str) -> _Folder:
        return _Folder(f"{self.path.rstrip('/')}/{name}")

    @property
    def is_windows(self) -> bool:
        return _DRIVE.match(self.path) is not None

    @property
    def native(self) -> str:
        """The path as programs there write it."""
        return self.path.lstrip("/").replace("/", "\\") if self.is_windows else self.path


class Machine:
    """A connection, and what was set up over it.

    Args:
        account: Where to go.
        far_side: How it is used.
        litter: Folders of earlier sessions that could not be removed.
    """

    def __init__(self, account: Account, far_side: FarSide, litter: set[str]) -> None:
        self._account = account
        self._far_side = far_side
        self._litter = litter
        self._connection: SSHClientConnection | None = None
        self._numbers = itertools.count(1)
        self._idle: list[SSHClientProcess[bytes]] = []
        self._token = secrets.token_hex(4)
        self._robbed = False
        self._sftp: SFTPClient
        self._input: _Folder
        self._output: _Folder

    @property
    def is_lost(self) -> bool:
        """The connection is not there any more, or this session's folders are not."""
        return self._robbed or self._connection is None or self._connection.is_closed()

    @property
    def server(self) -> str:
        """What the server says it is."""
        version = self._connection and self._connection.get_extra_info("server_version")
        return str(version or "unknown")

    async def open(self) -> None:
        """Connect, make this session's folders, and build the launcher in them.

        Raises:
            SandboxFault: If that does not work.
        """
        self._connection = await connect(self._account)
        try:
            async with asyncio.timeout(_START_SECONDS), self._losses():
                self._sftp = await self._connection.start_sftp_client()
                self._input = await self._make_folder(self._far_side.input_dir)
                self._output = await self._make_folder(self._far_side.output_dir)
                await self._set_up()
        except BaseException:
            await self.close()
            raise

    async def _make_folder(self, name: str) -> _Folder:
        path = name.replace("\\", "/").rstrip("/")
        path = f"/{path}" if _DRIVE.match(path) and not path.startswith("/") else path
        await self._sftp.makedirs(f"{path}/{self._token}", exist_ok=True)
        folder = _Folder(str(await self._sftp.realpath(f"{path}/{self._token}")))
        self._litter.add(folder.path)
        return folder

    async def _set_up(self) -> None:
        here = files(__package__)
        script = (here / "enter.bat").read_bytes().replace(b"\n", b"\r\n")
        await self._write(self._input, "enter.bat", script)
        await self._write(self._input, "launch.c", (here / "launch.c").read_bytes())
        assert self._connection is not None
        command = self._shell("cl /nologo /O2 launch.c")
        made = await self._connection.run(command, encoding=None, input=b"")
        if made.exit_status != 0:
            said = b"\n".join(t for t in (made.stderr, made.stdout) if isinstance(t, bytes))
            raise SandboxFault(
                f"{self._account} cannot compile the launcher of programs by `{command}` "
                f"(exit code {made.exit_status}): {said.decode(errors='replace').strip()[:600]}"
            )

    def _shell(self, command: str) -> str:
        """Return the command line that runs ``command`` in this session's folder."""
        given = self._far_side.input_dir.rstrip("/\\")
        folder = f"{given}/{self._token}"
        if self._input.is_windows:
            folder = folder.replace("/", "\\")
        template = self._far_side.shell_command
        return template.replace("{folder}", folder).replace("{command}", command)

    async def run(self, job: Job) -> JobResult:
        """Run one job in folders of its own, which are removed afterwards.

        Raises:
            SandboxFault: If the far side failed.
        """
        digest = hashlib.sha256(b"".join(job.files.values())).hexdigest()
        name = f"{next(self._numbers)}-{digest[:12]}"
        box, products = self._input / name, self._output / name
        async with self._losses():
            try:
                await self._sftp.mkdir(box.path)
                await self._sftp.mkdir(products.path)
                for file, content in job.files.items():
                    await self._write(box, file, content)
                async with self._launcher() as launcher:
                    return await _run_steps(launcher, job, box, products)
            finally:
                await self._remove(box.path)
                if not self._far_side.keep_products:
                    await self._remove(products.path)

    @contextlib.asynccontextmanager
    async def _losses(self) -> AsyncIterator[None]:
        """Turn what SSH reports into a fault.

        Raises:
            SandboxFault: With what it was.
        """
        try:
            yield
        except connection_errors() as error:
            self._robbed |= isinstance(error, _missing_file())
            why = str(error) or "no answer in time"
            if isinstance(error, EOFError):
                why = "the channel was closed"
            raise SandboxFault(f"lost {self._account}: {type(error).__name__}: {why}") from error

    @contextlib.asynccontextmanager
    async def _launcher(self) -> AsyncIterator[SSHClientProcess[bytes]]:
        """Lend a launcher; one that did not end its work in peace is not used again."""
        launcher = self._idle.pop() if self._idle else await self._start_launcher()
        try:
            yield launcher
        except BaseException:
            launcher.close()
            raise
        self._idle.append(launcher)

    async def _start_launcher(self) -> SSHClientProcess[bytes]:
        assert self._connection is not None
        process: SSHClientProcess[bytes] = await self._connection.create_process(
            self._shell("launch.exe"), encoding=None
        )
        try:
            async with asyncio.timeout(_START_SECONDS):
                await steps.read_greeting(process.stdout)
        except BaseException:
            process.close()
            raise
        return process

    async def _write(self, folder: _Folder, name: str, content: bytes) -> None:
        async with self._sftp.open((folder / name).path, "wb") as file:
            await file.write(content)

    async def _remove(self, path: str) -> None:
        """Remove a folder that a hostile program wrote to; what resists goes with the session."""
        if not self.is_lost:
            with contextlib.suppress(TimeoutError, *connection_errors()):
                async with asyncio.timeout(_REMOVAL_SECONDS):
                    await self._sftp.rmtree(path, ignore_errors=True)

    async def close(self) -> None:
        """End the launchers, remove the folders of this and earlier sessions, and disconnect."""
        if self._connection is None:
            return
        for launcher in self._idle:
            launcher.stdin.write_eof()
        with contextlib.suppress(TimeoutError, *connection_errors()):
            async with asyncio.timeout(_REMOVAL_SECONDS):
                for launcher in self._idle:
                    await launcher.wait_closed()
        if not self.is_lost:
            await self._tidy()
        self._connection.close()
        with contextlib.suppress(TimeoutError, *connection_errors()):
            async with asyncio.timeout(_MARGIN_SECONDS):
                await self._connection.wait_closed()

    async def _tidy(self) -> None:
        kept = {self._output.path} if self._far_side.keep_products else set()
        for path in self._litter - kept:
            await self._remove(path)
        self._litter.clear()


async def _run_steps(
    launcher: SSHClientProcess[bytes], job: Job, box: _Folder, products: _Folder
) -> JobResult:
    built = None
    if job.build is not None:
        built = await _run_step(launcher, job.build, box, products)
        if not built.ok:
            return JobResult(built, ())
    runs: list[Outcome] = []
    for step in job.runs:
        runs.append(await _run_step(launcher, step, products, products))
        if runs[-1].status in job.stop_on:
            break
    return JobResult(built, tuple(runs))


async def _run_step(
    launcher: SSHClientProcess[bytes], step: Step, directory: _Folder, products: _Folder
) -> Outcome:
    argv = [_placed(word, products) for word in step.argv]
    launcher.stdin.write(
        steps.request(directory.native, list2cmdline(argv), step.stdin, step.limits)
    )
    async with asyncio.timeout(step.limits.wall_seconds + _MARGIN_SECONDS):
        return await steps.read_outcome(launcher.stdout, step.limits, argv[0])


def _placed(word: str, products: _Folder) -> str:
    """Return a word of an argv with the folder of products in it."""
    before, mark, name = word.partition(f"{PRODUCTS}/")
    return before + (products / name).native if mark else word


def _missing_file() -> type[Exception]:
    """Return what is raised when somebody over there has thrown a file or folder away."""
    import asyncssh

    return asyncssh.SFTPNoSuchFile


def connection_errors() -> tuple[type[Exception], ...]:
    """Return what is raised when a connection is lost, or the far side's files cannot be had."""
    import asyncssh

    return (asyncssh.Error, OSError, EOFError, TimeoutError)
