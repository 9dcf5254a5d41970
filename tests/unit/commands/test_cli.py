"""The front door: light help for everything, one message and the right exit code for an error."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest

from halo_forge import __version__, cli
from halo_forge.core import errors

HALO = [sys.executable, "-m", "halo_forge"]
HEAVY = ("torch", "transformers", "numpy", "trl", "peft", "datasets")


def _leaves(command: click.Command, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Every command that has a help page."""
    found = [path]
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None
            found += _leaves(child, (*path, name))
    return found


def _halo(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*HALO, *arguments], capture_output=True, text=True, check=False, timeout=60, **options
    )


def _raise(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def run(arguments: list[str]) -> int:
        raise error

    monkeypatch.setattr(cli, "_run", run)


@pytest.mark.parametrize("path", _leaves(cli.root), ids=" ".join)
def test_help_is_light(path: tuple[str, ...]) -> None:
    """The help of any command loads no heavy library, in a fresh interpreter."""
    code = (
        "import sys; from halo_forge.cli import main; code = main(sys.argv[1:]); "
        f"print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *path, "--help"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert (done.returncode, done.stderr) == (0, "[]\n")
    assert done.stdout.startswith("Usage: halo-forge")


@pytest.mark.parametrize("path", _leaves(cli.root), ids=" ".join)
def test_conventions(path: tuple[str, ...]) -> None:
    """Every command has -v, all but the one that writes a page --json; progress can be silenced."""
    command: click.Command = cli.root
    for name in path:
        assert isinstance(command, click.Group)
        found = command.get_command(click.Context(command), name)
        assert found is not None
        command = found
    if isinstance(command, click.Group):
        return
    flags = {flag for parameter in command.params for flag in parameter.opts}
    assert {"-v", "--verbose"} <= flags
    assert "--json" in flags or path == ("runs", "report")
    assert ("-q" in flags) == ("--quiet" in flags)
    assert "--progress" not in flags or "--quiet" in flags


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_script(shell: str) -> None:
    """Each shell that is documented has a script, which calls the command."""
    done = _halo(env=os.environ | {"_HALO_FORGE_COMPLETE": f"{shell}_source"})
    assert "_HALO_FORGE_COMPLETE" in done.stdout
    assert "halo-forge" in done.stdout


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("halo-forge test --level s", "plain,smoke\nplain,standard\n"),
        ("halo-forge raft train --learn", "plain,--learning-rate\n"),
    ],
)
def test_completion_knows_flags_and_choices(words: str, told: str) -> None:
    """Not only the commands."""
    count = str(len(words.split()) - 1)
    asked = {"_HALO_FORGE_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": count}
    assert _halo(env=os.environ | asked).stdout == told


def test_root_help_imports_no_command() -> None:
    """The list of commands comes from the files' docstrings."""
    code = (
        "import sys; from halo_forge.cli import main; main(['--help']); "
        "assert not [m for m in sys.modules if m.startswith('halo_forge.commands')]; "
        "assert 'pydantic' not in sys.modules and 'rich' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )

    assert done.returncode == 0, done.stderr
    assert "raft       Train a model on its own verified answers." in done.stdout
    assert "_options" not in done.stdout


def test_version() -> None:
    """`--version` names the program and its version."""
    assert _halo("--version").stdout == f"halo-forge {__version__}\n"


def test_unknown_command_names_the_nearest() -> None:
    """A typing error is answered with the command that was meant."""
    done = _halo("rafft")

    assert done.returncode == 2
    assert "no command 'rafft'. Did you mean 'raft'?" in done.stderr
    assert done.stdout == ""


def test_unknown_option_is_a_users_error() -> None:
    """An option that does not exist, and one too many before the command, exit with 2."""
    assert _halo("raft", "train", "--cycels", "3").returncode == 2
    assert _halo("--no-such", "raft").returncode == 2


def test_underscores_are_dashes(tmp_path: Path) -> None:
    """`--learning_rate` is `--learning-rate`."""
    arguments = ("raft", "train", "--dry-run", "--json", "--output", str(tmp_path / "run"))

    assert '"learning_rate": 0.25' in _halo(*arguments, "--learning_rate", "0.25").stdout


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.UserError("bad input"), 2),
        (errors.ConfigError(["a.yaml:1: x", "a.yaml:2: y"]), 2),
        (errors.CheckFailed("no"), 1),
        (errors.StoreFault("disk"), 3),
        (errors.ModelFault("gated"), 3),
        (KeyboardInterrupt(), 130),
    ],
)
def test_errors_become_exit_codes(
    error: BaseException,
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Each kind of error has its code, one message on stderr and no traceback."""
    _raise(monkeypatch, error)

    assert cli.main([]) == code

    captured = capsys.readouterr()
    assert captured.out == ""
    lines = str(error).splitlines() or ["interrupted"]
    assert captured.err.splitlines() == [f"halo-forge: {line}" for line in lines]


def test_message_cannot_drive_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What a model wrote into a message is shown without its escape sequences."""
    _raise(monkeypatch, errors.UserError("\x1b[2J"))

    cli.main([])

    assert capsys.readouterr().err == "halo-forge: �[2J\n"


def test_bug_leaves_its_traceback_in_a_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """An unforeseen error is ours, says so in one line, and keeps the traceback."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    _raise(monkeypatch, ZeroDivisionError("oh"))

    assert cli.main([]) == 3

    (log,) = tmp_path.iterdir()
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        f"halo-forge: this is our fault: ZeroDivisionError: oh; the traceback is in {log}, "
        "-v shows it"
    )
    assert "Traceback" in log.read_text("utf-8")


def test_bug_without_room_for_a_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Where no file can be written the traceback is shown."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "none"))
    _raise(monkeypatch, ZeroDivisionError("oh"))

    assert cli.main([]) == 3
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("error", [ZeroDivisionError("oh"), OSError(errno.EIO, "I/O error")])
def test_verbose_shows_the_traceback(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With -v the traceback is on the screen."""
    _raise(monkeypatch, error)

    assert cli.main(["-v"]) == 3
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device", "/r/x"),
            "/r/x: No space left on device;",
        ),
        (PermissionError(errno.EACCES, "Permission denied", "/r"), "/r: Permission denied"),
        (OSError("odd"), "odd"),
    ],
)
def test_what_the_machine_refuses(
    error: OSError,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A full disk or a permission is one line and exit code 3."""
    _raise(monkeypatch, error)

    assert cli.main([]) == 3
    assert capsys.readouterr().err.startswith(f"halo-forge: {said}")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_full_disk_behind_stdout() -> None:
    """Results that cannot be written are one message, and the exit is not silent."""
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*HALO, "--help"], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )

    assert done.returncode == 3
    (line,) = done.stderr.splitlines()
    assert "No space left on device" in line


def test_closed_pipe_is_quiet() -> None:
    """A reader that goes away ends the program without a word."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [*HALO, "config", "show"], stdout=writer, stderr=subprocess.PIPE, text=True, check=False
        )
    finally:
        os.close(writer)

    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_interrupt_ends_with_130(tmp_path: Path) -> None:
    """Ctrl-C is one word and exit code 130."""
    started = tmp_path / "started"
    code = (
        "import sys, time, pathlib; from halo_forge import cli\n"
        f"def run(_): pathlib.Path({str(started)!r}).touch(); time.sleep(60)\n"
        "cli._run = run; sys.exit(cli.main([]))"
    )
    child = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)
    while not started.exists():
        assert child.poll() is None
    child.send_signal(signal.SIGINT)
    _, said = child.communicate(timeout=30)

    assert (child.returncode, said) == (130, "halo-forge: interrupted\n")


def test_shell_completion_knows_the_commands() -> None:
    """Completion scripts ask through an environment variable."""
    environment = os.environ | {
        "_HALO_FORGE_COMPLETE": "bash_complete",
        "COMP_WORDS": "halo-forge ra",
        "COMP_CWORD": "1",
    }

    assert _halo(env=environment).stdout == "plain,raft\n"
