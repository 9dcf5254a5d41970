"""The engine `openai`: asks a server (llama.cpp, vLLM, Ollama, DeepSeek, OpenAI and the like).

A request for each sample goes to ``/chat/completions``; the server applies the chat template. What
it means for the samples:

- They carry text, finish reason and number of tokens, but no token ids and no log-probabilities:
  the protocol has no ids, and a server does not follow the policy from cycle to cycle. Text that
  is tokenized again is not always what was sampled. So they serve benchmarks, not training, and
  the engine refuses to be opened for it.
- Each request carries a seed of its own, 31 bits since llama.cpp reads no more. Whether the same
  seed gives the same sample is the server's affair: batching, caches and versions change it. A
  sample that is on disk is never asked for again.
- ``content_filter`` counts as cut (``length``): the model did not end by itself.

How the server is asked, and what is done when it does not answer, is `chat_server`'s.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any, Self

from halo_forge.config.fields import default_of
from halo_forge.config.sections import GenerationSettings
from halo_forge.core.errors import UserError
from halo_forge.core.types import Prompt, Sample
from halo_forge.engines.base import EngineSpec, Request, request_seed
from halo_forge.engines.chat_server import ChatServer, Question, Reply

__all__ = ["OpenAIEngine"]

_SEED_BITS = 0x7FFF_FFFF

_LONG_AGO = 1 << 16
"""Tokens back to which llama.cpp looks for repetitions; it keeps room for so many."""


class OpenAIEngine:
    """The ``openai`` engine; ``spec.policy`` is the server's name for the model.

    Args:
        spec: Policy and settings; ``spec.generation.server`` says which server.

    Raises:
        UserError: If the samples are to be trained on, the address or the key is missing, or the
            ``openai`` package is not installed; on entry, if the server has no such model or
            refuses the key.
        ModelFault: On entry, if the server cannot be reached.
    """

    def __init__(self, spec: EngineSpec) -> None:
        if spec.for_training:
            raise UserError(
                "engine 'openai': a server's answers carry no token ids, and it does not follow "
                "the policy from cycle to cycle, so they cannot be trained on. Train with "
                "generation.engine = transformers."
            )
        self._spec = spec
        if not spec.generation.server.extensions:
            _refuse_unsent(spec.generation)
        self._server = ChatServer(spec.generation.server, spec.policy)

    def __enter__(self) -> Self:
        """Ask the server whether it has the model."""
        self._server.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the connections."""
        self._server.__exit__(kind, error, trace)

    def generate(self, requests: Iterable[Request], seed: int) -> Iterator[Sample]:
        """Yield a sample for every owed index, as answers arrive.

        After an error no further request is sent; those under way are waited for and yielded.

        Raises:
            UserError: If the server refuses a request for a reason that stays.
            ModelFault: If it does not answer, or not with an answer, after all attempts.
        """
        questions = (
            Question(
                (request.prompt, index),
                f"prompt {request.prompt.id}",
                self._parameters(request.prompt, index, seed),
            )
            for request in requests
            for index in request.indices
        )
        for (prompt, index), reply in self._server.replies(questions):
            yield self._sample(prompt, index, reply)

    def _parameters(self, prompt: Prompt, index: int, seed: int) -> dict[str, Any]:
        """Return the parameters of one request."""
        if prompt.images:
            raise UserError(
                f"prompt {prompt.id} shows an image, and servers are asked in words alone: use "
                "engine transformers"
            )
        generation = self._spec.generation
        server = generation.server
        parameters: dict[str, Any] = {
            "messages": [{"role": m.role, "content": m.content} for m in prompt.messages],
            "temperature": generation.temperature,
            "top_p": generation.top_p,
            server.token_limit: generation.max_new_tokens,
        }
        if generation.stop:
            parameters["stop"] = list(generation.stop)
        if server.extensions:
            parameters["extra_body"] = _extensions(generation)
        if server.send_seed:
            parameters["seed"] = request_seed(seed, prompt, index) & _SEED_BITS
        return parameters

    def _sample(self, prompt: Prompt, index: int, reply: Reply) -> Sample:
        return Sample(
            prompt=prompt,
            index=index,
            completion=reply.text,
            finish_reason=reply.finish_reason,
            policy=self._spec.label,
            token_count=reply.completion_tokens or 0,
        )


def _extensions(generation: GenerationSettings) -> dict[str, Any]:
    """Return the parameters that are not OpenAI's.

    Servers fill what is not sent with defaults of theirs or of the model; so what does nothing is
    sent too. Some have two names: vLLM knows the first and llama.cpp the second, which looks for
    repetitions in the last 64 tokens only unless told otherwise.
    """
    return {
        "top_k": generation.top_k or -1,
        "min_p": generation.min_p,
        "repetition_penalty": generation.repetition_penalty,
        "repeat_penalty": generation.repetition_penalty,
        "repeat_last_n": _LONG_AGO,
    }


def _refuse_unsent(generation: GenerationSettings) -> None:
    """Refuse settings that would change nothing.

    Raises:
        UserError: If extensions are off and a setting needs them.
    """
    for name in ("top_k", "min_p", "repetition_penalty"):
        if getattr(generation, name) != default_of(GenerationSettings, name):
            raise UserError(
                f"generation.{name} is not OpenAI's, and generation.server.extensions is off: "
                "drop one of the two"
            )
