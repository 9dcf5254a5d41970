"""Fine-tuning here takes the steps that plain TRL takes on the same texts in the same order."""

from __future__ import annotations

import pytest
import torch
from datasets import Dataset
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from halo_forge.config.sections import ImageSettings, LoraSettings
from halo_forge.config.sft import DataSettings
from halo_forge.core.types import Message
from halo_forge.data.conversations import TrainingRecord
from halo_forge.models import load
from halo_forge.models.adapter import TextAdapter
from halo_forge.models.chat import dialogues
from halo_forge.models.lora import add_lora
from halo_forge.sft.encoding import encode
from halo_forge.sft.order import EpochOrder
from halo_forge.tracking.base import NullObserver

PLAIN = LoraSettings(r=4, dropout=0.0)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_the_same_losses(fit, seen, tiny_model_dir, tmp_path):
    """From records to the loss of every step, by both ways."""
    tokenizer = load.load_tokenizer(tiny_model_dir)
    records = [
        TrainingRecord(n, (Message("user", f"say {n}" * (n % 3 + 1)), Message("assistant", word)))
        for n, word in enumerate(["one", "two words", "three", "", "five\n  six"] * 2)
        if word
    ]
    examples = encode(
        records, TextAdapter(tokenizer), DataSettings(), NullObserver(), ImageSettings()
    ).examples
    fit(examples, lora=PLAIN, batch_size=2, rate=1e-2, packing="on", gradient_accumulation_steps=2)

    rows = []
    for at in EpochOrder([len(e.input_ids) for e in examples], 3, lambda: 0):
        (text,) = dialogues(tokenizer, records[at].messages)
        ((start, stop),) = text.answers
        rows.append({"prompt": text.text[:start], "completion": text.text[start:stop]})
    base = load.load_model(tiny_model_dir, dtype=torch.float32, trainable=True)
    with torch.random.fork_rng():
        trainer = SFTTrainer(
            model=add_lora(base, PLAIN, seed=3),
            args=SFTConfig(
                output_dir=str(tmp_path / "trl"),
                use_cpu=True,
                bf16=False,
                gradient_checkpointing=False,
                num_train_epochs=1,
                per_device_train_batch_size=2,
                gradient_accumulation_steps=2,
                learning_rate=1e-2,
                train_sampling_strategy="sequential",
                dataloader_pin_memory=False,
                save_strategy="no",
                logging_steps=1,
                disable_tqdm=True,
                report_to="none",
            ),
            train_dataset=Dataset.from_list(rows),
            processing_class=tokenizer,
        )
        trainer.train()
    losses = [row["loss"] for row in trainer.state.log_history if "loss" in row]
    assert len(losses) == len(seen.losses) == 2
    assert seen.losses == pytest.approx(losses, abs=1e-5)
