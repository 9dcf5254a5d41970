"""Every configuration that is shipped or shown in the specification loads as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from halo_forge.config.document import read_yaml
from halo_forge.config.load import CONFIG_TYPES, detect_type, load_config
from halo_forge.config.raft import RaftConfig
from halo_forge.rlvr.schedule import learning_rate

ROOT = Path(__file__).parents[2]
SHIPPED = sorted(
    path
    for place in ("configs", "examples/*", "halo_forge/config/presets")
    for path in ROOT.glob(f"{place}/*.yaml")
)


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_shipped_configuration_loads(file: Path) -> None:
    """It is valid, of a kind that its keys tell, and opens with its command."""
    document = read_yaml(file)

    kind = detect_type(dict.fromkeys(document.keys))

    assert load_config(CONFIG_TYPES[kind], [file], {}).value
    assert file.read_text("utf-8").startswith("# halo-forge ")


RATES = ROOT / "docs/experimental/LR_QUICK_REFERENCE.md"


@pytest.mark.parametrize("file", sorted(RATES.parent.glob("configs/*.yaml")), ids=lambda f: f.stem)
def test_experimental_configuration_loads(file: Path) -> None:
    """It is laid over another one, as its command does, and is in the table as it is."""
    name = file.relative_to(ROOT).as_posix()
    command = f"# halo-forge raft train -c configs/raft_cpu.yaml -c {name}\n"
    assert file.read_text("utf-8").startswith(command)
    config = load_config(RaftConfig, [ROOT / "configs/raft_cpu.yaml", file], {}).value
    (row,) = [line for line in RATES.read_text("utf-8").splitlines() if f"({name[18:]})" in line]
    rate, decay = row.split("|")[2:4]
    assert (float(rate), float(decay)) == (config.training.learning_rate, config.training.lr_decay)


def test_rates_by_cycle_are_those_of_the_code() -> None:
    """The table of learning rates is what the schedule makes of 5e-5."""
    table = RATES.read_text("utf-8").split("by cycle:\n\n")[1].split("\n\n")[0].splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table]
    cycles = [int(cell) for cell in cells[0][1:]]
    for decay, *rates in cells[2:]:
        training = RaftConfig.model_validate({"training": {"lr_decay": decay}}).training
        assert rates == [f"{learning_rate(training, cycle):.1e}" for cycle in cycles]


@pytest.mark.parametrize("size", ["0.5B", "1.5B", "3B", "7B"])
def test_profiles_say_what_the_notes_say(size: str) -> None:
    """Weights, decoder and training rates of a Strix Halo profile are those of the table."""
    notes = (ROOT / "docs/HARDWARE_NOTES.md").read_text("utf-8")
    profile = (ROOT / f"configs/strix_halo_{size.lower()}.yaml").read_text("utf-8")
    (row,) = [line for line in notes.splitlines() if re.match(rf"\| \S* ?{size} \|", line)]
    weights, decoder, training = (cell.strip() for cell in row.split("|")[2:5])
    assert f"weights in bf16           {weights}\n" in profile
    assert f"decoder, 64 rows          at most {decoder.split(' / ')[-1]} tokens/s" in profile
    assert f"LoRA training             at most {training} tokens/s" in profile
    assert "Not run by us" in profile


def test_example_holds_the_values_of_the_specification() -> None:
    """The reference configuration is the README's, value by value."""
    config = load_config(RaftConfig, [ROOT / "configs/raft_example.yaml"], {}).value

    assert config.sft_checkpoint == "models/sft/final_model"
    assert (config.output_dir, config.prompts) == ("models/raft", "data/prompts.jsonl")
    assert (
        config.raft.num_cycles,
        config.raft.samples_per_prompt,
        config.raft.reward_threshold,
        config.raft.keep_top_percent,
    ) == (5, 8, 0.5, 0.5)
    assert (
        config.generation.max_new_tokens,
        config.generation.temperature,
        config.generation.batch_size,
    ) == (1024, 0.7, 8)
    assert (
        config.training.epochs,
        config.training.batch_size,
        config.training.gradient_accumulation_steps,
        config.training.learning_rate,
    ) == (1, 2, 16, 5e-5)
    assert config.hardware.attn_implementation == "eager"
    assert config.verifier.type == "gcc"
