"""Reading JSONL: every line has a number and either an object or a reason."""

import gzip
import re
from pathlib import Path

import pytest

from halo_forge.utils.jsonl import BadLine, read_jsonl


def _read(path: Path, content: bytes) -> list[tuple[int, object]]:
    path.write_bytes(content)
    return list(read_jsonl(path))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "lines.jsonl"


def test_numbers_count_blank_lines(path):
    """A blank line gives nothing, and the lines after it keep their numbers."""
    assert _read(path, b'{"a": 1}\n\n  \r\n{"a": 2}') == [(1, {"a": 1}), (4, {"a": 2})]


def test_byte_order_mark_and_windows_line_ends(path):
    """A UTF-8 byte order mark and CRLF are ordinary."""
    assert _read(path, b'\xef\xbb\xbf{"a": 1}\r\n{"a": 2}\r\n') == [(1, {"a": 1}), (2, {"a": 2})]


def test_unicode_line_separators_do_not_split(path):
    """Only a line feed ends a line: U+2028 and U+0085 may stand in a string."""
    assert _read(path, '{"a": "x\u2028y\x85z"}\n'.encode()) == [(1, {"a": "x\u2028y\x85z"})]


@pytest.mark.parametrize("name", ["lines.jsonl.gz", "lines.jsonl"])
def test_gzip_is_seen_by_content(tmp_path, name):
    """A compressed file reads like a plain one, whatever its name."""
    assert _read(tmp_path / name, gzip.compress(b'{"a": 1}\n{"a": 2}\n')) == [
        (1, {"a": 1}),
        (2, {"a": 2}),
    ]


def test_torn_gzip_keeps_what_came_before(path):
    """A cut compressed file gives its whole lines, then one bad line."""
    whole = gzip.compress(b"".join(b'{"a": %d}\n' % n for n in range(20_000)))
    lines = _read(path, whole[: len(whole) // 2])
    assert lines[0] == (1, {"a": 0})
    assert len(lines) > 1000
    assert isinstance(lines[-1][1], BadLine)
    assert "gzip" in lines[-1][1].reason
    assert all(isinstance(value, dict) for _, value in lines[:-1])


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"a": }', "not JSON: unexpected character, expected a JSON value (column 7)"),
        (b'{"a": 1,', "not JSON: unexpected end of data (column 9)"),
        (b'{"a": NaN}', "not JSON: "),
        (b'{"a": "\\ud800"}', "not JSON: "),
        (b"[1]", "not a JSON object but a list"),
        (b"null", "not a JSON object but null"),
        (b'"text"', "not a JSON object but a string"),
        (b"3", "not a JSON object but a number"),
        (b"true", "not a JSON object but a boolean"),
        (b'{"a": "\xe9"}', "not UTF-8: byte 0xe9 at byte 8 of the line"),
        (b"[", "one object a line is wanted"),
    ],
)
def test_bad_line_has_place_and_reason(path, line, reason):
    """A line that is no object is a value, and reading goes on after it."""
    first, bad, last = _read(path, b'{"a": 1}\n' + line + b'\n{"a": 2}\n')
    assert (first, last) == ((1, {"a": 1}), (3, {"a": 2}))
    assert isinstance(bad[1], BadLine)
    assert (bad[0], bad[1].line, bad[1].path) == (2, 2, path)
    assert reason in bad[1].reason


def test_utf16_is_named(path):
    """A file saved as UTF-16 says so instead of naming a byte."""
    lines = _read(path, '{"a": 1}\n'.encode("utf-16"))
    assert "UTF-16" in lines[0][1].reason


def test_deep_nesting_is_a_bad_line(path):
    """Nesting that exhausts the parser is a reason, not a crash."""
    lines = _read(path, b'{"a": ' + b"[" * 100_000 + b"\n")
    assert isinstance(lines[0][1], BadLine)


def test_missing_file(path):
    """A file that does not exist raises when reading starts."""
    with pytest.raises(FileNotFoundError):
        next(read_jsonl(path))


def test_streams(path):
    """The first line is there before the last is read."""
    path.write_bytes(b'{"a": 1}\nnot json\n')
    assert next(read_jsonl(path)) == (1, {"a": 1})


@pytest.mark.parametrize("number", [2**63, -(10**40), 10**18, 10**400, 12345678901234567890])
def test_large_numbers_stay_whole(tmp_path, number):
    """Read exactly, a number is what was written; orjson alone makes a float of it."""
    path = tmp_path / "rows.jsonl"
    path.write_text(f'{{"n": {number}}}\n')
    [(_, row)] = read_jsonl(path, exact=True)
    assert (row["n"], type(row["n"])) == (number, int)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[" * 100_000 + "1" * 20, "nested too deeply|not JSON"),
        ('{"n": ' + "1" * 5000 + "}", "Exceeds the limit"),
        ('{"n": 1' + "0" * 30, "not JSON"),
        ('{"a": "\\ud800", "n": NaN}', "half of a surrogate pair"),
        ('{"\\udfff": 1, "n": Infinity}', "half of a surrogate pair"),
    ],
)
def test_what_cannot_be_read_exactly(tmp_path, text, reason):
    """It is a bad line like any other."""
    path = tmp_path / "rows.jsonl"
    path.write_text(text + "\n")
    [(_, bad)] = read_jsonl(path, exact=True)
    assert re.search(reason, bad.reason)


def test_whole_pairs_are_read_exactly(tmp_path):
    """Both halves together are a character."""
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": "\\ud83d\\ude00", "n": Infinity}\n')
    [(_, row)] = read_jsonl(path, exact=True)
    assert row["a"] == "\U0001f600"
