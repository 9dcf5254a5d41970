"""The built-in tasks: small programs on standard input and output, composed for a language.

The tasks name no language; `compose` turns one into a prompt. They lie beside this module in
``builtin/*.jsonl`` and are tested as shipped (``tests/gold``), so they are trusted here.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from importlib import resources
from types import MappingProxyType

import orjson

from halo_forge.core.errors import UserError
from halo_forge.core.types import Message, Prompt, Reference, TestCase
from halo_forge.utils.text import did_you_mean, language_name

__all__ = ["LANGUAGE_TITLES", "PREFIX", "SPLITS", "Task", "compose", "load_builtin", "tasks"]

PREFIX = "builtin:"
SPLITS = ("train", "heldout", "all")
LANGUAGE_TITLES = MappingProxyType({"cpp": "C++", "python": "Python"})
_READING = MappingProxyType({"cpp": "std::cin", "python": "input()"})


@dataclass(frozen=True, slots=True)
class Task:
    """One programming task, neutral to the language of its answer.

    Attributes:
        id: Short name, unique in the set.
        split: ``train`` or ``heldout``.
        statement: What the program has to do.
        tests: Cases that decide the reward.
        hidden_tests: Cases that are scored and never rewarded.
        references: A passing program for each language.
    """

    id: str
    split: str
    category: str
    difficulty: int
    statement: str
    tests: tuple[TestCase, ...]
    hidden_tests: tuple[TestCase, ...]
    references: dict[str, str]

    def prompt(self, language: str) -> Prompt:
        """Return the task as a prompt for a program in ``language`` (``cpp`` or ``python``)."""
        return Prompt(
            id=f"{language}/{self.id}",
            messages=(Message("user", compose(self.statement, language)),),
            reference=Reference(
                tests=self.tests,
                hidden_tests=self.hidden_tests,
                solution=self.references[language],
            ),
            language=language,
            category=self.category,
            difficulty=self.difficulty,
        )


def compose(statement: str, language: str) -> str:
    """Return the text put to the model; short, because a small model loses the thread."""
    title, reading = LANGUAGE_TITLES[language], _READING[language]
    return (
        f"Write a {title} program.\n\n{statement}\n\n"
        f"Use {reading} to read the input. Print only the answer."
    )


@functools.cache
def tasks() -> tuple[Task, ...]:
    """Return every built-in task in the order of the files."""
    folder = resources.files("halo_forge.data") / "builtin"
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".jsonl")), key=lambda f: f.name)
    return tuple(
        _task(line) for file in files for line in file.read_bytes().splitlines() if line.strip()
    )


def load_builtin(source: str) -> list[Prompt]:
    """Return the prompts of ``builtin:LANGUAGE/SPLIT``, such as ``builtin:cpp/train``.

    Raises:
        UserError: If the language or the split does not exist; says which do.
    """
    language, _, split = source.removeprefix(PREFIX).partition("/")
    name = language_name(language)
    known = [f"{PREFIX}{lang}/{part}" for lang in LANGUAGE_TITLES for part in SPLITS]
    if name is None or name not in LANGUAGE_TITLES or split not in SPLITS:
        raise UserError(
            f"{source}: no such built-in prompts.{did_you_mean(source, known)} "
            f"There are {', '.join(known)}."
        )
    return [task.prompt(name) for task in tasks() if split in {task.split, "all"}]


def _task(line: bytes) -> Task:
    record = orjson.loads(line)
    record["tests"] = tuple(TestCase(**case) for case in record["tests"])
    record["hidden_tests"] = tuple(TestCase(**case) for case in record["hidden_tests"])
    return Task(**record)
