"""Processes that have loaded Python code and seen no job, and fork those that run it.

::

    worker --> nursery --> one process for each `Warm` --> program

The worker reads jobs, and a fork inherits whatever its parent read. So the nursery is forked before
the first job comes; it and the processes below it learn only what code to load. What a run is, the
program's process is told by the worker, over a channel of its own.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import importlib
import io
import marshal
import os
import select
import signal
import site
import socket
import struct
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import NamedTuple, NoReturn

from halo_forge.sandbox import kernel, wire
from halo_forge.sandbox.cell import Streams
from halo_forge.sandbox.children import fork_child
from halo_forge.sandbox.family import Family
from halo_forge.sandbox.killing import reap_the_dead
from halo_forge.sandbox.policy import ENVIRONMENT, Warm
from halo_forge.sandbox.running import LinkedRun, Run, Trouble, send_report
from halo_forge.sandbox.worker import Begin, LimitRow, now_begun, set_handler

__all__ = ["Nursery", "Orders"]

_OURS = __name__.partition(".")[0]
_STREAMS = 3
_PID = struct.Struct("!i")

_AT_ONCE = 1 << 16
_PYTHON_SIGNALS = (
    (signal.SIGPIPE, int(signal.SIG_IGN)),
    (signal.SIGXFSZ, int(signal.SIG_IGN)),
    (signal.SIGINT, signal.default_int_handler),
)
"""What an interpreter does with signals when it starts."""


class Orders(NamedTuple):
    """What a program's process must know of its run, and nobody else need.

    Attributes:
        argv: Its arguments.
        limits: What it may use.
        disk: Bytes of its files.
    """

    argv: tuple[str, ...]
    limits: list[LimitRow]
    disk: int


_Main = Callable[[list[str]], None]
_Hook = Mapping[str, Callable[[], object]]

_Become = Callable[[Begin, Orders, Streams, int], NoReturn]
"""Becomes a program in the child that calls it; the number is the descriptor for `become`."""


class Nursery:
    """The worker's hold on these processes.

    Make it before the first job. Everything ends with the worker.

    Args:
        home: Descriptor of the worker's PID namespace.
        become: How a child becomes a program in this backend.
        keep: Descriptors that this needs.
    """

    def __init__(self, home: int, become: _Become, keep: Sequence[int] = ()) -> None:
        self._open: dict[str, socket.socket] = {}
        self._channel, theirs = socket.socketpair()

        def work() -> None:
            _close_all_but({theirs.fileno(), *keep})
            _serve_nursery(theirs, home, become)

        child = fork_child(work)
        os.setpgid(child, child)  # so that waiting for supervisors is not waiting for it
        theirs.close()

    @property
    def processes(self) -> int:
        """How many processes there are that wait for runs."""
        return 1 + len(self._open)

    def start(self, warm: Warm, orders: Orders, streams: Streams) -> Run:
        """Start a run.

        Raises:
            Trouble: If the code cannot be loaded or its process is gone.
        """
        link, far_link = socket.socketpair()
        theirs, ours = os.pipe()
        ends = [streams.stdin, streams.stdout, streams.stderr, far_link.fileno(), theirs]
        try:
            if warm.key not in self._open:
                self._open[warm.key] = self._load(warm)
            channel = self._open[warm.key]
            with far_link, open(ours, "wb", buffering=0) as pen:  # noqa: PTH123 - a descriptor
                socket.send_fds(channel, [b"r"], ends)
                pen.write(marshal.dumps((orders.argv, orders.limits, orders.disk)))
            (first,) = _PID.unpack(channel.recv(_PID.size, socket.MSG_WAITALL))
        except (OSError, struct.error) as error:
            link.close()
            raise Trouble(f"the warm process of {warm.key} is gone: {error}") from error
        finally:
            os.close(theirs)
        return LinkedRun(link, (first,))

    def _load(self, warm: Warm) -> socket.socket:
        channel, theirs = socket.socketpair()
        with theirs:
            socket.send_fds(self._channel, [b"w"], [theirs.fileno()])
        wire.send(channel, *wire.encode_warm(warm))
        answer, _ = wire.receive(channel)
        if "fault" in answer:
            raise Trouble(f"cannot load {warm.key}: {answer['fault']}")
        return channel


def _serve_nursery(orders: socket.socket, home: int, become: _Become) -> None:
    """Fork a process for each channel that comes, until there are no more."""
    signal.signal(signal.SIGCHLD, lambda *_: reap_the_dead())
    kernel.die_with_parent()
    gc.disable()
    while descriptors := _received(orders, 1):
        with socket.socket(fileno=descriptors[0]) as channel:

            def work(channel: socket.socket = channel) -> None:
                orders.close()
                _serve_warm(channel, home, become)

            fork_child(work)


def _close_all_but(keep: set[int]) -> None:
    """Close what the worker had open, such as the channel on which jobs come."""
    last = 2
    for descriptor in sorted(keep):
        os.closerange(last + 1, descriptor)
        last = descriptor
    os.closerange(last + 1, 1 << 16)


def _received(channel: socket.socket, count: int) -> list[int]:
    """Return descriptors that were sent, none at the end."""
    try:
        _, descriptors, _, _ = socket.recv_fds(channel, 1, count)
    except OSError:
        return []
    return descriptors


def _serve_warm(channel: socket.socket, home: int, become: _Become) -> None:
    """Load the code, and fork for each run that comes."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    kernel.die_with_parent()
    warm = wire.decode_warm(*wire.receive(channel))
    hooks: list[_Hook] = []
    register = os.register_at_fork

    def go_on() -> NoReturn:
        os.register_at_fork = register
        try:
            wire.send(channel, {})
            _serve_runs(channel, home, become, lambda argv: _begin(main, argv, hooks), warm)
        finally:
            os._exit(0)

    try:
        # Kept back until a program begins; see `_settle`.
        os.register_at_fork = lambda **hook: hooks.append(hook)
        _become_interpreter(warm)
        main = _function(warm.main)
        prepare, *arguments = warm.prepare
        _function(prepare)(*arguments, go_on)
        raise RuntimeError(f"{prepare} did not go on")  # noqa: TRY301
    except Exception as error:  # noqa: BLE001 - whatever the code raises is told to the worker
        wire.send(channel, {"fault": f"{type(error).__name__}: {error}"})


def _serve_runs(
    channel: socket.socket,
    home: int,
    become: _Become,
    begin: Callable[[list[str]], None],
    warm: Warm,
) -> None:
    """Fork for each run that comes, until there are no more."""
    gc.collect()
    gc.freeze()
    while descriptors := _received(channel, _STREAMS + 2):
        *pipes, link, order = descriptors
        streams = Streams(*pipes)

        def work(errors: int, streams: Streams = streams, order: int = order) -> None:
            orders = Orders(*marshal.loads(_read(order)))  # noqa: S302 - the worker's own
            argv = list(orders.argv[len(warm.argv) - 1 :])
            become(lambda: begin(argv), orders, streams, errors)

        run = Family(home, work)
        for descriptor in (*pipes, order):
            os.close(descriptor)
        with contextlib.suppress(OSError), socket.socket(fileno=link) as listener:
            channel.sendall(_PID.pack(*run.roots))
            _watch(run, listener)


def _read(descriptor: int) -> bytes:
    parts = []
    while part := os.read(descriptor, _AT_ONCE):
        parts.append(part)
    return b"".join(parts)


def _watch(run: Family, link: socket.socket) -> None:
    """Wait for the end of a run, or for the order to stop it, and report."""
    with contextlib.closing(run):
        poller = select.poll()
        poller.register(run, select.POLLIN)
        poller.register(link, select.POLLIN)
        if any(descriptor == link.fileno() for descriptor, _ in poller.poll()):
            run.stop()
        send_report(link, run.report())


def _settle(hooks: list[_Hook]) -> None:
    """Do for this fork what was kept back, and see that it is done at the program's own.

    Such as new seeds for `random`. `threading` sorts out what became of threads; where there is but
    one, it touches many pages for nothing.
    """
    for hook in hooks:
        after = hook.get("after_in_child")
        if after is None or after.__module__ != "threading":
            os.register_at_fork(**hook)
            if after is not None:
                after()
        else:
            os.register_at_fork(after_in_child=functools.partial(_where_threads_are, after))


def _where_threads_are(after: Callable[[], object]) -> None:
    threads = vars(sys.modules["threading"])
    if len(threads["_active"]) + len(threads["_limbo"]) > 1:
        after()


def _become_interpreter(warm: Warm) -> None:
    """Be like an interpreter of its own, where what is warm can be imported."""
    os.environ.clear()
    os.environ.update(ENVIRONMENT)
    sys.executable = sys._base_executable = warm.argv[0]  # type: ignore[attr-defined]  # noqa: SLF001
    sys.dont_write_bytecode = True
    site.main()  # not done at our own start, and what programs expect
    # Packages of the archive are found under their names, not this one's.
    for module in [one for one in sys.modules if one.partition(".")[0] == _OURS]:
        del sys.modules[module]
    sys.meta_path.insert(0, _InMemory(warm))


class _InMemory:
    """Imports modules from memory: what lies in no file, no program can change.

    A finder and a loader as in importlib.abc, which would make every fork dearer.
    """

    def __init__(self, warm: Warm) -> None:
        self._place = warm.argv[-1]
        self._files = warm.files

    def find_spec(self, name: str, *_: object) -> ModuleSpec | None:
        """Return where a module comes from, if it is here."""
        path = name.replace(".", "/")
        for file, package in ((f"{path}/__init__.py", True), (f"{path}.py", False)):
            if file in self._files:
                return ModuleSpec(name, self, origin=file, is_package=package)  # type: ignore[arg-type]
        return None

    def create_module(self, _: ModuleSpec) -> None:
        """Have it created as usual."""

    def exec_module(self, module: ModuleType) -> None:
        """Run a module."""
        file = str(module.__spec__ and module.__spec__.origin)
        code = compile(self._files[file], f"{self._place}/{file}", "exec", dont_inherit=True)
        exec(code, module.__dict__)  # noqa: S102 - the code that is to be loaded


def _function(name: str) -> Callable[..., None]:
    module, _, function = name.partition(":")
    return getattr(importlib.import_module(module), function)  # type: ignore[no-any-return]


def _begin(main: _Main, argv: list[str], hooks: list[_Hook]) -> None:
    """Call ``main`` in what looks to it like a process of its own, and end with it."""
    now_begun()
    sys.argv = argv
    if sys.platform == "linux":
        kernel.set_dumpable(dumpable=True)  # as after exec; a change of user took it away
    for number, handler in _PYTHON_SIGNALS:
        set_handler(number, handler)
    sys.stdin = sys.__stdin__ = io.TextIOWrapper(io.FileIO(0), encoding="utf-8")  # type: ignore[misc]
    sys.stdout = sys.__stdout__ = _writer(1, "strict")  # type: ignore[misc]
    sys.stderr = sys.__stderr__ = _writer(2, "backslashreplace")  # type: ignore[misc]
    gc.enable()
    _settle(hooks)
    status = 1
    try:
        main(argv[1:])
        status = 0
    except SystemExit as end:
        status = _status(end)
    except BaseException:
        traceback.print_exc()
        raise
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(status & 0xFF)


def _status(end: SystemExit) -> int:
    """Return the exit code that an interpreter would give, and say what it would say."""
    if end.code is None or isinstance(end.code, int):
        return end.code or 0
    sys.stderr.write(f"{end.code}\n")
    return 1


def _writer(descriptor: int, errors: str) -> io.TextIOWrapper:
    raw = io.BufferedWriter(io.FileIO(descriptor, "w"))
    return io.TextIOWrapper(raw, encoding="utf-8", errors=errors, line_buffering=descriptor == 2)
