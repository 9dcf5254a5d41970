"""What stands between a prompt and a model's inputs: text alone, or text and pictures.

One protocol. Text models have `TextAdapter`; models that see have an adapter of their own by the
registry (``halo_forge.adapters``), under the model type that their configuration names, or the one
called ``image_text`` for every other type.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from PIL import Image
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from halo_forge.config.sections import ImageSettings
from halo_forge.core import registry
from halo_forge.core.errors import UserError
from halo_forge.core.types import Message, Prompt
from halo_forge.models import chat, load
from halo_forge.models.pictures import open_pictures
from halo_forge.models.refs import base_ref
from halo_forge.models.weights import read_json

__all__ = ["Adapter", "TextAdapter", "encode_prompt", "open_adapter", "require_sight", "showing"]

_log = logging.getLogger(__name__)


class Adapter(Protocol):
    """Turns rendered text and pictures into what a model takes."""

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The model's tokenizer."""
        ...

    @property
    def silent(self) -> frozenset[int]:
        """Tokens that stand for pictures in a prompt and are never drawn."""
        ...

    def encode(self, text: str, pictures: Sequence[Image.Image], where: str) -> list[int]:
        """Return the tokens of a rendered chat, those of its pictures included.

        Args:
            text: As `halo_forge.models.chat.render_text` gives it.
            pictures: One for each mark that the text has for them, in order.
            where: Whose text it is, for messages.

        Raises:
            UserError: If text and pictures do not go together.
        """
        ...

    def look(self, pictures: Sequence[Image.Image]) -> Mapping[str, Tensor]:
        """Return what the model is given of the pictures, the first axis running over them."""
        ...

    def roles(self, ids: Tensor) -> Mapping[str, Tensor]:
        """Return what the model is told of each token beside its id, (rows, positions) each."""
        ...

    def save_pretrained(self, folder: Path) -> None:
        """Write to a model's folder what is needed to open the adapter again."""
        ...


@dataclass(frozen=True, slots=True)
class TextAdapter:
    """For models that read and do not see."""

    tokenizer: PreTrainedTokenizerBase
    silent: frozenset[int] = frozenset()
    blind: str = ""
    """Why a model that sees cannot do so here; empty of one that does not see."""

    def encode(self, text: str, pictures: Sequence[Image.Image], where: str) -> list[int]:
        """Return the tokens of a text; see `Adapter`."""
        ids: list[int] = self.tokenizer(text, add_special_tokens=not self.tokenizer.chat_template)[
            "input_ids"
        ]
        return ids

    def look(self, pictures: Sequence[Image.Image]) -> Mapping[str, Tensor]:
        """Return nothing."""
        return {}

    def roles(self, ids: Tensor) -> Mapping[str, Tensor]:
        """Return nothing."""
        return {}

    def save_pretrained(self, folder: Path) -> None:
        """Write the tokenizer."""
        self.tokenizer.save_pretrained(folder)


def open_adapter(ref: str | Path, *, trust_remote_code: bool = False) -> Adapter:
    """Return the adapter of the model called ``ref``.

    Raises:
        UserError: If the reference is wrong.
        ModelFault: If tokenizer or processor cannot be had or loaded.
    """
    tokenizer = load.load_tokenizer(ref, trust_remote_code=trust_remote_code)
    base = load.resolve(base_ref(ref))
    if not load.sees(base):
        return TextAdapter(tokenizer)
    kind = str(read_json(base / "config.json")["model_type"])
    name = kind if kind in registry.names("adapters") else "image_text"
    opening = registry.load("adapters", name)
    try:
        adapter: Adapter = opening(
            load.resolve(ref), base, tokenizer, trust_remote_code=trust_remote_code
        )
    except UserError as error:  # its processor wants what is not here; words need none
        _log.info("%s reads words alone here: %s", ref, error)
        return TextAdapter(tokenizer, blind=str(error))
    return adapter


def encode_prompt(adapter: Adapter, prompt: Prompt, settings: ImageSettings) -> list[int]:
    """Return the tokens of a prompt, ready for the model's answer; nothing is ever cut off.

    Raises:
        UserError: If a picture is damaged, or the model cannot see it.
        ModelFault: If the chat template refuses the messages.
    """
    where = f"prompt {prompt.id}"
    require_sight(adapter, prompt.images, where)
    text = chat.render_text(adapter.tokenizer, showing(prompt.messages, len(prompt.images)))
    return adapter.encode(text, open_pictures(prompt.images, settings, where), where)


def require_sight(adapter: Adapter, images: Sequence[str], where: str) -> None:
    """Refuse to show pictures to a model of text: the words alone would be another task.

    Raises:
        UserError: If it is one, and there are any.
    """
    if images and isinstance(adapter, TextAdapter):
        if adapter.blind:
            raise UserError(f"{where} shows an image: {adapter.blind}")
        raise UserError(
            f"{where} shows an image, and {adapter.tokenizer.name_or_path} is a model of text "
            "alone. Take a vision-language model (--model)."
        )


def showing(messages: Sequence[Message], images: int) -> tuple[Message, ...]:
    """Return a chat whose first user message shows so many pictures before its words."""
    if not images:
        return tuple(messages)
    at = next(i for i, message in enumerate(messages) if message.role == "user")
    shown = replace(messages[at], images=images)
    return (*messages[:at], shown, *messages[at + 1 :])
