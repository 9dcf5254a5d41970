"""Work in a process of its own, which gives back all its memory when it ends.

What a graphics driver or an allocator keeps after a stage is returned for certain only by the end
of the process. The child tells what it has as it goes; an error of it is raised here, a child that
was killed is a `Fault`, and a child whose parent dies dies too. Both ends are ours, so that what
passes between them may be pickled; nothing that a model wrote is ever unpickled from a file.
"""

from __future__ import annotations

import logging
import logging.handlers
import multiprocessing
import os
import pickle
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import Any, Self

from halo_forge.core.errors import Fault, HaloForgeError, ModelFault
from halo_forge.utils.typing import override

__all__ = ["StageProcess", "Tell"]

Tell = Callable[[Any], None]
"""Sends one value to the parent; may be called from any thread."""

_SECONDS_TO_END = 30
_LOGGER = "halo_forge"


class StageProcess:
    """A child process that runs one function; iterating over it yields what the function tells.

    Used with ``with``; leaving the block ends the child, whatever it does. Programs that use it
    from a script of their own need the usual ``if __name__ == "__main__":`` there.

    Args:
        name: The stage, for messages: ``training``.
        work: Called in the child with a `Tell`, an iterator over what `send` was given, and
            ``arguments``; a function of a module.
        arguments: Anything that can be pickled.
    """

    def __init__(self, name: str, work: Callable[..., None], *arguments: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self._name = name
        self._here, self._there = context.Pipe()
        # Not a daemon, which could have no children itself: training tries its attention in one.
        self._process = context.Process(
            target=_child, args=(self._there, work, arguments), name=name, daemon=False
        )

    def __enter__(self) -> Self:
        """Start the child; the terminal's interrupt is the parent's affair."""
        with _interrupts_blocked():
            self._process.start()
        self._there.close()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the child: at once after an error, else when it has done what it does at its end."""
        self._here.close()
        if kind is None:
            self._process.join(_SECONDS_TO_END)
        self._process.kill()
        self._process.join()

    def send(self, value: Any) -> None:
        """Give the child something to do.

        Raises:
            Fault: If it is dead.
        """
        try:
            self._here.send(value)
        except (BrokenPipeError, ConnectionError) as error:
            raise self._dead() from error

    def __iter__(self) -> Iterator[Any]:
        """Yield what the child tells, until its work ends.

        Raises:
            HaloForgeError: What the work raised.
            Fault: If it raised anything else, or the child was killed.
        """
        while True:
            try:
                kind, value = self._here.recv()
            except (EOFError, ConnectionError) as error:
                raise self._dead() from error
            if kind == "told":
                yield value
            elif kind == "log":
                logging.getLogger(value.name).handle(value)
            elif kind == "error":
                raise value
            else:
                return

    def _dead(self) -> Fault:
        self._process.join(_SECONDS_TO_END)
        code = self._process.exitcode or 0
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
        memory = " (so the kernel does when memory runs out)" if code == -signal.SIGKILL else ""
        return ModelFault(
            f"the process of the stage {self._name} {how}{memory}. What was done is kept; the "
            "same command goes on from there."
        )


def _child(connection: Connection, work: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    """Run ``work`` in the child and tell how it ended."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    lock = threading.Lock()

    def send(kind: str, value: Any) -> None:
        with lock:
            connection.send((kind, value))

    logger = logging.getLogger(_LOGGER)
    logger.addHandler(_Forwarder(send))
    logger.propagate = False
    try:
        work(lambda value: send("told", value), _inbox(connection), *arguments)
        send("end", None)
    except HaloForgeError as error:
        send("error", _portable(error))
    except (BrokenPipeError, KeyboardInterrupt):
        os._exit(1)  # nobody listens any more
    except Exception as error:  # noqa: BLE001 - a door: it becomes a fault of the parent's
        text = "".join(traceback.format_exception(error))
        send("error", Fault(f"{type(error).__name__} in the stage's process:\n{text}"))


def _inbox(connection: Connection) -> Iterator[Any]:
    while True:
        try:
            yield connection.recv()
        except (EOFError, ConnectionError):
            return


def _portable(error: HaloForgeError) -> HaloForgeError:
    """Return ``error`` if it survives the way to the parent, else a fault with its words."""
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 - what this process just made
    except (pickle.PicklingError, TypeError, AttributeError):
        return Fault(str(error))
    return error


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


class _Forwarder(logging.handlers.QueueHandler):
    """Hands the child's log to the parent's."""

    def __init__(self, send: Callable[[str, Any], None]) -> None:
        super().__init__(None)  # type: ignore[arg-type]  # `enqueue` below uses no queue
        self._send = send

    @override
    def enqueue(self, record: logging.LogRecord) -> None:
        self._send("log", record)


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Start a process that no interrupt reaches before it ignores them."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
