"""Generation by vLLM in this process: thin over ``vllm.LLM``. It has never run against vLLM itself.

Written from vLLM's documentation and sources as they could be read (``LLM.generate``,
``SamplingParams``, ``LoRARequest``, ``logprobs_mode``; releases 0.10 to 0.16), and tested with a
stand-in that checks the calls (``tests/unit/engines/test_vllm.py``). vLLM 0.33 wants torch 2.14 and
transformers below 5.21, other versions than halo-forge is tested with. So it is not registered as
an engine; whoever has both in one environment opens it by its place:
``--engine halo_forge.engines.vllm:VllmEngine``.

What vLLM promises less of than our own decoder: each sample has its own seed, but its tokens may
depend on its neighbours (docs.vllm.ai, "Reproducibility"; ``VLLM_BATCH_INVARIANT=1`` helps on some
GPUs). And what leaving the engine frees is what ending vLLM's own process frees: with
``VLLM_ENABLE_V1_MULTIPROCESSING=0`` the memory stays taken (vllm-project/vllm issue 21073).
"""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any, Self

from halo_forge.core.errors import ModelFault, UserError
from halo_forge.core.types import FinishReason, Prompt, Sample
from halo_forge.engines.base import EngineSpec, Request, request_seed
from halo_forge.models import chat, load, refs
from halo_forge.models.weights import is_adapter, read_json

__all__ = ["VllmEngine"]

_ADAPTER_CONFIG = "adapter_config.json"
_LORA_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)  # that vLLM can be built for
_SLICES = 4  # batches between two returns of vLLM: what a kill may cost
_REASONS: dict[str, FinishReason] = {"stop": "stop", "length": "length"}

_Owed = tuple[Prompt, int, tuple[int, ...]]


class VllmEngine:
    """Samples with vLLM; an adapter is applied as such, on its base model.

    Args:
        spec: Policy and settings; ``spec.generation.batch_size`` answers are decoded together.

    Raises:
        UserError: If vLLM is not installed, or stop texts are asked for.
        ModelFault: On entry, if vLLM cannot load the model.
    """

    def __init__(self, spec: EngineSpec) -> None:
        if spec.generation.stop:
            raise UserError(
                "generation.stop: the vLLM engine has no stop texts, since vLLM's token ids go on "
                "behind them"
            )
        self._spec = spec
        self._package = _package()
        self._llm: Any = None
        self._tokenizer: Any = None
        self._adapter: Any = None

    def __enter__(self) -> Self:
        """Load the base model, and name the adapter if there is one."""
        spec = self._spec
        folder = refs.resolve(spec.policy)
        base = str(refs.resolve(refs.base_ref(spec.policy)))
        self._tokenizer = load.load_tokenizer(spec.policy, trust_remote_code=spec.trust_remote_code)
        options: dict[str, Any] = {
            "dtype": "bfloat16" if spec.hardware.bf16 else "float32",
            "trust_remote_code": spec.trust_remote_code,
            "max_num_seqs": spec.generation.batch_size,
            # After the temperature, as `Sample.logprobs` promises; vLLM's default is before it.
            "logprobs_mode": "processed_logprobs",
        }
        if is_adapter(folder):
            from vllm.lora.request import LoRARequest

            options |= {"enable_lora": True, "max_loras": 1, "max_lora_rank": _rank(folder)}
            self._adapter = LoRARequest(folder.name, 1, str(folder))
        try:
            self._llm = self._package.LLM(base, **options)
        except (RuntimeError, ValueError) as error:
            raise ModelFault(f"{spec.policy}: vLLM cannot load it: {error}") from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let go of the engine, whose process then ends."""
        self._llm = self._tokenizer = self._adapter = None
        gc.collect()

    def generate(self, requests: Iterable[Request], seed: int) -> Iterator[Sample]:
        """Yield a sample for every owed index, some batches at a time.

        Raises:
            UserError: If vLLM refuses a prompt, such as one beyond the model's context.
            ModelFault: If an answer was broken off.
        """
        owed: list[_Owed] = []
        for request in requests:
            ids = tuple(chat.render(self._tokenizer, request.prompt.messages))
            owed += [(request.prompt, index, ids) for index in request.indices]
        size = self._spec.generation.batch_size * _SLICES
        for start in range(0, len(owed), size):
            yield from self._slice(owed[start : start + size], seed)

    def _slice(self, owed: Sequence[_Owed], seed: int) -> Iterator[Sample]:
        try:
            answers = self._llm.generate(
                [{"prompt_token_ids": list(ids)} for _, _, ids in owed],
                [self._law(request_seed(seed, prompt, index)) for prompt, index, _ in owed],
                use_tqdm=False,
                lora_request=self._adapter,
            )
        except ValueError as error:
            raise UserError(f"{self._spec.policy}: vLLM refuses a prompt: {error}") from error
        for (prompt, index, ids), answer in zip(owed, answers, strict=True):
            yield self._sample(prompt, index, ids, answer.outputs[0])

    def _law(self, seed: int) -> Any:
        """Return how one sample is drawn. vLLM adds the end tokens of the model's own settings."""
        generation = self._spec.generation
        return self._package.SamplingParams(
            temperature=generation.temperature,
            top_p=generation.top_p,
            top_k=generation.top_k or -1,
            min_p=generation.min_p,
            repetition_penalty=generation.repetition_penalty,
            max_tokens=generation.max_new_tokens,
            stop_token_ids=list(chat.stop_ids(self._tokenizer, None)),
            seed=seed,
            logprobs=0,  # of the sampled token alone
        )

    def _sample(self, prompt: Prompt, index: int, prompt_ids: tuple[int, ...], said: Any) -> Sample:
        """Turn vLLM's ``CompletionOutput``, end token included, into a sample."""
        if said.finish_reason not in _REASONS:
            raise ModelFault(f"{prompt.id}#{index}: vLLM broke off ({said.finish_reason!r})")
        reason = _REASONS[said.finish_reason]
        tokens = tuple(said.token_ids)
        return Sample(
            prompt=prompt,
            index=index,
            completion=chat.decode(self._tokenizer, tokens[:-1] if reason == "stop" else tokens),
            prompt_ids=prompt_ids,
            token_ids=tokens,
            logprobs=tuple(
                float(step[token].logprob)
                for step, token in zip(said.logprobs, tokens, strict=True)
            ),
            finish_reason=reason,
            policy=self._spec.label,
        )


def _rank(adapter: Any) -> int:
    """Return the smallest rank that vLLM can be built for and the adapter fits into.

    Raises:
        UserError: If there is none.
    """
    rank = int(read_json(adapter / _ADAPTER_CONFIG)["r"])
    fitting = [known for known in _LORA_RANKS if known >= rank]
    if not fitting:
        raise UserError(f"{adapter}: vLLM takes adapters of rank {_LORA_RANKS[-1]} at most")
    return fitting[0]


def _package() -> Any:
    """Import vLLM.

    Raises:
        UserError: If it is not installed.
    """
    try:
        import vllm
    except ModuleNotFoundError as error:
        raise UserError(
            f"the vLLM engine needs the package {error.name!r}, which is not installed: pip "
            "install vllm, in an environment of its own, since it pins torch and transformers. Or "
            "start `vllm serve` elsewhere and measure with --engine openai."
        ) from error
    return vllm
