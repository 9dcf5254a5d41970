"""One line of a prompts file: what it becomes, and what is said about a wrong one."""

import pytest

from halo_forge.core.errors import ConfigError
from halo_forge.core.types import Message, Prompt, Reference, TestCase
from halo_forge.data.formats import parse_prompt, prompt_record

_CASE = {"input": "1\n", "expected": "2\n"}


def test_everything_a_line_can_say():
    """Each key ends where it belongs."""
    prompt = parse_prompt(
        {
            "id": "t/1",
            "prompt": "Double it.",
            "system": "Be brief.",
            "language": "C++",
            "tests": [{**_CASE, "name": "one", "timeout": 2}],
            "hidden_tests": [{"input": "2\n", "expected": "4\n"}],
            "entry_point": "main",
            "expected_output": "",
            "reference": "int main() {}",
            "category": "arithmetic",
            "difficulty": 2,
            "metadata": {"anything": [1, None]},
        }
    )
    assert prompt == Prompt(
        id="t/1",
        messages=(Message("system", "Be brief."), Message("user", "Double it.")),
        reference=Reference(
            tests=(TestCase("1\n", "2\n", "one", 2.0),),
            hidden_tests=(TestCase("2\n", "4\n"),),
            entry_point="main",
            expected_output="",
            solution="int main() {}",
        ),
        language="cpp",
        category="arithmetic",
        difficulty=2,
    )


def test_test_code_and_chat():
    """``tests`` may be source code, and ``messages`` a whole chat."""
    turns = [("system", "s"), ("user", "a"), ("assistant", "b"), ("user", "c")]
    prompt = parse_prompt(
        {
            "messages": [{"role": role, "content": content} for role, content in turns],
            "tests": "assert f(1) == 2",
        }
    )
    assert prompt.messages == tuple(Message(*turn) for turn in turns)
    assert prompt.reference == Reference(test_code="assert f(1) == 2")


def test_null_means_absent():
    """Exports write every column; null in a known one says nothing."""
    bare = parse_prompt({"prompt": "x"})
    keys = ("id", "system", "messages", "tests", "hidden_tests", "difficulty", "metadata")
    assert parse_prompt({"prompt": "x", **dict.fromkeys(keys)}) == bare


def test_content_id_follows_messages_and_tests():
    """Without an id the content names the prompt: equal content equal id, other content other."""
    base = {"prompt": "x", "tests": [_CASE]}
    variants = [
        base,
        {**base, "prompt": "y"},
        {**base, "system": "s"},
        {**base, "tests": [{**_CASE, "expected": "3\n"}]},
        {**base, "tests": "assert True"},
        {"prompt": "x"},
        {"prompt": "x", "image": "a.png"},
        {"prompt": "x", "image": "b.png"},
        {"prompt": "x", "image": "a.png", "ground_truth": "4"},
    ]
    ids = [parse_prompt(record).id for record in variants]
    assert len(set(ids)) == len(variants)
    assert parse_prompt({**base, "category": "c", "difficulty": 1}).id == ids[0]


def test_number_as_id():
    """A row number of a data set is a name like any other."""
    assert parse_prompt({"id": 7, "prompt": "x"}).id == "7"


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"promt": "x"}, "unknown key 'promt'. Did you mean 'prompt'?"),
        ({"instruction": "x"}, "unknown key 'instruction'. Did you mean 'prompt'?"),
        ({"prompt": "x", "zzz": None}, "unknown key 'zzz'. Known: id, prompt, messages"),
        ({"prompt": "x", "image": 3}, "'image'"),
        ({"prompt": "x", "image": ["a.png", ""]}, "'image[1]' must not be empty"),
        ({"prompt": "x", "alternatives": ["4"]}, "'alternatives' to no 'ground_truth'"),
        ({"prompt": "x", "completion": "y"}, "belongs to training files"),
        ({"prompt": "x", "solution": "y"}, "Did you mean 'reference'?"),
        ({}, "has neither 'prompt' nor 'messages'"),
        ({"prompt": "x", "messages": [{"role": "user", "content": "y"}]}, "has both"),
        ({"prompt": " \n"}, "'prompt' must not be empty"),
        ({"prompt": ["x"]}, "'prompt' should be a string, is a list"),
        ({"prompt": "x", "system": 3}, "'system' should be a string, is a number (3)"),
        ({"prompt": "x", "id": True}, "'id' should be a string, is a boolean (True)"),
        ({"prompt": "x", "id": "a\nb"}, "'id' must be printable, without blanks around it"),
        ({"prompt": "x", "id": ""}, "'id' must not be empty"),
        ({"prompt": "x", "language": "pyhton"}, "'pyhton'. Did you mean 'python'?"),
        ({"prompt": "x", "difficulty": 6}, "'difficulty' should be less than or equal to 5, is"),
        ({"prompt": "x", "difficulty": "2"}, "'difficulty' should be a valid integer, is a string"),
        ({"prompt": "x", "reference": ""}, "'reference' must not be empty"),
        ({"prompt": "x", "tests": 5}, "'tests' must be a list of cases, or test code"),
        ({"prompt": "x", "tests": " "}, "'tests' must not be empty"),
        ({"prompt": "x", "tests": [3]}, "'tests[0]' should be an object, is a number (3)"),
        ({"prompt": "x", "tests": [_CASE, {"input": ""}]}, "'tests[1].expected' is missing"),
        (
            {"prompt": "x", "tests": [{**_CASE, "output": "y"}]},
            "unknown key 'tests[0].output'. Did you mean 'expected'?",
        ),
        (
            {"prompt": "x", "tests": [{**_CASE, "timeout": 0}]},
            "'tests[0].timeout' should be greater than 0, is a number (0)",
        ),
        ({"prompt": "x", "hidden_tests": 3}, "'hidden_tests' must be a list of cases, or"),
        ({"messages": []}, "'messages' must not be empty"),
        ({"messages": [{"role": "user"}]}, "'messages[0].content' is missing"),
        (
            {"messages": [{"role": "bot", "content": "x"}]},
            "'messages[0].role' should be 'system', 'user' or 'assistant', is a string ('bot')",
        ),
        (
            {"messages": [{"from": "user", "content": "x", "role": "user"}]},
            "unknown key 'messages[0].from'. Did you mean 'role'?",
        ),
        ({"messages": [{"role": "assistant", "content": "x"}]}, "must end with a user message"),
        (
            {"system": "s", "messages": [{"role": r, "content": "x"} for r in ("system", "user")]},
            "may have one system message, the first",
        ),
    ],
)
def test_wrong_line_says_why(record, reason):
    """One problem, one reason, in the words of the file."""
    with pytest.raises(ConfigError) as caught:
        parse_prompt(record)
    assert len(caught.value.problems) == 1
    assert reason in caught.value.problems[0]


def test_all_problems_of_a_line_at_once():
    """A line with three mistakes is mended in one go."""
    with pytest.raises(ConfigError) as caught:
        parse_prompt({"prompt": 1, "difficulty": 0, "tests": [{"input": 1, "expected": "x"}]})
    assert len(caught.value.problems) == 3


def test_what_a_line_cannot_hold():
    """Cases and test code together are refused, not halved."""
    both = Prompt(
        id="x",
        messages=(Message("user", "x"),),
        reference=Reference(tests=(TestCase("", ""),), test_code="assert True"),
    )
    with pytest.raises(ValueError, match="not both"):
        prompt_record(both)
