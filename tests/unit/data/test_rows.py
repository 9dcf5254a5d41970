"""Rows of every format, plain and gzip, with every bad one numbered."""

import gzip
import json
import math

import pytest

from halo_forge.core.errors import UserError
from halo_forge.data.rows import count_rows, read_rows
from halo_forge.utils.jsonl import BadLine
from tests.needs import package, public_file

_ROWS = [{"a": "1", "b": 'x, "y"\nz'}, {"a": "2", "b": "ü"}]


def _csv(rows):
    import csv
    import io

    text = io.StringIO()
    table = csv.DictWriter(text, list(rows[0]))
    table.writeheader()
    table.writerows(rows)
    return text.getvalue().encode()


_TEXTS = {
    "rows.jsonl": "".join(json.dumps(row) + "\n" for row in _ROWS).encode(),
    "rows.json": json.dumps(_ROWS).encode(),
    "lines.json": "".join(json.dumps(row) + "\n" for row in _ROWS).encode(),
    "rows.csv": _csv(_ROWS),
    "mark.csv": b"\xef\xbb\xbf" + _csv(_ROWS),
}


@pytest.mark.parametrize("name", _TEXTS)
@pytest.mark.parametrize("packed", [False, True])
def test_formats(tmp_path, name, packed):
    """The same rows come out of each."""
    path = tmp_path / (name + ".gz" if packed else name)
    path.write_bytes(gzip.compress(_TEXTS[name]) if packed else _TEXTS[name])
    assert [row for _, row in read_rows(path)] == _ROWS


def test_rows_are_counted(tmp_path):
    """Where it is cheap; compressed files are not read for it."""
    path = tmp_path / "rows.jsonl"
    path.write_bytes(_TEXTS["rows.jsonl"])
    assert count_rows(path) == 2
    path.write_bytes(gzip.compress(_TEXTS["rows.jsonl"]))
    assert count_rows(path) is None
    assert count_rows(tmp_path / "rows.csv") is None


def test_parquet(tmp_path):
    """Columns of all kinds come out as Python values, numbered from 1."""
    arrow = package("pyarrow")
    from pyarrow import parquet

    rows = [{"n": n, "tests": [{"input": str(n)}], "text": None} for n in range(150)]
    path = tmp_path / "rows.parquet"
    parquet.write_table(arrow.Table.from_pylist(rows), path, row_group_size=40)
    found = list(read_rows(path))
    assert [number for number, _ in found] == list(range(1, 151))
    assert [row for _, row in found] == rows
    assert count_rows(path) == 150
    path.write_bytes(path.read_bytes()[:-20])
    assert count_rows(path) is None
    with pytest.raises(UserError, match="not Parquet, or damaged"):
        list(read_rows(path))


def test_bad_rows_have_numbers(tmp_path):
    """A bad line costs itself and no other."""
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": 1}\n{"a": \n\n[1]\n{"a": NaN}\n')
    found = dict(read_rows(path))
    assert [number for number, row in found.items() if isinstance(row, BadLine)] == [2, 4]
    assert math.isnan(found[5]["a"])


def test_bad_tables(tmp_path):
    """A line with too many cells is one bad row; a table without names is no table."""
    path = tmp_path / "rows.csv"
    path.write_text("a,b\n1,2\n1,2,3\n4,5\n")
    found = dict(read_rows(path))
    assert found[3].reason == "3 cells under 2 column names"
    assert found[4] == {"a": "4", "b": "5"}
    path.write_text("a,a\n1,2\n")
    with pytest.raises(UserError, match=r"rows\.csv:1: .* each column once"):
        list(read_rows(path))


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("rows.xml", "<a/>", r"unknown format '\.xml'"),
        ("rows.json", '{"a": [1]}', "a list of objects is wanted, not an object"),
        ("rows.json", "nonsense", "not JSON"),
    ],
)
def test_no_rows_at_all(tmp_path, name, text, reason):
    """A file that is no table says why."""
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(UserError, match=reason):
        list(read_rows(path))


def test_missing_file(tmp_path):
    """It is named."""
    with pytest.raises(UserError, match=r"gone\.jsonl: cannot be read"):
        list(read_rows(tmp_path / "gone.jsonl"))


@pytest.mark.parametrize("name", ["HumanEvalPlus.jsonl.gz", "MbppPlus.jsonl.gz"])
def test_published_inputs_are_exact(name):
    """Inputs of EvalPlus hold numbers beyond 64 bits and infinities, which stay what they are."""
    path = public_file(name)
    with gzip.open(path, "rt", encoding="utf-8") as file:
        wanted = [json.loads(line) for line in file]
    found = [row for _, row in read_rows(path)]
    assert list(map(repr, found)) == list(map(repr, wanted))
