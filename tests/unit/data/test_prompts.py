"""Prompts files: all or nothing, and every mistake with its line."""

import dataclasses
import gzip
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from halo_forge.core.errors import ConfigError, UserError
from halo_forge.core.types import Message, Prompt, Reference, TestCase
from halo_forge.data.prompts import load_prompts, prompts_digest, scan_prompts, write_prompts
from halo_forge.utils.text import LANGUAGES

_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
_words = _text.filter(str.strip)
_name = st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=10)
_cases = st.builds(
    TestCase,
    input=_text,
    expected=_text,
    name=st.none() | _words,
    timeout=st.none() | st.floats(0.01, 100),
)
_references = (
    st.builds(
        Reference,
        tests=st.lists(_cases, max_size=3).map(tuple),
        hidden_tests=st.lists(_cases, max_size=3).map(tuple),
        entry_point=st.none() | _words,
        expected_output=st.none() | _text,
        solution=st.none() | _words,
        ground_truth=_words,
        alternatives=st.lists(_words, max_size=2).map(tuple),
    )
    | st.builds(
        Reference,
        test_code=_words,
        hidden_tests=st.lists(_cases, max_size=2).map(tuple),
    )
    | st.builds(Reference, test_code=_words, hidden_test_code=st.none() | _words)
)
_chats = st.tuples(
    st.lists(st.builds(Message, st.just("system"), _words), max_size=1),
    st.lists(st.builds(Message, st.sampled_from(["user", "assistant"]), _words), max_size=2),
    st.builds(Message, st.just("user"), _words),
).map(lambda parts: (*parts[0], *parts[1], parts[2]))
_prompts = st.builds(
    Prompt,
    id=_name,
    messages=_chats,
    reference=_references,
    language=st.none() | st.sampled_from(sorted(set(LANGUAGES.values()))),
    category=st.none() | _words,
    difficulty=st.none() | st.integers(1, 5),
)
_files = st.lists(
    _prompts, min_size=1, max_size=5, unique_by=(lambda p: p.id, lambda p: p.messages)
)


@pytest.fixture
def write(tmp_path):
    """Write objects (or raw lines) as a prompts file."""

    def _write(*lines):
        path = tmp_path / "prompts.jsonl"
        texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
        path.write_text("\n".join(texts) + "\n", "utf-8")
        return path

    return _write


@settings(deadline=None)
@given(_files)
def test_written_prompts_come_back(tmp_path_factory, prompts):
    """load(write(p)) == p, and so is the digest."""
    path = tmp_path_factory.getbasetemp() / "prompts.jsonl"
    write_prompts(path, prompts)
    assert load_prompts(path) == prompts
    assert prompts_digest(load_prompts(path)) == prompts_digest(prompts)


@settings(deadline=None)
@given(_files, st.data())
def test_digest_sees_every_change(prompts, data):
    """Another text, test or order is another digest."""
    at = data.draw(st.integers(0, len(prompts) - 1))
    changed = dataclasses.replace(
        prompts[at],
        messages=(*prompts[at].messages[:-1], Message("user", prompts[at].text + "!")),
    )
    other = [*prompts[:at], changed, *prompts[at + 1 :]]
    assert prompts_digest(other) != prompts_digest(prompts)
    if len(prompts) > 1:
        assert prompts_digest(prompts[::-1]) != prompts_digest(prompts)


def test_default_system_message(write):
    """The run's system message goes to prompts that have none, and changes no id."""
    path = write({"prompt": "a"}, {"prompt": "b", "system": "mine"})
    plain, dressed = load_prompts(path), load_prompts(path, system="theirs")
    assert [p.messages[0] for p in dressed] == [
        Message("system", "theirs"),
        Message("system", "mine"),
    ]
    assert [p.id for p in dressed] == [p.id for p in plain]
    assert prompts_digest(dressed) != prompts_digest(plain)


def test_compressed_file(tmp_path):
    """A gzip file is read as it is."""
    path = tmp_path / "prompts.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"prompt": "x"}\n'))
    assert [p.text for p in load_prompts(path)] == ["x"]


def test_all_bad_lines_at_once(write):
    """Each bad line is named with file, line and reason; a good one is not."""
    path = write({"prompt": "ok"}, {"promt": "x"}, "", "{", {"prompt": 3})
    with pytest.raises(ConfigError) as caught:
        load_prompts(path)
    assert [problem.partition(": ")[0] for problem in caught.value.problems] == [
        f"{path}:2",
        f"{path}:4",
        f"{path}:5",
    ]
    assert caught.value.exit_code == 2


def test_only_the_first_twenty_are_listed(write):
    """A file of another format does not flood the screen."""
    path = write(*[{"promt": str(n)} for n in range(25)])
    with pytest.raises(ConfigError) as caught:
        load_prompts(path)
    assert len(caught.value.problems) == 21
    assert caught.value.problems[-1] == "... and 5 more"


@pytest.mark.parametrize(
    ("second", "reason"),
    [
        ({"id": "a", "prompt": "y"}, "the id 'a' is taken by line 1"),
        ({"id": "b", "prompt": "x"}, "the same prompt as line 1"),
        ({"id": "b", "messages": [{"role": "user", "content": "x"}]}, "the same prompt as line 1"),
        ({"id": "a", "prompt": "x"}, "the same prompt as line 1"),
        ({"id": "b", "prompt": "x", "tests": "assert 1"}, "the same prompt as line 1"),
    ],
)
def test_repeats_name_both_lines(write, second, reason):
    """A repeated id or prompt is one error that names both lines."""
    path = write({"id": "a", "prompt": "x"}, second)
    with pytest.raises(ConfigError) as caught:
        load_prompts(path)
    assert caught.value.problems == (f"{path}:2: {reason}",)


@pytest.mark.parametrize("content", ["", "\n\n"])
def test_empty_file(tmp_path, content):
    """A file without prompts says what is wanted."""
    path = tmp_path / "prompts.jsonl"
    path.write_text(content)
    with pytest.raises(UserError, match="holds no prompts"):
        load_prompts(path)


def test_missing_file_names_the_nearest(write):
    """A misspelt file name gets the name that is there."""
    path = write({"prompt": "x"})
    with pytest.raises(UserError, match=r"no such file\. Did you mean 'prompts\.jsonl'\?"):
        load_prompts(path.with_name("promts.jsonl"))


def test_missing_directory(tmp_path):
    """A path through a directory that is not there names that directory."""
    with pytest.raises(UserError, match="There is no directory"):
        load_prompts(tmp_path / "no" / "prompts.jsonl")


def test_directory_lists_its_files(write):
    """A directory instead of a file names the files that may have been meant."""
    with pytest.raises(UserError, match=r"is a directory.*There: prompts\.jsonl"):
        load_prompts(write({"prompt": "x"}).parent)


@pytest.mark.parametrize(
    ("source", "hint"),
    [
        ("builtin:cpp/trian", "Did you mean 'builtin:cpp/train'?"),
        ("builtin:cpp", "Did you mean"),
        ("builtin:rust/train", "There are builtin:cpp/train"),
        ("builtin:", "There are builtin:cpp/train"),
    ],
)
def test_unknown_builtin(source, hint):
    """An unknown language or split gets the list and the nearest."""
    with pytest.raises(UserError) as caught:
        load_prompts(source)
    assert hint in str(caught.value)


def test_builtin_spellings():
    """A language may be spelt as people spell it."""
    assert load_prompts("builtin:c++/train") == load_prompts("builtin:cpp/train")


def test_scan_keeps_what_is_good(write):
    """A scan returns the usable prompts beside the problems."""
    scan = scan_prompts(write({"prompt": "a"}, {"promt": "x"}, {"prompt": "b"}))
    assert [(entry.line, entry.prompt.text) for entry in scan.entries] == [(1, "a"), (3, "b")]
    assert [(problem.line, problem.rule) for problem in scan.problems] == [(2, "invalid")]


def test_images_are_found_from_the_file(write, tmp_path, monkeypatch):
    """A file's name is read from the folder of the prompts file; addresses stay as they are."""
    (tmp_path / "a.png").write_bytes(b"a")
    path = write(
        {"prompt": "which", "image": "a.png", "ground_truth": "x", "alternatives": ["y"]},
        {"prompt": "which", "image": ["a.png", "data:image/png;base64,AAAA"]},
    )
    monkeypatch.chdir(tmp_path)
    one, two = load_prompts(path.name)
    assert one.images == (str(tmp_path / "a.png"),)
    assert two.images == (str(tmp_path / "a.png"), "data:image/png;base64,AAAA")
    assert one.reference == Reference(ground_truth="x", alternatives=("y",))
    assert len({one.id, two.id}) == 2
    write_prompts(tmp_path / "again.jsonl", [one, two])
    assert load_prompts(tmp_path / "again.jsonl") == [one, two]


def test_missing_image_is_a_bad_line(write, tmp_path):
    """A picture that is not there is found when the file is read, not after an hour."""
    (tmp_path / "cat.png").write_bytes(b"a")
    path = write({"prompt": "which", "image": "cat.jpg"})
    with pytest.raises(ConfigError, match=r"1: there is no image .*cat\.jpg\. Did you mean 'cat"):
        load_prompts(path)


def test_digest_follows_the_content_of_images(write, tmp_path):
    """Another picture under the same name is another prompt; the same elsewhere is not."""
    record = {"id": "p", "prompt": "which", "image": "a.png"}
    (tmp_path / "a.png").write_bytes(b"a")
    path = write(record)
    before = prompts_digest(load_prompts(path))
    other = tmp_path / "moved"
    other.mkdir()
    (other / "a.png").write_bytes(b"a")
    (other / "p.jsonl").write_text(json.dumps(record))
    assert prompts_digest(load_prompts(other / "p.jsonl")) == before
    (tmp_path / "a.png").write_bytes(b"b")
    assert prompts_digest(load_prompts(path)) != before
