"""The way to the far side: an account, a connection to it, and the thread that serves it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from halo_forge.core.errors import SandboxFault
from halo_forge.utils.typing import override

if TYPE_CHECKING:
    from asyncssh import SSHClientConnection

__all__ = ["Account", "EventLoop", "connect", "log_in"]

_PATIENCE = 20
_KEEPALIVE = 15

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Account:
    """Whom to be on which machine.

    Attributes:
        host: Name or address of the machine.
        user: Account on it: one that has nothing to lose.
        key: File with the private key, without a passphrase.
        port: Port of its SSH server.
        known_hosts: File with the machine's public key; ``~/.ssh/known_hosts`` when absent.
    """

    host: str
    user: str
    key: str
    port: int = 22
    known_hosts: str | None = None

    @property
    def hosts_file(self) -> Path:
        """The file in which the machine's key is looked up."""
        return Path(self.known_hosts or "~/.ssh/known_hosts").expanduser()

    @override
    def __str__(self) -> str:
        """Return it as SSH writes it."""
        return f"{self.user}@{self.host}" + (f":{self.port}" if self.port != 22 else "")


class EventLoop:
    """A thread in which coroutines run, for callers that are threads themselves."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="ssh", daemon=True)
        self._thread.start()

    @property
    def is_here(self) -> bool:
        """The caller is this thread, which must not wait for itself."""
        return threading.current_thread() is self._thread

    def call(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        """Run ``work`` to its end and return its result; an interrupt cancels it."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def close(self) -> None:
        """End the thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def log_in(account: Account) -> str:
    """Log in and out, and return what the server says it is.

    Raises:
        SandboxFault: If that does not work; the message says how to mend it.
    """

    async def visit() -> str:
        connection = await connect(account)
        connection.close()
        return str(connection.get_extra_info("server_version"))

    loop = EventLoop()
    try:
        return loop.call(visit())
    finally:
        loop.close()


async def connect(account: Account) -> SSHClientConnection:
    """Return a connection that has been authenticated both ways.

    The machine must prove that it is the one in the file of known hosts, and the account is entered
    by its key alone. No password and no agent is offered, nothing is forwarded, and the user's own
    configuration of SSH is left alone.

    Raises:
        SandboxFault: If there is none; the message says how to mend it.
    """
    try:
        import asyncssh
    except ModuleNotFoundError as error:
        raise SandboxFault(
            "judging on a remote machine needs the package asyncssh: "
            "pip install 'halo-forge[remote]'"
        ) from error
    given = account.known_hosts is not None
    try:
        return await asyncssh.connect(
            account.host,
            account.port,
            username=account.user,
            client_keys=[str(Path(account.key).expanduser())],
            known_hosts=str(account.hosts_file) if given else (),
            config=None,
            agent_path=None,
            agent_forwarding=False,
            password=None,
            preferred_auth="publickey",
            connect_timeout=_PATIENCE,
            login_timeout=_PATIENCE,
            keepalive_interval=_KEEPALIVE,
        )
    except asyncssh.HostKeyNotVerifiable as error:
        raise SandboxFault(_unknown_host(account)) from error
    except asyncssh.PermissionDenied as error:
        raise SandboxFault(
            f"{account} refuses the key {account.key}. Its public half must be in the account's "
            "authorized_keys (on Windows, for a member of Administrators: in "
            "C:\\ProgramData\\ssh\\administrators_authorized_keys)."
        ) from error
    except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError) as error:
        raise SandboxFault(
            f"the key {account.key} cannot be used: {error}. It must be a private key without a "
            "passphrase, made for this account alone: ssh-keygen -t ed25519 -N '' -f FILE"
        ) from error
    except (asyncssh.Error, OSError, ValueError) as error:
        why = str(error) or type(error).__name__
        raise SandboxFault(f"no connection to {account}: {why}") from error


def _unknown_host(account: Account) -> str:
    port = "" if account.port == 22 else f" -p {account.port}"
    return (
        f"{account.host} does not prove to be a machine in {account.hosts_file}. If it is yours "
        f"and new, look at its key and add it: ssh-keyscan{port} {account.host} "
        f">>{account.hosts_file}. If it was there before, somebody may be in between."
    )
