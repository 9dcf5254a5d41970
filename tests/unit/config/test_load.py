"""Files, flags and defaults fold in their order, and every problem is told at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from halo_forge.config.benchmark import BenchmarkConfig
from halo_forge.config.fields import default_of, fields_of
from halo_forge.config.load import detect_type, dump_yaml, load_config, preset
from halo_forge.config.raft import RaftConfig
from halo_forge.core.errors import ConfigError, UserError


@pytest.fixture
def write(tmp_path: Path) -> Any:
    """Write a YAML file and return its path."""

    def write(text: str, name: str = "raft.yaml") -> Path:
        path = tmp_path / name
        path.write_text(text, "utf-8")
        return path

    return write


def _problems(*files: Path, flags: dict[str, Any] | None = None, **names: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_config(RaftConfig, files, flags or {}, names)
    heads = {f"{file.parent}/" for file in files}
    texts = caught.value.problems
    return [next((t.removeprefix(h) for h in heads if t.startswith(h)), t) for t in texts]


def test_nothing_given_is_the_defaults() -> None:
    """Without files and flags every value is the model's and says so."""
    resolved = load_config(RaftConfig, [], {})

    assert RaftConfig() == resolved.value
    assert {"default"} == set(resolved.sources.values())
    assert set(fields_of(RaftConfig)) == set(resolved.sources)


def test_precedence(write: Any) -> None:
    """Flags beat nested keys, which beat twins, which beat defaults; sources tell which."""
    file = write("num_cycles: 7\nraft:\n  samples_per_prompt: 4\nsamples_per_prompt: 5\nseed: 1\n")

    resolved = load_config(RaftConfig, [file], {"seed": 2}, {"seed": "--seed"})

    assert (
        resolved.value.raft.num_cycles,
        resolved.value.raft.samples_per_prompt,
        resolved.value.seed,
    ) == (7, 4, 2)
    assert f"{file}:1" == resolved.sources["raft.num_cycles"]
    assert f"{file}:3" == resolved.sources["raft.samples_per_prompt"]
    assert resolved.sources["seed"] == "--seed"
    assert resolved.sources["training.epochs"] == "default"


def test_later_file_wins(write: Any) -> None:
    """Sections of several files are merged, the last word is the last file's, twin or not."""
    one = write("raft: {num_cycles: 2, min_samples: 3}\nlora: {r: 8}\n", "one.yaml")
    two = write("num_cycles: 9\nlora: {alpha: 64}\n", "two.yaml")

    config = load_config(RaftConfig, [one, two], {}).value

    assert (config.raft.num_cycles, config.raft.min_samples) == (9, 3)
    assert (config.lora.r, config.lora.alpha) == (8, 64)


def test_flag_may_be_a_twin() -> None:
    """A flag by its top-level spelling fills the nested key, unless that is given too."""
    assert load_config(RaftConfig, [], {"num_cycles": 4}).value.raft.num_cycles == 4
    both = {"raft.num_cycles": 6, "num_cycles": 4}
    assert load_config(RaftConfig, [], both).value.raft.num_cycles == 6


def test_numbers_in_quotes_are_numbers(write: Any) -> None:
    """`"2e-4"` and `5e-5` are numbers wherever a number is wanted."""
    file = write('training:\n  learning_rate: "2e-4"\n  min_lr: 5e-5\n  epochs: "3"\n')

    training = load_config(RaftConfig, [file], {}).value.training

    assert (training.learning_rate, training.min_lr, training.epochs) == (2e-4, 5e-5, 3)


def test_empty_section_says_nothing(write: Any) -> None:
    """A section whose keys are all commented out is as if absent."""
    file = write("training:\n  # epochs: 2\nlora: {}\n")

    assert RaftConfig() == load_config(RaftConfig, [file], {}).value


def test_options_of_a_verifier_are_merged(write: Any) -> None:
    """A free mapping keeps its keys, and a flag adds one."""
    file = write("verifier: {options: {a: 1}}\n")

    resolved = load_config(RaftConfig, [file], {"verifier.options.b": 2})

    assert resolved.value.verifier.options == {"a": 1, "b": 2}
    assert f"{file}:1" == resolved.sources["verifier.options.a"]


def test_every_problem_at_once(write: Any) -> None:
    """All files and flags are checked before anything is said, in the order of the lines."""
    file = write(
        "prompts: 5\n"
        "training:\n"
        "  epochs: true\n"
        "  learning_rte: 1\n"
        "  batch_size: 1.5\n"
        "  min_lr: -1\n"
        "  lr_scheduler: wild\n"
        "num_cycles: -1\n"
        "lora: 3\n"
        "batch_size: 8\n"
        "report_to: tensorboard\n"
        "hardware: {bf16: maybe}\n"
        "nonsense:\n"
        "  deep: 1\n"
        "generation: {temperature: .nan}\n"
        "evaluation: {hidden_tests: }\n"
    )
    other = write("a: 1\na: 2\n", "other.yaml")

    listed = _problems(file, other, flags={"raft.min_samples": 0}, **{"raft.min_samples": "--min"})

    assert listed.pop(0) == "other.yaml:2: key 'a' is given twice, first on line 1"
    assert listed.pop().startswith("--min: must be at least 1, got 0")
    assert listed[:11] == [
        "raft.yaml:1: prompts: must be text, got 5",
        "raft.yaml:3: training.epochs: must be a number, got true",
        "raft.yaml:4: training.learning_rte: unknown key; did you mean learning_rate?",
        "raft.yaml:5: training.batch_size: must be a whole number, got 1.5",
        "raft.yaml:6: training.min_lr: must be at least 0, got -1",
        "raft.yaml:7: training.lr_scheduler: must be one of 'constant', 'linear' or 'cosine', "
        "got 'wild'",
        "raft.yaml:8: num_cycles: must be at least 0, got -1",
        "raft.yaml:9: lora: must be a section with the keys enabled, r, alpha, dropout, "
        "target_modules; got 3",
        "raft.yaml:10: batch_size: unknown key; did you mean generation.batch_size or "
        "training.batch_size?",
        "raft.yaml:11: report_to: must be a list, such as [a, b], got 'tensorboard'",
        "raft.yaml:12: hardware.bf16: must be true or false, got 'maybe'",
    ]
    assert listed[11].startswith("raft.yaml:13: nonsense: unknown key; there are ")
    assert listed[12] == "raft.yaml:15: generation.temperature: must be a finite number, got nan"
    assert listed[13].startswith("raft.yaml:16: evaluation.hidden_tests: must be true or false")
    assert listed[14].startswith("other.yaml:1: a: unknown key")


def test_flag_does_not_hide_a_misplaced_section(write: Any) -> None:
    """A value where a section belongs is told although a flag fills the section."""
    (problem,) = _problems(write("training: 5\n"), flags={"training.epochs": 2})

    assert problem.startswith("raft.yaml:1: training: must be a section with the keys epochs, ")
    assert _problems(flags={"training": 5})[0].startswith("training: must be a section")


def test_false_for_a_number_is_told_once(write: Any) -> None:
    """A truth value where a number belongs is not also told to be too small."""
    assert _problems(write("num_cycles: false\n")) == [
        "raft.yaml:1: num_cycles: must be a number, got false"
    ]


def test_long_values_are_shortened(write: Any) -> None:
    """A message does not repeat a whole page."""
    (problem,) = _problems(write(f"seed: {'x' * 500}\n"))

    assert len(problem) < 120


def test_unread_file_is_named() -> None:
    """A missing file is a problem like any other."""
    assert _problems(Path("nowhere.yaml")) == ["nowhere.yaml: No such file or directory"]


def test_rule_over_several_settings() -> None:
    """What no single line is to blame for is told without one."""
    with pytest.raises(ConfigError) as caught:
        load_config(BenchmarkConfig, [], {"samples": 4, "k": (1, 5)})

    assert caught.value.problems == ("k = 5 needs at least 5 samples a prompt, samples is 4",)


def test_default_budgets_shrink_with_the_samples() -> None:
    """A k that was not asked for is left out when the samples cannot estimate it."""
    assert load_config(BenchmarkConfig, [], {"samples": 4}).value.budgets == (1,)
    assert load_config(BenchmarkConfig, [], {"samples": 10}).value.budgets == (1, 5, 10)


def test_flag_without_a_name() -> None:
    """A flag that the command line did not name is told by its key."""
    assert _problems(flags={"raft.num_cycles": -1}) == [
        "raft.num_cycles: must be at least 0, got -1"
    ]


def test_presets() -> None:
    """`builtin:NAME` is a shipped file; an unknown one lists what there is."""
    resolved = load_config(RaftConfig, [Path("builtin:demo")], {})

    assert resolved.sources["output_dir"].startswith("builtin:demo:")
    assert preset("demo").is_file()
    with pytest.raises(UserError, match=r"no built-in configuration 'x'; there are: .*demo"):
        load_config(RaftConfig, [Path("builtin:x")], {})


@pytest.mark.parametrize("model", [RaftConfig, BenchmarkConfig])
def test_defaults_survive_a_dump(model: Any, write: Any) -> None:
    """What is dumped loads to an equal configuration, with every value from the file."""
    file = write(dump_yaml(model()))

    resolved = load_config(model, [file], {})

    assert model() == resolved.value


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(
    prompt=st.text(st.characters(codec="utf-8")),
    rate=st.floats(min_value=1e-300, max_value=1e300),
    seed=st.integers(min_value=0),
)
def test_any_dump_is_rerunnable(
    prompt: str, rate: float, seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Any text and any number come back from the dumped file as they were."""
    flags = {"system_prompt": prompt, "training.learning_rate": rate, "seed": seed}
    config = load_config(RaftConfig, [], flags).value
    file = tmp_path_factory.mktemp("dump") / "config.yaml"
    file.write_bytes(dump_yaml(config).encode())

    assert config == load_config(RaftConfig, [file], {}).value


@pytest.mark.parametrize(
    ("keys", "kind"),
    [
        ({"raft": {}, "model": {}}, "raft"),
        ({"num_cycles": 2, "prompts": "x"}, "raft"),
        ({"samples": 3, "k": [1], "model": {}}, "benchmark"),
        ({"raft": {}, "prompts": "x", "arms": ["verified"]}, "study"),
    ],
)
def test_type_is_detected(keys: dict[str, Any], kind: str) -> None:
    """The kind whose keys fit best is taken."""
    assert kind == detect_type(keys)


def test_type_that_cannot_be_told() -> None:
    """Keys that fit several kinds are not guessed at."""
    with pytest.raises(UserError, match="--type raft or --type sft or --type benchmark"):
        detect_type({"model": {}})


def test_default_of() -> None:
    """A default is found by dotted key; an unknown key is a programming error."""
    assert default_of(RaftConfig, "lora.r") == 16
    with pytest.raises(KeyError):
        default_of(RaftConfig, "lora.q")
