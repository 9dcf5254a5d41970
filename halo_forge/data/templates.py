"""Chats as text, in the forms that families of models are trained on.

A model's own template is better, and is used where the model is named; these are for those who want
``text`` without one. Each is what the family's template makes of the same chat without tools.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from halo_forge.core.types import Message

__all__ = ["TEMPLATES", "chatml", "llama", "qwen"]

_QWEN_SYSTEM = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."


def chatml(chat: Sequence[Message]) -> str:
    """Return ChatML: ``<|im_start|>role``, the text, ``<|im_end|>``."""
    return "".join(f"<|im_start|>{turn.role}\n{turn.content}<|im_end|>\n" for turn in chat)


def qwen(chat: Sequence[Message]) -> str:
    """Return the form of Qwen2 and Qwen2.5: ChatML, with Qwen's system message if there is none."""
    if chat[0].role != "system":
        chat = [Message("system", _QWEN_SYSTEM), *chat]
    return chatml(chat)


def llama(chat: Sequence[Message]) -> str:
    """Return the form of Llama 3: headers with blank lines, ``<|eot_id|>`` after each turn."""
    turns = (
        f"<|start_header_id|>{turn.role}<|end_header_id|>\n\n{turn.content.strip()}<|eot_id|>"
        for turn in chat
    )
    return "<|begin_of_text|>" + "".join(turns)


TEMPLATES: Mapping[str, Callable[[Sequence[Message]], str]] = MappingProxyType(
    {"chatml": chatml, "qwen": qwen, "llama": llama}
)
"""The forms by name."""
