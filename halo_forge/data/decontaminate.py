"""Benchmarks in training data: which records hold a benchmark's task or its solution.

Words are compared in n-grams, lower case and without punctuation (Brown et al. 2020,
arXiv:2005.14165, appendix C, which takes n from 8 to 13). A record overlaps with a task when it
holds most of the task's n-grams, not when it shares one: the share is what Chowdhery et al. 2022
(arXiv:2204.02311, section 8) measure, and single n-grams are mostly false alarms (Gunasekar et al.
2023, arXiv:2306.11644, section 5.1). Code is compared as `normal_tokens`, so that other names,
layout and comments hide nothing. What this cannot find is a task told in other words and a solution
written another way.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from halo_forge.config.data import DecontaminationSettings
from halo_forge.core.errors import UserError
from halo_forge.core.types import Message, Prompt
from halo_forge.data.builtin import PREFIX, load_builtin
from halo_forge.data.code import code_blocks, normal_tokens
from halo_forge.utils.jsonl import BadLine, read_jsonl

__all__ = [
    "Benchmarks",
    "Cleaned",
    "Content",
    "Overlap",
    "chat_content",
    "decontaminate",
    "prompt_content",
    "row_content",
]

_T = TypeVar("_T")

_DOCSTRING = re.compile(r"(\"{3}|'{3})(.*?)\1", re.DOTALL)
_WORD = re.compile(r"\w+")
_CODE = re.compile(r"[;{}]|\breturn\b|^\s*(?:def|class|import|from|fn|func)\b", re.MULTILINE)
_FEWEST_WORDS, _FEWEST_TOKENS = 5, 20
"""A shorter text or program is anybody's."""

_SHOWN = 50
_TASKS = ("prompt", "text", "question_content", "question", "instruction", "query", "problem",
          "description", "statement")  # fmt: skip
_SOLUTIONS = ("canonical_solution", "reference", "solution", "completion", "code", "output",
              "response", "answer")  # fmt: skip
_NAMES = ("task_id", "id", "question_id", "name")


@dataclass(frozen=True, slots=True)
class Content:
    """What of a record is compared: what it says, and the code in it with its language."""

    texts: tuple[str, ...] = ()
    codes: tuple[tuple[str, str | None], ...] = ()


@dataclass(frozen=True, slots=True)
class Overlap:
    """A record holds a task of a benchmark.

    Attributes:
        kind: ``text`` (the words of the task) or ``code`` (its solution, whatever its names).
        source: File or name of the benchmark.
        item: The task's id there, or its line.
        share: How much of the task's n-grams the record holds, in (0, 1].
    """

    kind: str
    source: str
    item: str
    share: float


@dataclass(frozen=True, slots=True)
class _Item:
    source: str
    name: str


class Benchmarks:
    """The tasks that data must not hold.

    Args:
        settings: Sources, sizes of n-grams, shares.

    Raises:
        UserError: If a source cannot be read or holds no task.
    """

    def __init__(self, settings: DecontaminationSettings) -> None:
        self._settings = settings
        self._texts = _Grams(settings.ngram, _FEWEST_WORDS)
        self._codes = _Grams(settings.code_ngram, _FEWEST_TOKENS)
        self._digests: list[dict[str, Any]] = []
        for source in settings.against:
            self._read(source)

    def overlaps(self, content: Content) -> list[Overlap]:
        """Return the tasks that a record holds, the most complete first, one for each task."""
        settings = self._settings
        held = [
            *self._held("text", self._texts, settings.share, map(_words, content.texts)),
            *self._held(
                "code", self._codes, settings.code_share, (normal_tokens(*c) for c in content.codes)
            ),
        ]
        held.sort(key=lambda one: (-one.share, one.kind, one.source, one.item))
        best: dict[tuple[str, str], Overlap] = {}
        for one in held:
            best.setdefault((one.source, one.item), one)
        return list(best.values())

    def facts(self) -> dict[str, Any]:
        """Return what was compared with, for records and reports."""
        settings = self._settings.model_dump(include={"ngram", "share", "code_ngram", "code_share"})
        return {"against": self._digests, **settings}

    def _held(
        self, kind: str, grams: _Grams, least: float, sequences: Iterable[Sequence[str]]
    ) -> Iterator[Overlap]:
        for item, share in grams.shares(sequences).items():
            if share >= least:
                yield Overlap(kind, item.source, item.name, share)

    def _read(self, source: str) -> None:
        count = 0
        for name, content in _items(source):
            item = _Item(source, name)
            for text in content.texts:
                self._texts.add(item, _words(text))
            for code in content.codes:
                self._codes.add(item, normal_tokens(*code))
            count += 1
        if not count:
            raise UserError(f"{source}: holds no tasks to compare with")
        known = {} if source.startswith(PREFIX) else {"sha256": _sha256(Path(source))}
        self._digests.append({"source": source, "tasks": count, **known})


class _Grams:
    """n-grams of tasks, and how many of each task's a sequence holds."""

    def __init__(self, size: int, fewest: int) -> None:
        self._size = size
        self._fewest = min(size, fewest)
        self._items: list[tuple[_Item, int]] = []
        self._places: dict[tuple[str, ...], list[int]] = defaultdict(list)
        # The first words of each n-gram, to pass by quickly what is in none.
        self._sizes: dict[tuple[str, ...], set[int]] = defaultdict(set)

    def add(self, item: _Item, words: Sequence[str]) -> None:
        """Take what a task says; a text shorter than an n-gram is one n-gram."""
        if len(words) < self._fewest:
            return
        size = min(self._size, len(words))
        grams = {tuple(words[at : at + size]) for at in range(len(words) - size + 1)}
        for gram in grams:
            self._places[gram].append(len(self._items))
            self._sizes[gram[: self._fewest]].add(size)
        self._items.append((item, len(grams)))

    def shares(self, sequences: Iterable[Sequence[str]]) -> dict[_Item, float]:
        """Return for each task of which anything is found the share that is."""
        found = {gram for words in sequences for gram in self._found(words)}
        count = Counter(number for gram in found for number in self._places[gram])
        shares: dict[_Item, float] = {}
        for number, times in count.items():
            item, total = self._items[number]
            shares[item] = max(shares.get(item, 0.0), times / total)
        return shares

    def _found(self, words: Sequence[str]) -> Iterator[tuple[str, ...]]:
        heads = zip(*(words[at:] for at in range(self._fewest)), strict=False)
        for at, head in enumerate(heads):
            if head in self._sizes:
                for size in self._sizes[head]:
                    gram = tuple(words[at : at + size])
                    if gram in self._places:
                        yield gram


@dataclass(frozen=True)
class Cleaned(Generic[_T]):
    """What is left of records, and why the others are not.

    Attributes:
        kept: Records without overlap; all of them when they are only marked.
        facts: What was compared, how many were found and the first of them; JSON-serialisable.
    """

    kept: list[_T]
    facts: Mapping[str, Any]


def decontaminate(
    records: Iterable[_T],
    settings: DecontaminationSettings,
    content: Callable[[_T], Content],
    name: Callable[[_T], str],
) -> Cleaned[_T]:
    """Find the records that hold a task of the benchmarks, and drop them if it is asked for.

    Args:
        records: What is trained on.
        settings: Benchmarks, thresholds, and what happens to a record.
        content: Says what of a record is compared.
        name: Names a record in the facts.

    Raises:
        UserError: If a benchmark cannot be read, or overlap is to be refused and there is some.
    """
    benchmarks = Benchmarks(settings)
    kept: list[_T] = []
    found: list[dict[str, Any]] = []
    checked = 0
    for record in records:
        checked += 1
        overlaps = benchmarks.overlaps(content(record))
        if overlaps:
            found.append({"record": name(record), **_shown(overlaps[0])})
        if not overlaps or settings.action == "mark":
            kept.append(record)
    if found and settings.action == "refuse":
        raise UserError(_refusal(found, checked))
    facts = {
        **benchmarks.facts(),
        "action": settings.action,
        "checked": checked,
        "overlapping": len(found),
        "first": found[:_SHOWN],
    }
    return Cleaned(kept, facts)


def prompt_content(prompt: Prompt) -> Content:
    """Return what of a prompt is compared: what is asked, and the reference solution."""
    texts = tuple(turn.content for turn in prompt.messages if turn.role != "system")
    solution = prompt.reference.solution
    own = ((solution, prompt.language),) if solution is not None else ()
    return Content(texts, (*own, *_codes(texts)))


def chat_content(messages: Sequence[Message], text: str | None = None) -> Content:
    """Return what of a training record is compared: all that is said, and the code in it."""
    texts = tuple(turn.content for turn in messages if turn.role != "system")
    if text is not None:
        texts = (*texts, text)
    return Content(texts, tuple(_codes(texts)))


def row_content(row: Mapping[str, Any]) -> Content:
    """Return what a row of any benchmark asks, and its solution, by the names of its columns."""
    texts = [_statement(row[key]) for key in _TASKS if _is_text(row.get(key))]
    codes = [row[key] for key in _SOLUTIONS if _is_text(row.get(key))]
    whole = _whole_function(row)
    turns = row.get("messages")
    if isinstance(turns, list):
        said = (turn.get("content") for turn in turns if isinstance(turn, dict))
        texts += [text for text in said if isinstance(text, str) and text.strip()]
    blocks = [block for text in texts for block in _codes([text])] if not whole else []
    own = [code for text in codes for code in (_codes([text]) or [(text, None)])]
    return Content(tuple(texts), (*([(whole, "python")] if whole else own), *blocks))


def _statement(text: str) -> str:
    """Return what a task asks, without the program around it and examples in code.

    HumanEval puts it into the docstring of a function, MBPP+ an ``assert`` behind it. A record that
    holds the task need not hold them.
    """
    inside = max((found[2] for found in _DOCSTRING.finditer(text)), key=len, default="")
    lines = (inside if inside.strip() else text).splitlines()
    return "\n".join(line for line in lines if not line.lstrip().startswith(("assert ", ">>>")))


def _whole_function(row: Mapping[str, Any]) -> str | None:
    """Return head and body together where a benchmark keeps them apart, as HumanEval does."""
    head, body = row.get("prompt"), row.get("canonical_solution")
    if not (isinstance(head, str) and isinstance(body, str) and body[:1].isspace()):
        return None
    entry = row.get("entry_point")
    if not isinstance(entry, str) or f"def {entry}" in body:
        return None
    at = head.find(f"def {entry}")
    return head[at:] + body if at >= 0 else None


def _codes(texts: Iterable[str]) -> list[tuple[str, str | None]]:
    found: list[tuple[str, str | None]] = []
    for text in texts:
        blocks = code_blocks(text)
        found += [(block.code, block.tag or None) for block in blocks]
        if not blocks and _CODE.search(text):
            found.append((text, None))
    return found


def _items(source: str) -> Iterator[tuple[str, Content]]:
    if source.startswith(PREFIX):
        for prompt in load_builtin(source):
            yield prompt.id, prompt_content(prompt)
        return
    try:
        for line, row in read_jsonl(source, constants=True):
            if isinstance(row, BadLine):
                raise UserError(f"{source}:{line}: {row.reason}")
            content = row_content(row)
            if content.texts or content.codes:
                named = next(
                    (row[key] for key in _NAMES if row.get(key) is not None), f"line {line}"
                )
                yield str(named), content
    except OSError as error:
        raise UserError(f"{source}: cannot be read: {error.strerror}") from error


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _shown(overlap: Overlap) -> dict[str, Any]:
    return {
        "kind": overlap.kind,
        "source": overlap.source,
        "item": overlap.item,
        "share": round(overlap.share, 3),
    }


def _refusal(found: Sequence[Mapping[str, Any]], checked: int) -> str:
    first = found[0]
    return (
        f"{len(found)} of {checked} records hold tasks of a benchmark, first {first['record']}: "
        f"{first['share']:.0%} of {first['item']} in {first['source']}. Remove them with "
        "`halo-forge data validate FILE --against BENCHMARK --write CLEAN`, or set "
        "decontaminate.action to remove."
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
