"""A stage in a process of its own: what it tells, how it fails, and that it leaves nothing."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from halo_forge.core.errors import ConfigError, Fault, HaloForgeError, UserError
from halo_forge.models.stage_process import StageProcess


class Unportable(HaloForgeError):
    """An error that cannot be made again from its words alone."""

    def __init__(self, first, second):
        super().__init__(f"{first} and {second}")


def double(tell, inbox, start):
    """Tell the process id, then the double of whatever is sent."""
    tell(os.getpid())
    logging.getLogger("halo_forge.stage").warning("started with %s", start)
    for number in inbox:
        tell(2 * number + start)


def fail(tell, inbox, error):
    """Raise."""
    tell("before")
    raise error


def die(tell, inbox, number):
    """Be killed, as by the kernel."""
    tell("before")
    os.kill(os.getpid(), number)
    time.sleep(60)


def nest(tell, inbox):
    """Use a process of its own."""
    with StageProcess("inner", double, 5) as stage:
        told = iter(stage)
        next(told)
        stage.send(1)
        tell(next(told))


def absorbed(tell, inbox):
    """Say who it is and look at nothing any more."""
    tell(os.getpid())
    time.sleep(600)


def nothing(tell, inbox):
    """Do nothing."""


def test_it_tells_and_is_told(caplog):
    """Values go both ways, in order, from another process; its log lands in this one's."""
    with caplog.at_level(logging.INFO, "halo_forge"), StageProcess("doubling", double, 1) as stage:
        told = iter(stage)
        child = next(told)
        for number in (1, 2, 3):
            stage.send(number)
        assert [next(told) for _ in range(3)] == [3, 5, 7]
    assert child != os.getpid()
    assert not psutil.pid_exists(child)
    assert "started with 1" in caplog.text


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (UserError("no such layer"), UserError, "no such layer"),
        (ConfigError(["a", "b"]), ConfigError, "a"),
        (ZeroDivisionError("by nought"), Fault, "ZeroDivisionError"),
    ],
)
def test_an_error_is_raised_here(error, kind, words):
    """An error of ours keeps its type; any other is a fault with its traceback."""
    with pytest.raises(kind, match=words), StageProcess("failing", fail, error) as stage:
        list(stage)


def test_a_killed_child_is_a_fault():
    """What the kernel kills is our trouble, and the message says what it may have been."""
    with (
        pytest.raises(Fault, match=r"killed by SIGKILL .*memory"),
        StageProcess("dying", die, signal.SIGKILL) as stage,
    ):
        list(stage)


def test_a_stage_may_have_stages():
    """As training does that tries its attention."""
    with StageProcess("outer", nest) as stage:
        assert list(stage) == [7]


def test_a_dead_child_cannot_be_sent_anything():
    """Sending to one that has ended is a fault, not a broken pipe."""
    with StageProcess("brief", nothing) as stage:
        assert list(stage) == []
        stage._process.join()
        with pytest.raises(Fault):
            stage.send([0] * 100_000)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_no_orphans(number, root):
    """An interrupted or killed parent takes its child with it."""
    code = (
        "import sys\n"
        "from halo_forge.models.stage_process import StageProcess\n"
        "from tests.unit.models.test_stage_process import absorbed\n"
        "with StageProcess('absorbed', absorbed) as stage:\n"
        "    told = iter(stage)\n"
        "    print(next(told), flush=True)\n"
        "    next(told)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=root,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    assert parent.stdout is not None
    child = psutil.Process(int(parent.stdout.readline()))
    os.killpg(parent.pid, number) if number == signal.SIGINT else parent.kill()
    _, said = parent.communicate(timeout=60)
    child.wait(timeout=20)
    assert parent.returncode == -number
    assert said.decode().count("Traceback") == (number == signal.SIGINT)  # the parent's alone
