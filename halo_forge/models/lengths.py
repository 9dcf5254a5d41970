"""How long chats and texts are in the tokens of a model."""

from __future__ import annotations

from collections.abc import Sequence

from halo_forge.core.types import Message
from halo_forge.models.chat import render_text
from halo_forge.models.load import load_tokenizer

__all__ = ["TokenCounter"]


class TokenCounter:
    """Counts the tokens that training would see.

    A chat that ends with an answer is the prompt by the model's template, the answer and the token
    that ends it; one that ends with a question has nothing behind it. A plain text is itself and
    that token.

    Args:
        ref: ``builtin:NAME``, a folder, or a hub id.

    Raises:
        UserError: If nothing is called so.
        ModelFault: If the tokenizer cannot be had or loaded.
    """

    def __init__(self, ref: str) -> None:
        self._tokenizer = load_tokenizer(ref)

    def count(self, records: Sequence[tuple[tuple[Message, ...], str | None]]) -> list[int]:
        """Return the number of tokens of each chat, or of the plain text beside an empty chat.

        Raises:
            ModelFault: If the template refuses a chat.
        """
        if not records:
            return []
        special = not self._tokenizer.chat_template
        texts = [self._text(messages, text) for messages, text in records]
        encoded = self._tokenizer(texts, add_special_tokens=special)["input_ids"]
        ends = [not messages or messages[-1].role == "assistant" for messages, _ in records]
        return [len(ids) + end for ids, end in zip(encoded, ends, strict=True)]

    def _text(self, messages: tuple[Message, ...], text: str | None) -> str:
        if text is not None:
            return text
        if messages[-1].role != "assistant":
            return render_text(self._tokenizer, messages)
        before = render_text(self._tokenizer, messages[:-1]) if messages[:-1] else ""
        return before + messages[-1].content
