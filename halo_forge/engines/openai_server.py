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

Waiting, Retry-After and new attempts are the ``openai`` package's; an answer that cannot be read,
which the package takes for a success, is asked for again here.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

import orjson

from halo_forge.config.fields import default_of
from halo_forge.config.sections import GenerationSettings
from halo_forge.core.errors import HaloForgeError, ModelFault, UserError
from halo_forge.core.types import FinishReason, Prompt, Sample
from halo_forge.engines.base import EngineSpec, Request, request_seed
from halo_forge.engines.openai_errors import GOES_ON, explain, shortened, unknown_model

__all__ = ["OpenAIEngine"]

_SEED_BITS = 0x7FFF_FFFF
_NO_KEY = "none"  # the package insists on one
_REASONS: dict[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "content_filter": "length",
}

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
        self._server = spec.generation.server
        assert self._server.base_url is not None  # the settings see to it: see `GenerationSettings`
        if not self._server.extensions:
            _refuse_unsent(spec.generation)
        self._key = _read_key(self._server.api_key_env)
        self._package = _package()
        self._open = ExitStack()
        self._portal: Any = None
        self._client: Any = None

    def __enter__(self) -> Self:
        """Ask the server whether it has the model."""
        from anyio.from_thread import start_blocking_portal

        client = self._package.AsyncOpenAI(
            base_url=self._server.base_url,
            api_key=self._key or _NO_KEY,
            timeout=self._server.timeout,
            max_retries=self._server.retries,
        )
        with ExitStack() as stack:
            # An event loop on a thread of its own: requests go on while the caller judges, and
            # can be dropped at once when it has to stop.
            self._portal = stack.enter_context(start_blocking_portal())
            self._client = stack.enter_context(self._portal.wrap_async_context_manager(client))
            self._portal.call(self._check_model)
            self._open = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the connections."""
        self._open.close()

    def generate(self, requests: Iterable[Request], seed: int) -> Iterator[Sample]:
        """Yield a sample for every owed index, as answers arrive.

        After an error no further request is sent; those under way are waited for and yielded.

        Raises:
            UserError: If the server refuses a request for a reason that stays.
            ModelFault: If it does not answer, or not with an answer, after all attempts.
        """
        owed = ((request.prompt, index) for request in requests for index in request.indices)
        running: set[Future[Sample]] = set()
        broken: HaloForgeError | None = None
        try:
            while True:
                while broken is None and len(running) < self._server.concurrency:
                    wanted = next(owed, None)
                    if wanted is None:
                        break
                    running.add(self._portal.start_task_soon(self._ask, *wanted, seed))
                if not running:
                    break
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    try:
                        sample = future.result()
                    except HaloForgeError as error:
                        broken = broken or error
                    else:
                        yield sample
        finally:
            for future in running:
                future.cancel()
        if broken is not None:
            raise broken

    async def _check_model(self) -> None:
        """Find out whether the server is one, and has the model.

        A server that does not list its models is taken at its word when it answers.
        """
        try:
            answer = await self._client.models.with_raw_response.list()
        except self._package.NotFoundError:
            return
        except self._package.APIError as error:
            raise self._explained(error) from error
        url, model = self._server.base_url, self._spec.policy
        try:
            known = [str(row["id"]) for row in orjson.loads(answer.content)["data"]]
        except (ValueError, TypeError, KeyError) as error:
            raise UserError(
                f"{url}/models does not answer like an OpenAI-compatible server, but: "
                f"{self._shortened(answer.text)}. Check generation.server.base_url; most "
                "addresses end in /v1."
            ) from error
        if model not in known:
            raise unknown_model(url, model, known)

    async def _ask(self, prompt: Prompt, index: int, seed: int) -> Sample:
        """Return one sample; an answer that cannot be read is asked for again."""
        request = self._request(prompt, index, seed)
        create = self._client.chat.completions.with_raw_response.create
        problem = ""
        for _ in range(1 + self._server.retries):
            try:
                answer = await create(**request)
            except self._package.APIError as error:
                raise self._explained(error) from error
            try:
                return self._sample(prompt, index, answer.content)
            except _UnreadableError as error:
                problem = str(error)
        raise ModelFault(
            f"{self._server.base_url}: the answer to prompt {prompt.id} could not be read in "
            f"{1 + self._server.retries} attempts; the last: {problem}. {GOES_ON}"
        )

    def _request(self, prompt: Prompt, index: int, seed: int) -> dict[str, Any]:
        """Return the parameters of one request."""
        generation = self._spec.generation
        request: dict[str, Any] = {
            "model": self._spec.policy,
            "messages": [{"role": m.role, "content": m.content} for m in prompt.messages],
            "temperature": generation.temperature,
            "top_p": generation.top_p,
            self._server.token_limit: generation.max_new_tokens,
        }
        if generation.stop:
            request["stop"] = list(generation.stop)
        if self._server.extensions:
            request["extra_body"] = _extensions(generation)
        if self._server.send_seed:
            request["seed"] = request_seed(seed, prompt, index) & _SEED_BITS
        return request

    def _sample(self, prompt: Prompt, index: int, content: bytes) -> Sample:
        """Read a server's answer. A model that said nothing gave an answer, a server did not.

        Raises:
            _UnreadableError: If it is cut, not JSON, or lacks text or finish reason.
        """
        try:
            answer = orjson.loads(content)
            choice = answer["choices"][0]
            text, reason = choice["message"].get("content"), choice["finish_reason"]
            usage = answer.get("usage") or {}
            count = usage.get("completion_tokens", 0)
        except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
            said = self._shortened(content.decode(errors="replace"))
            raise _UnreadableError(f"not a completion but {said or 'nothing'}") from error
        if reason not in _REASONS:
            raise _UnreadableError(f"finish_reason {reason!r}")
        if not isinstance(text, str | None) or not isinstance(count, int):
            raise _UnreadableError(f"content {text!r}, completion_tokens {count!r}"[:200])
        return Sample(
            prompt=prompt,
            index=index,
            completion=text or "",
            finish_reason=_REASONS[reason],
            policy=self._spec.label,
            token_count=count,
        )

    def _explained(self, error: Any) -> HaloForgeError:
        return explain(error, self._server, self._spec.policy, self._key)

    def _shortened(self, text: str) -> str:
        return shortened(text, self._key)


class _UnreadableError(Exception):
    """An answer that is none."""


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


def _package() -> Any:
    """Import the package that speaks the protocol.

    Raises:
        UserError: If it is not installed.
    """
    try:
        import openai
    except ModuleNotFoundError as error:
        raise UserError(
            f"engine 'openai' needs the package {error.name!r}, which is not installed. "
            "Install the extra: pip install 'halo-forge[openai]'."
        ) from error
    return openai


def _read_key(variable: str | None) -> str:
    """Return the secret out of the environment variable that the settings name.

    Raises:
        UserError: If the variable is not set.
    """
    if variable is None:
        return ""
    key = os.environ.get(variable, "").strip()
    if not key:
        raise UserError(
            f"generation.server.api_key_env: the environment variable {variable} is not set. "
            f"Put the server's key there: export {variable}=..."
        )
    return key
