"""A connection to a server that speaks Anthropic's Messages API, by Anthropic's own package.

The package has the same build as ``openai``'s: errors of the same names, the same retries and
Retry-After. What differs is where things stand in a request and in an answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import orjson

from halo_forge.core.types import FinishReason
from halo_forge.engines.chat_server import ChatServer, Reply
from halo_forge.utils.typing import override

__all__ = ["MessagesServer"]


class MessagesServer(ChatServer):
    """A server's messages, asked several at a time; see `ChatServer`."""

    package: ClassVar[str] = "anthropic"
    endpoint: ClassVar[str] = "/v1/messages"
    reasons: ClassVar[Mapping[str, FinishReason]] = {
        "end_turn": "stop",
        "stop_sequence": "stop",
        "max_tokens": "length",
        "model_context_window_exceeded": "length",
        "refusal": "length",  # as OpenAI's content_filter: the model did not end by itself
    }

    @override
    def _new_client(self, **settings: Any) -> Any:
        # With a key given, the package looks for none in the environment or in its profiles.
        return self._package.AsyncAnthropic(**settings)

    @override
    async def _check_model(self) -> None:
        """Do nothing: the list of models leaves out what an account may use all the same."""

    @override
    async def _sent(self, parameters: Mapping[str, Any]) -> bytes:
        create = self._client.messages.with_raw_response.create
        content: bytes = await (await create(model=self._model, **parameters)).read()
        return content

    @override
    def _read(self, content: bytes) -> Reply:
        try:
            answer = orjson.loads(content)
            parts = [part["text"] for part in answer["content"] if part["type"] == "text"]
            text, reason = "".join(parts), answer["stop_reason"]
            usage = answer.get("usage") or {}
            read, written = usage.get("input_tokens"), usage.get("output_tokens")
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise self._no_answer(content, "a message") from error
        return self._reply(text, reason, read, written)
