"""Extraction holds for any text: it never fails, never returns a fence, always finds a block."""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from halo_forge.rlvr.verifiers.extract import extract_code
from halo_forge.rlvr.verifiers.languages import LANGUAGES
from halo_forge.rlvr.verifiers.lexical import bare_code
from halo_forge.rlvr.verifiers.substance import hollow

PIECES = st.sampled_from([
    "```", "~~~", "```cpp", "```python", "\n", "\n", "    ", "> ", "- ", "1. ", "int main() {", "}",
    "x = 1", "print(x)", "#include <a>", "<code>", "</code>", "Here it is:", '"', "'", "/*", "*/",
    "//", "#", "(", ")",
])  # fmt: skip
MESS = st.lists(PIECES | st.text(max_size=5), max_size=40).map("".join)
LANGUAGE = st.sampled_from([None, "cpp", "c", "python", "rust"])
LINE = st.from_regex(r"[a-z]{1,4} = [0-9]{1,3}|print\([a-z]{1,4}\)|    pass", fullmatch=True)


@given(MESS, LANGUAGE)
@settings(max_examples=300, deadline=None)
def test_anything_gives_text_without_a_fence(text: str, language: str | None) -> None:
    """Whatever the answer, the first line of what comes out is no fence with a tag."""
    code = extract_code(text, language)
    assert isinstance(code, str)
    assert not re.match(r"\s*```(?:cpp|python)\s*\n", code)


@given(MESS)
@settings(max_examples=200, deadline=None)
def test_gate_takes_anything(text: str) -> None:
    """The gate and the stripper take any text, and stripping keeps no more than there was."""
    for language in LANGUAGES.values():
        reason = hollow(text, language, needs_io=True, prompt=text[:10])
        assert reason is None or reason
        assert bare_code(text, language).count("\n") <= text.count("\n")


@given(
    st.lists(LINE, min_size=1, max_size=6).map(lambda lines: "x = 1\n" + "\n".join(lines) + "\n"),
    st.sampled_from(["", "Sure! Here is the program:\n\n", "1. First\n2. Second\n\n"]),
    st.sampled_from(["", "\nThis prints x.", "\n\n```\n1\n```\n"]),
    st.sampled_from(["py", "python", "Python3", " python", ""]),
    st.sampled_from(["```", "````", "~~~"]),
)
@settings(max_examples=200, deadline=None)
def test_fenced_program_comes_out_unchanged(
    code: str, before: str, after: str, tag: str, fence: str
) -> None:
    """A fenced program is returned to the letter, whatever stands around it."""
    tagged = bool(tag)
    text = f"{before}{fence}{tag}\n{code}{fence}\n{after if tagged else ''}"
    assert extract_code(text, "python") == code
