"""Pictures as a model is shown them: upright, in RGB, within a budget of pixels.

A picture is a stranger's file; `halo_forge.utils.images` opens it with care. Whatever is wrong with
it names the prompt that shows it.
"""

from __future__ import annotations

import http.client
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from halo_forge.config.sections import ImageSettings
from halo_forge.core.errors import StoreFault, UserError
from halo_forge.utils.images import BadImageError, open_image

__all__ = ["Picture", "open_picture", "open_pictures"]

Picture = str | Path | bytes | Image.Image
"""A file, a ``data:`` or web address, the bytes of a file, or what Pillow has opened."""

_WEB = ("http://", "https://")
_BYTES, _SECONDS = 64 << 20, 30


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
    source = str(picture) if isinstance(picture, Path) else picture
    if isinstance(source, str) and source.startswith(_WEB):
        source = _fetched(source, settings, where)
    try:
        return open_image(source, max_pixels=settings.max_pixels)
    except BadImageError as error:
        cause = error.__cause__
        withheld = isinstance(cause, OSError) and cause.errno is not None
        raise (StoreFault if withheld else UserError)(f"{where}: {error}") from error


def _fetched(address: str, settings: ImageSettings, where: str) -> bytes:
    name = f"{where}: image {address[:80]}"
    if not settings.from_web:
        raise UserError(
            f"{name} is on the web, where nothing is fetched unless you say so: "
            "images.from_web: true, or better, download it and name the file"
        )
    try:
        with urllib.request.urlopen(address, timeout=_SECONDS) as answer:  # noqa: S310 - http(s)
            content: bytes = answer.read(_BYTES + 1)
    except (ValueError, http.client.InvalidURL) as error:
        raise UserError(f"{name} is no address: {error}") from error
    except (OSError, http.client.HTTPException) as error:
        raise StoreFault(f"{name} could not be fetched: {error}") from error
    if len(content) > _BYTES:
        raise UserError(f"{name} has more than {_BYTES >> 20} MiB")
    return content
