"""Preparing: kill -9 at any row, repeats, limits, and nothing that pretends."""

import dataclasses
import json
import signal
import subprocess
import sys
import textwrap

import pytest

from halo_forge.core.errors import UserError
from halo_forge.core.types import Message, Prompt, Reference, TestCase
from halo_forge.data import prepare
from halo_forge.data.items import Item, Unfit
from halo_forge.data.prompts import load_prompts
from halo_forge.data.public_datasets import select
from halo_forge.data.training import prompt_line, training_record
from halo_forge.store.growing import read_manifest
from halo_forge.tracking.base import NullObserver


@pytest.fixture
def source(tmp_path):
    """Sixty rows: every tenth is bad, every seventh repeats the one before."""
    rows = []
    for n in range(60):
        number = n - 1 if n % 7 == 6 else n
        rows.append(
            "{" if n % 10 == 9 else json.dumps({"prompt": f"Q{number}", "completion": f"A{number}"})
        )
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(row + "\n" for row in rows))
    return path


def _work(source, output, kind="training", limit=None, **settings):
    return prepare.work_of(select(str(source)), kind, output, limit, settings)


def _lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_every_row_is_accounted_for(source, tmp_path):
    """Rows are lines or reasons, and the manifest says how many."""
    output = tmp_path / "out.jsonl"
    manifest = prepare.prepare(_work(source, output), training_record, NullObserver())
    assert manifest["rows"] == 60
    assert manifest["lines"] == len(_lines(output))
    assert manifest["lines"] + sum(manifest["left_out"].values()) == 60
    assert manifest["left_out"]["repeats an earlier line"] > 0
    assert manifest["first_left_out"].keys() == manifest["left_out"].keys()
    assert "rows.jsonl:10" in manifest["first_left_out"].values()
    assert manifest["files"].keys() == {"rows.jsonl"}
    assert _lines(output)[0] == {
        "messages": [
            {"role": "user", "content": "Q0"},
            {"role": "assistant", "content": "A0"},
        ],
        "metadata": {"id": _lines(output)[0]["metadata"]["id"]},
    }
    assert read_manifest(output) == manifest


@pytest.mark.parametrize("kind", ["training", "prompts"])
def test_kill_at_any_row(source, tmp_path, kind):
    """A process that is killed leaves no file, and the next goes on to the same one."""
    script = """
        import os, signal, sys
        from pathlib import Path
        from halo_forge.data import prepare
        from halo_forge.data.public_datasets import select
        from halo_forge.data.training import prompt_line, training_record
        from halo_forge.tracking.base import NullObserver

        source, output, kind, last = sys.argv[1:]
        prepare._CHECKPOINT_SECONDS = 0
        count = 0

        def make(item):
            global count
            count += 1
            if count > int(last):
                os.kill(os.getpid(), signal.SIGKILL)
            return (training_record if kind == "training" else prompt_line)(item)

        work = prepare.work_of(select(source), kind, Path(output), None, {})
        prepare.prepare(work, make, NullObserver())
    """
    make = training_record if kind == "training" else prompt_line
    whole = tmp_path / "whole.jsonl"
    prepare.prepare(_work(source, whole, kind), make, NullObserver())
    output = tmp_path / "out.jsonl"
    argv = [sys.executable, "-c", textwrap.dedent(script), str(source), str(output), kind]
    for last in (0, 7, 19):
        done = subprocess.run([*argv, str(last)], check=False, timeout=120)
        assert done.returncode == -signal.SIGKILL
        assert not output.exists()
    assert (tmp_path / "out.jsonl.part").stat().st_size > 0
    manifest = prepare.prepare(_work(source, output, kind), make, NullObserver())
    assert output.read_bytes() == whole.read_bytes()
    assert manifest == read_manifest(whole)


def test_done_is_done_and_other_files_are_safe(source, tmp_path):
    """The same work is not done twice; a file made otherwise, changed or foreign is refused."""
    output = tmp_path / "out.jsonl"
    work = _work(source, output)
    assert prepare.already_done(work, overwrite=False) is None
    manifest = prepare.prepare(work, training_record, NullObserver())
    assert prepare.already_done(work, overwrite=False) == manifest
    assert prepare.already_done(work, overwrite=True) is None
    with pytest.raises(UserError, match="with other settings"):
        prepare.already_done(_work(source, output, thinking="strip"), overwrite=False)
    output.write_text("changed\n")
    with pytest.raises(UserError, match="was changed since"):
        prepare.already_done(work, overwrite=False)
    foreign = tmp_path / "foreign.jsonl"
    foreign.write_text("mine\n")
    with pytest.raises(UserError, match="has no manifest"):
        prepare.already_done(_work(source, foreign), overwrite=False)


def test_limit(source, tmp_path):
    """A limit counts lines, and no more rows are read than it takes."""
    manifest = prepare.prepare(
        _work(source, tmp_path / "out.jsonl", limit=5), training_record, NullObserver()
    )
    assert (manifest["lines"], manifest["rows"]) == (5, 5)


def test_nothing_fits(tmp_path):
    """No line is an error with the reasons, and leaves nothing behind."""
    source = tmp_path / "rows.jsonl"
    source.write_text('{"a": 1}\n{"prompt": "Q"}\n')
    with pytest.raises(UserError, match=r"no row gives a line \(1 x has none of the columns"):
        prepare.prepare(_work(source, tmp_path / "out.jsonl"), training_record, NullObserver())
    assert [path.name for path in tmp_path.iterdir()] == ["rows.jsonl"]


def test_prompts_can_be_loaded(source, tmp_path):
    """What is written is a prompts file: ids and chats are unique."""
    output = tmp_path / "out.jsonl"
    manifest = prepare.prepare(_work(source, output, "prompts"), prompt_line, NullObserver())
    assert len(load_prompts(output)) == manifest["lines"]


_PROMPT = Prompt("p", (Message("user", "Q"),), language="cpp")


def test_training_record():
    """A system message is added where there is none, and a question replaces the prompt."""
    line = training_record(Item(_PROMPT, "A", "bare"), system="S")
    assert [turn["content"] for turn in line["messages"]] == ["S", "bare", "A"]
    assert line["metadata"] == {"id": "p", "language": "cpp"}
    own = Prompt("p", (Message("system", "own"), Message("user", "Q")))
    assert training_record(Item(own, "A"), system="S")["messages"][0]["content"] == "own"
    assert prompt_line(Item(_PROMPT), "S")["system"] == "S"
    text = training_record(
        Item(_PROMPT, "A"), render=lambda chat: "|".join(t.content for t in chat)
    )
    assert text["text"] == "Q|A"
    with pytest.raises(Unfit, match="no answer"):
        training_record(Item(_PROMPT))


def test_fewer_tests():
    """Cases are cut to the number asked for, hidden ones too; without one all are kept."""
    cases = tuple(TestCase(str(n), "x") for n in range(5))
    reference = Reference(tests=cases[:3], hidden_tests=cases[3:])
    item = Item(dataclasses.replace(_PROMPT, reference=reference))
    cut, whole = prompt_line(item, max_tests=1), prompt_line(item)
    assert ([one["input"] for one in cut["tests"]], len(cut["hidden_tests"])) == (["0"], 1)
    assert (len(whole["tests"]), len(whole["hidden_tests"])) == (3, 2)


@pytest.mark.parametrize(
    ("answer", "kept", "stripped"),
    [
        ("A", "A", "A"),
        ("<think>\nhm\n</think>\nA", "<think>\nhm\n</think>\n\nA", "A"),
        ("hm\n</think>\nA", "<think>\nhm\n</think>\n\nA", "A"),
        ("<think></think>A", "<think>\n\n</think>\n\nA", "A"),
    ],
)
def test_thinking(answer, kept, stripped):
    """Reasoning is kept in one form, or taken off whole."""
    for thinking, wanted in (("keep", kept), ("strip", stripped)):
        line = training_record(Item(_PROMPT, answer), thinking=thinking)
        assert line["messages"][-1]["content"] == wanted


@pytest.mark.parametrize("answer", ["<think>for ever", "</think><think>", "<think>x</think> "])
def test_thinking_without_end(answer):
    """An answer that never comes out of its reasoning is none."""
    with pytest.raises(Unfit, match="reasoning"):
        training_record(Item(_PROMPT, answer))


@pytest.mark.parametrize(
    ("row", "question", "answer"),
    [
        ({"prompt": "Q", "completion": "A"}, "Q", "A"),
        ({"instruction": "Q", "input": "I", "output": "A"}, "Q\n\nI", "A"),
        ({"instruction": "Q", "input": "", "output": "A"}, "Q", "A"),
        ({"query": "Q", "response": "A"}, "Q", "A"),
        ({"question": "Q", "answer": "A"}, "Q", "A"),
        ({"messages": [{"role": "user", "content": "Q"},
                       {"role": "assistant", "content": "A"}]}, "Q", "A"),
        ({"conversations": [{"from": "human", "value": "Q"},
                            {"from": "gpt", "value": "A"}]}, "Q", "A"),
        ({"messages": [{"role": "user", "content": "Q"}]}, "Q", None),
        ({"prompt": "Q", "tests": "assert f()", "entry_point": "f"}, "Q", None),
    ],
)  # fmt: skip
def test_rows_nobody_described(tmp_path, row, question, answer):
    """The usual names of questions and answers are understood."""
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(row) + "\n")
    selection = select(str(path))
    item = selection.dataset.convert(row, selection.view)
    assert (item.prompt.text, item.answer) == (question, answer)
    assert item.prompt.reference.entry_point == row.get("entry_point")


def test_what_a_row_says_beside(tmp_path):
    """Names of a prompts file are taken where they mean that, and left where they cannot."""
    path = tmp_path / "rows.jsonl"
    path.write_text("{}\n")
    selection = select(str(path))
    row = {"prompt": "Q", "language": "py", "difficulty": 2, "tests": "assert f()", "id": 7}
    prompt = selection.dataset.convert(row, selection.view).prompt
    assert (prompt.id, prompt.language, prompt.difficulty) == ("7", "python", 2)
    assert prompt.reference.test_code == "assert f()"
    row = {"prompt": "Q", "language": "en", "difficulty": "easy", "tests": None, "category": 3}
    prompt = selection.dataset.convert(row, selection.view).prompt
    assert (prompt.language, prompt.difficulty, prompt.category) == (None, None, None)


def test_fields_by_name(tmp_path):
    """Columns can be named; one that is not there is the reason, with the nearest."""
    path = tmp_path / "rows.jsonl"
    path.write_text('{"ask": "Q", "say": "A"}\n')
    selection = select(str(path), prompt_field="ask", response_field="say")
    item = selection.dataset.convert({"ask": "Q", "say": "A"}, selection.view)
    assert (item.prompt.text, item.answer) == ("Q", "A")
    with pytest.raises(Unfit, match=r"has no column 'say'\. Did you mean 'says'"):
        selection.dataset.convert({"ask": "Q", "says": "A"}, selection.view)
