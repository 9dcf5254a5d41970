"""The vLLM engine against a stand-in with vLLM's documented signatures; vLLM is not installed."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from halo_forge.core import registry
from halo_forge.core.errors import ModelFault, UserError
from halo_forge.engines.base import Engine, Request, request_seed
from halo_forge.engines.vllm import VllmEngine
from halo_forge.models import chat, load


@dataclass
class SamplingParams:
    """The parameters that are used, of those that vLLM documents."""

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    seed: int | None = None
    stop_token_ids: list[int] | None = None
    max_tokens: int | None = 16
    logprobs: int | None = None

    def __post_init__(self) -> None:
        assert self.seed is None or -(2**63) <= self.seed < 2**63


@dataclass
class LoRARequest:
    """As `vllm.lora.request` has it."""

    lora_name: str
    lora_int_id: int
    lora_path: str = ""


@dataclass
class Logprob:
    """As `vllm.logprobs` has it."""

    logprob: float


@dataclass
class CompletionOutput:
    """As `vllm.outputs` has it."""

    token_ids: list[int]
    logprobs: list[dict[int, Logprob]] | None
    finish_reason: str | None


@dataclass
class RequestOutput:
    """As `vllm.outputs` has it."""

    prompt_token_ids: list[int]
    outputs: list[CompletionOutput]


class LLM:
    """Says some letters that depend on the seed, then the first end token; some are cut."""

    made: list[LLM]
    end: str | None

    def __init__(
        self,
        model: str,
        *,
        tokenizer: str | None = None,
        trust_remote_code: bool = False,
        dtype: str = "auto",
        enable_lora: bool = False,
        max_loras: int = 1,
        max_lora_rank: int = 16,
        max_num_seqs: int | None = None,
        logprobs_mode: str = "raw_logprobs",
    ) -> None:
        if "broken" in model:
            raise ValueError("no such architecture")
        assert dtype in {"auto", "half", "float16", "bfloat16", "float", "float32"}
        assert max_lora_rank in {1, 8, 16, 32, 64, 128, 256, 320, 512}
        assert logprobs_mode in {"raw_logprobs", "processed_logprobs"}
        self.model, self.dtype, self.logprobs_mode = model, dtype, logprobs_mode
        self.lora = (enable_lora, max_loras, max_lora_rank)
        self.calls: list[tuple[list[Any], list[SamplingParams], LoRARequest | None]] = []
        LLM.made.append(self)

    def generate(
        self,
        prompts: Sequence[Any],
        sampling_params: SamplingParams | Sequence[SamplingParams] | None = None,
        *,
        use_tqdm: bool = True,
        lora_request: list[LoRARequest] | LoRARequest | None = None,
        priority: list[int] | None = None,
    ) -> list[RequestOutput]:
        """Return an output for each prompt, in their order."""
        assert not use_tqdm
        assert isinstance(sampling_params, list)
        assert len(prompts) == len(sampling_params)
        assert lora_request is None or self.lora[0]
        self.calls.append((list(prompts), sampling_params, lora_request))
        return [self._answer(*pair) for pair in zip(prompts, sampling_params, strict=True)]

    def _answer(self, prompt: Any, law: SamplingParams) -> RequestOutput:
        assert prompt.keys() == {"prompt_token_ids"}
        if len(prompt["prompt_token_ids"]) > 400:
            raise ValueError("the prompt is longer than the maximum model length")
        tokens = [20 + (law.seed >> shift) % 40 for shift in range(4)]
        cut = law.seed % 3 == 0
        tokens += [] if cut else law.stop_token_ids[:1]
        figures = [
            {token: Logprob(-token / 8), 7: Logprob(-9.0)} if token != 7 else {7: Logprob(-1.0)}
            for token in tokens
        ]
        reason = LLM.end or ("length" if cut else "stop")
        return RequestOutput(
            prompt["prompt_token_ids"], [CompletionOutput(tokens, figures, reason)]
        )


@pytest.fixture(autouse=True)
def _stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the stand-in where vLLM would be imported from."""
    package, lora, request = (
        ModuleType(name) for name in ("vllm", "vllm.lora", "vllm.lora.request")
    )
    package.LLM, package.SamplingParams = LLM, SamplingParams  # type: ignore[attr-defined]
    request.LoRARequest = LoRARequest  # type: ignore[attr-defined]
    for module in (package, lora, request):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    LLM.made, LLM.end = [], None


def test_samples(make_spec, lively_dir, prompts) -> None:
    """Each owed index is a prompt of token ids with its own seed; ids and figures come back."""
    law = {"temperature": 0.5, "top_p": 0.9, "min_p": 0.1, "repetition_penalty": 1.1}
    spec = make_spec(lively_dir, bf16=True, max_new_tokens=9, **law)
    owed = [Request(prompts[0], (0, 3)), Request(prompts[1], tuple(range(8)))]
    engine = VllmEngine(spec)
    assert isinstance(engine, Engine)
    with engine:
        found = {sample.id: sample for sample in engine.generate(owed, 11)}
    assert sorted(found) == sorted(f"{r.prompt.id}#{i}" for r in owed for i in r.indices)
    (llm,) = LLM.made
    assert (llm.model, llm.dtype) == (str(lively_dir), "bfloat16")
    assert (llm.lora[0], llm.logprobs_mode) == (False, "processed_logprobs")
    ((asked, laws, adapter),) = llm.calls
    tokenizer = load.load_tokenizer(lively_dir)
    ends = list(chat.stop_ids(tokenizer, None))
    assert asked[0]["prompt_token_ids"] == chat.render(tokenizer, prompts[0].messages)
    assert laws[1] == SamplingParams(
        **law,
        top_k=-1,
        max_tokens=9,
        stop_token_ids=ends,
        seed=request_seed(11, prompts[0], 3),
        logprobs=0,
    )
    assert adapter is None
    assert {sample.finish_reason for sample in found.values()} == {"stop", "length"}
    for sample in found.values():
        ended = sample.finish_reason == "stop"
        assert (sample.token_ids[-1] in ends) is ended
        spoken = sample.token_ids[:-1] if ended else sample.token_ids
        assert sample.completion == chat.decode(tokenizer, spoken)
        assert list(sample.prompt_ids) == chat.render(tokenizer, sample.prompt.messages)
        assert sample.logprobs == tuple(
            -1.0 if token == 7 else -token / 8 for token in sample.token_ids
        )
        assert sample.policy == "here"


def test_adapter(make_spec, lively_dir, adapter_dir, prompts) -> None:
    """An adapter goes along with each request, on its base model; its rank is rounded up."""
    with VllmEngine(make_spec(adapter_dir)) as engine:
        list(engine.generate([Request(prompts[0], (0,))], 1))
    (llm,) = LLM.made
    assert Path(llm.model).samefile(lively_dir)
    assert llm.lora == (True, 1, 8)  # of rank 4
    assert llm.calls[0][2] == LoRARequest(adapter_dir.name, 1, str(adapter_dir))


def test_slices(make_spec, lively_dir, prompts) -> None:
    """What a kill may cost is some batches, not the whole pass."""
    with VllmEngine(make_spec(lively_dir, batch_size=2)) as engine:
        samples = engine.generate([Request(prompts[0], tuple(range(20)))], 1)
        next(samples)
        assert [len(call[0]) for call in LLM.made[0].calls] == [8]
        assert len(list(samples)) == 19
    assert [len(call[0]) for call in LLM.made[0].calls] == [8, 8, 4]


def test_what_goes_wrong(make_spec, lively_dir, prompts, tmp_path) -> None:
    """A model that vLLM cannot load, a prompt that is too long, an answer that was broken off."""
    broken = tmp_path / "broken"
    broken.symlink_to(lively_dir)
    with pytest.raises(ModelFault, match=r"broken: vLLM cannot load it: no such architecture"):
        VllmEngine(make_spec(broken)).__enter__()
    with VllmEngine(make_spec(lively_dir)) as engine:
        with pytest.raises(UserError, match="vLLM refuses a prompt: the prompt is longer"):
            list(engine.generate([Request(chat_of(2000), (0,))], 1))
        LLM.end = "abort"
        with pytest.raises(ModelFault, match=r"short#0: vLLM broke off \('abort'\)"):
            list(engine.generate([Request(prompts[0], (0,))], 1))


def chat_of(words: int) -> Any:
    """A prompt of so many words."""
    from tests.fakes import make_prompt

    return make_prompt("long", "word " * words)


def test_not_installed(make_spec, lively_dir, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what to install, and what works without it."""
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(UserError, match=r"pip install vllm, .* --engine openai"):
        VllmEngine(make_spec(lively_dir))


def test_no_stop_texts(make_spec, lively_dir) -> None:
    """What vLLM does otherwise is refused, not done otherwise."""
    with pytest.raises(UserError, match=r"generation\.stop: the vLLM engine has no stop texts"):
        VllmEngine(make_spec(lively_dir, stop=("END",)))


def test_not_registered() -> None:
    """It has not run against vLLM, so it has no name; it is found by its place."""
    assert "vllm" not in registry.names("engines")
    assert registry.load("engines", "halo_forge.engines.vllm:VllmEngine") is VllmEngine
