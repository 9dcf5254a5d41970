"""The trainer of completions whose tokens cost more than their negative log-likelihood."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from trl.trainer.utils import add_fused_lm_head

from halo_forge.models.load import Model
from halo_forge.models.structure import plain
from halo_forge.sft.base import Objective
from halo_forge.sft.batches import SIGNALS
from halo_forge.sft.completion_trainer import CompletionTrainer
from halo_forge.sft.loss import Costs
from halo_forge.sft.objectives import Signals, token_costs
from halo_forge.sft.packing import with_segments
from halo_forge.utils.typing import override

__all__ = ["WeightedTrainer"]

_Batch = dict[str, Any]


class WeightedTrainer(CompletionTrainer):
    """Minimises an objective; layouts, chunks and the fused output layer are those of its base.

    Args:
        model: What is trained; an adapter, where the objective has a divergence.
        objective: What a token costs.
        kwargs: What `CompletionTrainer` takes.
    """

    def __init__(self, model: Model, *, objective: Objective, **kwargs: Any) -> None:
        self._objective = objective
        self._sums: dict[str, list[float]] = {}
        super().__init__(model, **kwargs)
        self.data_collator: Any = _WithSignals(self.data_collator)
        if not self._chunked:
            # the one that is there scores at a temperature of 1
            add_fused_lm_head(
                plain(model), objective.temperature, outputs=("log_probs", "entropy", "is_top1")
            )

    @override
    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()  # type: ignore[no-untyped-call]
        columns: Any = self._signature_columns
        self._signature_columns: Any = list({*columns, *SIGNALS})

    @override
    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: _Batch,
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """Return the mean cost of the step's completion tokens, this part."""
        inputs = with_segments(inputs)
        labels = inputs.pop("labels")
        predicts = labels[:, 1:] != -100
        weights, behaviour = (inputs.pop(name)[:, 1:][predicts] for name in SIGNALS)
        count = predicts.sum() if num_items_in_batch is None else num_items_in_batch
        reference = None
        if self._objective.kl_coef:
            reference = self._without_adapter(model, inputs, labels)
        signals = Signals(weights, behaviour, reference)

        def costs(log_probs: Tensor, rows: slice) -> tuple[Tensor, Tensor]:
            return token_costs(self._objective, log_probs, signals.at(rows))

        if self._chunked:
            asked = Costs(costs, self._objective.temperature)
            scored = self.score(model, inputs, labels, count, asked)
            loss, log_probs, entropy = scored.loss, scored.log_probs, scored.entropy
        else:
            outputs = self._fused(model, inputs, labels)
            log_probs, entropy = outputs.log_probs[predicts], outputs.entropy[predicts]
            cost, slope = costs(log_probs.detach(), slice(None))
            # worth the cost, with its slope: a straight line through what was found
            line = cost + slope * (log_probs - log_probs.detach())
            given = num_items_in_batch is not None
            loss = line.sum() / count
            if given and self.args.average_tokens_across_devices:
                loss = loss * self.accelerator.num_processes
            if self.aux_loss_enabled:
                steps = self.current_gradient_accumulation_steps if given else 1
                loss = loss + self.router_aux_loss_coef * outputs.aux_loss / steps
        self._note(log_probs.detach(), entropy.detach(), signals)
        return loss

    @override
    def figures(self) -> Mapping[str, float]:
        """Return what was seen on the way.

        ``behaviour_gap`` is the mean distance of log-likelihoods from those of the sampling, in the
        phase's first forward pass; ``clip_fraction`` the share of tokens that were let be since
        their ratio had gone too far; ``kl`` the mean divergence from the start model, nats.
        """
        sums = self._sums
        found = {"behaviour_gap": sums["behaviour_gap"][0]} if self._objective.ratio else {}
        names = ("clip_fraction", "kl")
        return found | {n: sum(sums[n]) / len(sums[n]) for n in names if n in sums}

    def _note(self, log_probs: Tensor, entropy: Tensor, signals: Signals) -> None:
        self._entropies.append(float(entropy.mean()))
        seen = {}
        if self._objective.ratio:
            bare = Signals(signals.weights, signals.behaviour)
            _, slope = token_costs(self._objective, log_probs, bare)
            seen["behaviour_gap"] = (log_probs - signals.behaviour).abs().mean()
            seen["clip_fraction"] = (slope == 0).float().mean()
        if signals.reference is not None:
            distance = signals.reference - log_probs
            seen["kl"] = (distance.exp() - distance - 1).mean()
        for name, value in seen.items():
            self._sums.setdefault(name, []).append(float(value))

    @torch.no_grad()
    def _without_adapter(self, model: torch.nn.Module, inputs: _Batch, labels: Tensor) -> Tensor:
        """Return the log-likelihoods of the completion tokens under the start model."""
        bare = self.accelerator.unwrap_model(model)
        if not isinstance(bare, PeftModel):
            raise TypeError(f"a {type(bare).__name__} has no adapter to switch off")
        nothing = Costs(lambda log_probs, _: (log_probs, log_probs), self._objective.temperature)
        with bare.disable_adapter():
            if self._chunked:
                return self.score(model, inputs, labels, 1, nothing).log_probs
            outputs = self._fused(model, inputs, labels)
        found: Tensor = outputs.log_probs[labels[:, 1:] != -100]
        return found

    def _fused(self, model: torch.nn.Module, inputs: _Batch, labels: Tensor) -> Any:
        """Run the model with TRL's fused output layer."""
        routers = {"output_router_logits": True} if self.aux_loss_enabled else {}
        return model(**inputs, **routers, labels=labels, fused_lm_head=True)


class _WithSignals:
    """Lays out the signals of answers as the collator below lays out their tokens."""

    def __init__(self, collate: Callable[..., _Batch]) -> None:
        self._collate = collate

    def __call__(self, examples: Sequence[_Batch]) -> _Batch:
        batch = self._collate(examples)
        for name in SIGNALS:
            parts = [torch.tensor(example[name], dtype=torch.float32) for example in examples]
            packed = "cu_seq_lens_q" in batch
            batch[name] = (
                torch.cat(parts)[None] if packed else pad_sequence(parts, batch_first=True)
            )
        return batch
