"""Our batched decoder over any transformers causal language model with full attention.

One prefill a prompt, shared by its samples; rows of different lengths decoded together; a row
that ends is refilled at once. It knows tokens and rows; it knows nothing of rewards.

Why a sample does not depend on its neighbours: every row has its own random stream
(`halo_forge.engines.sampling`), a prompt is prefilled alone, attention is
`halo_forge.engines.row_attention`, and the number of rows in a step is a multiple of `ROW_STEP`,
for which matrix products give each row the same bits whatever the other rows hold
(``tests/unit/engines/test_decoder.py``). A kernel library that reduces in another order for
another batch size breaks this last point; a sample is then equally valid, but a resumed run may
differ from an undisturbed one in single tokens.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache, DynamicLayer, DynamicSlidingWindowLayer

from halo_forge.core.errors import ModelFault, UserError
from halo_forge.core.types import FinishReason, Prompt, Sample
from halo_forge.engines.base import EngineSpec, Request, request_seed
from halo_forge.engines.row_attention import ROW_ATTENTION
from halo_forge.engines.row_cache import RowCache
from halo_forge.engines.sampling import draw, uniforms
from halo_forge.models import chat, load

__all__ = ["ROW_STEP", "DecoderEngine"]

ROW_STEP = 8
"""Rows of a step are rounded up to this; below it matrix products use other kernels."""


@dataclass(slots=True)
class _Row:
    """A sample under way."""

    prompt: Prompt
    index: int
    prompt_ids: tuple[int, ...]
    uniforms: list[float]
    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)


@dataclass(slots=True)
class _Prefix:
    """A prefilled prompt and the samples still to start from it."""

    prompt: Prompt
    ids: tuple[int, ...]
    waiting: deque[int]
    cache: DynamicCache
    logits: Tensor


class DecoderEngine:
    """The ``transformers`` engine.

    Args:
        spec: Policy and settings; ``spec.generation.batch_size`` rows are decoded together.

    Raises:
        ModelFault: On entry, when the model cannot be loaded or its attention is not full.
    """

    def __init__(self, spec: EngineSpec) -> None:
        self._spec = spec
        self._model: Any = None
        self._tokenizer: Any = None
        self._stops: frozenset[int] = frozenset()

    def __enter__(self) -> Self:
        """Load the weights, adapters folded in."""
        hardware = self._spec.hardware
        device = load.pick_device(hardware.device)
        trust = self._spec.trust_remote_code
        try:
            self._model = load.load_model(
                self._spec.policy,
                dtype=load.pick_dtype(hardware.bf16, device),
                device=device,
                attn=ROW_ATTENTION,
                trust_remote_code=trust,
                merge=True,
            ).eval()
        except ModelFault as error:
            raise (self._foreign() if ROW_ATTENTION in str(error) else error) from error.__cause__
        if not self._model.is_backend_compatible():
            raise self._foreign()
        self._tokenizer = load.load_tokenizer(self._spec.policy, trust_remote_code=trust)
        self._stops = frozenset(chat.stop_ids(self._tokenizer, self._model.generation_config))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Drop the weights."""
        self._model = self._tokenizer = None
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def generate(self, requests: Iterable[Request], seed: int) -> Iterator[Sample]:
        """Yield a sample for every owed index, as rows finish.

        Raises:
            UserError: If a prompt and ``max_new_tokens`` do not fit into the model's context.
        """
        queue = deque(
            (request, tuple(chat.render(self._tokenizer, request.prompt.messages)))
            for request in requests
            if request.indices
        )
        if not queue:
            return
        longest = self._check_context(queue)
        owed = sum(len(request.indices) for request, _ in queue)
        rows = min(self._spec.generation.batch_size, owed)
        batch = _Batch(self, -(-rows // ROW_STEP) * ROW_STEP, longest, seed)
        while queue or batch.busy:
            yield from batch.admit(queue)
            if batch.busy:
                yield from batch.step()

    def _foreign(self) -> ModelFault:
        """Say that the architecture computes attention in a way of its own."""
        return ModelFault(
            f"{self._spec.policy}: its architecture does not use the attention interface of "
            "transformers, through which the decoder works. Take another model."
        )

    def _check_context(self, queue: Iterable[tuple[Request, tuple[int, ...]]]) -> int:
        """Return the positions that the longest sample may need."""
        config = self._model.config
        context = getattr(config.get_text_config(), "max_position_embeddings", None)
        budget = self._spec.generation.max_new_tokens
        request, ids = max(queue, key=lambda item: len(item[1]))
        needed = len(ids) + budget
        if context is not None and needed > context:
            raise UserError(
                f"prompt {request.prompt.id}: {len(ids)} tokens and max_new_tokens = {budget} need "
                f"{needed} positions, the model has {context}. Lower generation.max_new_tokens or "
                "shorten the prompt."
            )
        for layer in DynamicCache(config=config).layers:
            if type(layer) not in (DynamicLayer, DynamicSlidingWindowLayer):
                raise ModelFault(
                    f"{self._spec.policy}: the decoder needs attention in every layer, this model "
                    f"keeps a {type(layer).__name__}"
                )
            if isinstance(layer, DynamicSlidingWindowLayer) and needed > layer.sliding_window:
                raise ModelFault(
                    f"{self._spec.policy}: the decoder needs full attention, this model looks back "
                    f"{layer.sliding_window} positions and prompt {request.prompt.id} may need "
                    f"{needed}. Lower generation.max_new_tokens or take another model."
                )
        return needed

    @torch.inference_mode()
    def prefill(self, ids: tuple[int, ...]) -> tuple[DynamicCache, Tensor]:
        """Run a prompt once; return its cache and the logits (1, vocabulary) after it."""
        cache = DynamicCache(config=self._model.config)
        tokens = torch.tensor([ids], device=self._model.device)
        output = self._model(
            input_ids=tokens, past_key_values=cache, use_cache=True, logits_to_keep=1
        )
        return cache, output.logits[:, -1]

    @torch.inference_mode()
    def forward(self, tokens: Tensor, cache: RowCache) -> Tensor:
        """Run one position a row; return the logits (rows, vocabulary)."""
        active = tokens.shape[0]
        mask = cache.prepare(active)
        output = self._model(
            input_ids=tokens[:, None],
            position_ids=cache.lengths[:active, None],
            attention_mask=mask,
            past_key_values=cache,
            use_cache=True,
        )
        cache.lengths[:active] += 1
        logits: Tensor = output.logits[:, -1]
        return logits

    def new_cache(self, rows: int, length: int) -> RowCache:
        """Return an empty cache for ``rows`` samples of at most ``length`` positions."""
        config = self._model.config.get_text_config()
        return RowCache(config.num_hidden_layers, rows, length, self._model.device)

    @property
    def temperature(self) -> float:
        """Sampling temperature."""
        return self._spec.generation.temperature

    def new_row(self, prefix: _Prefix, index: int, seed: int) -> _Row:
        """Return an empty row with its own random stream."""
        stream_seed = request_seed(seed, prefix.prompt, index)
        stream = uniforms(stream_seed, self._spec.generation.max_new_tokens)
        return _Row(prefix.prompt, index, prefix.ids, stream)

    def finish(self, row: _Row) -> FinishReason | None:
        """Say why a row has ended, or None when it has not."""
        if row.tokens[-1] in self._stops:
            return "stop"
        return "length" if len(row.tokens) == len(row.uniforms) else None

    def to_sample(self, row: _Row, reason: FinishReason) -> Sample:
        """Turn a finished row into a sample."""
        text_ids = row.tokens[:-1] if reason == "stop" else row.tokens
        return Sample(
            prompt=row.prompt,
            index=row.index,
            completion=chat.decode(self._tokenizer, text_ids),
            prompt_ids=row.prompt_ids,
            token_ids=tuple(row.tokens),
            logprobs=tuple(row.logprobs),
            finish_reason=reason,
            policy=self._spec.label,
        )


class _Batch:
    """Rows that are decoded together, and the prompt that waiting samples start from."""

    def __init__(self, engine: DecoderEngine, rows: int, length: int, seed: int) -> None:
        self._engine = engine
        self._seed = seed
        self._cache = engine.new_cache(rows, length)
        self._rows: list[_Row | None] = [None] * rows
        self._tokens = torch.zeros(rows, dtype=torch.long, device=self._cache.lengths.device)
        self._prefix: _Prefix | None = None

    @property
    def busy(self) -> bool:
        """Whether any sample is under way or waits for a row."""
        return self._prefix is not None or any(row is not None for row in self._rows)

    def admit(self, queue: deque[tuple[Request, tuple[int, ...]]]) -> Iterator[Sample]:
        """Fill free rows; yield samples that ended at their first token."""
        free = deque(i for i, row in enumerate(self._rows) if row is None)
        while free and (self._prefix is not None or queue):
            if self._prefix is None:
                request, ids = queue.popleft()
                cache, logits = self._engine.prefill(ids)
                self._prefix = _Prefix(request.prompt, ids, deque(request.indices), cache, logits)
            yield from self._start(self._prefix, free)
            if not self._prefix.waiting:
                self._prefix = None

    def _start(self, prefix: _Prefix, free: deque[int]) -> Iterator[Sample]:
        """Draw the first token of as many waiting samples as there are free rows."""
        count = min(len(free), len(prefix.waiting))
        rows = [
            self._engine.new_row(prefix, prefix.waiting.popleft(), self._seed) for _ in range(count)
        ]
        self._append(rows, prefix.logits.expand(count, -1))
        for row in rows:
            reason = self._engine.finish(row)
            if reason is not None:
                yield self._engine.to_sample(row, reason)
                continue
            slot = free.popleft()
            self._cache.load(slot, prefix.cache, len(prefix.ids))
            self._tokens[slot] = row.tokens[-1]
            self._rows[slot] = row

    def step(self) -> Iterator[Sample]:
        """Advance every row by one token; yield those that end."""
        active = self._compact()
        logits = self._engine.forward(self._tokens[:active], self._cache)
        busy = [(i, row) for i, row in enumerate(self._rows[:active]) if row is not None]
        index = torch.tensor([i for i, _ in busy], device=logits.device)
        self._tokens[index] = self._append([row for _, row in busy], logits[index])
        for slot, row in busy:
            reason = self._engine.finish(row)
            if reason is not None:
                self._rows[slot] = None
                yield self._engine.to_sample(row, reason)
        for slot, row_or_none in enumerate(self._rows[:active]):
            if row_or_none is None:
                self._cache.release(slot)

    def _append(self, rows: list[_Row], logits: Tensor) -> Tensor:
        """Draw one token for each row and record it."""
        uniform = torch.tensor([row.uniforms[len(row.tokens)] for row in rows])
        temperature = self._engine.temperature
        tokens, logprobs = draw(logits, temperature, uniform.to(logits.device))
        for row, token, logprob in zip(rows, tokens.tolist(), logprobs.tolist(), strict=True):
            row.tokens.append(token)
            row.logprobs.append(logprob)
        return tokens

    def _compact(self) -> int:
        """Move busy rows to the front when that saves a block of rows; return rows to compute."""
        busy = [i for i, row in enumerate(self._rows) if row is not None]
        wanted = -(-len(busy) // ROW_STEP) * ROW_STEP
        if busy[-1] < wanted:
            return wanted
        holes = [i for i in range(wanted) if self._rows[i] is None]
        for source, target in zip((i for i in busy if i >= wanted), holes, strict=False):
            self._cache.move(source, target)
            self._tokens[target] = self._tokens[source]
            self._rows[target], self._rows[source] = self._rows[source], None
        return wanted
