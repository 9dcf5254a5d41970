"""A connection to a server that speaks OpenAI's protocol: questions out, replies in.

The engine `openai` measures models through it, `halo_forge.data.llm_generate` asks for data. It
knows texts, finish reasons and counts of tokens, and nothing of samples or of what the text means.

Waiting, Retry-After and new attempts are the package's; an answer that cannot be read, which the
package takes for a success, is asked for again here. A server that repeats the key does not get
it into a reply or a message.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Any, ClassVar, Generic, Self, TypeVar

import orjson

from halo_forge.config.server import ServerSettings
from halo_forge.core.errors import HaloForgeError, ModelFault, UserError
from halo_forge.core.types import FinishReason
from halo_forge.engines.openai_errors import GOES_ON, explain, shortened, unknown_model

__all__ = ["ChatServer", "Question", "Reply", "UnreadableError"]

_NO_KEY = "none"  # the package insists on one
_SECRET = 12
"""Characters from which a key is taken out of replies: "test" is no secret, but may be a word."""

_Tag = TypeVar("_Tag")


@dataclass(frozen=True, slots=True)
class Question(Generic[_Tag]):
    """One request.

    Attributes:
        tag: Handed back with the reply.
        name: What messages call it, such as ``prompt 17``.
        parameters: As the endpoint takes them.
    """

    tag: _Tag
    name: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Reply:
    """What a model said.

    Attributes:
        text: The answer; empty when the model said nothing.
        finish_reason: ``stop`` when the model ended by itself, ``length`` when it was cut.
        prompt_tokens: Tokens read, if the server tells.
        completion_tokens: Tokens written, if the server tells.
    """

    text: str
    finish_reason: FinishReason
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class UnreadableError(Exception):
    """An answer that is none."""


class ChatServer:
    """A server's chat completions, asked several at a time; a context manager.

    Args:
        server: Address, key, patience.
        model: The server's name for the model.

    Raises:
        UserError: If the key is missing or the package is not installed; on entry, if the server
            has no such model or refuses the key.
        ModelFault: On entry, if the server cannot be reached.
    """

    package: ClassVar[str] = "openai"
    """Package that speaks the protocol, and the extra that brings it."""

    endpoint: ClassVar[str] = "/chat/completions"

    reasons: ClassVar[Mapping[str, FinishReason]] = {
        "stop": "stop",
        "length": "length",
        "content_filter": "length",  # the model did not end by itself
    }

    def __init__(self, server: ServerSettings, model: str) -> None:
        assert server.base_url is not None  # whoever asks a server has seen to it
        self._server = server
        self._model = model
        self._key = _read_key(server.api_key_env)
        self._package = _imported(self.package)
        self._open = ExitStack()
        self._portal: Any = None
        self._client: Any = None

    def __enter__(self) -> Self:
        """Ask the server whether it has the model."""
        from anyio.from_thread import start_blocking_portal

        with ExitStack() as stack:
            # An event loop on a thread of its own: requests go on while the caller judges, and
            # can be dropped at once when it has to stop.
            self._portal = stack.enter_context(start_blocking_portal())
            client = self._new_client(
                base_url=self._server.base_url,
                api_key=self._key or _NO_KEY,
                timeout=self._server.timeout,
                max_retries=self._server.retries,
            )
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
        """Close the connections; after an error, requests that are under way are dropped."""
        self._open.__exit__(kind, error, trace)

    def replies(self, questions: Iterable[Question[_Tag] | None]) -> Iterator[tuple[_Tag, Reply]]:
        """Yield the reply to every question, as they arrive.

        ``questions`` is read when there is room for one more and no reply is there. ``None`` in it
        means that there is no question before the next reply; with no reply to come it is the end.
        After an error no further question is sent; those under way are waited for and yielded.

        Raises:
            UserError: If the server refuses a request for a reason that stays.
            ModelFault: If it does not answer, or not with an answer, after all attempts.
        """
        waiting = iter(questions)
        running: dict[Future[Reply], _Tag] = {}
        broken: HaloForgeError | None = None
        try:
            while True:
                # Reading the next question may take long (a pace is kept there): answers that are
                # here go first.
                while (
                    broken is None
                    and len(running) < self._server.concurrency
                    and not any(future.done() for future in running)
                ):
                    question = next(waiting, None)
                    if question is None:
                        break
                    future = self._portal.start_task_soon(self._ask, question)
                    running[future] = question.tag
                if not running:
                    break
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    tag = running.pop(future)
                    try:
                        reply = future.result()
                    except HaloForgeError as error:
                        broken = broken or error
                    else:
                        yield tag, reply
        finally:
            for future in running:
                future.cancel()
        if broken is not None:
            raise broken

    def _new_client(self, **settings: Any) -> Any:
        return self._package.AsyncOpenAI(**settings)

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
        url = self._server.base_url
        try:
            known = [str(row["id"]) for row in orjson.loads(answer.content)["data"]]
        except (ValueError, TypeError, KeyError) as error:
            raise UserError(
                f"{url}/models does not answer like an OpenAI-compatible server, but: "
                f"{self.shortened(answer.text)}. Check generation.server.base_url; most "
                "addresses end in /v1."
            ) from error
        if self._model not in known:
            raise unknown_model(url, self._model, known)

    async def _ask(self, question: Question[Any]) -> Reply:
        """Return the reply; an answer that cannot be read is asked for again."""
        problem = ""
        for _ in range(1 + self._server.retries):
            try:
                content = await self._sent(question.parameters)
            except self._package.APIError as error:
                raise self._explained(error) from error
            try:
                return self._read(content)
            except UnreadableError as error:
                problem = str(error)
        raise ModelFault(
            f"{self._server.base_url}: the answer to {question.name} could not be read in "
            f"{1 + self._server.retries} attempts; the last: {problem}. {GOES_ON}"
        )

    async def _sent(self, parameters: Mapping[str, Any]) -> bytes:
        create = self._client.chat.completions.with_raw_response.create
        content: bytes = (await create(model=self._model, **parameters)).content
        return content

    def _read(self, content: bytes) -> Reply:
        """Read a server's answer. A model that said nothing gave an answer, a server did not.

        Raises:
            UnreadableError: If it is cut, not JSON, or lacks text or finish reason.
        """
        try:
            answer = orjson.loads(content)
            choice = answer["choices"][0]
            text, reason = choice["message"].get("content"), choice["finish_reason"]
            usage = answer.get("usage") or {}
            read, written = usage.get("prompt_tokens"), usage.get("completion_tokens")
        except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
            raise self._no_answer(content, "a completion") from error
        return self._reply(text, reason, read, written)

    def _reply(self, text: object, reason: object, read: object, written: object) -> Reply:
        """Return a reply of parts that a server gave.

        Raises:
            UnreadableError: If one of them is not what it should be.
        """
        if not isinstance(reason, str) or reason not in self.reasons:
            raise UnreadableError(f"finish_reason {reason!r}"[:200])
        if not isinstance(text, str | None) or not _is_count(read) or not _is_count(written):
            raise UnreadableError(f"content {text!r}, tokens {read!r} and {written!r}"[:200])
        said = text or ""
        return Reply(
            said.replace(self._key, "***") if len(self._key) >= _SECRET else said,
            self.reasons[reason],
            read,  # type: ignore[arg-type]
            written,  # type: ignore[arg-type]
        )

    def _no_answer(self, content: bytes, wanted: str) -> UnreadableError:
        said = self.shortened(content.decode(errors="replace"))
        return UnreadableError(f"not {wanted} but {said or 'nothing'}")

    def _explained(self, error: Any) -> HaloForgeError:
        return explain(
            error, self._package, self._server, self._model, self._key, endpoint=self.endpoint
        )

    def shortened(self, text: str) -> str:
        """Return foreign text fit for one line of a message, without the key."""
        return shortened(text, self._key)


def _is_count(value: object) -> bool:
    return value is None or (isinstance(value, int) and value >= 0)


def _imported(package: str) -> Any:
    """Import the package that speaks the protocol.

    Raises:
        UserError: If it is not installed.
    """
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        raise UserError(
            f"asking a server needs the package {error.name!r}, which is not installed. "
            f"Install the extra: pip install 'halo-forge[{package}]'."
        ) from error


def _read_key(variable: str | None) -> str:
    """Return the secret out of the environment variable that the settings name.

    Raises:
        UserError: If the variable is not set, or holds what no HTTP header can.
    """
    if variable is None:
        return ""
    key = os.environ.get(variable, "").strip()
    if not key:
        raise UserError(
            f"generation.server.api_key_env: the environment variable {variable} is not set. "
            f"Put the server's key there: export {variable}=..."
        )
    if not (key.isascii() and key.isprintable()):
        raise UserError(
            f"generation.server.api_key_env: the environment variable {variable} holds characters "
            "that no key has (only printable ASCII can be sent). Copy the server's key again: "
            f"export {variable}=..."
        )
    return key
