"""TRL's trainer with the loss of completions alone, on any device without their logits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from halo_forge.models.load import Model
from halo_forge.models.structure import backbone, output_layer, plain
from halo_forge.sft.loss import CompletionLoss, Costs, completion_loss
from halo_forge.sft.packing import with_segments
from halo_forge.sft.resumable_trainer import ResumableTrainer
from halo_forge.utils.typing import override

__all__ = ["CompletionTrainer"]

# Far above what a model says of itself, so that a bound on the logits shows.
_LOUD = 100.0


class CompletionTrainer(ResumableTrainer):
    """Scores the positions that predict completion tokens, a chunk at a time.

    Graphics processors get TRL's fused output layer, which is Triton's there. Without Triton it
    scores the prompts too and takes several times as long; so a CPU gets
    `halo_forge.sft.loss.completion_loss`, if the logits are the output layer's alone, nothing is
    added to the loss (experts' load balance), and no other process has a part of the batch.
    """

    def __init__(self, model: Model, **kwargs: Any) -> None:
        """Take what `ResumableTrainer` takes."""
        bare = plain(model).device.type == "cpu" and _head_is_linear(model)
        self._entropies: list[float] = []
        super().__init__(model=model, **kwargs)
        alone = self.accelerator.num_processes == 1
        self._chunked = bare and alone and not self.aux_loss_enabled
        # Some models (Qwen2.5-VL) say that their own loss knows nothing of other batches; no loss
        # here is theirs.
        self.model_accepts_loss_kwargs = True

    @override
    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """Return the mean negative log-likelihood of the step's completion tokens, this part."""
        inputs = with_segments(inputs)
        if not self._chunked:
            return super().compute_loss(  # type: ignore[no-untyped-call]
                model, inputs, return_outputs, num_items_in_batch
            )
        scored = self.score(model, inputs, inputs.pop("labels"), num_items_in_batch)
        if model.training:
            self._entropies.append(float(scored.entropy.mean()))
        return scored.loss

    def score(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        labels: Tensor,
        count: Tensor | int | None,
        *costs: Costs,
    ) -> CompletionLoss:
        """Score completion tokens a chunk at a time.

        Args:
            model: As the trainer has it.
            inputs: What its backbone takes.
            labels: (rows, positions), -100 where there is no loss.
            count: What the sum of the loss is divided by; the tokens when absent.
            costs: What a token costs, if not its negative log-likelihood.
        """
        labels = labels[:, 1:]
        predicts = labels != -100
        bare = self.accelerator.unwrap_model(model)
        head = output_layer(bare)
        with self.accelerator.autocast():
            hidden = backbone(bare)(**inputs, use_cache=False).last_hidden_state[:, :-1][predicts]
            count = predicts.sum() if count is None else count
            weights = (torch.ones(len(hidden)) / count).to(hidden.device)
            return completion_loss(
                hidden, head.weight, head.bias, labels[predicts], weights, *costs
            )

    def figures(self) -> Mapping[str, float]:
        """Return what was seen on the way, beside loss and entropy."""
        return {}

    @override
    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the mean entropy since the last entry, as TRL does."""
        if self._entropies and self.model is not None and self.model.training:
            logs["entropy"] = sum(self._entropies) / len(self._entropies)
            self._entropies.clear()
        super().log(logs, start_time)


@torch.no_grad()
def _head_is_linear(model: Model) -> bool:
    """Tell whether logits are the output layer's, neither scaled nor bounded after it."""
    head = output_layer(model)
    seen: list[Tensor] = []

    def amplify(module: torch.nn.Module, args: Any, output: Any) -> Any:
        del module, args
        output.last_hidden_state = output.last_hidden_state * _LOUD
        seen.append(output.last_hidden_state)
        return output

    hook = backbone(model).register_forward_hook(amplify)
    try:
        ids = torch.ones((1, 4), dtype=torch.long, device=plain(model).device)
        logits = plain(model)(input_ids=ids, use_cache=False).logits
    except (AttributeError, TypeError):
        return False  # no backbone that could be called by itself
    finally:
        hook.remove()
    return type(head) is torch.nn.Linear and torch.equal(logits.float(), head(seen[-1]).float())
