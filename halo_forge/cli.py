"""The front door: finds the commands, and turns errors into one message and an exit code.

A command group is a file in `halo_forge/commands` whose name does not begin with an underscore
and which has an attribute ``command``. Only the file of the chosen command is imported; the
list of commands reads the first docstring line of each file without importing it.
"""

from __future__ import annotations

import errno
import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from halo_forge import __version__
from halo_forge.core.errors import HaloForgeError
from halo_forge.utils.text import did_you_mean, printable
from halo_forge.utils.typing import override

__all__ = ["main", "root"]

_COMMANDS = Path(__file__).parent / "commands"
_COMPLETION = "_HALO_FORGE_COMPLETE"
_USER, _OURS, _INTERRUPTED, _PIPE_CLOSED = 2, 3, 130, 141


class _Discovered(click.Group):
    """A group whose members are the files of the commands folder."""

    @override
    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the command files."""
        files = (path.stem for path in _COMMANDS.glob("*.py"))
        return sorted(stem.replace("_", "-") for stem in files if not stem.startswith("_"))

    @override
    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the file of one command."""
        if cmd_name not in self.list_commands(ctx):
            return None
        module = importlib.import_module(f"halo_forge.commands.{cmd_name.replace('-', '_')}")
        command: click.Command = module.command
        return command

    @override
    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command, or fail with the nearest name."""
        names = self.list_commands(ctx)
        if _kebab(args[0]) not in names and not args[0].startswith("-"):
            ctx.fail(f"no command {args[0]!r}.{did_you_mean(args[0], names)}")
        return super().resolve_command(ctx, args)

    @override
    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands with the first line of each file's docstring."""
        rows = []
        for name in self.list_commands(ctx):
            # The linter sees to it that a file begins with a docstring of one line; parsing
            # all of them would add a third to the time of --help.
            with (_COMMANDS / f"{name.replace('-', '_')}.py").open(encoding="utf-8") as source:
                line = source.readline().strip().strip('"')
            text = line.removeprefix(f"`halo-forge {name}`: ")
            rows.append((name, f"{text[:1].upper()}{text[1:]}"))
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def _kebab(name: str) -> str:
    """Read `--learning_rate` as `--learning-rate`: people type both."""
    return name.replace("_", "-")


@click.group(
    cls=_Discovered,
    context_settings={"help_option_names": ["-h", "--help"], "token_normalize_func": _kebab},
)
@click.version_option(__version__, message="halo-forge %(version)s")
def root() -> None:
    """Verified training you can believe, on one workstation."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code.

    0 done; 1 a check said no; 2 the input is wrong; 3 our fault or the machine's; 130 interrupted.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        code = _run(arguments)
        sys.stdout.flush()
    except (KeyboardInterrupt, click.Abort):
        return _say("interrupted", _INTERRUPTED)
    except click.ClickException as error:
        error.show()
        return _USER
    except HaloForgeError as error:
        return _say(str(error), error.exit_code)
    except OSError as error:
        return _machine(error, arguments)
    except Exception as error:  # noqa: BLE001 - the last door: a person gets a sentence
        return _bug(error, arguments)
    return code


def _run(arguments: list[str]) -> int:
    if _COMPLETION in os.environ:
        root.main(arguments, prog_name="halo-forge")
    # Not `root.main`: it answers a closed pipe with 1, which here means that a check said no.
    try:
        with root.make_context("halo-forge", arguments) as context:
            root.invoke(context)
    except click.exceptions.Exit as end:
        return end.exit_code
    return 0


def _say(text: str, code: int) -> int:
    for line in printable(text).splitlines():
        click.echo(f"halo-forge: {line}", err=True)
    return code


def _machine(error: OSError, arguments: Sequence[str]) -> int:
    """Report what the machine refused: a full disk, a permission, a closed pipe."""
    if error.filename is None and error.errno in {errno.EPIPE, errno.ENOSPC}:
        # Point stdout nowhere, so that the interpreter's last flush cannot fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if error.errno == errno.EPIPE:
        return _PIPE_CLOSED
    if _wants_detail(arguments):
        click.echo(_traceback(error), err=True)
    where = f"{error.filename}: " if error.filename else ""
    full = error.errno in {errno.ENOSPC, errno.EDQUOT}
    advice = "; free some space and run the same command again" if full else ""
    return _say(f"{where}{error.strerror or error}{advice}", _OURS)


def _bug(error: Exception, arguments: Sequence[str]) -> int:
    """Report an error that nobody foresaw, with its traceback kept out of the way."""
    hint = "" if _wants_detail(arguments) else _kept(_traceback(error))
    if not hint:
        click.echo(_traceback(error), err=True)
    return _say(f"this is our fault: {type(error).__name__}: {error}{hint}", _OURS)


def _kept(report: str) -> str:
    """Write ``report`` to a file and say where; an empty text when there is no room for it."""
    import tempfile  # only here: it would add a fifth to --help

    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="halo-forge-", suffix=".log", delete=False, encoding="utf-8"
        ) as log:
            log.write(report)
    except OSError:
        return ""
    return f"; the traceback is in {log.name}, -v shows it"


def _wants_detail(arguments: Sequence[str]) -> bool:
    return bool({"-v", "--verbose"} & set(arguments))


def _traceback(error: Exception) -> str:
    import traceback  # as above

    return "".join(traceback.format_exception(error))
