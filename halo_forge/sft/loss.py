"""The loss of completions without their logits: the output layer a chunk of positions at a time.

A chunk's logits become its gradient while they are in the cache, in the same pass, so that no more
than one chunk of them ever exists and none is computed twice (as Liger does on GPUs: Hsu et al.
2024, arXiv:2410.10989, section 3.2). On CPUs only: TRL's own chunks need Triton to be fast.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from halo_forge.utils.typing import override

__all__ = ["CompletionLoss", "Costs", "chunk_bytes", "completion_loss"]

# Many rows for the matrix product, few for the cache: 256 rows of 49,152 logits are 50 MB.
_ROWS = 256


class Costs(NamedTuple):
    """What a token costs, as a function of its own log-likelihood.

    Attributes:
        of: Returns the costs and their slopes, given the log-likelihoods of some tokens and which
            tokens these are.
        temperature: Divides the logits before anything else.
    """

    of: Callable[[Tensor, slice], tuple[Tensor, Tensor]]
    temperature: float = 1.0


class CompletionLoss(NamedTuple):
    """What completion tokens cost.

    Attributes:
        loss: Sum over tokens of weight x cost; the gradient flows here.
        log_probs: (tokens,) log-likelihood of each, without gradient.
        entropy: (tokens,) entropy of the distribution each was scored by, nats, without gradient.
    """

    loss: Tensor
    log_probs: Tensor
    entropy: Tensor


def chunk_bytes(tokens: int, vocabulary: int) -> int:
    """Return the bytes of the chunk of logits, and of their gradient, that exist at a time."""
    return 2 * 4 * min(tokens, _ROWS) * vocabulary


def _negative(log_probs: Tensor, rows: slice) -> tuple[Tensor, Tensor]:
    del rows
    return -log_probs, -torch.ones_like(log_probs)


_LIKELIHOOD = Costs(_negative)


def completion_loss(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    targets: Tensor,
    weights: Tensor,
    costs: Costs = _LIKELIHOOD,
) -> CompletionLoss:
    """Score ``targets`` by the output layer, as cross-entropy over full logits would.

    Args:
        hidden: (tokens, width) last hidden states of the positions that predict the targets.
        weight: (vocabulary, width) of the output layer.
        bias: (vocabulary,) of the output layer, if it has one.
        targets: (tokens,) token ids.
        weights: (tokens,) what each token's cost counts in the sum.
        costs: What tokens cost; their negative log-likelihood when absent.
    """
    return CompletionLoss(
        *_Chunked.apply(  # type: ignore[no-untyped-call]
            hidden, weight, bias, targets, weights, costs
        )
    )


class _Chunked(torch.autograd.Function):
    """Computes the gradients with the loss; its backward only scales them."""

    @staticmethod
    @override
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        weights: Tensor,
        costs: Costs,
    ) -> tuple[Tensor, Tensor, Tensor]:
        kind = hidden.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else weight.dtype
        wanted = ctx.needs_input_grad
        inputs, head = hidden.to(dtype), weight.to(dtype)
        grads = [
            torch.zeros(tensor.shape, dtype=torch.float32, device=hidden.device)
            if tensor is not None and needed
            else None
            for tensor, needed in zip((hidden, weight, bias), wanted, strict=False)
        ]
        tokens = len(targets)
        log_probs, entropy, cost = (
            torch.empty(tokens, dtype=torch.float32, device=hidden.device) for _ in range(3)
        )
        shape = (min(tokens, _ROWS), len(weight))
        logits, probs = (
            torch.empty(shape, dtype=torch.float32, device=hidden.device) for _ in range(2)
        )
        with torch.autocast(kind, enabled=False):
            for start in range(0, tokens, _ROWS):
                rows = slice(start, start + _ROWS)
                chunk, target = inputs[rows], targets[rows]
                z, p = logits[: len(chunk)], probs[: len(chunk)]
                _project(chunk, head, bias, z)
                if costs.temperature != 1:
                    z /= costs.temperature
                log_probs[rows], entropy[rows] = _score(z, p, target)
                cost[rows], slope = costs.of(log_probs[rows], rows)
                p[torch.arange(len(p), device=p.device), target] -= 1
                p *= (weights[rows] * -slope / costs.temperature)[:, None]
                _accumulate(grads, rows, p, chunk, head)
        ctx.grads = grads
        ctx.dtypes = [None if t is None else t.dtype for t in (hidden, weight, bias)]
        ctx.mark_non_differentiable(log_probs, entropy)
        return (cost * weights).sum(), log_probs, entropy

    @staticmethod
    @override
    def backward(ctx: Any, *grad_outputs: Tensor) -> Any:
        scale = grad_outputs[0]
        grads = [
            None if grad is None else (grad * scale).to(dtype)
            for grad, dtype in zip(ctx.grads, ctx.dtypes, strict=True)
        ]
        return (*grads, None, None, None)


def _project(chunk: Tensor, head: Tensor, bias: Tensor | None, out: Tensor) -> None:
    """Write float32 logits, computed in the type of ``head``, to ``out``."""
    if head.dtype == torch.float32:
        torch.mm(chunk, head.t(), out=out)
    else:
        out.copy_(chunk @ head.t())
    if bias is not None:
        out += bias


def _score(z: Tensor, p: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Write the probabilities of logits ``z`` to ``p``; return log-likelihoods and entropies."""
    torch.softmax(z, dim=-1, out=p)
    # log Z from the likeliest token: its probability is never so small that the logarithm is rough
    top, where = z.max(dim=-1)
    normaliser = top - p.gather(1, where[:, None])[:, 0].log()
    mean_logit = torch.bmm(p[:, None], z[:, :, None])[:, 0, 0]
    return z.gather(1, target[:, None])[:, 0] - normaliser, normaliser - mean_logit


def _accumulate(
    grads: list[Tensor | None], rows: slice, grad: Tensor, chunk: Tensor, head: Tensor
) -> None:
    """Add what a chunk contributes, given the gradient of its logits."""
    grad_hidden, grad_weight, grad_bias = grads
    narrow = grad.to(head.dtype)
    if grad_hidden is not None:
        grad_hidden[rows] = narrow @ head
    if grad_weight is not None:
        grad_weight += narrow.t() @ chunk
    if grad_bias is not None:
        grad_bias += grad.sum(dim=0)
