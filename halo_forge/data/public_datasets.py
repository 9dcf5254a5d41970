"""Public data sets by name, hub id or file: their rows as tasks and as training records.

::

    for record in training_records("mbpp"):
        record["messages"]  # [{"role": "user", ...}, {"role": "assistant", ...}]

    for prompt in prompts("mbpp", source="folder/with/its/files"):
        prompt.reference.test_code  # what the verifier `mbpp` reads

Rows come one at a time; files are fetched when their turn comes. What gives no item is counted by
reason in a `Tally`, never dropped in silence.
"""

from __future__ import annotations

import importlib.util
import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from halo_forge.core import registry
from halo_forge.core.errors import UserError
from halo_forge.core.types import Prompt
from halo_forge.data.generic import undescribed
from halo_forge.data.items import ODD_ROW, Files, Item, PublicDataset, Unfit, View
from halo_forge.data.origin import Origin, from_hub, from_path, matching, split_patterns
from halo_forge.data.rows import SUFFIXES
from halo_forge.data.training import Thinking, training_record
from halo_forge.utils.jsonl import BadLine
from halo_forge.utils.text import did_you_mean

__all__ = ["Selection", "Tally", "get", "items", "names", "prompts", "select", "training_records"]


@dataclass
class Tally:
    """What became of the rows.

    Attributes:
        rows: Rows read.
        unfit: Rows that gave nothing, by reason.
        first: For each reason the first such row, as ``file:number``.
    """

    rows: int = 0
    unfit: Counter[str] = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)

    def refuse(self, reason: str, where: str) -> None:
        """Count a row that gave nothing."""
        self.unfit[reason] += 1
        self.first.setdefault(reason, where)


@dataclass(frozen=True)
class Selection:
    """A part of a data set, found and not yet read.

    Attributes:
        dataset: The data set.
        view: Which part of it, and how its rows are read.
        origin: The files.
        rows: How many rows there are, where that is published.
    """

    dataset: PublicDataset
    view: View
    origin: Origin
    rows: int | None = None


def names() -> list[str]:
    """Return the names of all registered data sets, those of plug-ins too, sorted."""
    return registry.names("datasets")


def get(name: str) -> PublicDataset:
    """Return the data set of that name.

    Raises:
        UserError: If there is none; says which there are.
    """
    found = registry.load("datasets", name)
    if not isinstance(found, PublicDataset):
        raise UserError(f"dataset {name!r}: {type(found).__name__} is no PublicDataset")
    return found


def select(  # noqa: PLR0913 - keywords, each a choice of its own
    ref: str,
    *,
    config: str | None = None,
    split: str | None = None,
    source: str | Path | None = None,
    revision: str | None = None,
    prompt_field: str | None = None,
    response_field: str | None = None,
    seed: int = 0,
    hidden: float | None = None,
) -> Selection:
    """Find the files of a data set.

    Args:
        ref: A registered name, a hub id such as ``owner/name``, or a local file.
        config: Configuration of the data set; its default one when absent.
        split: Split; the default one when absent (``train`` where nobody has described them).
        source: Local folder or file to read instead of the hub.
        revision: Branch, tag or commit on the hub.
        prompt_field: Column of the task, for data sets that are not registered.
        response_field: Column of the answer, likewise.
        seed: Decides which tests are hidden.
        hidden: Share of a task's tests that is hidden; the data set's own when absent.

    Raises:
        UserError: If there is no such data set, configuration, split or file, or it cannot hide
            tests and is asked to.
        StoreFault: If the hub cannot be asked.
    """
    if ref in names() or ":" in ref:
        if prompt_field is not None or response_field is not None:
            raise UserError(f"dataset {ref!r} knows its columns; --prompt-field is for others")
        dataset = get(ref)
        _refuse_to_hide(dataset, hidden)
        view = _view(dataset, config, split, seed, hidden)
        files = dataset.configs[view.config][view.split]
        origin = _files_of(dataset, view, files, source, revision)
        return Selection(dataset, view, origin, files.rows)
    view = View(config or "", split or "train", seed)
    if source is None and _looks_local(ref):
        ref, source = Path(ref).name, ref
    elif "/" not in ref:
        raise UserError(
            f"unknown dataset {ref!r}.{did_you_mean(ref, names())} Known: {', '.join(names())}; "
            "or an id on the hub (owner/name), or a file."
        )
    dataset = undescribed(ref, "" if source is not None else ref, prompt_field, response_field)
    _refuse_to_hide(dataset, hidden)
    if source is not None:
        path = Path(source).expanduser()
        _refuse_part_of_file(path, config, split)
        found = from_path(path, lambda all_, card: split_patterns(all_, card, config, view.split))
    else:
        found = from_hub(
            ref, revision, lambda all_, card: split_patterns(all_, card, config, view.split)
        )
    return Selection(dataset, view, found)


def items(selection: Selection, tally: Tally | None = None, *, skip: int = 0) -> Iterator[Item]:
    """Yield the items of a selection; rows that give none are counted in ``tally``.

    Args:
        selection: What to read.
        tally: Counts the rows; those of an earlier attempt are in it already.
        skip: Rows to pass over: those of an earlier attempt.
    """
    tally = Tally(skip) if tally is None else tally
    rows = (
        (path, *row) for path in selection.origin.files() for row in selection.dataset.reader(path)
    )
    for path, number, row in itertools.islice(rows, skip, None):
        tally.rows += 1
        where = f"{path.name}:{number}"
        if isinstance(row, BadLine):
            tally.refuse(row.reason, where)
            continue
        try:
            item = selection.dataset.convert(row, selection.view)
        except Unfit as reason:
            tally.refuse(str(reason), where)
            continue
        except ODD_ROW as error:
            tally.refuse(f"cannot be read ({type(error).__name__})", where)
            continue
        yield item


def prompts(ref: str, *, limit: int | None = None, **choice: Any) -> Iterator[Prompt]:
    """Yield the tasks of a data set with their tests, each once.

    Args:
        ref: A registered name, a hub id or a local file.
        limit: Only the first so many.
        choice: The keywords of `select`.

    Raises:
        UserError: If something asked for does not exist.
        StoreFault: If the hub cannot be asked.
    """
    seen: set[str] = set()
    selection = select(ref, **choice)
    for item in items(selection):
        if limit is not None and len(seen) >= limit:
            return
        if item.prompt.id not in seen:
            seen.add(item.prompt.id)
            yield item.prompt


def training_records(
    ref: str,
    *,
    limit: int | None = None,
    system: str | None = None,
    thinking: Thinking = "keep",
    **choice: Any,
) -> Iterator[dict[str, Any]]:
    """Yield ``{"messages": [...], "metadata": {...}}`` for every answer of a data set.

    Args:
        ref: A registered name, a hub id or a local file.
        limit: Only the first so many.
        system: System message of records that have none.
        thinking: ``keep`` the reasoning in ``<think>`` blocks, or ``strip`` it.
        choice: The keywords of `select`.

    Raises:
        UserError: If something asked for does not exist, or the data set has no answers.
        StoreFault: If the hub cannot be asked.
    """
    selection = select(ref, **choice)
    if not selection.dataset.answers:
        trained = ", ".join(name for name in names() if get(name).answers)
        raise UserError(
            f"dataset {ref!r} has tasks and no answers, so it makes prompts (halo-forge data "
            f"prompts) and no training file. With answers: {trained}."
        )
    made = _records(selection, Tally(), system, thinking)
    yield from itertools.islice(made, limit)


def _records(
    selection: Selection, tally: Tally, system: str | None, thinking: Thinking
) -> Iterator[dict[str, Any]]:
    for item in items(selection, tally):
        try:
            yield training_record(item, system=system, thinking=thinking)
        except Unfit as reason:
            tally.refuse(str(reason), item.prompt.id)


def _view(
    dataset: PublicDataset, config: str | None, split: str | None, seed: int, hidden: float | None
) -> View:
    """Return how rows are read, with the data set's defaults for what is not given."""
    config = config or dataset.config
    if config not in dataset.configs:
        hint = did_you_mean(config, dataset.configs)
        raise UserError(
            f"dataset {dataset.name!r} has no configuration {config!r}.{hint} "
            f"There are {', '.join(dataset.configs)}."
        )
    splits = dataset.splits(config)
    split = split or splits[0]
    if split not in splits:
        raise UserError(
            f"dataset {dataset.name!r} has no split {split!r} in its configuration {config!r}."
            f"{did_you_mean(split, splits)} There are {', '.join(splits)}."
        )
    if hidden is None:
        hidden = dataset.hidden if split == "train" else 0.0
    return View(config, split, seed, hidden)


def _refuse_to_hide(dataset: PublicDataset, hidden: float | None) -> None:
    if hidden and not dataset.hides:
        able = ", ".join(name for name in names() if get(name).hides)
        raise UserError(
            f"dataset {dataset.name!r} has no tests that can be set aside: leave out "
            f"--hidden-share. It works for {able}."
        )


def _refuse_part_of_file(path: Path, config: str | None, split: str | None) -> None:
    """Refuse to take the whole of a file for the part that is asked for."""
    if path.is_file() and (config, split) != (None, None):
        flag = "--config-name" if split is None else "--split"
        raise UserError(
            f"{path}: is one file and nothing says which of its rows are which: leave out {flag}, "
            "or name the folder that holds a file for each."
        )


def _files_of(
    dataset: PublicDataset,
    view: View,
    files: Files,
    source: str | Path | None,
    revision: str | None,
) -> Origin:
    released = [one.format(split=view.split) for one in dataset.releases.get(view.config, ())]

    def choose(paths: Sequence[str], card: Mapping[str, Any]) -> list[str]:
        """Choose the repository's files as we know them, a release, or what the card says."""
        own = [one for one in files.patterns if matching(paths, [one], anywhere=True)]
        if own or matching(paths, released, anywhere=True):
            return own or released
        named = {str(one.get("config_name")) for one in card.get("configs") or []}
        if view.config in named:
            return split_patterns(paths, card, view.config, view.split)
        return [*released, *files.patterns]

    if source is None and dataset.package is not None:
        source = _folder_of(dataset.package)
    if source is None:
        return from_hub(dataset.hub_id, revision, choose)
    return from_path(Path(source).expanduser(), choose)


def _folder_of(package: str) -> Path:
    """Return where an installed package lies.

    Raises:
        UserError: If it is not installed.
    """
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        name = package.replace("_", "-")
        raise UserError(f"the data set is in the package {name}: pip install {name}")
    return Path(found.origin).parent


def _looks_local(ref: str) -> bool:
    suffix = PurePosixPath(ref.removesuffix(".gz")).suffix
    return suffix in SUFFIXES or Path(ref).exists()
