"""TRL's trainer with states that a killed phase goes on from exactly, and a loss over tokens.

Four things of transformers' trainer are put right: a state appears whole or not at all, and is
loaded whole or not at all; the order of the examples depends on seed and epoch alone; the
validation loss is the mean over tokens, where transformers takes the mean over batches' means.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.compute
import torch
from datasets import Dataset
from peft import PeftModel
from torch.utils.data import Sampler
from transformers.trainer import TRAINER_STATE_NAME
from trl.trainer.sft_trainer import SFTTrainer

from halo_forge.models.adapter import Adapter
from halo_forge.models.checkpoint import write_weights
from halo_forge.models.load import explained
from halo_forge.models.quiet import no_progress_bars
from halo_forge.models.weights import full_disk_as_os_error
from halo_forge.sft.order import EpochOrder
from halo_forge.store.atomic import disk_errors
from halo_forge.store.waypoints import Waypoints
from halo_forge.utils.typing import override

__all__ = ["ResumableTrainer", "best_step"]

_History = list[dict[str, float]]


class ResumableTrainer(SFTTrainer):
    """Takes gradient steps and leaves states to go on from.

    Args:
        waypoints: Where the states go; None: there are none.
        base: Reference of the model below an adapter, as states store it.
        adapter: Written beside the weights of a state.
        kwargs: What TRL's trainer takes.
    """

    def __init__(
        self, *args: Any, adapter: Adapter, waypoints: Waypoints | None, base: str, **kwargs: Any
    ) -> None:
        self._waypoints = waypoints
        self._base = base
        self._adapter = adapter
        super().__init__(*args, **kwargs)

    @override
    def _get_train_sampler(self, train_dataset: Dataset | None = None) -> Sampler[int]:
        dataset: Any = self.train_dataset if train_dataset is None else train_dataset
        ids = dataset.with_format("arrow")[:]["input_ids"]
        lengths = pyarrow.compute.list_value_length(ids).to_pylist()
        by_length = self.args.train_sampling_strategy == "group_by_length"
        size = self.get_total_train_batch_size(self.args)  # of all processes together
        return EpochOrder(
            lengths, self.args.seed, self._current_epoch, grouped=size if by_length else None
        )

    def _current_epoch(self) -> int:
        return int(self.state.global_step // self.steps_an_epoch)

    @property
    def steps_an_epoch(self) -> int:
        """Optimiser steps of one pass over the examples, once training has begun."""
        return int(self.state.max_steps // self.args.num_train_epochs)

    @override
    def _save_checkpoint(self, model: torch.nn.Module, trial: Any) -> None:
        if self._waypoints is None:
            return
        step, writes = self.state.global_step, self.args.should_save
        folder = self._waypoints.staging(step)
        if writes:
            self._waypoints.begin(step)
        self.accelerator.wait_for_everyone()
        with disk_errors(folder), full_disk_as_os_error():
            self.save_model(str(folder), _internal_call=True)
            self._save_optimizer_and_scheduler(str(folder))
            self._save_rng_state(str(folder))
            if writes:
                self.state.save_to_json(str(folder / TRAINER_STATE_NAME))
        self.accelerator.wait_for_everyone()
        if writes:
            best = best_step(self.state.log_history)
            self._waypoints.publish(step, keep=set() if best is None else {best})
        self.accelerator.wait_for_everyone()

    @override
    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        if not self.args.should_save or output_dir is None:
            return
        self._adapter.save_pretrained(Path(output_dir))
        with no_progress_bars():
            write_weights(self.accelerator.unwrap_model(self.model), Path(output_dir), self._base)

    @override
    def _load_from_checkpoint(
        self, resume_from_checkpoint: str, model: torch.nn.Module | None = None
    ) -> None:
        """Load the weights of a state, every one of them.

        Transformers' trainer matches names as they are in the file, and passes over what does not
        match; some architectures (LLaVA) are written under other names than they have in memory.
        """
        whole: Any = self.accelerator.unwrap_model(self.model if model is None else model)
        if isinstance(whole, PeftModel):
            super()._load_from_checkpoint(resume_from_checkpoint, model)
            return
        with explained(Path(resume_from_checkpoint)), no_progress_bars():
            saved = type(whole).from_pretrained(
                resume_from_checkpoint,
                dtype=whole.dtype,
                local_files_only=True,
                use_safetensors=True,
            )
        whole.load_state_dict(saved.state_dict())

    def load_weights(self, step: int) -> None:
        """Put back the weights of the state after ``step``."""
        if self._waypoints is None:
            raise ValueError("there are no states to load from")
        self._load_from_checkpoint(str(self._waypoints.at(step)))

    @override
    @torch.no_grad()
    def evaluate(
        self,
        eval_dataset: Any = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> dict[str, float]:
        """Log the mean loss over all tokens of the validation examples that carry one.

        With several processes an incomplete last round is filled up with examples scored before.
        """
        model: Any = self.model
        model.eval()
        total = torch.zeros(2, dtype=torch.float64)
        for batch in self.get_eval_dataloader(eval_dataset):
            inputs = self._prepare_inputs(batch)
            count = int((inputs["labels"][:, 1:] != -100).sum())
            with self.compute_loss_context_manager():
                loss = float(self.compute_loss(model, inputs))  # type: ignore[no-untyped-call]
            total += torch.tensor([loss * count, count], dtype=torch.float64)
        everywhere = self.accelerator.reduce(total.to(self.accelerator.device, torch.float32))
        metrics = {f"{metric_key_prefix}_loss": float(everywhere[0] / everywhere[1])}
        self.log(metrics)
        model.train()
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        return metrics


def best_step(history: _History) -> int | None:
    """Return the optimiser step of the lowest validation loss so far, the first of equal ones."""
    scored = [(entry["eval_loss"], entry["step"]) for entry in history if "eval_loss" in entry]
    return int(min(scored)[1]) if scored else None
