"""A cycle as most people would write it: the phases one after the other, none with any trick.

`model.generate` for eight prompts at a time, padded on the left; one ``g++ -O2`` for each answer in
turn, and its tests in turn; training on answers padded to one width, with the model's own loss over
all logits. Only what must not differ is shared: prompts, token budget, law, selection, optimiser.
Hostile source is never run unconfined, so compiler and programs are in the sandbox, which adds some
hundredths (`verify` measures it).
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from halo_forge.config.raft import RaftConfig
from halo_forge.core.types import Prompt, Sample, TrainingExample, Verdict, VerifyResult
from halo_forge.models import chat, load
from halo_forge.models.lora import add_lora
from halo_forge.models.structure import plain
from halo_forge.sandbox import Job, Limits, Sandbox, Status, Step
from halo_forge.sft.base import FitRequest

__all__ = ["Trained", "generate", "judge", "train"]

_TOGETHER = 8
_FENCE = re.compile(r"```\w*\n(.*?)```", re.DOTALL)
_TIME_LIMITS = frozenset({Status.TIMEOUT, Status.CPU_LIMIT})
_BUILD = Step(
    ("g++", "-O2", "-std=c++17", "-w", "-o", "prog", "main.cpp"),
    limits=Limits(cpu=30, memory=2 << 30, file_size=64 << 20, disk=64 << 20),
)


def generate(config: RaftConfig, prompts: Sequence[Prompt], seed: int) -> list[Sample]:
    """Load the model and sample all answers, eight prompts at a time."""
    device = load.pick_device(config.hardware.device)
    dtype = load.pick_dtype(config.hardware.bf16, device)
    model = load.load_model(config.model.name, dtype=dtype, device=device).eval()
    tokenizer = load.load_tokenizer(config.model.name)
    stops = list(chat.stop_ids(tokenizer, plain(model).generation_config))
    each, law = config.raft.samples_per_prompt, config.generation
    torch.manual_seed(seed)
    found: list[Sample] = []
    for start in range(0, len(prompts), _TOGETHER):
        group = prompts[start : start + _TOGETHER]
        asked = [chat.render(tokenizer, prompt.messages) for prompt in group]
        batch = tokenizer.pad({"input_ids": asked}, padding_side="left", return_tensors="pt")
        whole = model.generate(
            **batch.to(device),
            do_sample=True,
            temperature=law.temperature,
            top_k=law.top_k,
            top_p=law.top_p,
            max_new_tokens=law.max_new_tokens,
            num_return_sequences=each,
            eos_token_id=stops,
            pad_token_id=tokenizer.pad_token_id,
        )
        for i, row in enumerate(whole[:, batch["input_ids"].shape[1] :].tolist()):
            end = next((at + 1 for at, token in enumerate(row) if token in stops), 0)
            tokens = tuple(row[:end] if end else row)
            text = tokenizer.decode(tokens[:-1] if end else tokens, skip_special_tokens=True)
            sample = Sample(group[i // each], i % each, text)
            found.append(
                replace(
                    sample,
                    prompt_ids=tuple(asked[i // each]),
                    token_ids=tokens,
                    finish_reason="stop" if end else "length",
                )
            )
    return found


def judge(sandbox: Sandbox, samples: Sequence[Sample], run_timeout: float) -> list[Verdict]:
    """Compile and test one answer after the other."""
    return [Verdict(one, result=_judge(sandbox, one, run_timeout)) for one in samples]


def _judge(sandbox: Sandbox, sample: Sample, run_timeout: float) -> VerifyResult:
    fenced = _FENCE.search(sample.completion)
    code = fenced.group(1) if fenced else sample.completion
    files = {"main.cpp": code.encode("utf-8", "replace")}
    tests = sample.prompt.reference.tests
    limits = Limits(cpu=run_timeout)
    runs = [Step(("./prog",), stdin=test.input.encode(), limits=limits) for test in tests]
    done = sandbox.run(Job(files, _BUILD, tuple(runs), stop_on=_TIME_LIMITS))
    if done.build is None or not done.build.ok:
        return VerifyResult(success=False, reward=0.0)
    passed = [
        run.ok and run.stdout.decode("utf-8", "replace").split() == test.expected.split()
        for run, test in zip(done.runs, tests, strict=False)
    ]
    share = sum(passed) / max(len(tests), 1)
    return VerifyResult(success=share == 1, reward=0.5 + share / 2)


@dataclass(frozen=True)
class Trained:
    """What a training phase came to.

    Attributes:
        loss: Mean over completion tokens and steps, nats.
        stepping: Seconds of the optimiser steps, without loading and writing.
    """

    loss: float
    stepping: float


def train(
    examples: Sequence[TrainingExample], request: FitRequest, width: int, size: int
) -> Trained:
    """Train as tutorials do and write the adapter to ``request.output``.

    Args:
        examples: Kept answers.
        request: Where from, where to, how.
        width: Tokens that every answer is padded to.
        size: Answers in a forward pass; steps are those of ``request`` all the same.
    """
    device = load.pick_device(request.hardware.device)
    narrow = load.pick_dtype(request.hardware.bf16, device)
    base = load.load_model(request.policy, dtype=narrow, device=device, trainable=True)
    model = add_lora(plain(base), request.lora, seed=request.seed)
    trained = [p for p in model.parameters() if p.requires_grad]
    rate = request.learning_rate
    optimizer = torch.optim.AdamW(trained, lr=rate, weight_decay=0.0)
    training, losses = request.training, []
    a_step = training.batch_size * training.gradient_accumulation_steps
    started = time.perf_counter()
    for begin in range(0, len(examples), a_step):
        step = examples[begin : begin + a_step]
        count = sum(len(e.input_ids) - e.completion_start for e in step)
        loss = 0.0
        for at in range(0, len(step), size):
            batch = _padded(step[at : at + size], width, device)
            with torch.autocast(device.type, narrow, enabled=narrow is not torch.float32):
                part = model(**batch, num_items_in_batch=count, use_cache=False).loss
            part.backward()
            loss += part.item()
        nn.utils.clip_grad_norm_(trained, training.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss)
    stepping = time.perf_counter() - started
    model.save_pretrained(Path(request.output))
    return Trained(sum(losses) / len(losses), stepping)


def _padded(
    examples: Sequence[TrainingExample], width: int, device: torch.device
) -> dict[str, torch.Tensor]:
    shape = (len(examples), width)
    batch = {
        name: torch.full(shape, value)
        for name, value in (("input_ids", 0), ("attention_mask", 0), ("labels", -100))
    }
    for row, example in enumerate(examples):
        length = len(example.input_ids)
        batch["input_ids"][row, :length] = torch.tensor(example.input_ids)
        batch["attention_mask"][row, :length] = 1
        batch["labels"][row, :length] = torch.tensor(example.labels)
    return {name: tensor.to(device) for name, tensor in batch.items()}
