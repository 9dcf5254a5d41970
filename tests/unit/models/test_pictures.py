"""Pictures of every kind, and those that are none: each comes as it is meant, or says its name."""

import base64
import io
import struct
import threading
import zlib
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import pytest
from PIL import Image

from halo_forge.config.sections import ImageSettings
from halo_forge.core.errors import StoreFault, UserError
from halo_forge.models.pictures import open_picture, open_pictures

SETTINGS = ImageSettings()


def saved(image, form="PNG", **how):
    """Return the bytes of a file."""
    buffer = io.BytesIO()
    image.save(buffer, form, **how)
    return buffer.getvalue()


def shown(picture, settings=SETTINGS):
    """Open one and return its pixels."""
    opened = open_picture(picture, settings, "prompt p")
    assert opened.mode == "RGB"
    return np.asarray(opened)


RED = Image.new("RGB", (4, 3), (255, 0, 0))


def test_one_picture_by_every_road(tmp_path):
    """A file, its name as text, bytes, a data address and an opened one are the same picture."""
    content = saved(RED)
    path = tmp_path / "red"  # told by its content, not its name
    path.write_bytes(content)
    address = "data:image/png;base64," + base64.b64encode(content).decode()
    for picture in (path, str(path), content, address, RED):
        assert (shown(picture) == (255, 0, 0)).all()
    assert [one.size for one in open_pictures([content, address], SETTINGS, "x")] == [(4, 3)] * 2


def test_modes():
    """Alpha and clear colours lie on white; palettes, CMYK and 16 bits keep their look."""
    clear = Image.new("RGBA", (2, 2), (0, 0, 0, 0))
    assert (shown(saved(clear)) == 255).all()
    half = Image.new("RGBA", (2, 2), (255, 0, 0, 128))
    assert abs(shown(saved(half))[0, 0].astype(int) - (255, 127, 127)).max() <= 1
    assert (shown(saved(Image.new("LA", (2, 2), (0, 0)))) == 255).all()
    palette = RED.convert("P", palette=Image.Palette.ADAPTIVE)
    assert (shown(saved(palette)) == (255, 0, 0)).all()
    assert (shown(saved(palette, transparency=palette.getpixel((0, 0)))) == 255).all()
    cmyk = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    assert abs(shown(saved(cmyk, "JPEG"))[4, 4].astype(int) - (255, 0, 0)).max() < 12
    deep = Image.fromarray(np.full((2, 2), 32768, dtype=np.uint16))
    assert abs(int(shown(saved(deep))[0, 0, 0]) - 127) <= 1
    assert (shown(saved(Image.new("1", (2, 2), 1))) == 255).all()


def test_turned_as_the_camera_was_held():
    """EXIF's sixth orientation is a quarter turn to the right."""
    wide = Image.new("RGB", (4, 2), "black")
    wide.putpixel((0, 1), (255, 255, 255))  # its lower left corner comes to the upper left
    exif = Image.Exif()
    exif[0x0112] = 6
    upright = shown(saved(wide, "PNG", exif=exif))
    assert upright.shape == (4, 2, 3)
    assert upright[0, 0, 0] == 255


def test_budget_of_pixels():
    """A larger picture is made smaller in its shape; a smaller one stays as it is."""
    settings = ImageSettings(max_pixels=10_000)
    assert shown(saved(Image.new("RGB", (800, 200), "red")), settings).shape == (50, 200, 3)
    assert shown(saved(Image.new("RGB", (3000, 1500), "red"), "JPEG"), settings).shape[:2] == (
        70,
        141,
    )
    assert shown(saved(RED), settings).shape == (3, 4, 3)
    thin = shown(saved(Image.new("RGB", (30_000, 1), "red")), settings)
    assert thin.shape[0] * thin.shape[1] <= 10_000


def bomb():
    """A PNG of a few bytes that says it has 60,000 x 60,000 pixels."""

    def chunk(name, data):
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("picture", "reason"),
    [
        (b"not a picture", "prompt p: image of 13 bytes: is no picture"),
        (b"", "is no picture"),
        (saved(Image.effect_noise((64, 64), 90))[:900], "prompt p: image of 900 bytes: is broken"),
        (saved(Image.effect_noise((64, 64), 90), "JPEG")[:400], "is broken"),
        (saved(RED, "EPS"), "is no picture"),  # a program: Pillow would run Ghostscript
        (bomb(), "too large"),
        ("data:image/png;base64,@@@", "is no base64"),
        ("https://example.com/a.png", "images.from_web: true"),
    ],
)
def test_what_is_wrong_names_the_prompt(picture, reason):
    """The user's picture is the user's to mend, and the message says whose it is."""
    with pytest.raises(UserError, match=reason) as error:
        open_picture(picture, SETTINGS, "prompt p")
    assert str(error.value).startswith("prompt p: image")


def test_what_the_disk_does_not_give(tmp_path):
    """A file that cannot be read is the machine's fault."""
    with pytest.raises(StoreFault, match="cannot be read"):
        open_picture(tmp_path / "gone.png", SETTINGS, "prompt p")


def test_the_web_where_it_is_allowed():
    """A picture is fetched once that is said, and what the server refuses is a fault."""

    class Server(BaseHTTPRequestHandler):
        def do_GET(self):
            found = self.path == "/red.png"
            self.send_response(200 if found else 404)
            self.end_headers()
            self.wfile.write(saved(RED) if found else b"")

        def log_message(self, *args):
            pass

    settings = ImageSettings(from_web=True)
    with HTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_address[1]}"
        assert (shown(f"{address}/red.png", settings) == (255, 0, 0)).all()
        with pytest.raises(StoreFault, match="could not be fetched"):
            open_picture(f"{address}/gone.png", settings, "prompt p")
        server.shutdown()
