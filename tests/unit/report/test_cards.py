"""A card shows an answer, and nothing in it can drive the terminal."""

from __future__ import annotations

import re

import pytest

from halo_forge.core.types import VerifyResult
from halo_forge.report.cards import card
from halo_forge.report.samples import Answer
from tests.fakes import make_prompt

COLOR = re.compile(r"\x1b\[[0-9;]*m")
ATTACK = "\x1b]0;title\x07\x1b[2J\x9b31m\u202e\u2066\r\x08[bold]x[/bold]\x1b]8;;http://a\x1b\\"


def _answer(text: str, code: str = "int main() { return 0; }", language: str = "cpp") -> Answer:
    return Answer(
        kind="training",
        cycle=2,
        id=f"{text}#1",
        prompt_id=text,
        index=1,
        prompt=make_prompt(text, f"Asked {text}"),
        completion=f"Said {text}\n```cpp\n{code} // {text}\n```\n",
        finish_reason="length",
        policy=text,
        result=VerifyResult(
            False, 0.0, f"details {text}", f"error {text}",
            {"language": language, "diagnostic": f"class {text}"},
        ),
    )  # fmt: skip


@pytest.mark.parametrize("color", [True, False])
@pytest.mark.parametrize("width", [30, 160])
@pytest.mark.parametrize("language", ["cpp", ATTACK])
def test_no_escape_of_others(color: bool, width: int, language: str) -> None:
    """Colours are ours; without them there is no control character at all."""
    text = card(_answer(ATTACK, language=language), width, color=color, raw=True)
    assert (COLOR.search(text) is not None) == color
    plain = COLOR.sub("", text)
    assert all(c.isprintable() or c == "\n" for c in plain)
    assert max(map(len, plain.splitlines())) <= width
    assert "[bold]x[/bold]" in plain.replace("\n", "")


def test_what_is_shown() -> None:
    """Verdict, prompt, numbered code, diagnostics; the whole answer only when it is asked for."""
    lines = card(_answer("p"), 100, color=False, raw=False).splitlines()
    assert lines == [
        "p#1  cycle 2  fails  reward 0  class p  cut",
        "Asked p",
        "1 int main() { return 0; } // p",
        "",
        "details p",
        "error p",
    ]
    assert "Said p" in card(_answer("p"), 100, color=False, raw=True)


def test_beside_in_a_wide_terminal() -> None:
    """Code and answer stand on the same lines."""
    wide = card(_answer("p"), 160, color=False, raw=True)
    assert re.search(r"^1 int main.* Said p$", wide, re.MULTILINE)
