"""From the journals of answers and checks to the files that people train on.

The files are a function of plan and journals, in the order of the plan, so they do not depend on
which answer came first, or in how many attempts.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from halo_forge.config.generate import TopicConfig
from halo_forge.core.types import Prompt
from halo_forge.data.formats import prompt_record
from halo_forge.data.llm.answers import RejectedError, parse_item
from halo_forge.data.llm.checks import item_prompt
from halo_forge.data.llm.requests import ItemRequest
from halo_forge.data.similarity import near_pairs
from halo_forge.store.atomic import write_text
from halo_forge.store.generation_dir import GenerationDir
from halo_forge.utils.text import fenced

__all__ = ["Entry", "Results", "assemble", "write_results"]

_DUPLICATE = "duplicate"


@dataclass(frozen=True, slots=True)
class Entry:
    """A request whose answer was checked.

    Attributes:
        request: What was asked.
        answer: The record of the answer.
        check: The record of its check.
    """

    request: ItemRequest
    answer: Mapping[str, Any]
    check: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Results:
    """What the files hold.

    Attributes:
        prompts: Verified items.
        training: The same as chats.
        rejects: Everything else, with reasons.
    """

    prompts: list[Prompt] = field(default_factory=list)
    training: list[dict[str, Any]] = field(default_factory=list)
    rejects: list[dict[str, Any]] = field(default_factory=list)

    @property
    def reasons(self) -> dict[str, int]:
        """How many answers were rejected for which reason, the most frequent first."""
        return dict(Counter(str(reject["reason"]) for reject in self.rejects).most_common())


def assemble(entries: Sequence[Entry], topic: TopicConfig) -> Results:
    """Sort checked answers into data and rejects; a statement that was there before is a reject."""
    results = Results()
    standing: list[tuple[Entry, Prompt, str]] = []
    for entry in entries:
        reason = entry.check["reason"]
        if reason is None:
            try:
                standing.append((entry, *_prompt_of(entry, topic)))
            except RejectedError as error:  # the rules for answers became stricter
                results.rejects.append(_reject(entry, error.reason, error.detail))
        else:
            results.rejects.append(_reject(entry, reason, entry.check["detail"]))
    twins = dict(_twins([statement for _, _, statement in standing]))
    for at, (entry, prompt, _) in enumerate(standing):
        if at in twins:
            other, similarity = twins[at]
            detail = f"{similarity:.0%} the same as {standing[other][0].request.id}"
            results.rejects.append(_reject(entry, _DUPLICATE, detail))
        else:
            results.prompts.append(prompt)
            results.training.append(_example(entry, prompt, topic))
    return results


def write_results(folder: GenerationDir, results: Results, facts: Mapping[str, Any]) -> None:
    """Write the files, each whole or not at all, the manifest last.

    Raises:
        StoreFault: If the disk refuses.
    """
    tables = {
        folder.training_path: results.training,
        folder.prompts_path: [prompt_record(prompt) for prompt in results.prompts],
        folder.rejects_path: results.rejects,
    }
    files = {}
    for path, rows in tables.items():
        text = "".join(orjson.dumps(row).decode() + "\n" for row in rows)
        write_text(path, text)
        files[path.name] = {
            "rows": len(rows),
            "sha256": hashlib.sha256(text.encode()).hexdigest(),
        }
    manifest = {**facts, "rejects": results.reasons, "files": files}
    text = orjson.dumps(manifest, option=orjson.OPT_INDENT_2).decode()
    write_text(folder.manifest_path, text + "\n")


def _prompt_of(entry: Entry, topic: TopicConfig) -> tuple[Prompt, str]:
    item = parse_item(entry.answer["text"], entry.answer["finish_reason"], topic)
    return item_prompt(item, entry.request, topic), item.statement


def _twins(statements: Sequence[str]) -> Iterator[tuple[int, tuple[int, float]]]:
    """Yield the position of each statement that repeats an earlier one, whose, and how nearly."""
    first: dict[str, int] = {}
    for at, text in enumerate(statements):
        earlier = first.setdefault(" ".join(text.split()).casefold(), at)
        if earlier != at:
            yield at, (earlier, 1.0)
    different = sorted(first.values())
    for at, earlier, similarity in near_pairs([statements[at] for at in different]):
        yield different[at], (different[earlier], similarity)


def _example(entry: Entry, prompt: Prompt, topic: TopicConfig) -> dict[str, Any]:
    solution = fenced(prompt.reference.solution or "", topic.language)
    return {
        "messages": [
            {"role": "user", "content": prompt.text},
            {"role": "assistant", "content": solution},
        ],
        "metadata": {
            "id": prompt.id,
            "topic": topic.name,
            "category": prompt.category,
            "difficulty": prompt.difficulty,
            "language": topic.language,
            "model": entry.answer["model"],
            **entry.check["evidence"],
        },
    }


def _reject(entry: Entry, reason: str, detail: str) -> dict[str, Any]:
    return {
        "id": entry.request.id,
        "category": entry.request.category,
        "difficulty": entry.request.difficulty,
        "reason": reason,
        "detail": detail,
        "answer": entry.answer["text"],
    }
