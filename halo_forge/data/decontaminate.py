"""Benchmarks in training data: which records hold a benchmark's task or its solution.

Words are compared in n-grams, lower case and without punctuation (Brown et al. 2020,
arXiv:2005.14165, appendix C, which takes n from 8 to 13). A record overlaps with a task when it
holds most of the task's n-grams (Chowdhery et al. 2022, arXiv:2204.02311, section 8: 70 %), not
when it shares one: single n-grams are mostly false alarms (Gunasekar et al. 2023, arXiv:2306.11644,
section 5.1). Code is compared as `normal_tokens`, so that other names,
layout and comments hide nothing. What this cannot find is a task told in other words and a solution
written another way.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from halo_forge.config.data import DecontaminationSettings
from halo_forge.core.errors import UserError
from halo_forge.core.types import Message, Prompt
from halo_forge.data import public_datasets
from halo_forge.data.builtin import PREFIX, load_builtin
from halo_forge.data.code import normal_tokens
from halo_forge.data.content import Content, chat_content, prompt_content, row_content
from halo_forge.data.conversations import TrainingRecord
from halo_forge.data.formats import prompt_record
from halo_forge.data.items import ODD_ROW, Elsewhere, Item, Row, Unfit
from halo_forge.data.public_datasets import Selection
from halo_forge.data.rows import read_rows
from halo_forge.store.growing import file_digest
from halo_forge.utils.jsonl import BadLine
from halo_forge.utils.text import did_you_mean

__all__ = [
    "Benchmarks",
    "Cleaned",
    "Overlap",
    "decontaminate",
    "decontaminate_prompts",
    "decontaminate_training",
    "guarded",
]

_T = TypeVar("_T")

_WORD = re.compile(r"\w+")
_FEWEST_WORDS, _FEWEST_TOKENS = 5, 20
"""A shorter text or program is anybody's."""

_SHOWN = 50
_NAMES = ("task_id", "id", "question_id", "name")


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
        self._sources: list[dict[str, Any]] = []
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
        return {"against": self._sources, **settings}

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
        paths = [] if source.startswith(PREFIX) else _files(source)
        files = {path.name: file_digest(path) for path in paths}
        self._sources.append({"source": source, "tasks": count, "sha256": files})


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
        settings: Benchmarks, thresholds, and what happens to a record. Without benchmarks all is
            kept and there are no facts.
        content: Says what of a record is compared.
        name: Names a record in the facts.

    Raises:
        UserError: If a benchmark cannot be read, if overlap is to be refused and there is some, or
            if nothing would be left.
    """
    if not settings.against:
        return Cleaned(list(records), {})
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
    if found and not kept:
        raise UserError(f"all {checked} records hold tasks of a benchmark: nothing would be left")
    facts = {
        **benchmarks.facts(),
        "action": settings.action,
        "checked": checked,
        "overlapping": len(found),
        "first": found[:_SHOWN],
    }
    return Cleaned(kept, facts)


def decontaminate_prompts(
    prompts: Iterable[Prompt], settings: DecontaminationSettings
) -> Cleaned[Prompt]:
    """Do what `decontaminate` does for prompts."""
    return decontaminate(prompts, settings, prompt_content, lambda prompt: prompt.id)


def decontaminate_training(
    records: Iterable[TrainingRecord], settings: DecontaminationSettings
) -> Cleaned[TrainingRecord]:
    """Do what `decontaminate` does for training records, which are named by their lines."""
    return decontaminate(
        records,
        settings,
        lambda record: chat_content(record.messages, record.text),
        lambda record: f"line {record.line}",
    )


def guarded(
    make: Callable[[Item], dict[str, Any]], benchmarks: Benchmarks
) -> Callable[[Item], dict[str, Any]]:
    """Return what makes a line of an item, but for items that hold a task of the benchmarks.

    What it returns raises `Unfit` for them.
    """

    def made(item: Item) -> dict[str, Any]:
        line = make(item)
        asked = prompt_content(item.prompt)
        said = chat_content([Message("assistant", item.answer or "")])
        content = Content(asked.texts + said.texts, asked.codes + said.codes)
        if benchmarks.overlaps(content):
            raise Unfit("holds a task of a benchmark")
        return line

    return made


def _items(source: str) -> Iterator[tuple[str, Content]]:
    if source.startswith(PREFIX):
        for prompt in load_builtin(source):
            yield prompt.id, row_content(prompt_record(prompt))
        return
    chosen = _selection(source)
    named = "/" in source.partition("=")[0]  # without a split, all that is there is compared
    for path in chosen.origin.files() if chosen is not None else [Path(source)]:
        for line, row in read_rows(path):
            if isinstance(row, BadLine):
                raise UserError(f"{path}:{line}: {row.reason}")
            if chosen is not None and named and _is_elsewhere(row, chosen):
                continue
            content = row_content(row)
            if content.texts or content.codes:
                given = (row[key] for key in _NAMES if row.get(key) is not None)
                yield str(next(given, f"line {line}")), content


def _files(source: str) -> Iterable[Path]:
    """Return the files of a benchmark: one, or those of a public data set as they are published."""
    chosen = _selection(source)
    return [Path(source)] if chosen is None else chosen.origin.files()


def _is_elsewhere(row: Row, chosen: Selection) -> bool:
    """Tell whether a row is of another split: some are published with all splits in one file."""
    if len(chosen.dataset.splits(chosen.view.config)) < 2:
        return False
    try:
        chosen.dataset.convert(row, chosen.view)
    except Elsewhere:
        return True
    except ODD_ROW:
        return False  # no task for us, but still one to compare with
    return False


def _selection(source: str) -> Selection | None:
    """Return the part of a public data set that a source names; None where it is a file."""
    path = Path(source)
    if path.is_file():
        return None
    name, _, folder = source.partition("=")
    dataset, _, split = name.partition("/")
    known = public_datasets.names()
    if dataset in known:
        return public_datasets.select(dataset, split=split or None, source=folder or None)
    beside = [file.name for file in path.parent.iterdir()] if path.parent.is_dir() else []
    raise UserError(
        f"{path}: no such file, and no public data set."
        f"{did_you_mean(path.name, [*beside, *known])} Data sets: {', '.join(known)}"
    )


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


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
