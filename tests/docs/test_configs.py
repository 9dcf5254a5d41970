"""Every configuration that is shipped or shown in the specification loads as it stands."""

from __future__ import annotations

from pathlib import Path

import pytest

from halo_forge.config.document import read_yaml
from halo_forge.config.load import CONFIG_TYPES, detect_type, load_config
from halo_forge.config.raft import RaftConfig

ROOT = Path(__file__).parents[2]
SHIPPED = sorted(
    [*ROOT.glob("configs/*.yaml"), *ROOT.glob("halo_forge/config/presets/*.yaml")],
)


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_shipped_configuration_loads(file: Path) -> None:
    """It is valid, of a kind that its keys tell, and opens with its command."""
    document = read_yaml(file)

    kind = detect_type(dict.fromkeys(document.keys))

    assert load_config(CONFIG_TYPES[kind], [file], {}).value
    assert file.read_text("utf-8").startswith("# halo-forge ")


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
