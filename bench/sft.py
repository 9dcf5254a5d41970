"""Does fine-tuning here learn what plain TRL learns from the same data, and how fast is it?

    python bench/sft.py [--steps 4] [--held 8] [--rounds 2] [--model builtin:smollm2-135m]
        [--data builtin:python/train] [--batch 4] [--accumulation 2] [--seed 0] [--json FILE]

Both ways get the same records in the same order, the same fresh adapters, the same sizes of steps
and the same course of the learning rate; ours through `sft train`'s learner, the other through
`trl.SFTTrainer` on the same texts as ``prompt`` and ``completion``, with its own mask and padding.
(Given messages, it would put loss on what the template writes behind an answer's end token too.)
So the losses of single steps can be compared, and both models are scored by one function on the
same held-out records. They take turns.

Prints the loss of each step, the largest difference, the held-out losses, and the ratio of the
seconds of the optimiser steps by round, on the clock and of the processor.
"""

from __future__ import annotations

import argparse
import gc
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from measure import Spread, interleave
from results import write_result
from transformers import PrinterCallback
from trl.trainer import sft_config, sft_trainer

from halo_forge.config.load import load_config
from halo_forge.config.sft import SFTConfig
from halo_forge.core.types import TrainingExample
from halo_forge.data.conversations import TrainingRecord, load_training
from halo_forge.data.grouping import split_off
from halo_forge.models import load
from halo_forge.models.chat import dialogues
from halo_forge.models.lora import add_lora
from halo_forge.models.structure import plain
from halo_forge.sft.base import FitRequest
from halo_forge.sft.batches import optimizer_steps, warmup_steps
from halo_forge.sft.encoding import encode
from halo_forge.sft.learner import TrlLearner
from halo_forge.sft.order import EpochOrder
from halo_forge.tracking.base import NullObserver, StageClock

__all__ = ["main"]


@dataclass(frozen=True)
class Way:
    """What a way of training came to.

    Attributes:
        losses: Of each optimiser step, nats a token.
        heldout: Mean over the held-out tokens afterwards.
        seconds: Of the optimiser steps, without loading and writing.
        cpu: CPU seconds of the same.
    """

    losses: list[float]
    heldout: float
    seconds: float
    cpu: float


def main() -> None:
    """Train both ways and print what they came to."""
    options = _options()
    config = _config(options)
    records = load_training(options.data)
    rest, over = split_off([record.asked for record in records], 0.1, options.seed)
    wanted = options.steps * options.batch * options.accumulation
    train, held = (
        [records[at] for at in rest[:wanted]],
        [records[at] for at in over[: options.held]],
    )
    tokenizer = load.load_tokenizer(options.model)
    examples, watched = (
        encode(part, tokenizer, config.data, NullObserver()).examples for part in (train, held)
    )
    learned = sum(example.loss_tokens for example in examples)
    print(f"{len(train)} records, {learned} tokens with loss; {len(held)} held out")
    lengths = [len(example.input_ids) for example in examples]
    ordered = [train[at] for at in EpochOrder(lengths, config.seed, lambda: 0)]
    measured = interleave(
        {
            "ours": partial(_ours, examples, watched, config),
            "plain TRL": partial(_plain, ordered, watched, config),
        },
        options.rounds,
    )
    ways = {name: way.results for name, way in measured.items()}
    ours, plainly = ways["ours"], ways["plain TRL"]
    for name, found in ways.items():
        print(f"\n{name}: " + " ".join(f"{loss:.4f}" for loss in found[0].losses))
        seconds = Spread.of([way.seconds for way in found])
        print(f"  held out {found[0].heldout:.4f}; {seconds:.1f} s of steps")
    off = max(abs(a - b) for a, b in zip(ours[0].losses, plainly[0].losses, strict=True))
    ratio = Spread.of([b.seconds / a.seconds for a, b in zip(ours, plainly, strict=True)])
    print(f"\nlargest difference of a step's loss: {off:.5f}")
    used = Spread.of([b.cpu / a.cpu for a, b in zip(ours, plainly, strict=True)])
    print(f"plain over ours: {ratio:.2f} in seconds, {used:.2f} in CPU seconds")
    if options.json:
        claim = {
            "name": "seconds of optimiser steps, plain TRL over ours, short answers",
            "value": ratio,
            "aim": None,
            "limit": "train",
        }
        write_result(options.json, [claim], {"ways": ways, "largest loss difference": off})


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--held", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--model", default="builtin:smollm2-135m")
    parser.add_argument("--data", default="builtin:python/train")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--accumulation", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def _config(options: argparse.Namespace) -> SFTConfig:
    settings = {
        "model.name": options.model,
        "seed": options.seed,
        "training.epochs": 1,
        "training.packing": "on",
        "training.batch_size": options.batch,
        "training.gradient_accumulation_steps": options.accumulation,
        "hardware.gradient_checkpointing": "off",
        "lora.dropout": 0.0,
    }
    return load_config(SFTConfig, [], settings).value


def _ours(
    examples: Sequence[TrainingExample], watched: Sequence[TrainingExample], config: SFTConfig
) -> Way:
    clock = StageClock("train")
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder, "adapter")
        request = FitRequest(
            policy=config.model.name,
            output=output,
            learning_rate=config.training.learning_rate,
            seed=config.seed,
            training=config.training,
            lora=config.lora,
            hardware=config.hardware,
            trust_remote_code=False,
            meta={},
        )
        report = TrlLearner().fit(examples, request, clock)
        heldout = _score(output, watched)
    return Way(list(report.losses), heldout, clock.seconds, clock.cpu)


def _plain(
    train: Sequence[TrainingRecord], watched: Sequence[TrainingExample], config: SFTConfig
) -> Way:
    """Train as TRL's documentation shows it."""
    gc.collect()
    device = load.pick_device(config.hardware.device)
    narrow = load.pick_dtype(config.hardware.bf16, device)
    tokenizer = load.load_tokenizer(config.model.name)
    base = load.load_model(config.model.name, dtype=narrow, device=device, trainable=True)
    model = add_lora(plain(base), config.lora, seed=config.seed)
    rows = []
    for (one,) in (dialogues(tokenizer, record.messages) for record in train):
        ((start, stop),) = one.answers
        rows.append({"prompt": one.text[:start], "completion": one.text[start:stop]})
    training = config.training
    steps = optimizer_steps(len(rows), training)
    with tempfile.TemporaryDirectory() as folder:
        arguments = sft_config.SFTConfig(
            output_dir=str(Path(folder, "trl")),
            use_cpu=device.type == "cpu",
            bf16=narrow is torch.bfloat16,
            gradient_checkpointing=False,
            num_train_epochs=training.epochs,
            per_device_train_batch_size=training.batch_size,
            gradient_accumulation_steps=training.gradient_accumulation_steps,
            learning_rate=training.learning_rate,
            lr_scheduler_type=training.lr_scheduler,
            warmup_steps=warmup_steps(steps, training.warmup_ratio),
            max_length=config.data.max_seq_length,
            dataloader_pin_memory=False,
            seed=config.seed,
            train_sampling_strategy="sequential",
            save_strategy="no",
            logging_steps=1,
            disable_tqdm=True,
            report_to="none",
        )
        trainer = sft_trainer.SFTTrainer(
            model=model,
            args=arguments,
            train_dataset=Dataset.from_list(rows),
            processing_class=tokenizer,
        )
        trainer.remove_callback(PrinterCallback)
        started, used = time.perf_counter(), time.process_time()
        trainer.train()
        seconds, cpu = time.perf_counter() - started, time.process_time() - used
        trainer.save_model(str(Path(folder, "adapter")))
        losses = [row["loss"] for row in trainer.state.log_history if "loss" in row]
        heldout = _score_model(model, watched)
    return Way(losses, heldout, seconds, cpu)


def _score(folder: Path, watched: Sequence[TrainingExample]) -> float:
    return _score_model(load.load_model(folder, dtype=torch.float32), watched)


@torch.inference_mode()
def _score_model(model: Any, watched: Sequence[TrainingExample]) -> float:
    """Return the mean loss over the tokens that carry one, record by record in float32."""
    model.eval().float()
    total, count = 0.0, 0
    for example in watched:
        ids = torch.tensor([list(example.input_ids)], device=model.device)
        labels = torch.tensor(example.labels, device=model.device)[1:]
        logits = model(input_ids=ids, use_cache=False).logits[0, :-1].float()
        losses = torch.nn.functional.cross_entropy(logits, labels, reduction="sum")
        total += float(losses)
        count += example.loss_tokens
    return total / count


if __name__ == "__main__":
    main()
