"""Adapters of models that see: text and pictures to tokens, pixel values, and roles of tokens.

Tokens of a prompt are worked out with its pictures, since how many stand for one follows from its
size. The learner is given tokens that have been worked out, and the pictures again: `look` and
`roles` then give what `encode` gave the decoder, number for number.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from transformers import (
    AutoImageProcessor,
    AutoProcessor,
    PreTrainedTokenizerBase,
    ProcessorMixin,
)

from halo_forge.core.errors import ModelFault, UserError
from halo_forge.models.load import explained
from halo_forge.models.quiet import no_progress_bars
from halo_forge.models.weights import read_json
from halo_forge.utils.typing import override

__all__ = ["ImageTextAdapter", "LlavaAdapter", "QwenVLAdapter"]

_SILENT = re.compile(r"(image|video|audio|vision|boi|eoi|boa|eoa)\w*_token_(id|index)")
_PROCESSORS = ("processor_config.json", "preprocessor_config.json")
# What models call the kinds of tokens, the later name where the first is not declared.
_KINDS = ("mm_token_type_ids", "token_type_ids")
# Pillow's arithmetic everywhere: torchvision's, where it is installed, gives other pixel values.
_BACKEND = "pil"


class _Seeing:
    """What all adapters share.

    Args:
        folder: Of the policy, which may be an adapter of weights.
        base: Of the whole model below it.
        tokenizer: The policy's.
        trust_remote_code: Run Python code that ships with the model.
    """

    def __init__(
        self,
        folder: Path,
        base: Path,
        tokenizer: PreTrainedTokenizerBase,
        *,
        trust_remote_code: bool = False,
    ) -> None:
        self.tokenizer = tokenizer
        config = read_json(base / "config.json")
        self.silent = frozenset(
            value
            for key, value in config.items()
            if _SILENT.fullmatch(key) and isinstance(value, int)
        )
        self._name = str(folder)
        here = any((folder / name).is_file() for name in _PROCESSORS)
        source = folder if here else base
        with explained(source), no_progress_bars():
            self._load(
                source,
                config,
                {
                    "backend": _BACKEND,
                    "local_files_only": True,
                    "trust_remote_code": trust_remote_code,
                },
            )

    def _load(self, source: Path, config: Mapping[str, Any], how: dict[str, Any]) -> None:
        raise NotImplementedError

    def _check_marks(self, ids: Sequence[int], mark: int, pictures: int, where: str) -> None:
        """Refuse words that a model would take for a picture, and pictures that found no place.

        Args:
            ids: Tokens of the text before its pictures are put in.
            mark: The token that a picture's place has.
            pictures: How many there are.
            where: Whose text it is.
        """
        found = sum(token == mark for token in ids)
        if found != pictures:
            word = self.tokenizer.convert_ids_to_tokens(mark)
            raise UserError(
                f"{where} has {pictures} images and {found} places for them ({word}) in the chat "
                f"template's text of {self._name}. Words of a prompt must not contain {word}; a "
                "template that leaves images out is not for them."
            )

    def _plain(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer(text, add_special_tokens=not self.tokenizer.chat_template)[
            "input_ids"
        ]
        return ids


class ImageTextAdapter(_Seeing):
    """For every model of transformers' image-text-to-text class, by its own processor."""

    _processor: ProcessorMixin
    _parts: frozenset[str] | set[str] = frozenset()

    @override
    def _load(self, source: Path, config: Mapping[str, Any], how: dict[str, Any]) -> None:
        loader: Any = AutoProcessor
        processor = loader.from_pretrained(source, **how)
        processor.tokenizer = self.tokenizer
        self._processor = processor
        self.silent |= frozenset(processor.image_token_ids)

    def encode(self, text: str, pictures: Sequence[Image.Image], where: str) -> list[int]:
        """Return the tokens of a text, pictures included; see `halo_forge.models.adapter`."""
        processor: Any = self._processor
        before = self._plain(text)
        self._check_marks(before, processor.image_token_id, len(pictures), where)
        if not pictures:
            return before
        inputs = processor(
            text=[text],
            images=list(pictures),
            add_special_tokens=not self.tokenizer.chat_template,
            return_tensors="pt",
        )
        other = set(inputs) - {"input_ids", "attention_mask"}
        if other != self._parts:
            self._parts = {*self.look(pictures), *self.roles(inputs["input_ids"])}
        if other != self._parts:
            raise ModelFault(
                f"{self._name}: its processor gives {', '.join(sorted(other))} for a prompt, "
                f"{', '.join(sorted(self._parts))} for its parts; the learner could not be given "
                "what the decoder had"
            )
        ids: list[int] = inputs["input_ids"][0].tolist()
        return ids

    def look(self, pictures: Sequence[Image.Image]) -> Mapping[str, Tensor]:
        """Return pixel values and what belongs to them; see `halo_forge.models.adapter`."""
        processor: Any = self._processor
        seen = processor.image_processor(list(pictures), return_tensors="pt")
        return {k: v for k, v in seen.items() if k not in processor.unused_input_names}

    def roles(self, ids: Tensor) -> Mapping[str, Tensor]:
        """Return which tokens stand for pictures, where the model asks for it."""
        processor: Any = self._processor
        if not processor.return_mm_token_type_ids:
            return {}
        kinds = processor.create_mm_token_type_ids(ids.tolist())
        declared = _KINDS[0] in processor.model_input_names
        return {_KINDS[0] if declared else _KINDS[1]: torch.tensor(kinds)}

    def save_pretrained(self, folder: Path) -> None:
        """Write tokenizer and processor."""
        self._processor.save_pretrained(folder)


class LlavaAdapter(ImageTextAdapter):
    """For LLaVA, whose older processors leave it to the model how many tokens a picture has."""

    @override
    def _load(self, source: Path, config: Mapping[str, Any], how: dict[str, Any]) -> None:
        super()._load(source, config, how)
        processor: Any = self._processor
        if processor.patch_size is None:
            processor.patch_size = config["vision_config"]["patch_size"]
        if processor.vision_feature_select_strategy is None:
            strategy = config.get("vision_feature_select_strategy", "default")
            processor.vision_feature_select_strategy = strategy
            # CLIP and its like put one token before the patches, which "default" leaves out again
            processor.num_additional_image_tokens = 1


class QwenVLAdapter(_Seeing):
    """For Qwen2-VL and Qwen2.5-VL; their own processor asks for torchvision, for videos."""

    _images: Any

    @override
    def _load(self, source: Path, config: Mapping[str, Any], how: dict[str, Any]) -> None:
        loader: Any = AutoImageProcessor
        self._images = loader.from_pretrained(source, **how)
        self._mark = int(config["image_token_id"])

    def encode(self, text: str, pictures: Sequence[Image.Image], where: str) -> list[int]:
        """Return the tokens of a text, pictures included; see `halo_forge.models.adapter`."""
        ids = self._plain(text)
        self._check_marks(ids, self._mark, len(pictures), where)
        if not pictures:
            return ids
        patches = self.look(pictures)["image_grid_thw"].prod(-1) // self._images.merge_size**2
        counts = iter(patches.tolist())
        return [
            one
            for token in ids
            for one in ([token] * next(counts) if token == self._mark else [token])
        ]

    def look(self, pictures: Sequence[Image.Image]) -> Mapping[str, Tensor]:
        """Return the patches of all pictures and their grids; see `halo_forge.models.adapter`."""
        return dict(self._images(list(pictures), return_tensors="pt"))

    def roles(self, ids: Tensor) -> Mapping[str, Tensor]:
        """Return which tokens have places in a picture: 1, and 0 for text."""
        return {"mm_token_type_ids": (ids == self._mark).int()}

    def save_pretrained(self, folder: Path) -> None:
        """Write tokenizer and image processor."""
        self.tokenizer.save_pretrained(folder)
        self._images.save_pretrained(folder)
