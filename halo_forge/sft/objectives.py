"""What a completion token costs, as a function of its own log-likelihood: formulas and slopes.

With A the signed weight of the answer, p the token's probability now and q the one that it was
sampled with, both of the distribution that was sampled from, ``softmax(logits / temperature)``:

- *likelihood*: ``-A log p``. RAFT (Dong et al. 2023, arXiv:2304.06767, section 3; Xiong et al.
  2025, arXiv:2504.11343, equation 1).
- *ratio*, with ``s = p / q``: ``-min(s A, clip(s, 1 - low, 1 + high) A)``. RAFT++ (Xiong et al.,
  equation 6: A is 1 for a prompt's best answers, 0 for others) and Reinforce-Rej (equation 5 on the
  prompts that section 5.1 leaves: A is 1 or -1). The minimum is that of their equation 4 and of PPO
  (Schulman et al. 2017, arXiv:1707.06347, equation 7): as equation 5 is printed, with the sign
  outside of it, bad answers would be pushed down without end. For A < 0 the cost is at most
  ``-3 A`` (Ye et al. 2020, arXiv:1912.09729, section 3), as in the authors' program.
- *divergence*, with ``d = log r - log p`` and r the start model's probability:
  ``beta (exp(d) - d - 1)`` (Shao et al. 2024, arXiv:2402.03300, equation 4).

The mean is taken over the tokens of an optimiser step, as in the authors' program; equations 5 and
6 take it over the tokens of each answer first. So the gradient of RAFT++ is RAFT's where all ratios
are 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from halo_forge.sft.base import Objective

__all__ = ["Signals", "token_costs"]

_DUAL = 3.0
# Beyond it nothing changes but what float32 can hold: ratios are clipped, divergences enormous.
_LARGEST_LOG = 20.0


@dataclass(frozen=True, slots=True)
class Signals:
    """What is known of tokens beside their log-likelihood, (tokens,) each.

    Attributes:
        weights: Signed weight of their answers.
        behaviour: Log-probability they were sampled with.
        reference: Log-probability under the start model, where it is asked for.
    """

    weights: Tensor
    behaviour: Tensor
    reference: Tensor | None = None

    def at(self, rows: slice) -> Signals:
        """Return the signals of some of the tokens."""
        reference = None if self.reference is None else self.reference[rows]
        return Signals(self.weights[rows], self.behaviour[rows], reference)


def token_costs(objective: Objective, log_probs: Tensor, signals: Signals) -> tuple[Tensor, Tensor]:
    """Return what tokens cost, and the derivative of that by their log-likelihood.

    Args:
        objective: The formula.
        log_probs: (tokens,) log-likelihoods now, at the objective's temperature.
        signals: Of the same tokens.
    """
    weights = signals.weights
    cost, slope = -weights * log_probs, -weights
    if objective.ratio:
        cost, slope = _clipped(objective, log_probs - signals.behaviour, weights)
    if signals.reference is not None:
        distance = (signals.reference - log_probs).clamp(max=_LARGEST_LOG)
        cost = cost + objective.kl_coef * (distance.exp() - distance - 1)
        slope = slope + objective.kl_coef * (1 - distance.exp())
    return cost, slope


def _clipped(objective: Objective, log_ratio: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    ratio = log_ratio.clamp(max=_LARGEST_LOG).exp()
    low, high = 1 - objective.clip_low, 1 + objective.clip_high
    gain = torch.minimum(ratio * weights, ratio.clamp(low, high) * weights)
    bad = weights < 0
    gain = torch.where(bad, torch.maximum(gain, _DUAL * weights), gain)
    moves = torch.where(bad, (ratio >= low) & (ratio <= _DUAL), ratio <= high)
    return -gain, torch.where(moves, -ratio * weights, torch.zeros_like(ratio))
