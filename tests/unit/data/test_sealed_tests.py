"""Private tests of LiveCodeBench are read; a pickle that does more is refused, and does nothing."""

import base64
import os
import pickle
import pickletools
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from halo_forge.data import sealed_tests
from halo_forge.data.sealed_tests import SealedTestsError, open_sealed


def _seal(data: bytes) -> str:
    return base64.b64encode(zlib.compress(data)).decode()


@given(st.text(st.characters(exclude_categories=["Cs"])), st.integers(0, pickle.HIGHEST_PROTOCOL))
def test_text_comes_out_as_it_went_in(text, protocol):
    """Whatever the text and the protocol."""
    assert open_sealed(_seal(pickle.dumps(text, protocol))) == text
    assert open_sealed(_seal(pickletools.optimize(pickle.dumps(text, protocol)))) == text


class _Attack:
    def __init__(self, path):
        self._path = path

    def __reduce__(self):
        return os.mkdir, (str(self._path),)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_attack(tmp_path, protocol):
    """A pickle that calls a function is refused, and the function is not called."""
    mark = tmp_path / "mark"
    sealed = _seal(pickle.dumps(_Attack(mark), protocol))
    with pytest.raises(SealedTestsError, match="does more than hold a text"):
        open_sealed(sealed)
    assert not mark.exists()
    # The attack is a real one: unpickled, it leaves its mark.
    pickle.loads(zlib.decompress(base64.b64decode(sealed)))
    assert mark.exists()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (pickle.dumps(["a", "b"]), "does more"),
        (pickle.dumps(b"bytes"), "does more"),
        (pickle.dumps(7), "does more"),
        (b"", "not a pickle"),
        (b"\x80\x04", "not a pickle"),
        (b"\x80\x04.", "one text is wanted, 0"),
        (pickle.dumps("a")[:-1] + pickle.dumps("b"), "does more|one text|not a pickle"),
        (b"garbage", "not a pickle|does more"),
    ],
)
def test_anything_else_is_refused(data, reason):
    """Only one text is taken."""
    with pytest.raises(SealedTestsError, match=reason):
        open_sealed(_seal(data))


def test_damage():
    """What is not base64, not zlib or cut off says so."""
    with pytest.raises(SealedTestsError, match="not base64"):
        open_sealed("***")
    with pytest.raises(SealedTestsError, match="not zlib"):
        open_sealed(base64.b64encode(b"abc").decode())
    whole = zlib.compress(pickle.dumps("a" * 1000))
    with pytest.raises(SealedTestsError, match="cut off"):
        open_sealed(base64.b64encode(whole[:-4]).decode())


def test_bomb(monkeypatch):
    """What unpacks without end is stopped at the limit."""
    monkeypatch.setattr(sealed_tests, "_LARGEST", 1 << 16)
    with pytest.raises(SealedTestsError, match="larger than"):
        open_sealed(_seal(b"\0" * (1 << 20)))
