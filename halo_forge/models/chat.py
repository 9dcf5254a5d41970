"""Messages to token ids and back, by the model's own chat template."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from typing import Any

from jinja2 import TemplateError
from transformers import GenerationConfig, PreTrainedTokenizerBase

from halo_forge.core.errors import ModelFault
from halo_forge.core.types import Message

__all__ = [
    "Dialogue",
    "decode",
    "dialogues",
    "marked_text",
    "render",
    "render_text",
    "stop_ids",
    "transcript",
    "turn_marks",
]

_log = logging.getLogger(__name__)
_MARK = "\u2603halo\u2603"
_PLAIN = {"system": "", "user": "User: ", "assistant": "Assistant: "}


@dataclass(frozen=True, slots=True)
class Dialogue:
    """A text to learn from.

    Attributes:
        text: All of it, as the model is to see it.
        answers: Half-open character ranges of the answers, their end tokens included, in order.
    """

    text: str
    answers: tuple[tuple[int, int], ...]


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
    return _apply(tokenizer, _fitting(tokenizer, messages), answer=True)


def dialogues(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message]) -> list[Dialogue]:
    """Return a chat as texts to learn from, its answers marked.

    What stands before an answer is, character for character, what `render_text` gives for the
    messages before it, so that an answer is learned where it will be asked for. One text serves
    all answers of a chat where the template writes a turn once and for all; where it writes
    earlier turns differently later on (thoughts left out, for example), or there is no template,
    each answer has a text of its own.

    Args:
        tokenizer: Its own template is used; generation markers are not needed.
        messages: A chat with at least one answer.

    Raises:
        ModelFault: If the template refuses the messages.
    """
    places = [at for at, message in enumerate(messages) if message.role == "assistant"]
    if not tokenizer.chat_template:
        return [_spliced(tokenizer, messages[: at + 1], " ") for at in places]
    fitting = _fitting(tokenizer, messages)
    places = [at for at, message in enumerate(fitting) if message.role == "assistant"]
    single = [_answered(tokenizer, fitting[: at + 1]) for at in places]
    whole = single[-1].text
    if all(whole.startswith(one.text) for one in single):
        return [Dialogue(whole, tuple(one.answers[0] for one in single))]
    return single


def marked_text(tokenizer: PreTrainedTokenizerBase, text: str) -> Dialogue:
    """Return a plain text with the answers in it, found by the marks of the model's own template.

    Without any, all of it is to be learned, an end token included.
    """
    end = _end_text(tokenizer)
    opening = _opening(tokenizer)
    spans, at = [], 0
    while opening and (found := text.find(opening, at)) >= 0:
        start = found + len(opening)
        stop = text.find(end, start)
        at = len(text) if stop < 0 else stop + len(end)
        spans.append((start, at))
    if spans:
        return Dialogue(text, tuple(spans))
    whole = text if text.rstrip().endswith(end) else text + end
    return Dialogue(whole, ((0, len(whole)),))


@lru_cache(maxsize=4)
def turn_marks(tokenizer: PreTrainedTokenizerBase) -> frozenset[str]:
    """Return the special tokens that part turns in the model's own template.

    Within a message they would be taken for the bounds of turns.
    """
    found = {_end_text(tokenizer)} if tokenizer.chat_template else set()
    tokens = {str(token) for token in tokenizer.added_tokens_decoder.values() if token.special}
    return frozenset(found | {token for token in tokens if token in _opening(tokenizer)})


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
    parts = _wants_parts(tokenizer) or any(message.images for message in messages)
    chat = [
        {"role": one.role, "content": _parts(one) if parts else one.content} for one in messages
    ]
    try:
        text = _templated(tokenizer, chat, answer=answer)
    except (TemplateError, TypeError) as error:
        raise ModelFault(
            f"the chat template of {tokenizer.name_or_path} refuses the messages "
            f"({', '.join(message.role for message in messages)}): {error}"
        ) from error
    return text


def _templated(
    tokenizer: PreTrainedTokenizerBase, chat: list[dict[str, Any]], *, answer: bool
) -> str:
    text = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=answer)
    return str(text)


@lru_cache(maxsize=4)
def _wants_parts(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Tell whether the template drops or refuses words that are not a part beside pictures."""
    for content in (_MARK, _parts(Message("user", _MARK))):
        try:
            text = _templated(tokenizer, [{"role": "user", "content": content}], answer=False)
        except (TemplateError, TypeError):
            continue
        if _MARK in text:
            return content != _MARK
    return False


def _parts(message: Message) -> list[dict[str, str]]:
    """Return a message's content as templates of models that see take it, pictures first."""
    return [{"type": "image"}] * message.images + [{"type": "text", "text": message.content}]


def _fitting(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message]) -> Sequence[Message]:
    """Return the messages as the template takes them: a system message it drops is folded."""
    if messages[0].role != "system":
        return messages
    try:
        text = _apply(tokenizer, messages, answer=messages[-1].role == "user")
    except ModelFault:
        return _folded(messages)
    # Some templates drop a system message without a word.
    kept = messages[0].content.strip() in text
    return messages if kept else _folded(messages)


def _answered(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message]) -> Dialogue:
    """Return a chat that ends with an answer, up to that answer's end token."""
    asked = _apply(tokenizer, messages[:-1], answer=True)
    said = _apply(tokenizer, messages, answer=False)
    end = _end_text(tokenizer)
    stop = said.rfind(end) + len(end)
    if not said.startswith(asked) or stop <= len(asked):
        return _spliced(tokenizer, messages, "")
    return Dialogue(said[:stop], ((len(asked), stop),))


def _spliced(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message], gap: str) -> Dialogue:
    """Return a question as it is asked, and the answer's words behind it."""
    asked = render_text(tokenizer, messages[:-1])
    text = asked + gap + messages[-1].content.strip() + _end_text(tokenizer)
    return Dialogue(text, ((len(asked), len(text)),))


@lru_cache(maxsize=4)
def _end_text(tokenizer: PreTrainedTokenizerBase) -> str:
    """Return the token that ends an answer: the template's, else the tokenizer's."""
    ends = _turn_end(tokenizer) if tokenizer.chat_template else set()
    token = tokenizer.convert_ids_to_tokens(min(ends)) if ends else tokenizer.eos_token
    if not token:
        raise ModelFault(
            f"{tokenizer.name_or_path} has no token that ends an answer (eos_token), so a model "
            "could not learn when to stop"
        )
    return str(token)


@lru_cache(maxsize=4)
def _opening(tokenizer: PreTrainedTokenizerBase) -> str:
    """Return what the template writes before an answer, behind the question."""
    if not tokenizer.chat_template:
        return ""
    question = [Message("user", _MARK)]
    asked = _apply(tokenizer, question, answer=True)
    told = _apply(tokenizer, question, answer=False)
    return asked[len(told) :] if asked.startswith(told) else ""


def _folded(messages: Sequence[Message]) -> list[Message]:
    """Return the messages with the system message at the head of the first user message."""
    system, first, *rest = messages
    return [replace(first, content=f"{system.content}\n\n{first.content}"), *rest]


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
