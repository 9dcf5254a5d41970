"""Pictures of strangers, opened with care: broken, huge or no pictures are refused by name."""

from __future__ import annotations

import base64
import binascii
import io
import math
import struct
from contextlib import ExitStack
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


def open_image(
    picture: str | bytes | Image, *, max_side: int | None = None, max_pixels: int | None = None
) -> Image:
    """Return a picture in RGB, upright, transparent parts on white, its first frame only.

    Args:
        picture: A file, a ``data:`` address with the picture in it, the bytes of a file, or what
            Pillow has opened. Addresses on the web are refused.
        max_side: Shrink it so that neither side is longer, in pixels.
        max_pixels: Shrink it so that it has no more of them.

    Raises:
        BadImageError: If it is missing, broken, too large, or no picture.
        ModuleNotFoundError: If Pillow is not installed.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    shown = _shown(picture)
    data = picture_bytes(picture) if isinstance(picture, str) else picture
    try:
        with ExitStack() as stack:
            if isinstance(data, bytes):
                data = stack.enter_context(Image.open(io.BytesIO(data), formats=_FORMATS))
            _refuse_huge(shown, *data.size)
            size = _within(data.size, max_side, max_pixels)
            data.draft("RGB", size)  # a JPEG is decoded smaller at once
            opened = _on_white(ImageOps.exif_transpose(data))
    except BadImageError:
        raise
    except UnidentifiedImageError as error:
        raise BadImageError(f"image {shown}: is no picture in {', '.join(_FORMATS)}") from error
    except (
        OSError, SyntaxError, ValueError, EOFError, LookupError, OverflowError, MemoryError,
        TypeError, struct.error, Image.DecompressionBombError, Image.DecompressionBombWarning,
    ) as error:  # fmt: skip
        raise BadImageError(f"image {shown}: is broken or too large: {error}") from error
    size = _within(opened.size, max_side, max_pixels)
    if size != opened.size:
        opened = opened.resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0)
    return opened


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


def _shown(picture: str | bytes | Image) -> str:
    if isinstance(picture, bytes):
        return f"of {len(picture)} bytes"
    if isinstance(picture, str):
        return picture if len(picture) <= 80 else f"{picture[:60]}..."
    return f"of {picture.width} x {picture.height} pixels"


def _within(size: tuple[int, int], max_side: int | None, max_pixels: int | None) -> tuple[int, int]:
    """Return the largest size of the same shape within the bounds, at least one pixel wide."""
    width, height = size
    scale = min(
        1.0,
        max_side / max(size) if max_side else 1.0,
        math.sqrt(max_pixels / (width * height)) if max_pixels else 1.0,
    )
    if scale == 1.0:
        return size
    longest = max_pixels or width * height  # of a line one pixel wide
    return min(longest, max(1, int(width * scale))), min(longest, max(1, int(height * scale)))


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
