"""YAML files keep the line of every setting, and what is wrong in them is said with its line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from halo_forge.config.document import parse_value, read_yaml, to_yaml
from halo_forge.core.errors import ConfigError

_TEXTS = st.text(st.characters(codec="utf-8"), max_size=30)
_LEAVES = st.none() | st.booleans() | st.integers() | _TEXTS | st.floats(allow_nan=False, width=64)
_TREES = st.dictionaries(
    st.text(st.characters(categories=("L", "N")), min_size=1, max_size=9),
    _LEAVES | st.lists(_LEAVES, max_size=3),
    max_size=5,
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where a test puts its YAML."""
    return tmp_path / "a.yaml"


def _values(path: Path) -> dict[str, Any]:
    return {".".join(entry.path): entry.value for entry in read_yaml(path).entries}


def test_paths_values_and_lines(file: Path) -> None:
    """Nested keys become paths, each part with its own line."""
    file.write_text("a: 1\n\nb:\n  # why\n  c:\n    d: [1, x]\n", "utf-8")

    first, second = read_yaml(file).entries

    assert (first.path, first.value, first.lines) == (("a",), 1, (1,))
    assert (second.path, second.value, second.lines) == (("b", "c", "d"), [1, "x"], (3, 5, 6))


def test_scalars_follow_yaml_1_2(file: Path) -> None:
    """5e-5 is a number, yes is text, 012 is twelve, a date stays text."""
    file.write_text("a: 5e-5\nb: yes\nc: 012\nd: 2020-01-01\ne: '7'\nf: ~\ng: True\n", "utf-8")

    expected = {"a": 5e-5, "b": "yes", "c": 12, "d": "2020-01-01", "e": "7", "f": None, "g": True}
    assert expected == _values(file)


def test_version_1_1_reads_the_same_number(file: Path) -> None:
    """A file that declares YAML 1.1 gives the number, too, and no warning."""
    file.write_text("%YAML 1.1\n---\na: 5e-5\n", "utf-8")

    assert _values(file) == {"a": 5e-5}


def test_merge_keys_do_not_override(file: Path) -> None:
    """A merged mapping fills in what is not given."""
    file.write_text("x: &x {a: 1, b: 2}\ny: {<<: *x, a: 3}\nz: {<<: [*x]}\n", "utf-8")

    values = _values(file)

    assert {"y.a": 3, "y.b": 2, "z.a": 1, "z.b": 2}.items() <= values.items()


@pytest.mark.parametrize("text", ["", "# only a comment\n", "---\n", "~\n", "\ufeff"])
def test_empty_file_is_an_empty_mapping(text: str, file: Path) -> None:
    """Nothing in a file means no settings."""
    file.write_text(text, "utf-8")

    document = read_yaml(file)

    assert (document.entries, document.problems) == ((), ())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\na: 2\n", ":2: key 'a' is given twice, first on line 1"),
        ("a:\n\tb: 1\n", ":2: a tab; YAML is indented with spaces"),
        ("a: 1\nb: *x\n", ":2: found undefined alias 'x'"),
        ("a: [1\nb: 2\n", ":2: while parsing a flow sequence: expected"),
        ("a: 1\n---\nb: 2\n", ":2: a second document"),
        ("a: b: c\n", ":1: a ':' that does not fit"),
        ("- 1\n", ":1: a configuration is a mapping"),
        ("7\n", ":1: a configuration is a mapping"),
        ("a: 1\nb: \x07\n", ":2: character U+0007 is not allowed"),
        ("a: !!python/object:os.system x\n", ":1: tag 'python/object:os.system' is not"),
        ("a: !!int x\n", ":1: not a value of its type"),
        ("? [1, 2]\n: 3\n", ":1: a key must be a plain name"),
        ("<<: 3\n", ":1: '<<' merges mappings only"),
        ("a: &a [*a]\n", ": nested too deeply, or an alias contains itself"),
        ("a: " + "[" * 5000, ": nested too deeply"),
    ],
)
def test_problem_has_its_line(text: str, said: str, file: Path) -> None:
    """What is no configuration is named in plain words, with file and line."""
    file.write_text(text, "utf-8")

    problems = read_yaml(file).problems

    assert any(problem.startswith(f"{file}{said}") for problem in problems), problems


def test_problems_are_collected(file: Path) -> None:
    """Several mistakes are reported together, and the good settings are kept."""
    file.write_text("a: 1\na: 2\nb: !x y\nc: 3\n", "utf-8")

    document = read_yaml(file)

    assert len(document.problems) == 2
    assert {entry.path[0]: entry.value for entry in document.entries} == {"a": 1, "c": 3}
    assert {"a", "c"} == document.keys


def test_bytes_that_are_no_utf8(file: Path) -> None:
    """The line of the first wrong byte is given."""
    file.write_bytes(b"a: 1\nb: \xff\n")

    assert (f"{file}:2: not UTF-8 text; save the file as UTF-8",) == read_yaml(file).problems


def test_unreadable_files(tmp_path: Path) -> None:
    """A missing file and a folder are named with the system's reason."""
    missing, folder = tmp_path / "no.yaml", tmp_path

    assert (f"{missing}: No such file or directory",) == read_yaml(missing).problems
    assert (f"{folder}: Is a directory",) == read_yaml(folder).problems


@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])
@given(values=_TREES)
def test_what_is_written_is_read_back(
    values: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Any settings survive the way to YAML and back."""
    file = tmp_path_factory.mktemp("yaml") / "a.yaml"
    file.write_bytes(to_yaml(values).encode())

    assert values == _values(file)


def test_one_value() -> None:
    """A value of the command line is one YAML value."""
    assert parse_value("[1, 2]", "--set k") == [1, 2]
    assert parse_value("", "--set k") is None
    with pytest.raises(ConfigError, match="--set k:1: "):
        parse_value("[1", "--set k")
