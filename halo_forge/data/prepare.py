"""From a data set to a file: training records or prompts, line by line, with a manifest.

Memory does not grow with the data but for a digest of 16 bytes a line (two for prompts, which have
ids), by which repeats are known: about 90 bytes a line in Python's set. A run that
was killed goes on at its last checkpoint when the same command is given again.
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import orjson

import halo_forge
from halo_forge.core.errors import UserError
from halo_forge.core.identity import digest
from halo_forge.data.items import Item, Unfit
from halo_forge.data.public_datasets import Selection, Tally, items
from halo_forge.data.rows import count_rows
from halo_forge.store.growing import GrowingFile, file_digest, read_manifest
from halo_forge.tracking.base import Observer

__all__ = ["Work", "already_done", "left_out", "prepare", "work_of"]

_Line = dict[str, Any]
_CHECKPOINT_SECONDS = 5.0
_REPEATED = "repeats an earlier line"
_SHOWN = 5


@dataclass(frozen=True)
class Work:
    """What is to be made, by which every attempt knows its own.

    Attributes:
        selection: The data.
        kind: Training records or prompts.
        output: The file.
        limit: Lines at most.
        settings: All that decides what a line looks like, for the manifest.
        made_from: Digests of the files, where they are local and have no commit.
        rows: How many rows there are, where that is known.
    """

    selection: Selection
    kind: Literal["training", "prompts"]
    output: Path
    limit: int | None
    settings: Mapping[str, Any]
    made_from: Mapping[str, str]
    rows: int | None = None

    @property
    def plan(self) -> str:
        """Name of all that decides the content of the file."""
        origin, view = self.selection.origin, self.selection.view
        return digest([
            halo_forge.__version__, self.kind, self.limit, dict(self.settings),
            self.selection.dataset.name, origin.revision, list(origin.names), dict(self.made_from),
            [view.config, view.split, view.seed, view.hidden],
        ])  # fmt: skip


def work_of(
    selection: Selection,
    kind: Literal["training", "prompts"],
    output: Path,
    limit: int | None,
    settings: Mapping[str, Any],
) -> Work:
    """Return the work; local files are read once for their digests.

    Raises:
        UserError: If training records are wanted of a data set without answers.
        StoreFault: If a file cannot be read.
    """
    if kind == "training" and not selection.dataset.answers:
        raise UserError(
            f"dataset {selection.dataset.name!r} has tasks and no answers: it makes prompts "
            "(halo-forge data prompts), and no training file."
        )
    origin = selection.origin
    made_from: dict[str, str] = {}
    rows = selection.rows
    if origin.revision is None:
        paths = {name: origin.open_file(name) for name in origin.names}
        made_from = {name: file_digest(path) for name, path in paths.items()}
        counts = [count_rows(path) for path in paths.values()]
        rows = rows or (None if None in counts else sum(filter(None, counts)))
    return Work(selection, kind, output, limit, settings, made_from, rows)


def already_done(work: Work, *, overwrite: bool) -> dict[str, Any] | None:
    """Return the manifest when the file is there and is what is asked for.

    Raises:
        UserError: If there is another file, which only ``overwrite`` may replace.
    """
    if not work.output.exists() or overwrite:
        return None
    manifest = read_manifest(work.output)
    if manifest is None:
        raise UserError(
            f"{work.output}: exists and has no manifest, so it is not ours to replace; name "
            "another file, or say --overwrite."
        )
    if manifest.get("plan") != work.plan:
        raise UserError(
            f"{work.output}: exists and was made from other data or with other settings; name "
            "another file, or say --overwrite."
        )
    if manifest.get("sha256") != file_digest(work.output):
        raise UserError(
            f"{work.output}: was changed since it was made; name another file, or say --overwrite."
        )
    return manifest


def prepare(work: Work, make: Callable[[Item], _Line], observer: Observer) -> dict[str, Any]:
    """Write the file and its manifest.

    Args:
        work: What is to be made.
        make: Makes a line of an item; raises `Unfit` for one that gives none.
        observer: Follows the rows.

    Returns:
        The manifest.

    Raises:
        UserError: If no row gives a line, with the reasons; then nothing is left behind.
        StoreFault: If the disk refuses, or the hub fails half-way.
    """
    with GrowingFile(work.output, work.plan) as file:
        state = _State.of(file)
        _write_lines(work, make, file, state, observer)
        if not state.lines:
            file.discard()
            raise UserError(
                f"{work.selection.origin.source}: no row gives a line ({left_out(state.tally)})"
            )
        return file.finish(_manifest(work, state))


def left_out(tally: Tally) -> str:
    """Say how many rows gave nothing, and why: the most frequent reasons, each with a place."""
    reasons = tally.unfit.most_common()
    parts = [f"{count} x {why} (first: {tally.first[why]})" for why, count in reasons[:_SHOWN]]
    if len(reasons) > _SHOWN:
        parts.append(f"and {len(reasons) - _SHOWN} more reasons")
    return "; ".join(parts) or "there are none"


@dataclass
class _State:
    """How far the work is."""

    tally: Tally
    lines: int
    seen: set[bytes]

    @classmethod
    def of(cls, file: GrowingFile) -> _State:
        """Return the state at the last checkpoint."""
        known = file.progress
        tally = Tally(known.get("rows", 0), Counter(known.get("unfit", {})), known.get("first", {}))
        seen = {key for line in file.lines() for key in _keys(line)}
        return cls(tally, known.get("lines", 0), seen)

    def progress(self) -> dict[str, Any]:
        """Return the state as `of` reads it."""
        tally = self.tally
        return {"rows": tally.rows, "unfit": tally.unfit, "first": tally.first, "lines": self.lines}


def _write_lines(
    work: Work, make: Callable[[Item], _Line], file: GrowingFile, state: _State, observer: Observer
) -> None:
    """Go through the rows that are owed; progress is in lines where they are what ends the work."""
    limit = work.limit
    total, unit = (work.rows, "rows") if limit is None else (limit, "lines")
    told = state.tally.rows if limit is None else state.lines
    saved = time.monotonic()
    with observer.stage("prepare", total, told, unit) as stage:
        if limit is not None and state.lines >= limit:
            return
        for item in items(work.selection, state.tally, skip=state.tally.rows):
            _write_line(make, item, file, state)
            done = state.tally.rows if limit is None else state.lines
            stage.advance(done - told)
            told = done
            if time.monotonic() - saved > _CHECKPOINT_SECONDS:
                file.checkpoint(state.progress())
                saved = time.monotonic()
            if limit is not None and state.lines >= limit:
                return


def _write_line(
    make: Callable[[Item], _Line], item: Item, file: GrowingFile, state: _State
) -> None:
    try:
        line = make(item)
    except Unfit as reason:
        state.tally.refuse(str(reason), item.prompt.id)
        return
    keys = _keys(line)
    if not state.seen.isdisjoint(keys):
        state.tally.refuse(_REPEATED, item.prompt.id)
        return
    state.seen.update(keys)
    state.lines += 1
    file.append(line)


def _keys(line: _Line) -> list[bytes]:
    """Return what makes a line the same as another: its chat, and the id of a prompt."""
    chat = [line.get(name) for name in ("messages", "text", "prompt", "system")]
    names = [chat, ["id", line["id"]]] if "id" in line else [chat]
    return [hashlib.sha256(orjson.dumps(name)).digest()[:16] for name in names]


def _manifest(work: Work, state: _State) -> dict[str, Any]:
    selection, tally = work.selection, state.tally
    return {
        "made_by": f"halo-forge {halo_forge.__version__}",
        "kind": work.kind,
        "dataset": selection.dataset.name,
        "source": selection.origin.source,
        "revision": selection.origin.revision,
        "config": selection.view.config or None,
        "split": selection.view.split,
        "licence": selection.origin.licence or selection.dataset.licence,
        "files": work.made_from or list(selection.origin.names),
        "settings": dict(work.settings),
        "rows": tally.rows,
        "lines": state.lines,
        "left_out": dict(tally.unfit),
        "first_left_out": dict(tally.first),
    }
