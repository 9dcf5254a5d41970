"""Benchmarks in training data: what is planted is found, what is not is not."""

import gzip
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from halo_forge.config.data import DecontaminationSettings
from halo_forge.core.errors import UserError
from halo_forge.core.types import Message, Prompt, Reference
from halo_forge.data.content import Content, chat_content, prompt_content, row_content
from halo_forge.data.decontaminate import Benchmarks, decontaminate, guarded
from halo_forge.data.items import Item, Unfit
from halo_forge.data.shapes import read_records
from halo_forge.utils.jsonl import read_jsonl
from tests.needs import public_file

_TASK = (
    "Given the prices of a stock on consecutive days, return the largest gain that buying on "
    "one day and selling on a later one can make."
)
_CODE = """\
def best_gain(prices):
    lowest, gain = prices[0], 0
    for price in prices[1:]:
        gain = max(gain, price - lowest)
        lowest = min(lowest, price)
    return gain
"""
_RENAMED = """\
def solve(xs):  # another author's
    m, g = xs[0], 0
    for x in xs[1:]:
        g = max(g, x - m)

        m = min(m, x)
    return g
"""
_words = st.lists(
    st.sampled_from(["day", "price", "stock", "of", "the", "and", "return", "one", "gain"]),
    max_size=30,
)


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """A benchmark of two tasks, one with its solution, and the settings that name it."""
    path = tmp_path_factory.mktemp("bench") / "bench.jsonl"
    rows = [
        {"task_id": "gain", "prompt": _TASK, "canonical_solution": _CODE},
        {"task_id": "short", "text": "Reverse a linked list in place."},
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return DecontaminationSettings(against=(str(path),))


@pytest.fixture(scope="module")
def benchmarks(bench):
    """The tasks of that benchmark."""
    return Benchmarks(bench)


def _named(overlaps):
    return [(one.item, one.kind) for one in overlaps]


@settings(deadline=None)
@given(_words, _words)
def test_a_planted_task_is_always_found(benchmarks, before, after):
    """Whatever stands before and behind it, and in whatever case and punctuation."""
    told = _TASK.upper().replace(",", " --").replace(" ", "\n", 3)
    text = f"{' '.join(before)}\n{told}\n{' '.join(after)}"
    assert ("gain", "text") in _named(benchmarks.overlaps(Content((text,))))
    short = f"{' '.join(before)} reverse a linked list, in place {' '.join(after)}"
    assert ("short", "text") in _named(benchmarks.overlaps(Content((short,))))


@settings(deadline=None)
@given(_words)
def test_the_words_of_a_task_are_not_the_task(benchmarks, words):
    """Its words in any other order are somebody else's."""
    assert benchmarks.overlaps(Content((" ".join(words),))) == []


def test_half_a_task_is_not_the_task(benchmarks):
    """The share decides, not a single run of words."""
    words = _TASK.split()
    assert benchmarks.overlaps(Content((" ".join(words[: len(words) // 2]),))) == []
    (found,) = benchmarks.overlaps(Content((" ".join(words[:-2]),)))
    assert 0.7 <= found.share < 1


@pytest.mark.parametrize("answer", ["```python\n{}```", "{}", "So:\n\n```\nimport math\n\n{}```\n"])
def test_a_solution_is_found_whatever_its_names(benchmarks, answer):
    """Renamed, commented and laid out anew it is the same solution."""
    for code in (_CODE, _RENAMED):
        chat = [Message("user", "How?"), Message("assistant", answer.format(code))]
        assert _named(benchmarks.overlaps(chat_content(chat))) == [("gain", "code")]
    other = _RENAMED.replace("max", "min").replace("x - m", "x + m").replace("[1:]", "[::2]")
    chat = [Message("user", "How?"), Message("assistant", answer.format(other))]
    assert benchmarks.overlaps(chat_content(chat)) == []


def test_references_of_prompts_count(benchmarks):
    """A prompt's solution is what raft never shows, and what its tests come from."""
    prompt = Prompt("p", (Message("user", "x"),), Reference(solution=_RENAMED), language="python")
    (found,) = benchmarks.overlaps(prompt_content(prompt))
    assert (found.item, found.kind, found.share) == ("gain", "code", 1.0)


def test_system_messages_do_not_count(benchmarks):
    """What every record is told by the system is nobody's task."""
    assert benchmarks.overlaps(chat_content([Message("system", _TASK)])) == []


def _records(*texts):
    return [(f"r{n}", text) for n, text in enumerate(texts)]


def _clean(records, bench, **changes):
    return decontaminate(
        records,
        bench.model_copy(update=changes),
        lambda record: Content((record[1],)),
        lambda record: record[0],
    )


def test_removed_marked_refused(bench):
    """The three things that may happen to a record, and what is recorded of it."""
    records = _records("Nothing.", f"Please: {_TASK}", "Nothing else.")
    cleaned = _clean(records, bench)
    assert cleaned.kept == [records[0], records[2]]
    facts = cleaned.facts
    assert (facts["checked"], facts["overlapping"], facts["action"]) == (3, 1, "remove")
    assert facts["first"] == [
        {"record": "r1", "kind": "text", "source": bench.against[0], "item": "gain", "share": 1.0}
    ]
    (source,) = facts["against"]
    assert source["tasks"] == 2
    assert [len(digest) for digest in source["sha256"].values()] == [64]
    assert json.dumps(facts)
    assert _clean(records, bench, action="mark").kept == records
    with pytest.raises(UserError, match="1 of 3 records hold tasks of a benchmark, first r1"):
        _clean(records, bench, action="refuse")
    assert _clean(records[:1], bench, action="refuse").kept == records[:1]


def test_items_under_way(benchmarks):
    """A data set's item that holds a task gives no line, whether it asks or answers it."""
    make = guarded(lambda item: {"text": item.answer}, benchmarks)
    asks = Prompt("p", (Message("user", _TASK),))
    other = Prompt("q", (Message("user", "Something else."),))
    assert make(Item(other, "Well.")) == {"text": "Well."}
    for item in (Item(asks, "Well."), Item(other, f"```py\n{_RENAMED}```")):
        with pytest.raises(Unfit, match="holds a task of a benchmark"):
            make(item)


def test_blank_lines_are_read_once():
    """Whether a text is code is told in time that follows its length, and line by line."""
    for text in ("Words.\n" + "\n" * 300_000 + ".", "; " * 150_000 + "."):
        assert chat_content([Message("assistant", text)]).codes == ()
    for code in ("a = {\r\n", "So:\n\n\t def f(x):", "call();  \n\n"):
        assert chat_content([Message("assistant", code)]).codes == ((code, None),)


def test_nothing_to_compare_with(tmp_path):
    """A benchmark that is not there, is damaged or holds no task is said, never passed over."""
    empty, bad = tmp_path / "empty.jsonl", tmp_path / "bad.jsonl"
    empty.write_text('{"unknown": 1}\n')
    bad.write_text('{"prompt": "cut\n')
    for path, said in ((empty, "holds no tasks"), (bad, "bad.jsonl:1"), (tmp_path / "no", "no")):
        with pytest.raises(UserError, match=said):
            Benchmarks(DecontaminationSettings(against=(str(path),)))


def test_humaneval_keeps_head_and_body_apart():
    """The task is the docstring without its examples, the solution head and body together."""
    content = row_content(
        {
            "task_id": "HumanEval/0",
            "prompt": 'import math\n\ndef f(x):\n    """ Halve it.\n    >>> f(2)\n    1\n    """\n',
            "entry_point": "f",
            "canonical_solution": "    return x / 2\n",
        }
    )
    assert content.texts == (" Halve it.\n    1\n    ",)
    ((code, language),) = content.codes
    assert language == "python"
    assert code.startswith("def f(x):")
    assert code.endswith("return x / 2\n")


def test_real_benchmarks():
    """MBPP's training tasks that MBPP+ has too are found, and each set is found in itself."""
    plus = public_file("MbppPlus.jsonl.gz")
    found = Benchmarks(DecontaminationSettings(against=(str(plus),)))
    ids = {row["task_id"].removeprefix("Mbpp/") for _, row in read_jsonl(plus, exact=True)}
    rows = [row for _, row in read_records(public_file("mbpp_sanitized.jsonl"))]
    shared = [row for row in rows if str(row["task_id"]) in ids]
    assert len(shared) == 224
    assert all(f"Mbpp/{row['task_id']}" in dict(_named(found.overlaps(row_content(row))))
               for row in shared)  # fmt: skip
    apart = [row for row in rows if str(row["task_id"]) not in ids]
    assert sum(bool(found.overlaps(row_content(row))) for row in apart) <= 1
    human = DecontaminationSettings(against=(str(public_file("HumanEvalPlus.jsonl.gz")),))
    others = Benchmarks(human)
    assert [row["task_id"] for row in rows if others.overlaps(row_content(row))] == []


def test_benchmarks_by_name():
    """A public data set is read as it is published, from a local copy; its split may be named."""
    plus = public_file("HumanEvalPlus.jsonl.gz")
    named = Benchmarks(DecontaminationSettings(against=(f"humaneval_plus={plus.parent}",)))
    assert named.facts()["against"][0]["tasks"] == 164
    for line, row in read_records(plus):
        found = named.overlaps(row_content(row))
        assert f"HumanEval/{line - 1}" in dict(_named(found))
    with pytest.raises(UserError, match="no split"):
        Benchmarks(DecontaminationSettings(against=(f"humaneval_plus/trian={plus.parent}",)))
    with pytest.raises(UserError, match="Did you mean 'humaneval_plus'"):
        Benchmarks(DecontaminationSettings(against=("humaneval_pluss",)))


def test_a_split_of_a_release_with_all_splits(tmp_path):
    """Only the tasks of the split that is named; what is no task for us is compared with."""
    release = tmp_path / "mbpp.jsonl"
    texts = {11: _TASK, 601: "Reverse a linked list in place.", 12: "Sum the digits of a number."}
    test = ["assert f(1) == 1"]
    rows = [
        {"task_id": number, "text": text, "code": "def f(n):\n    return n", "test_list": test}
        for number, text in texts.items()
    ]
    rows[2]["test_list"] = ["not python"]
    release.write_text("".join(json.dumps(row) + "\n" for row in rows))
    for name, wanted in (("mbpp/test", {11, 12}), ("mbpp/train", {601}), ("mbpp", {11, 12, 601})):
        against = f"{name}={tmp_path}"
        named = Benchmarks(DecontaminationSettings(against=(against,)))
        (facts,) = named.facts()["against"]
        assert (facts["tasks"], list(facts["sha256"])) == (len(wanted), ["mbpp.jsonl"])
        found = {n for n, text in texts.items() if named.overlaps(Content((text,)))}
        assert found == wanted


def test_compressed_benchmarks(tmp_path):
    """A gzip file is read like a plain one; Python's NaN is no reason to give up."""
    path = tmp_path / "bench.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"prompt": "Is it not a number at all?", "atol": NaN}\n'))
    found = Benchmarks(DecontaminationSettings(against=(str(path),)))
    assert found.overlaps(Content(("is it not a number at all",)))
