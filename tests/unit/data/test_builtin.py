"""The built-in tasks as a set, without running any of them (tests/gold does)."""

import ast
import itertools
import re

import pytest

from halo_forge.config.data import DecontaminationSettings, ValidateConfig
from halo_forge.data.builtin import LANGUAGE_TITLES, compose, load_builtin, tasks
from halo_forge.data.similarity import jaccard, shingles
from halo_forge.data.validate import Tools, validate

_LANGUAGE_NAMES = re.compile(
    r"\bc\+\+|\bcpp\b|\bc program|\bpython|\bjava|\brust\b|\biostream|\bstd::|\bprintf|\bint\b"
    r"|\bstdin\b|\bstdout\b|\bvector\b|\bfunction\b",
    re.IGNORECASE,
)
_CPP_WORDS = re.compile(r"//[^\n]*|/\*.*?\*/|\"(?:\\.|[^\"])*\"|'(?:\\.|[^'])*'|\w+|\S", re.DOTALL)
_CPP_FIXED = frozenset({
    "alignas", "auto", "bool", "break", "case", "char", "const", "constexpr", "continue",
    "default", "do", "double", "else", "false", "float", "for", "if", "include", "int", "long",
    "main", "namespace", "return", "short", "signed", "sizeof", "static", "std", "string",
    "struct", "switch", "true", "unsigned", "using", "vector", "void", "while", "cin", "cout",
    "endl", "getline", "iostream", "algorithm", "map", "set", "size", "begin", "end",
    "push_back", "sort", "max", "min", "swap", "abs", "pair", "first", "second",
})  # fmt: skip


def test_sizes_of_the_splits():
    """At least 120 tasks to train on and 40 held out, from easy to hard in both."""
    for split, least in (("train", 120), ("heldout", 40)):
        chosen = [task for task in tasks() if task.split == split]
        assert len(chosen) >= least
        assert {task.difficulty for task in chosen} == {1, 2, 3, 4, 5}
    assert {task.split for task in tasks()} == {"train", "heldout"}


def test_ids_are_unique():
    """A task's id names it."""
    ids = [task.id for task in tasks()]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name) for name in ids)


@pytest.mark.parametrize("task", tasks(), ids=lambda task: task.id)
def test_tests_can_tell(task):
    """Both test sets have three inputs of their own and at least two different outputs."""
    shown = {case.input for case in task.tests}
    hidden = {case.input for case in task.hidden_tests}
    for cases, inputs in ((task.tests, shown), (task.hidden_tests, hidden)):
        assert len(inputs) == len(cases) >= 3
        assert len({case.expected for case in cases}) >= 2
        assert all(case.input.endswith("\n") and case.expected.endswith("\n") for case in cases)
    assert not shown & hidden


@pytest.mark.parametrize("task", tasks(), ids=lambda task: task.id)
def test_statement_names_no_language(task):
    """A statement is short and says nothing of the language that answers it."""
    assert not _LANGUAGE_NAMES.search(task.statement)
    assert 20 <= len(task.statement) <= 500


def test_no_near_duplicates_across_the_split():
    """No held-out statement is told in the words of a training one."""
    sets = {
        split: [(task.id, shingles(task.statement)) for task in tasks() if task.split == split]
        for split in ("train", "heldout")
    }
    near = [
        (mine, other, jaccard(left, right))
        for (mine, left), (other, right) in itertools.product(sets["heldout"], sets["train"])
        if jaccard(left, right) >= 0.5
    ]
    assert near == []


def _renamed_python(source):
    """The program with its names numbered in order of appearance, literals kept."""
    tree = ast.parse(source)
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.setdefault(node.id, f"v{len(names)}")
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            node.id = names.get(node.id, node.id)
    return ast.dump(tree)


def _renamed_cpp(source):
    """The tokens of the program without comments, its own names numbered."""
    names, tokens = {}, []
    for token in _CPP_WORDS.findall(source):
        if token.startswith(("//", "/*")):
            continue
        if re.match(r"[A-Za-z_]", token) and token not in _CPP_FIXED:
            token = names.setdefault(token, f"v{len(names)}")
        tokens.append(token)
    return " ".join(tokens)


@pytest.mark.parametrize(
    ("language", "rename"), [("python", _renamed_python), ("cpp", _renamed_cpp)]
)
def test_no_task_is_another_one_in_disguise(language, rename):
    """No program solves a training and a held-out task, whatever its names are."""
    seen = {}
    for task in tasks():
        seen.setdefault(rename(task.references[language]), []).append(task)
    shared = [[t.id for t in same] for same in seen.values() if len({t.split for t in same}) > 1]
    assert shared == []


@pytest.mark.parametrize("language", LANGUAGE_TITLES)
def test_prompts_files_rules_hold(language):
    """The built-in sets pass the checks that users' files have to pass."""
    train = DecontaminationSettings(against=(f"builtin:{language}/train",))
    for split, against in (("train", {}), ("heldout", {"decontaminate": train})):
        report = validate(f"builtin:{language}/{split}", ValidateConfig(**against), Tools())
        assert report.findings == ()


def test_prompt_of_a_task():
    """A task becomes a prompt of one user message with tests and the solution in its language."""
    task = tasks()[0]
    prompt = next(p for p in load_builtin("builtin:python/all") if p.id == f"python/{task.id}")
    assert prompt.text == compose(task.statement, "python")
    assert "Python" in prompt.text
    assert task.statement in prompt.text
    assert prompt.language == "python"
    assert prompt.reference.solution == task.references["python"]
    assert (prompt.reference.tests, prompt.reference.hidden_tests) == (
        task.tests,
        task.hidden_tests,
    )


def test_splits_make_the_whole():
    """The two splits are disjoint and together all."""
    ids = {
        split: {prompt.id for prompt in load_builtin(f"builtin:cpp/{split}")}
        for split in ("train", "heldout", "all")
    }
    assert not ids["train"] & ids["heldout"]
    assert ids["train"] | ids["heldout"] == ids["all"]
