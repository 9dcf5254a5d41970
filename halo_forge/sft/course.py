"""What happens between the optimiser steps of a training phase: states, an end, figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from halo_forge.tracking.base import Observer, Stage, Tracker
from halo_forge.utils.typing import override

__all__ = ["Course", "is_over"]

_FIGURES = {
    "loss": "loss",
    "grad_norm": "grad_norm",
    "learning_rate": "learning_rate",
    "entropy": "entropy",
    "eval_loss": "eval/loss",
}


class Course(TrainerCallback):
    """Follows a training phase.

    What it decides depends on the trainer's recorded history alone, so a phase that goes on from a
    state decides as it would have without the interruption.

    Args:
        observer: Told of each epoch's validation loss.
        stage: Told of each step.
        trackers: Told the figures of each step.
        save_steps: Optimiser steps between two states; None: no states.
        patience: Epochs without a lower validation loss that end the phase; None: none do.
    """

    def __init__(
        self,
        observer: Observer,
        stage: Stage,
        trackers: Sequence[Tracker] = (),
        *,
        save_steps: int | None = None,
        patience: int | None = None,
    ) -> None:
        self._observer = observer
        self._stage = stage
        self._trackers = trackers
        self._save_steps = save_steps
        self._patience = patience

    @override
    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Count a step, and ask for a state when one is due."""
        self._stage.advance()
        if self._save_steps is None:
            return
        ends = state.global_step % (state.max_steps // int(args.num_train_epochs)) == 0
        # A state at an epoch's end is written when it has been scored: without the score, an
        # attempt that goes on from it would never know it.
        scored = args.eval_strategy != "no"
        due = state.global_step % self._save_steps == 0
        control.should_save = not scored if ends else due

    @override
    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Tell the loss, ask for a state, and end the phase when patience is spent."""
        losses = _eval_losses(state.log_history)
        self._observer.message(f"Epoch {len(losses)}: validation loss {losses[-1]:.4f}")
        control.should_save = self._save_steps is not None
        if _is_spent(losses, self._patience):
            self._observer.message(
                f"No lower validation loss in {self._patience} epochs: training ends here"
            )
            control.should_training_stop = True

    @override
    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: Mapping[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        """Hand figures to the trackers."""
        figures = {
            _FIGURES[name]: value for name, value in (logs or {}).items() if name in _FIGURES
        }
        for tracker in self._trackers if figures else ():
            tracker.log(state.global_step, figures)


def is_over(state: TrainerState, patience: int | None) -> bool:
    """Tell whether a phase that left ``state`` has nothing more to do."""
    spent = _is_spent(_eval_losses(state.log_history), patience)
    return state.global_step >= state.max_steps or spent


def _eval_losses(history: Sequence[Mapping[str, float]]) -> list[float]:
    return [entry["eval_loss"] for entry in history if "eval_loss" in entry]


def _is_spent(losses: Sequence[float], patience: int | None) -> bool:
    if patience is None or not losses:
        return False
    return len(losses) - 1 - losses.index(min(losses)) >= patience
