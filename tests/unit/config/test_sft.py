"""`SFTConfig`: the specification's file as it stands, its defaults, its warnings."""

from __future__ import annotations

from pathlib import Path

import pytest

from halo_forge.config.load import detect_type, load_config
from halo_forge.core.errors import ConfigError
from halo_forge.sft.config import SFTConfig

ROOT = Path(__file__).parents[3]


def test_the_example_as_it_stands() -> None:
    """Every value of the specification's file, under the names it uses; no code of a hub is run."""
    config = SFTConfig.from_yaml(ROOT / "configs/sft_example.yaml")
    assert config.model.name == "Qwen/Qwen2.5-Coder-7B"
    assert not config.model.trust_remote_code
    assert config.hardware.attn_implementation == "eager"
    assert config.data.train_file == "data/train.jsonl"
    assert (config.data.validation_split, config.data.max_seq_length) == (0.05, 2048)
    assert (config.lora.r, config.lora.alpha, config.lora.dropout) == (16, 32, 0.05)
    assert len(config.lora.target_modules) == 7
    training = config.training
    assert config.output_dir == "models/sft"
    assert (training.epochs, training.batch_size) == (3, 2)
    assert (training.gradient_accumulation_steps, training.learning_rate) == (16, 2e-4)
    assert (training.warmup_ratio, config.hardware.gradient_checkpointing) == (0.03, "on")
    assert config.hardware.bf16
    assert (training.dataloader_num_workers, training.dataloader_pin_memory) == (0, False)


def test_defaults_are_the_contracts() -> None:
    """Without any file the same values hold, and no hub code runs."""
    config, example = SFTConfig(), SFTConfig.from_yaml(ROOT / "configs/sft_example.yaml")
    assert config.training == example.training
    assert config.lora == example.lora
    assert config.output_dir == example.output_dir
    assert config.model.trust_remote_code == example.model.trust_remote_code


def test_precedence(tmp_path: Path) -> None:
    """Flags over this file's own names over the specification's names over defaults."""
    file = tmp_path / "sft.yaml"
    file.write_text("training: {num_train_epochs: 9, epochs: 7, learning_rate: 5e-5}\n")
    resolved = load_config(SFTConfig, [file], {"training.learning_rate": 1e-3})
    assert resolved.value.training.epochs == 7
    assert resolved.value.training.learning_rate == 1e-3
    file.write_text("training: {num_train_epochs: 9}\n")
    assert SFTConfig.from_yaml(file).training.epochs == 9


def test_qlora_warns(tmp_path: Path) -> None:
    """It is taken, with a word about its price; it cannot train all weights."""
    file = tmp_path / "sft.yaml"
    text = "qlora: {enabled: true, load_in_4bit: true, bnb_4bit_quant_type: nf4}\n"
    file.write_text(text)
    with pytest.warns(UserWarning, match="slower and less exact"):
        assert SFTConfig.from_yaml(file).qlora.enabled
    file.write_text(f"{text}lora: {{enabled: false}}\n")
    with pytest.raises(ConfigError, match=r"lora\.enabled"):
        SFTConfig.from_yaml(file)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("training: {epoch: 3}\n", "1: training.epoch: unknown key; did you mean epochs"),
        ("data:\n  validation_split: 1\n", "2: data.validation_split: must be below 1"),
        ("training: {early_stopping_patience: 2}\ndata: {validation_split: 0}\n", "needs a valid"),
    ],
)
def test_problems_have_their_line(tmp_path: Path, text: str, problem: str) -> None:
    """What is wrong, where, and the nearest name."""
    file = tmp_path / "sft.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=problem):
        SFTConfig.from_yaml(file)


def test_the_kind_is_told_by_the_keys() -> None:
    """`config validate` knows a fine-tuning file."""
    assert detect_type({"model": {}, "data": {}, "lora": {}, "training": {}}) == "sft"
