"""Messages to token ids and back, by the model's own chat template."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import cache

from jinja2 import TemplateError
from transformers import GenerationConfig, PreTrainedTokenizerBase

from halo_forge.core.errors import ModelFault
from halo_forge.core.types import Message

__all__ = ["decode", "render", "render_text", "stop_ids", "transcript"]

_log = logging.getLogger(__name__)
_MARK = "\u2603halo\u2603"
_PLAIN = {"system": "", "user": "User: ", "assistant": "Assistant: "}


def render(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message]) -> list[int]:
    """Return the token ids of a chat, ready for the model's answer.

    A system message goes where the template has a place for it; a template without one gets
    it at the head of the first user message. A tokenizer without any template gets the plain
    form ``User: ... Assistant:``, with a warning.

    Raises:
        ModelFault: If the template refuses the messages.
    """
    ids: list[int] = tokenizer(
        render_text(tokenizer, messages), add_special_tokens=not tokenizer.chat_template
    )["input_ids"]
    return ids


def render_text(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message]) -> str:
    """Return the text whose tokens `render` gives.

    Raises:
        ModelFault: If the template refuses the messages.
    """
    if not tokenizer.chat_template:
        _warn_plain(tokenizer.name_or_path)
        turns = [_PLAIN[message.role] + message.content for message in messages]
        return "\n\n".join([*turns, "Assistant:"])
    if messages[0].role != "system":
        return _apply(tokenizer, messages, answer=True)
    try:
        text = _apply(tokenizer, messages, answer=True)
    except ModelFault:
        return _apply(tokenizer, _folded(messages), answer=True)
    # Some templates drop a system message without a word.
    kept = messages[0].content.strip() in text
    return text if kept else _apply(tokenizer, _folded(messages), answer=True)


def transcript(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message]) -> str:
    """Return a whole chat, answers included, as the text that a model is trained on.

    Raises:
        ModelFault: If the tokenizer has no chat template, or it refuses the messages.
    """
    if not tokenizer.chat_template:
        raise ModelFault(
            f"{tokenizer.name_or_path} has no chat template; choose a form by --template"
        )
    return _apply(tokenizer, messages, answer=False)


def stop_ids(
    tokenizer: PreTrainedTokenizerBase, generation_config: GenerationConfig | None
) -> tuple[int, ...]:
    """Return the tokens that end an answer, sorted.

    They are those of the generation settings, the tokenizer's end token, and the token that
    the chat template writes after an assistant's turn; a base model's settings lack the last.
    """
    found: set[int] = set()
    named = generation_config.eos_token_id if generation_config is not None else None
    if named is not None:
        found.update([named] if isinstance(named, int) else named)
    if tokenizer.eos_token_id is not None:
        found.add(tokenizer.eos_token_id)
    if tokenizer.chat_template:
        found.update(_turn_end(tokenizer))
    return tuple(sorted(found))


def decode(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> str:
    """Return the text of an answer, without special tokens and otherwise as it was said."""
    text = tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)
    return str(text)


def _apply(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message], *, answer: bool) -> str:
    chat = [{"role": message.role, "content": message.content} for message in messages]
    try:
        text = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=answer)
    except TemplateError as error:
        raise ModelFault(
            f"the chat template of {tokenizer.name_or_path} refuses the messages "
            f"({', '.join(message.role for message in messages)}): {error}"
        ) from error
    return str(text)


def _folded(messages: Sequence[Message]) -> list[Message]:
    """Return the messages with the system message at the head of the first user message."""
    system, first, *rest = messages
    return [Message(first.role, f"{system.content}\n\n{first.content}"), *rest]


def _turn_end(tokenizer: PreTrainedTokenizerBase) -> set[int]:
    """Return the special token right behind an assistant's turn, if there is one."""
    turns = [Message("user", "?"), Message("assistant", _MARK)]
    tail = _apply(tokenizer, turns, answer=False).rpartition(_MARK)[2].lstrip()
    ids = tokenizer(tail, add_special_tokens=False)["input_ids"]
    special = {i for i, token in tokenizer.added_tokens_decoder.items() if token.special}
    return set(ids[:1]) & special


@cache
def _warn_plain(name: str) -> None:
    """Warn once a model, not once a prompt."""
    _log.warning(
        "%s has no chat template; prompts are put as plain 'User: ... Assistant:' text", name
    )
