"""Names and texts."""

import pytest

from halo_forge.utils.text import (
    LANGUAGES,
    did_you_mean,
    fenced,
    json_kind,
    language_name,
    printable,
)


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("c++", "cpp"),
        ("C++17", "cpp"),
        (" py ", "python"),
        ("C#", "csharp"),
        ("text", None),
        ("", None),
    ],
)
def test_language_name(spelling, name):
    """Every spelling of a language has one name; what is no language has none."""
    assert language_name(spelling) == name


def test_names_are_their_own_spelling():
    """The name used inside is a spelling too, and all spellings are lower case."""
    assert all(LANGUAGES[name] == name for name in LANGUAGES.values())
    assert all(spelling == spelling.lower() for spelling in LANGUAGES)


def test_did_you_mean():
    """The nearest name is offered, and nothing when none is near."""
    assert did_you_mean("promt", ["prompt", "tests"]) == " Did you mean 'prompt'?"
    assert did_you_mean("zzz", ["prompt"]) == ""


def test_fence_is_longer_than_any_inside():
    """Back-ticks inside the code cannot end the block."""
    assert fenced("print()\n", "python") == "```python\nprint()\n```"
    assert fenced('"""\n```\n"""').startswith("````\n")


def test_json_kind():
    """A boolean is not called a number."""
    assert [json_kind(value) for value in (True, 1, None, {})] == [
        "a boolean",
        "a number",
        "null",
        "an object",
    ]


def test_printable_disarms_the_terminal():
    """Escape sequences cannot reach the terminal; lines and tabs stay."""
    assert (
        printable("a\x1b[31mb\tc\nd\r")
        == "a\N{REPLACEMENT CHARACTER}[31mb\tc\nd\N{REPLACEMENT CHARACTER}"
    )
