"""What is written as JSONL is read back, whatever it holds."""

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from halo_forge.utils.jsonl import BadLine, read_jsonl

_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text("abc"), inner),
    max_leaves=10,
)
_objects = st.dictionaries(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=5), _json, max_size=4
)


@settings(deadline=None, max_examples=40)
@given(st.lists(_objects))
def test_objects_come_back(tmp_path_factory, objects):
    """Every object comes back equal and in its place."""
    path = tmp_path_factory.getbasetemp() / "lines.jsonl"
    path.write_bytes(b"".join(orjson.dumps(value) + b"\n" for value in objects))
    assert list(read_jsonl(path)) == list(enumerate(objects, 1))


@settings(deadline=None)
@given(st.binary())
def test_any_bytes_give_lines_or_reasons(tmp_path_factory, content):
    """No content of a file raises, and line numbers only rise."""
    path = tmp_path_factory.getbasetemp() / "lines.jsonl"
    path.write_bytes(content)
    lines = list(read_jsonl(path))
    assert [number for number, _ in lines] == sorted({number for number, _ in lines})
    assert all(isinstance(value, dict | BadLine) for _, value in lines)
