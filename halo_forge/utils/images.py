"""Pictures of strangers, opened with care: broken, huge or no pictures are refused by name."""

from __future__ import annotations

import base64
import binascii
import io
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["MAX_PIXELS", "BadImageError", "open_image", "picture_bytes"]

MAX_PIXELS = 64_000_000
"""Width times height of the largest picture that is decoded: 8000 by 8000."""

_MAX_BYTES = 64 << 20
_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
"""Decoders that hostile files may reach; Pillow has many more, some of which run programs."""


class BadImageError(ValueError):
    """A picture cannot be had; the text says which and why."""


def open_image(name: str, *, max_side: int | None = None) -> Image:
    """Return a picture in RGB, upright, transparent parts on white, its first frame only.

    Args:
        name: A file, or a ``data:`` address with the picture in it. Addresses on the web are
            refused.
        max_side: Shrink it so that neither side is longer, in pixels.

    Raises:
        BadImageError: If it is missing, broken, too large, or no picture.
        ModuleNotFoundError: If Pillow is not installed.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    shown = name if len(name) <= 80 else f"{name[:60]}..."
    data = picture_bytes(name)
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            width, height = image.size
            _refuse_huge(shown, width, height)
            if max_side is not None:
                image.draft("RGB", (max_side, max_side))  # a JPEG is decoded smaller at once
            picture = _on_white(ImageOps.exif_transpose(image))
    except BadImageError:
        raise
    except UnidentifiedImageError as error:
        raise BadImageError(f"image {shown}: is no picture in {', '.join(_FORMATS)}") from error
    except (
        OSError, SyntaxError, ValueError, EOFError, LookupError, OverflowError, MemoryError,
        TypeError, Image.DecompressionBombError, Image.DecompressionBombWarning,
    ) as error:  # fmt: skip
        raise BadImageError(f"image {shown}: is broken or too large: {error}") from error
    if max_side is not None and max(picture.size) > max_side:
        picture.thumbnail((max_side, max_side))
    return picture


def picture_bytes(name: str) -> bytes:
    """Return the bytes of a file or a ``data:`` address.

    Raises:
        BadImageError: If there is none, or it is larger than 64 MiB.
    """
    if name.startswith(("http://", "https://")):
        raise BadImageError(f"image {name[:80]}: is on the web, and nothing is fetched from there")
    try:
        if name.startswith("data:"):
            head, comma, body = name.partition(",")
            if not comma or not head.endswith(";base64") or len(body) > _MAX_BYTES * 4 // 3 + 4:
                raise BadImageError("image data: is no base64 address, or too large")
            return base64.b64decode(body, validate=True)
        path = Path(name)
        if path.stat().st_size > _MAX_BYTES:
            raise BadImageError(f"image {name}: is larger than {_MAX_BYTES >> 20} MiB")
        return path.read_bytes()
    except binascii.Error as error:
        raise BadImageError(f"image data: is no base64: {error}") from error
    except (OSError, ValueError) as error:
        raise (
            error
            if isinstance(error, BadImageError)
            else BadImageError(f"image {name[:200]}: cannot be read: {error}")
        ) from error


def _refuse_huge(name: str, width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise BadImageError(f"image {name}: {width} x {height} are more than {MAX_PIXELS:,} pixels")


def _on_white(image: Image) -> Image:
    """Return a picture of any mode as RGB."""
    from PIL import Image as Pillow

    if image.mode.startswith("I"):  # 16 bits a pixel, of which the upper eight are kept
        image = image.convert("I").point(lambda value: value * (1 / 256)).convert("L")
    if image.mode in {"RGBA", "LA", "PA", "RGBa", "La"} or "transparency" in image.info:
        layer = image.convert("RGBA")
        white = Pillow.new("RGBA", layer.size, "white")
        image = Pillow.alpha_composite(white, layer)
    return image.convert("RGB")
