"""When two answers hold the same program."""

from __future__ import annotations

import pytest

from halo_forge.rlvr.programs import distinct_programs, program_key
from tests.fakes import make_prompt, make_sample, make_verdict

CPP = make_prompt("p", language="cpp")
SUM = "#include <iostream>\nint main() {\n  int n = 0;\n  for (int i = 1; i < 4; ++i) n += i;\n}\n"


def _key(code: str) -> tuple[str, ...]:
    return program_key(make_sample(CPP, completion=f"Here it is:\n```cpp\n{code}```\n"))


@pytest.mark.parametrize(
    "other",
    [
        SUM.replace("  ", "\t").replace("{\n", "\n{\n"),
        SUM.replace(" n", " total").replace("i", "i"),
        "// adds up\n" + SUM + "/* done */\n",
    ],
)
def test_layout_comments_and_names_make_no_other_program(other: str) -> None:
    """What an author may call or lay out as he likes is not looked at."""
    assert _key(other) == _key(SUM)


@pytest.mark.parametrize(
    "change", [("< 4", "< 5"), ("+=", "-="), ("++i", "i++"), ("int n", "long n")]
)
def test_what_it_does_makes_another(change: tuple[str, str]) -> None:
    """Numbers, operators, their order and types are."""
    assert _key(SUM.replace(*change)) != _key(SUM)


def test_words_around_a_program_do_not_count() -> None:
    """Two explanations of one program are one."""
    answers = [f"{words}\n```cpp\n{SUM}```" for words in ("Sure!", "I add them up.")]
    assert len({program_key(make_sample(CPP, completion=one)) for one in answers}) == 1


def test_an_answer_without_a_program_is_its_words() -> None:
    """Such answers are told apart by their text, layout aside."""
    one, two, other = (
        make_sample("q", completion=text) for text in ("The answer is 7.", "The answer\nis 7.", "8")
    )
    assert program_key(one) == program_key(two) != program_key(other)


def test_programs_are_counted_within_a_prompt() -> None:
    """The same program for two prompts counts twice, twice for one prompt once."""
    code = f"```cpp\n{SUM}```"
    verdicts = [make_verdict(CPP, 0, 1.0, code), make_verdict(CPP, 1, 1.0, code)]
    verdicts.append(make_verdict(make_prompt("q", language="cpp"), 0, 1.0, code))
    assert distinct_programs(verdicts) == 2
