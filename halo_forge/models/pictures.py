"""Pictures as a model is shown them: upright, in RGB, within a budget of pixels.

A picture is a stranger's file. It is opened by its content, its size is looked at before it is
decoded, and whatever is wrong with it names the prompt that shows it.
"""

from __future__ import annotations

import base64
import binascii
import io
import math
import urllib.error
import urllib.request
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from halo_forge.config.sections import ImageSettings
from halo_forge.core.errors import StoreFault, UserError

__all__ = ["Picture", "open_picture", "open_pictures"]

Picture = str | Path | bytes | Image.Image
"""A file, a ``data:`` or web address, the bytes of a file, or what Pillow has opened."""

_WEB = ("http://", "https://")
_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
# Of the many that Pillow reads some run programs.
_BYTES, _SECONDS = 64 << 20, 30
_DAMAGED = (UnidentifiedImageError, SyntaxError, ValueError, EOFError, IndexError, TypeError)


def open_pictures(
    pictures: Sequence[Picture], settings: ImageSettings, where: str
) -> list[Image.Image]:
    """Open the pictures of a prompt, in order; see `open_picture`."""
    return [open_picture(one, settings, where) for one in pictures]


def open_picture(picture: Picture, settings: ImageSettings, where: str) -> Image.Image:
    """Return a picture in RGB, turned as its EXIF entry says, transparency laid on white.

    Of a moving picture it is the first frame. One of more pixels than the budget is made smaller,
    its shape kept.

    Args:
        picture: See `Picture`.
        settings: The budget, and whether the web may be asked.
        where: Who shows it, for messages: ``prompt 17``.

    Raises:
        UserError: If it is damaged, no picture, far too large, or on the web and that is not
            allowed.
        StoreFault: If the disk or the web does not give it.
    """
    name = f"{where}: image {_named(picture)}"
    opened = picture if isinstance(picture, Image.Image) else None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            if opened is None:
                opened = Image.open(io.BytesIO(_content(picture, settings, name)), formats=_FORMATS)
            opened.draft("RGB", _within(opened.size, settings.max_pixels))
            return _shrunk(_on_white(ImageOps.exif_transpose(opened)), settings.max_pixels)
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise UserError(
            f"{name} claims more than {Image.MAX_IMAGE_PIXELS} pixels, which is not decoded: make "
            "it smaller first"
        ) from error
    except _DAMAGED as error:
        raise UserError(f"{name} is damaged, or no picture: {error}") from error
    except OSError as error:  # Pillow's own say no number: the file is cut or inconsistent
        kind = UserError if error.errno is None else StoreFault
        raise kind(f"{name} cannot be read: {error}") from error


def _content(picture: Picture, settings: ImageSettings, name: str) -> bytes:
    if isinstance(picture, bytes):
        return picture
    text = str(picture)
    if text.startswith("data:"):
        try:
            return base64.b64decode(text.partition(",")[2], validate=True)
        except binascii.Error as error:
            raise UserError(f"{name}: its data address is not base64: {error}") from error
    if not text.startswith(_WEB):
        return Path(text).read_bytes()
    if not settings.from_web:
        raise UserError(
            f"{name} is on the web, where nothing is fetched unless you say so: "
            "images.from_web: true, or better, download it and name the file"
        )
    return _fetched(text, name)


def _fetched(address: str, name: str) -> bytes:
    try:
        with urllib.request.urlopen(address, timeout=_SECONDS) as answer:  # noqa: S310 - http(s)
            content: bytes = answer.read(_BYTES + 1)
    except (OSError, urllib.error.URLError) as error:
        raise StoreFault(f"{name} could not be fetched: {error}") from error
    if len(content) > _BYTES:
        raise UserError(f"{name} has more than {_BYTES >> 20} MiB")
    return content


def _on_white(picture: Image.Image) -> Image.Image:
    """Return the picture in RGB; a mask, an alpha channel and a transparent colour show white."""
    if picture.mode.startswith("I") or picture.mode == "F":
        return _eight_bits(picture).convert("RGB")
    if picture.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in picture.info:
        shown = picture.convert("RGBA")
        ground = Image.new("RGBA", shown.size, "white")
        return Image.alpha_composite(ground, shown).convert("RGB")
    return picture.convert("RGB")


def _eight_bits(picture: Image.Image) -> Image.Image:
    """Return a grey picture of more bits with its range mapped to 0..255; Pillow would cut it."""
    values = np.asarray(picture, dtype=np.float64)
    most = float(values.max(initial=0.0))
    full = 1.0 if most <= 1 and picture.mode == "F" else 255.0 if most <= 255 else 65535.0
    return Image.fromarray((values / full * 255).clip(0, 255).astype(np.uint8))


def _shrunk(picture: Image.Image, budget: int) -> Image.Image:
    size = _within(picture.size, budget)
    if size == picture.size:
        return picture
    return picture.resize(size, Image.Resampling.BICUBIC, reducing_gap=3.0)


def _within(size: tuple[int, int], budget: int) -> tuple[int, int]:
    """Return the largest size of the same shape with at most ``budget`` pixels."""
    width, height = size
    if width * height <= budget:
        return size
    scale = math.sqrt(budget / (width * height))
    narrow = max(1, int(width * scale)), max(1, int(height * scale))
    return min(narrow[0], budget), min(narrow[1], budget)


def _named(picture: Picture) -> str:
    if isinstance(picture, bytes):
        return f"of {len(picture)} bytes"
    if isinstance(picture, Image.Image):
        return f"of {picture.width} x {picture.height} pixels"
    text = str(picture)
    return f"{text[:40]}..." if text.startswith("data:") else text
