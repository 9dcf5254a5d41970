"""The journal of answers: what is on disk, what it took, and whether it is the last word."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import orjson

from halo_forge.config.generate import GenerateConfig, TopicConfig
from halo_forge.data.llm.budget import Spent, most_tokens
from halo_forge.data.llm.requests import ItemRequest, schema_of
from halo_forge.engines.chat_server import Reply

__all__ = ["Answers", "Limits", "answer_key", "answer_record", "spent_on", "tokens_of"]

_Record = dict[str, Any]


class Limits:
    """Bounds on what a request of a topic can take."""

    def __init__(self, topic: TopicConfig, config: GenerateConfig) -> None:
        self._schema = orjson.dumps(schema_of(topic)).decode()
        self._longest = config.generation.max_new_tokens

    def of(self, request: ItemRequest) -> tuple[int, int]:
        """Return the most tokens read and written."""
        return most_tokens(request, self._schema, self._longest)


class Answers:
    """The answers on disk by request.

    A whole answer is the last word; one that was cut counts until the limit is raised above that
    which cut it.
    """

    def __init__(self, records: Iterable[_Record], config: GenerateConfig) -> None:
        self._limit = config.generation.max_new_tokens
        self._known: dict[str, _Record] = {}
        for record in records:
            self.add(record)

    def add(self, record: _Record) -> None:
        """Take in a record of an answer."""
        old = self._known.get(record["id"])
        if old is None or _worth(record) > _worth(old):
            self._known[record["id"]] = record

    def of(self, request: ItemRequest) -> _Record | None:
        """Return the answer to a request, if it is there."""
        found = self._known.get(request.id)
        return None if found is None or _worth(found) < (False, self._limit) else found


def answer_key(record: _Record) -> str:
    """Name an answer; one that was cut may be asked for again with a higher limit."""
    cut = record["finish_reason"] != "stop"
    return f"{record['id']}@{record['max_new_tokens']}" if cut else str(record["id"])


def _worth(record: _Record) -> tuple[bool, int]:
    return record["finish_reason"] == "stop", record["max_new_tokens"]


def tokens_of(record: _Record) -> tuple[int, int]:
    """Return the tokens that an answer took; where the server did not say, the most there were."""
    read, written = record["prompt_tokens"], record["completion_tokens"]
    most_read, most_written = record["most_tokens"]
    return most_read if read is None else read, most_written if written is None else written


def spent_on(records: Iterable[_Record]) -> Spent:
    """Return what answers took together."""
    spent = Spent()
    for record in records:
        spent = spent.plus(*tokens_of(record))
    return spent


def answer_record(
    request: ItemRequest, reply: Reply, config: GenerateConfig, most: tuple[int, int]
) -> _Record:
    """Return what the journal keeps of an answer."""
    return {
        "id": request.id,
        "model": config.model,
        "category": request.category,
        "difficulty": request.difficulty,
        "text": reply.text,
        "finish_reason": reply.finish_reason,
        "max_new_tokens": config.generation.max_new_tokens,
        "prompt_tokens": reply.prompt_tokens,
        "completion_tokens": reply.completion_tokens,
        "most_tokens": most,
        "time": time.time(),
    }
