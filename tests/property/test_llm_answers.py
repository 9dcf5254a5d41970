"""Whatever a model says becomes an item or a reason, and a part of an item never passes for one."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from halo_forge.config.generate import TopicConfig
from halo_forge.data.llm.answers import Item, RejectedError, parse_item

CASES = TopicConfig(min_tests=1)
CODE = TopicConfig(tests="code", language="python")
REASONS = {"empty", "cut", "not-json", "incomplete"}

storable = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=60)
visible = storable.filter(lambda text: text.strip())
items = st.fixed_dictionaries(
    {
        "statement": visible,
        "solution": visible.filter(lambda text: "```" not in text and "~~~" not in text),
        "tests": st.lists(
            st.fixed_dictionaries({"input": storable, "expected": storable}), min_size=1, max_size=4
        ),
    }
)


def read(text: str, reason: str = "stop", topic: TopicConfig = CASES) -> Item | str:
    """The item, or the reason why there is none."""
    try:
        return parse_item(text, reason, topic)
    except RejectedError as error:
        return error.reason if error.detail else "a reason without a detail"


@settings(deadline=None)
@given(st.text(), st.sampled_from(["stop", "length"]), st.sampled_from([CASES, CODE]))
def test_any_text(text: str, reason: str, topic: TopicConfig) -> None:
    """Nothing else is raised."""
    found = read(text, reason, topic)
    assert isinstance(found, Item) or found in REASONS


values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(), lambda v: st.lists(v) | st.dictionaries(
        st.sampled_from(["statement", "solution", "tests", "entry_point", "input"]), v
    ), max_leaves=12,
)  # fmt: skip


@settings(deadline=None)
@given(values, st.sampled_from([CASES, CODE]))
def test_any_json(value: object, topic: TopicConfig) -> None:
    """Nothing else is raised, whatever stands where."""
    read(json.dumps(value), topic=topic)


@settings(deadline=None)
@given(items, st.sampled_from(["{}", "\n{}\n", "[{}]", "```json\n{}\n```", "```\n{}\n```\n",
                               "Sure! Here it is:\n\n```json\n{}\n```\nGood luck.", "Task: {} Bye.",
                               "<think>a {{ b</think>{}"]), st.booleans())  # fmt: skip
def test_what_surrounds_json_does_not_matter(item: dict, frame: str, ascii_only: bool) -> None:
    """The same item comes out of every wrapping."""
    plain = read(json.dumps(item))
    assert isinstance(plain, Item)
    assert plain.statement == item["statement"]
    assert [case.expected for case in plain.cases] == [one["expected"] for one in item["tests"]]
    wrapped = frame.replace("{{", "{").replace("{}", json.dumps(item, ensure_ascii=ascii_only))
    assert read(wrapped) == plain


@settings(deadline=None)
@given(items, st.data())
def test_a_part_is_no_item(item: dict, data: st.DataObject) -> None:
    """Wherever an answer is cut, nothing is made up for what is missing."""
    whole = json.dumps(item)
    part = whole[: data.draw(st.integers(0, len(whole) - 1))]
    reason = data.draw(st.sampled_from(["stop", "length"]))
    wanted = {"length": {"cut"}, "stop": {"not-json", "empty"}}[reason]
    inner = {"incomplete"}  # the cut may leave an inner object whole
    assert read(part, reason) in wanted | inner
    assert read(f"```json\n{part}", reason) in wanted | inner


def test_raw_line_ends_in_strings() -> None:
    """Models write them, though JSON has none."""
    text = '{"statement": "a\nb", "solution": "c\n\td", "tests": [{"input": "", "expected": "1"}]}'
    found = read(text)
    assert isinstance(found, Item)
    assert (found.statement, found.solution) == ("a\nb", "c\n\td\n")


@pytest.mark.parametrize("solution", ["```python\nx = 1\n```", "\nx = 1\n\n", "```\nx = 1\n```\n"])
def test_source_in_a_fence(solution: str) -> None:
    """A fence around all of it is not part of it."""
    item = {"statement": "s", "solution": solution, "tests": [{"input": "", "expected": "1"}]}
    found = read(json.dumps(item))
    assert isinstance(found, Item)
    assert found.solution == "x = 1\n"


SPOILED = {
    "no statement": {"statement": " "},
    "solution is a number": {"solution": 3},
    "an empty fence": {"solution": "```\n\n```"},
    "tests are text": {"tests": "assert"},
    "too few tests": {"tests": []},
    "a test that is a list": {"tests": [["1", "2"]]},
    "a number expected": {"tests": [{"input": "1", "expected": 2}]},
    "a nul": {"statement": "a\0b"},
    "half a character": {"statement": "a\ud800b"},
    "too long": {"statement": "x" * 17000},
    "too many tests": {"tests": [{"input": "1", "expected": "2"}] * 101},
}


@pytest.mark.parametrize("change", SPOILED.values(), ids=SPOILED)
def test_spoiled_items(change: dict) -> None:
    """What cannot be stored or judged is incomplete."""
    good = {"statement": "s", "solution": "x", "tests": [{"input": "", "expected": "1"}]}
    assert isinstance(read(json.dumps(good)), Item)
    assert read(json.dumps(good | change)) == "incomplete"


@pytest.mark.parametrize("name", ["", "1a", "a b", "os.system", "f(x)", "\u00e9t\u00e9", "a\n"])
def test_names(name: str) -> None:
    """What the tests call is one plain name."""
    item = {"statement": "s", "solution": "x", "tests": "t", "entry_point": name}
    assert read(json.dumps(item), topic=CODE) == ("incomplete" if name != "a\n" else read(
        json.dumps(item | {"entry_point": "a"}), topic=CODE))  # fmt: skip


HOSTILE = ["{" * 200_000, "[" * 200_000, '{"a":' * 50_000, "`" * 200_000, "```\n" * 60_000,
           "</think>" * 30_000, "```\n" + " " * 200_000, "{}" * 100_000, '"' * 200_000]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: text[:8])
def test_hostile_text_takes_no_time(text: str) -> None:
    """Nothing is quadratic, nothing runs out of stack."""
    started = time.process_time()
    assert read(text) in REASONS
    assert time.process_time() - started < 5
