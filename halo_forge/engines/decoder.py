"""Our batched decoder over any transformers causal language model with full attention.

One prefill a prompt, pictures included, shared by its samples; rows of different lengths decoded
together; a row that ends is refilled at once. It knows tokens and rows; it knows nothing of
rewards.

Why a sample does not depend on its neighbours: every row has its own random stream
(`halo_forge.engines.sampling`), a prompt is prefilled alone, attention is
`halo_forge.engines.row_attention`, and the number of rows in a step is a multiple of `ROW_STEP`,
for which matrix products give each row the same bits whatever the other rows hold
(``tests/unit/engines/test_decoder.py``; in float32 on a CPU through
`halo_forge.engines.packed`). A kernel library that reduces in another order for
another batch size breaks this last point; a sample is then equally valid, but a resumed run may
differ from an undisturbed one in single tokens.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache, DynamicLayer, DynamicSlidingWindowLayer

from halo_forge.core.errors import ModelFault, UserError
from halo_forge.core.types import FinishReason, Prompt, Sample
from halo_forge.engines import admission
from halo_forge.engines.admission import ROW_STEP
from halo_forge.engines.base import EngineSpec, Request, request_seed
from halo_forge.engines.batch import Batch, Prefix, Row, Waiting
from halo_forge.engines.packed import PackedLinear, pack_linears
from halo_forge.engines.row_attention import ROW_ATTENTION
from halo_forge.engines.row_cache import RowCache, position_bytes, whole_windows
from halo_forge.engines.sampling import Law, uniforms
from halo_forge.models import chat, load
from halo_forge.models.adapter import encode_prompt, open_adapter
from halo_forge.models.memory import free_memory
from halo_forge.models.pictures import open_pictures
from halo_forge.models.profile import bound_memory
from halo_forge.models.structure import places_of, senses
from halo_forge.utils.hardware import probe

__all__ = ["DecoderEngine"]

_SLACK = 8
"""Tokens looked at beyond a stop string's length, for special tokens that say nothing."""

_log = logging.getLogger(__name__)


class DecoderEngine:
    """The ``transformers`` engine.

    Args:
        spec: Policy and settings; up to ``spec.generation.batch_size`` rows are decoded together,
            fewer where their keys and values would not fit.

    Raises:
        ModelFault: On entry, when the model cannot be loaded or its attention is not full.
    """

    def __init__(self, spec: EngineSpec) -> None:
        settings = spec.generation
        self.law = Law(settings.temperature, settings.top_k, settings.top_p, settings.min_p)
        self.repetition_penalty = settings.repetition_penalty
        self._spec = spec
        self._model: Any = None
        self._adapter: Any = None
        self._tokenizer: Any = None
        self._stops: frozenset[int] = frozenset()
        self._vocabulary = 0
        self._silent = torch.empty(0, dtype=torch.long)
        self._packed: list[PackedLinear] = []
        self._packed_rows = 0
        self._seed = 0

    def __enter__(self) -> Self:
        """Load the weights, adapters folded in."""
        hardware = self._spec.hardware
        device = load.pick_device(hardware.device)
        bound_memory(device, hardware)
        trust = self._spec.trust_remote_code
        try:
            self._model = load.load_model(
                self._spec.policy,
                dtype=load.pick_dtype(hardware.bf16, device),
                device=device,
                attn=ROW_ATTENTION,
                trust_remote_code=trust,
                merge=True,
                keeper=self._spec.keeper,
            ).eval()
        except ModelFault as error:
            raise (self._foreign() if ROW_ATTENTION in str(error) else error) from error.__cause__
        if not self._model.is_backend_compatible():
            raise self._foreign()
        self._adapter = open_adapter(self._spec.policy, trust_remote_code=trust)
        self._tokenizer = self._adapter.tokenizer
        self._stops = frozenset(chat.stop_ids(self._tokenizer, self._model.generation_config))
        if not self._stops:
            _log.warning(
                "%s has no end token: every answer is cut at generation.max_new_tokens or a stop "
                "string",
                self._spec.policy,
            )
        self._vocabulary = self._drawable()
        self._silent = torch.tensor(
            [token for token in self._adapter.silent if token < self._vocabulary],
            dtype=torch.long,
            device=self._model.device,
        )
        looking = senses(self._model).values()
        self._packed = pack_linears(self._model, self._free_memory(), apart=looking)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Drop the weights."""
        self._model = self._adapter = self._tokenizer = None
        self._packed, self._packed_rows = [], 0
        self._empty_cache()

    def generate(self, requests: Iterable[Request], seed: int) -> Iterator[Sample]:
        """Yield a sample for every owed index, as rows finish, prompts longest first.

        Raises:
            UserError: If a prompt and ``max_new_tokens`` do not fit into the model's context.
            ModelFault: If the memory does not suffice for the fewest rows, or the model's figures
                are not numbers.
        """
        self._seed = seed
        queue = self._read(requests)
        if not queue:
            return
        self._check_context(queue[0])
        new_tokens = self._spec.generation.max_new_tokens
        each = position_bytes(self._model)
        wanted = self._spec.generation.batch_size
        while queue:
            needs = [(whole_windows(len(w.ids) + new_tokens), len(w.indices)) for w in queue]
            budget = admission.room(self._spec.hardware.kv_cache_gb, self._free_memory())
            count, rows = admission.admit(needs, wanted, each, budget)
            group = deque(queue.popleft() for _ in range(count))
            batch = Batch(self, rows, needs[0][0], group)
            try:
                for row, reason in batch.run():
                    yield self._to_sample(row, reason)
            except (torch.OutOfMemoryError, RuntimeError) as error:
                if not _is_out_of_memory(error):
                    raise
                wanted = _fewer(rows, error)
                queue = deque(sorted([*batch.unfinished(), *group, *queue], key=_by_length))
            del batch
            self._empty_cache()

    def _read(self, requests: Iterable[Request]) -> deque[Waiting]:
        """Return what is owed, the longest prompts first."""
        return deque(
            sorted(
                (
                    Waiting(one.prompt, self._encode(one), deque(one.indices))
                    for one in requests
                    if one.indices
                ),
                key=_by_length,
            )
        )

    def _encode(self, request: Request) -> tuple[int, ...]:
        """Return a prompt's tokens.

        Raises:
            UserError: If a picture is damaged, or the model cannot see it.
            ModelFault: If the tokenizer gives none, or one that the model does not have.
        """
        ids = tuple(encode_prompt(self._adapter, request.prompt, self._spec.images))
        size = self._model.get_input_embeddings().num_embeddings
        if not ids or max(ids) >= size:
            raise ModelFault(
                f"prompt {request.prompt.id}: the tokenizer of {self._spec.policy} gives "
                + (f"token {max(ids)}, the model has {size}" if ids else "no tokens")
                + ". Tokenizer and weights are not from the same model."
            )
        return ids

    def _drawable(self) -> int:
        """Return how many of the model's tokens the tokenizer knows; only these are drawn."""
        known = max(self._tokenizer.get_vocab().values(), default=-1) + 1
        size: int = self._model.config.get_text_config().vocab_size
        if known < size:
            _log.info(
                "%s: the model has %d tokens, its tokenizer %d; the others are never drawn",
                self._spec.policy,
                size,
                known,
            )
        return min(known, size)

    def _foreign(self) -> ModelFault:
        """Say that the architecture computes attention in a way of its own."""
        return ModelFault(
            f"{self._spec.policy}: its architecture does not use the attention interface of "
            "transformers, through which the decoder works. Take another model."
        )

    def _check_context(self, longest: Waiting) -> None:
        """Refuse what the model cannot look back on as a whole."""
        config = self._model.config
        context = getattr(config.get_text_config(), "max_position_embeddings", None)
        budget = self._spec.generation.max_new_tokens
        ids = len(longest.ids)
        needed = ids + budget
        if context is not None and needed > context:
            room = context - ids
            raise UserError(
                f"prompt {longest.prompt.id}: {ids} tokens and max_new_tokens = {budget} need "
                f"{needed} positions, the model has {context}. "
                + (
                    f"Lower generation.max_new_tokens to {room} or shorten the prompt."
                    if room > 0
                    else "Shorten the prompt: nothing is cut off silently."
                )
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
                    f"{layer.sliding_window} positions and prompt {longest.prompt.id} may need "
                    f"{needed}. Lower generation.max_new_tokens or take another model."
                )

    @torch.inference_mode()
    def prefill(self, ids: tuple[int, ...], prompt: Prompt | None = None) -> Prefix:
        """Run the tokens of a prompt once, with its pictures."""
        cache = DynamicCache(config=self._model.config)
        tokens = torch.tensor([ids], device=self._model.device)
        shown: dict[str, Tensor] = {}
        if prompt is not None and prompt.images:
            opened = open_pictures(prompt.images, self._spec.images, f"prompt {prompt.id}")
            shown = {**self._adapter.look(opened), **self._adapter.roles(tokens)}
            shown = {name: part.to(self._model.device) for name, part in shown.items()}
        places, shift = places_of(self._model, tokens, shown)
        output = self._model(
            input_ids=tokens,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
            **shown,
            **places,
        )
        return Prefix(cache, self._audible(output.logits), shift)

    @torch.inference_mode()
    def forward(self, tokens: Tensor, cache: RowCache) -> Tensor:
        """Run one position a row; return the logits (rows, vocabulary)."""
        active = tokens.shape[0]
        self._pack(active)
        mask = cache.prepare(active)
        output = self._model(
            input_ids=tokens[:, None],
            position_ids=(cache.lengths + cache.shifts)[:active, None],
            attention_mask=mask,
            past_key_values=cache,
            use_cache=True,
        )
        return self._audible(output.logits)

    def _audible(self, logits: Tensor) -> Tensor:
        """Return the logits after the last position, of the tokens that may be drawn."""
        last = logits[:, -1, : self._vocabulary]
        return last.index_fill(1, self._silent, -torch.inf) if len(self._silent) else last

    def new_cache(self, rows: int, length: int) -> RowCache:
        """Return an empty cache for ``rows`` samples of at most ``length`` positions."""
        config = self._model.config.get_text_config()
        return RowCache(config.num_hidden_layers, rows, length, self._model.device)

    def new_row(self, source: Waiting, index: int) -> Row:
        """Return an empty row with its own random stream."""
        stream_seed = request_seed(self._seed, source.prompt, index)
        stream = uniforms(stream_seed, self._spec.generation.max_new_tokens)
        return Row(source, index, stream)

    def ended(self, row: Row) -> FinishReason | None:
        """Say why a row has ended, or None when it has not."""
        if row.tokens[-1] in self._stops or self._says_stop(row.tokens):
            return "stop"
        return "length" if len(row.tokens) == len(row.uniforms) else None

    def _says_stop(self, tokens: Sequence[int]) -> bool:
        """Tell whether a stop string has just been completed; a token says a byte or more."""
        stops = self._spec.generation.stop
        if not stops:
            return False
        reach = max(len(stop.encode()) for stop in stops) + _SLACK
        tail = chat.decode(self._tokenizer, tokens[-reach:])
        return any(stop in tail for stop in stops)

    def _to_sample(self, row: Row, reason: FinishReason) -> Sample:
        """Turn a finished row into a sample; its text ends before a stop string."""
        ended_itself = row.tokens[-1] in self._stops
        text = chat.decode(self._tokenizer, row.tokens[:-1] if ended_itself else row.tokens)
        for stop in self._spec.generation.stop:
            text = text.partition(stop)[0]
        return Sample(
            prompt=row.source.prompt,
            index=row.index,
            completion=text,
            prompt_ids=row.source.ids,
            token_ids=tuple(row.tokens),
            logprobs=tuple(row.logprobs),
            finish_reason=reason,
            policy=self._spec.label,
        )

    def _pack(self, rows: int) -> None:
        """Arrange the weights for products of ``rows`` rows."""
        if rows != self._packed_rows:
            self._packed_rows = rows
            for layer in self._packed:
                layer.pack(rows)

    def _free_memory(self) -> int:
        free = free_memory(self._model.device, probe())
        still_to_pack = [] if self._packed_rows else self._packed
        return free - sum(layer.weight.nbytes for layer in still_to_pack)

    def _empty_cache(self) -> None:
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _by_length(waiting: Waiting) -> int:
    return -len(waiting.ids)


def _is_out_of_memory(error: BaseException) -> bool:
    # on a CPU torch has no type of its own for it
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def _fewer(rows: int, error: BaseException) -> int:
    """Return half the rows after an allocation has failed.

    Raises:
        ModelFault: If there were no more than the fewest.
    """
    if rows <= ROW_STEP:
        raise ModelFault(
            f"the device has not enough memory for {rows} answers at once: "
            f"{str(error).splitlines()[0]} Lower generation.max_new_tokens or take a smaller model."
        ) from error
    _log.warning("not enough memory for %d answers at once; going on with half as many", rows)
    return rows // 2
