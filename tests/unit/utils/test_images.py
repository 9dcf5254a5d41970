"""Pictures of any mode are opened; what is broken, huge or no picture is refused by name."""

from __future__ import annotations

import base64
import io
import struct
import zlib

import pytest

from halo_forge.utils.images import MAX_PIXELS, BadImageError, open_image
from tests.needs import package

Image = package("PIL.Image")


def _address(data: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(data).decode()


def _png(width: int, height: int) -> bytes:
    """Return a small PNG that says it is large: its rows are never there."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + body))
        return struct.pack(">I", len(body)) + kind + body + check

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 99))


def _saved(image, kind: str, **options) -> bytes:
    packed = io.BytesIO()
    image.save(packed, kind, **options)
    return packed.getvalue()


@pytest.mark.parametrize(
    ("mode", "colour", "kind"),
    [
        ("RGB", (255, 0, 0), "PNG"), ("RGBA", (255, 0, 0, 255), "PNG"), ("L", 255, "PNG"),
        ("CMYK", (0, 255, 255, 0), "JPEG"), ("P", 0, "GIF"), ("1", 1, "PNG"),
        ("I;16", 65535, "PNG"),
        ("LA", (255, 255), "PNG"), ("RGB", (255, 0, 0), "WEBP"), ("RGB", (255, 0, 0), "BMP"),
    ],
)  # fmt: skip
def test_modes(mode, colour, kind):
    """Every mode comes out in RGB with its colour."""
    image = Image.new(mode, (8, 8), colour)
    if mode == "P":
        image.putpalette([255, 0, 0] * 256)
    opened = open_image(_address(_saved(image, kind)))
    red, green, blue = opened.getpixel((4, 4))
    assert opened.mode == "RGB"
    assert red > 240
    assert (green, blue) == (255, 255) or max(green, blue) < 20


def test_transparent_parts_are_white(tmp_path):
    """Alpha and a transparent colour of a palette lie on white."""
    Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save(tmp_path / "a.png")
    assert open_image(str(tmp_path / "a.png")).getpixel((1, 1)) == (255, 255, 255)
    image = Image.new("P", (8, 8), 0)
    image.save(tmp_path / "b.png", transparency=0)
    assert open_image(str(tmp_path / "b.png")).getpixel((1, 1)) == (255, 255, 255)


def test_rotation_is_undone():
    """A picture that says it lies on its side stands upright."""
    image = Image.new("RGB", (40, 20), "white")
    exif = Image.Exif()
    exif[0x0112] = 6
    assert open_image(_address(_saved(image, "JPEG", exif=exif.tobytes()))).size == (20, 40)


def test_sides_are_bounded(tmp_path):
    """A large picture comes smaller, in its proportions; a small one as it is."""
    Image.new("RGB", (900, 300), "white").save(tmp_path / "a.jpg")
    assert open_image(str(tmp_path / "a.jpg"), max_side=300).size == (300, 100)
    assert open_image(str(tmp_path / "a.jpg"), max_side=3000).size == (900, 300)


@pytest.mark.parametrize(("width", "height"), [(9000, 9000), (60_000, 60_000), (2**31 - 1, 1)])
def test_a_decompression_bomb_is_not_decoded(width, height):
    """A hundred bytes that promise gigabytes are refused by their head."""
    assert width * height > MAX_PIXELS
    with pytest.raises(BadImageError, match=r"more than 64,000,000 pixels|broken or too large"):
        open_image(_address(_png(width, height)))


@pytest.mark.parametrize(
    "data",
    [
        b"", b"GIF89a", b"not a picture", _png(100, 100),
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        b"\x89PNG\r\n\x1a\n" + b"\xff" * 99, b"\xff\xd8\xff\xe0" + b"\0" * 99,
        b"RIFF\x10\0\0\0WEBPVP8 ",
    ],
)  # fmt: skip
def test_broken_pictures(data):
    """What cannot be decoded is one clear error, whatever the decoder raised."""
    with pytest.raises(BadImageError, match="image data:image/png"):
        open_image(_address(data))


def test_cut_and_changed_files():
    """A real JPEG cut at any length or with bytes changed opens or is refused, and no more."""
    whole = _saved(Image.effect_noise((64, 64), 80).convert("RGB"), "JPEG")
    for size in range(0, len(whole), max(1, len(whole) // 40)):
        damaged = bytearray(whole)
        damaged[size] ^= 0xFF
        for data in (whole[:size], bytes(damaged)):
            try:
                assert open_image(_address(data)).mode == "RGB"
            except BadImageError:
                continue


def test_addresses(tmp_path):
    """The web is not asked; bad base64, folders and missing files are named."""
    for name, said in (
        ("https://x.org/a.png", "is on the web"),
        ("data:image/png;base64,@@", "no base64"),
        ("data:image/png,abc", "no base64"),
        (str(tmp_path), "cannot be read"),
        (str(tmp_path / "none.png"), "cannot be read"),
        ("a\0b", "cannot be read"),
    ):
        with pytest.raises(BadImageError, match=said):
            open_image(name)
