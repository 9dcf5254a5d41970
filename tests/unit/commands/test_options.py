"""Options borrow type, help and default from the configuration, and leave no trace when absent."""

from __future__ import annotations

from typing import Any

import click
import pytest
from click.testing import CliRunner

from halo_forge.commands import _options
from halo_forge.commands._raft_flags import RAFT_FLAGS
from halo_forge.commands.benchmark import BENCHMARK_FLAGS
from halo_forge.commands.raft import replay
from halo_forge.config.base import Section
from halo_forge.config.benchmark import BenchmarkConfig
from halo_forge.config.fields import default_of, fields_of
from halo_forge.config.raft import RaftConfig
from halo_forge.core.errors import ConfigError

FLAGS: dict[str | tuple[str, ...], str] = {
    ("--model", "-m"): "model.name",
    "--cycles": "raft.num_cycles",
    "--no-lora": "lora.enabled",
    "--run/--no-run": "verifier.run_after_compile",
    "--unsafe": "verifier.unsafe_no_sandbox",
    "--scheduler": "training.lr_scheduler",
    "--report-to": "report_to",
}


def _given(*arguments: str) -> dict[str, tuple[Any, str]]:
    """Return what ``arguments`` set: the value and the source of each key that is no default."""
    seen: dict[str, tuple[Any, str]] = {}

    @click.command()
    @_options.config_files
    @_options.settings(RaftConfig, FLAGS)
    @_options.assignments
    @click.pass_context
    def probe(ctx: click.Context) -> None:
        resolved = _options.resolve(ctx, RaftConfig)
        for key, source in resolved.sources.items():
            if source != "default":
                value: Any = resolved.value
                for name in key.split("."):
                    value = getattr(value, name)
                seen[key] = (value, source)

    done = CliRunner().invoke(probe, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return seen


def test_absent_flags_leave_no_trace() -> None:
    """Without arguments everything is a default."""
    assert _given() == {}


@pytest.mark.parametrize(
    ("arguments", "key", "value", "source"),
    [
        (["--cycles", "7"], "raft.num_cycles", 7, "--cycles"),
        (["-m", "x"], "model.name", "x", "--model"),
        (["-m", "null"], "model.name", "null", "--model"),
        (["--no-lora"], "lora.enabled", False, "--no-lora"),
        (["--unsafe"], "verifier.unsafe_no_sandbox", True, "--unsafe"),
        (["--run"], "verifier.run_after_compile", True, "--run"),
        (["--no-run"], "verifier.run_after_compile", False, "--no-run"),
        (["--scheduler", "cosine"], "training.lr_scheduler", "cosine", "--scheduler"),
        (["--report-to", "a, b"], "report_to", ("a", "b"), "--report-to"),
        (["--report-to", ""], "report_to", (), "--report-to"),
        (["--set", "training.epochs=3"], "training.epochs", 3, "--set training.epochs"),
        (["--set", "training.min-lr=5e-5"], "training.min_lr", 5e-5, "--set training.min_lr"),
        (["--set", "temperature=0"], "generation.temperature", 0, "--set temperature"),
        (["--set", "system_prompt=a: b"], "system_prompt", "a: b", "--set system_prompt"),
        (["--set", "system_prompt=null"], "system_prompt", None, "--set system_prompt"),
        (["--set", "report_to=[x]"], "report_to", ("x",), "--set report_to"),
    ],
)
def test_given_flag(arguments: list[str], key: str, value: Any, source: str) -> None:
    """A flag sets its key, with its type, under the name it was given by."""
    assert _given(*arguments) == {key: (value, source)}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--cycles", "-1"], "--cycles: must be at least 0, got -1"),
        (["--set", "raft.num_cycle=1"], "--set raft.num_cycle: unknown key; did you mean"),
        (["--set", "training.epochs=x"], "--set training.epochs: must be a whole number"),
        (["--set", "report_to=[x"], "--set report_to:1: "),
        (["--cycles", "1", "--set", "raft.num_cycles=2"], "--cycles sets it too; keep one"),
        (["--no-run", "--set", "verifier.run-after-compile=true"], "--no-run sets it too"),
    ],
)
def test_wrong_value_names_the_flag(arguments: list[str], said: str) -> None:
    """A message speaks of the flag that was typed."""
    with pytest.raises(ConfigError) as caught:
        _given(*arguments)

    assert said in str(caught.value)


@pytest.mark.parametrize("text", ["x", "=1"])
def test_set_wants_key_and_value(text: str) -> None:
    """`--set` without a key or a value is a usage error."""

    @click.command()
    @_options.assignments
    def probe() -> None: ...

    done = CliRunner().invoke(probe, ["--set", text])

    assert done.exit_code == 2
    assert "is not KEY=VALUE" in done.output


@pytest.mark.parametrize(
    ("model", "flags"), [(RaftConfig, RAFT_FLAGS), (BenchmarkConfig, BENCHMARK_FLAGS)]
)
def test_help_comes_from_the_configuration(
    model: type[Section], flags: dict[str | tuple[str, ...], str]
) -> None:
    """Each option shows the field's docstring and its default, and carries none itself.

    Of none, or of an empty list, nothing is shown.
    """

    @click.command()
    @_options.settings(model, flags)
    def probe() -> None: ...

    for option, key in zip(probe.params, flags.values(), strict=True):
        assert isinstance(option, click.Option)
        description = fields_of(model)[key].description
        assert description
        assert (option.help or "").startswith(description.replace("\n", " "))
        default = default_of(model, key)
        if default in (None, ()):
            assert "[default: " not in (option.help or "")
        elif not isinstance(default, bool):
            assert "[default: " in (option.help or "")


def test_defaults_that_are_not_the_configurations() -> None:
    """A replay has the settings of its run, and no directory until it is told one."""
    shown = {one.name: one.help or "" for one in replay.params if isinstance(one, click.Option)}
    assert shown["raft__num_cycles"].endswith("[default: as in RUN]")
    assert "default" not in shown["output_dir"]
