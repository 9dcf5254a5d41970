"""What the learner's tests share: examples, a request, and a trainer that can be watched."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
import torch
from transformers import TrainerCallback

from halo_forge.config.raft import TrainingSettings
from halo_forge.config.sections import HardwareSettings, LoraSettings
from halo_forge.core.types import TrainingExample
from halo_forge.sft import learner
from halo_forge.sft.base import FitReport, FitRequest
from halo_forge.tracking.base import NullObserver

END = 2  # the tiny model's end token


def example(name: str, prompt: int, answer: int, seed: int = 0) -> TrainingExample:
    """An answer of ``answer`` random tokens and its end token, to a prompt of ``prompt``."""
    numbers = random.Random(f"{seed} {name}")
    ids = [numbers.randrange(3, 290) for _ in range(prompt + answer)]
    return TrainingExample(name, (*ids, END), completion_start=prompt)


@pytest.fixture(scope="session")
def make_example() -> Callable[..., TrainingExample]:
    """Make an example of random tokens."""
    return example


@pytest.fixture
def fit(tiny_model_dir, tmp_path) -> Callable[..., FitReport]:
    """Train on examples; settings by name, the checkpoint at ``tmp_path / "out"``."""

    def run(
        examples: Sequence[TrainingExample],
        *,
        policy: Path = tiny_model_dir,
        output: Path = tmp_path / "out",
        seed: int = 3,
        rate: float = 1e-3,
        lora: LoraSettings = LoraSettings(r=4, dropout=0.0),  # noqa: B008 - frozen
        checkpointing: Any = False,
        bf16: bool = False,
        observer: Any = None,
        request: Mapping[str, Any] = MappingProxyType({}),
        **training: Any,
    ) -> FitReport:
        asked = FitRequest(
            policy=str(policy),
            output=output,
            learning_rate=rate,
            seed=seed,
            training=TrainingSettings(**{"gradient_accumulation_steps": 1, **training}),
            lora=lora,
            hardware=HardwareSettings(
                device="cpu", bf16=bf16, gradient_checkpointing=checkpointing
            ),
            trust_remote_code=False,
            meta={"cycle": 1},
            **request,
        )
        return learner.TrlLearner().fit(examples, asked, observer or NullObserver())

    return run


@dataclass
class Seen:
    """What went on inside a training phase.

    Attributes:
        batches: Inputs of each forward pass, as they reached the model.
        gradients: Gradient of each loss by the last hidden states.
        rates: Learning rate that each optimiser step used.
        pulls: Gradient of each trained weight, as each optimiser step used it.
        trainers: The trainers made.
    """

    batches: list[dict[str, torch.Tensor]] = field(default_factory=list)
    gradients: list[torch.Tensor] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    pulls: list[dict[str, torch.Tensor]] = field(default_factory=list)
    trainers: list[Any] = field(default_factory=list)

    @property
    def losses(self) -> list[float]:
        """The loss of each optimiser step, as logged."""
        return [row["loss"] for row in self.trainers[-1].state.log_history if "loss" in row]


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    """Watch the trainer that the learner makes; it computes as ever."""
    notes = Seen()

    class Rates(TrainerCallback):
        def on_pre_optimizer_step(self, args, state, control, optimizer, **kwargs):
            notes.rates.append(optimizer.param_groups[0]["lr"])
            trained = kwargs["model"].named_parameters()
            notes.pulls.append({n: p.grad.clone() for n, p in trained if p.grad is not None})

    def watched(trainer: type) -> type:
        class Watched(trainer):
            def __init__(self, *args: Any, **kwargs: Any) -> None:
                super().__init__(*args, **kwargs)
                self.add_callback(Rates())
                notes.trainers.append(self)

            def compute_loss(self, model, inputs, *args, **kwargs):
                notes.batches.append({k: v for k, v in inputs.items() if torch.is_tensor(v)})
                hidden: list[torch.Tensor] = []
                norm = next(m for n, m in model.named_modules() if n.endswith("model.norm"))
                hook = norm.register_forward_hook(lambda *call: hidden.append(call[2]))
                loss = super().compute_loss(model, inputs, *args, **kwargs)
                hook.remove()
                trained = [state for state in hidden if state.requires_grad]
                notes.gradients += torch.autograd.grad(loss, trained, retain_graph=True)
                return loss

        return Watched

    for name in ("CompletionTrainer", "WeightedTrainer"):
        monkeypatch.setattr(learner, name, watched(getattr(learner, name)))
    return notes
