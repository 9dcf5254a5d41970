r"""The door for training files: one line in, a conversation to learn from, or the reasons why not.

::

    {"messages": [{"role": "user", "content": "..."}, {"role": "assistant", "content": "..."}]}
    {"prompt": "...", "completion": "..."}          each of them a string or a list of messages
    {"prompt": "...", "reference": "...", "language": "cpp"}     a prompts file with solutions
    {"text": "..."}

Understood as well: ``conversations`` (``from``/``value``), ``instruction``/``input``/``output``,
``query``/``response``, ``question``/``answer``; ``system`` beside any of them, and ``image`` beside
a chat: one or a list, shown before the first words of the user. Other keys are notes and are not
read, unless they leave it open what a line means. ``null`` means absent.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from halo_forge.core.errors import ConfigError, UserError
from halo_forge.core.identity import digest
from halo_forge.core.types import Message, Prompt
from halo_forge.data.builtin import PREFIX, load_builtin
from halo_forge.data.pictures import locate, pictures_digest
from halo_forge.data.public_datasets import training_records
from halo_forge.utils.jsonl import BadLine, read_jsonl
from halo_forge.utils.text import did_you_mean, fenced, json_kind, language_name

__all__ = [
    "TrainingRecord",
    "load_dataset",
    "load_training",
    "parse_training",
    "training_digest",
]

_SHOWN = 20
_Row = tuple[int, Prompt | dict[str, Any] | BadLine]
_PAIRS = (
    ("prompt", "completion"),
    ("prompt", "reference"),
    ("instruction", "output"),
    ("query", "response"),
    ("question", "answer"),
)
_ROLES = {
    "assistant": "assistant",
    "gpt": "assistant",
    "human": "user",
    "model": "assistant",
    "system": "system",
    "user": "user",
}
_ANSWERS = ("answer", "code", "completion", "output", "response", "solution")


@dataclass(frozen=True, slots=True)
class TrainingRecord:
    """One record of a training file.

    Attributes:
        line: Where it stands, from 1.
        messages: A chat with at least one answer, the last message one; empty for a plain text.
        text: The plain text, when it is one.
        images: Pictures the user shows; see `halo_forge.core.types.Prompt`.
    """

    line: int
    messages: tuple[Message, ...] = ()
    text: str | None = None
    images: tuple[str, ...] = ()

    @property
    def related(self) -> str:
        """What must not stand on both sides of a split in nearly the same form: words or pictures.

        Of pictures it is which they are: many questions are about one.
        """
        return digest(pictures_digest(self.images)) if self.images else self.asked

    @property
    def asked(self) -> str:
        """What tells related records apart: the user's words, or the whole of a plain text."""
        turns = [message.content for message in self.messages if message.role == "user"]
        return (
            self.text
            if self.text is not None
            else "\n".join([*turns, *pictures_digest(self.images)])
        )


def load_training(
    source: str | Path, *, system: str | None = None, limit: int | None = None
) -> list[TrainingRecord]:
    """Read a training file, all of it or nothing.

    Args:
        source: A JSONL file (plain or gzip), or ``builtin:LANGUAGE/SPLIT`` for the solutions of
            built-in tasks.
        system: System message for every chat that has none.
        limit: Read only the first so many records.

    Raises:
        ConfigError: With every bad line as ``file:line: reason`` (the first 20).
        UserError: If the file cannot be read or holds no record.
    """
    records = _collected(str(source), _lines(source), system, limit, Path(source).parent)
    if not records:
        raise UserError(
            f"{source}: holds no training records; one JSON object a line is wanted, such as "
            '{"prompt": "Add two numbers.", "completion": "def add(a, b): return a + b"}'
        )
    return records


def load_dataset(
    name: str,
    *,
    source: str | None = None,
    system: str | None = None,
    limit: int | None = None,
) -> list[TrainingRecord]:
    """Read the answers of a public data set; its rows that have none are passed over.

    Args:
        name: A registered name, or an id on the hub.
        source: Local folder or file to read instead of the hub.
        system: System message for every chat that has none.
        limit: Read only the first so many records.

    Raises:
        UserError: If there is no such data set, or it has no answers.
        StoreFault: If the hub cannot be asked.
    """
    rows = enumerate(training_records(name, source=source, limit=limit), 1)
    records = _collected(name, rows, system, limit, Path())
    if not records:
        raise UserError(f"dataset {name!r}: no row has an answer to learn from")
    return records


def _collected(
    source: str, rows: Iterable[_Row], system: str | None, limit: int | None, folder: Path
) -> list[TrainingRecord]:
    """Parse rows; every bad one is a problem with its line."""
    records: list[TrainingRecord] = []
    problems: list[str] = []
    for line, value in rows:
        if limit is not None and len(records) + len(problems) >= limit:
            break
        try:
            records.append(_parsed(line, value, system, folder))
        except ConfigError as error:
            problems += [f"{source}:{line}: {problem}" for problem in error.problems]
    if problems:
        more = [f"... and {len(problems) - _SHOWN} more"] if len(problems) > _SHOWN else []
        raise ConfigError(problems[:_SHOWN] + more)
    return records


def parse_training(record: Mapping[str, Any]) -> tuple[tuple[Message, ...], str | None]:
    """Return the chat of one object of a training file, or its plain text.

    Raises:
        ConfigError: With what is wrong; the caller knows file and line.
    """
    given = {key: value for key, value in record.items() if value is not None}
    system = given.get("system")
    if system is not None and not isinstance(system, str):
        raise ConfigError([f"'system' must be a string, is {json_kind(system)}"])
    for key in ("messages", "conversations"):
        if key in given:
            return _chat(_turns(key, given[key]), system), None
    for asked, answered in _PAIRS:
        if asked in given and answered in given:
            return _chat(_pair(given, asked, answered), system), None
    return (), _plain(given)


def training_digest(records: Sequence[TrainingRecord]) -> str:
    """Return the digest of everything the records say and show, in their order."""
    return digest([_content(record) for record in records])


def _content(record: TrainingRecord) -> Any:
    chat = [[turn.role, turn.content] for turn in record.messages]
    return [chat, pictures_digest(record.images)] if record.images else chat or record.text


def _lines(source: str | Path) -> Iterator[_Row]:
    if str(source).startswith(PREFIX):
        yield from enumerate(load_builtin(str(source)), 1)
        return
    path = Path(source)
    try:
        yield from read_jsonl(path)
    except FileNotFoundError as error:
        near = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
        raise UserError(f"{path}: no such file.{did_you_mean(path.name, near)}") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error


def _parsed(
    line: int, value: Prompt | dict[str, Any] | BadLine, system: str | None, folder: Path
) -> TrainingRecord:
    if isinstance(value, BadLine):
        raise ConfigError([value.reason])
    if isinstance(value, Prompt):
        solution = value.reference.solution
        if solution is None:
            raise ConfigError(["has no solution to learn from"])
        answer = Message("assistant", fenced(solution, value.language or ""))
        messages, text, images = (*value.messages, answer), None, value.images
    else:
        messages, text = parse_training(value)
        images = locate(_shown(value.get("image"), text), folder)
    if messages and system is not None and messages[0].role != "system":
        messages = (Message("system", system), *messages)
    return TrainingRecord(line, messages, text, images)


def _shown(value: Any, text: str | None) -> list[str]:
    """Return the pictures that a record names."""
    if value is None:
        return []
    named = [value] if isinstance(value, str) else value
    if not isinstance(named, list) or not all(isinstance(one, str) and one for one in named):
        raise ConfigError([f"'image' must be a name or a list of names, is {json_kind(value)}"])
    if text is not None:
        raise ConfigError(["'image' beside 'text': only a chat has a place for it"])
    return named


def _turns(key: str, value: Any) -> list[Message]:
    if not isinstance(value, list) or not value:
        raise ConfigError([f"{key!r} must be a list of messages, is {json_kind(value)}"])
    return [_turn(f"{key}[{at}]", turn) for at, turn in enumerate(value)]


def _turn(where: str, turn: Any) -> Message:
    if not isinstance(turn, dict):
        raise ConfigError([f"{where!r} must be an object, is {json_kind(turn)}"])
    role, content = turn.get("role", turn.get("from")), turn.get("content", turn.get("value"))
    if not isinstance(role, str) or role not in _ROLES:
        known = ", ".join(sorted(set(_ROLES.values())))
        raise ConfigError([f"{where!r} has the role {role!r}; known: {known}"])
    return Message(_ROLES[role], _worded(where, content))


def _worded(where: str, content: Any) -> str:
    if not isinstance(content, str):
        raise ConfigError([f"the text of {where!r} must be a string, is {json_kind(content)}"])
    if not content.strip():
        raise ConfigError([f"the text of {where!r} is empty"])
    return content


def _pair(given: Mapping[str, Any], asked: str, answered: str) -> list[Message]:
    question, answer = given[asked], given[answered]
    if isinstance(question, list):
        turns = _turns(asked, question)
    else:
        text = _worded(asked, question)
        extra = given.get("input") if asked == "instruction" else None
        if isinstance(extra, str) and extra.strip():
            text = f"{text}\n\n{extra}"
        turns = [Message("user", text)]
    if isinstance(answer, list):
        return turns + _turns(answered, answer)
    said = _worded(answered, answer)
    if answered == "reference":
        said = fenced(said, language_name(str(given.get("language", ""))) or "")
    return [*turns, Message("assistant", said)]


def _chat(turns: list[Message], system: str | None) -> tuple[Message, ...]:
    if system is not None and turns[0].role != "system":
        turns = [Message("system", system), *turns]
    roles = [turn.role for turn in turns]
    if "system" in roles[1:]:
        raise ConfigError(["a chat may have one system message, the first"])
    if next((role for role in roles if role != "system"), None) != "user":
        raise ConfigError(["a chat must begin with a user's message, behind the system's"])
    if roles[-1] != "assistant":
        raise ConfigError(["a chat must end with an assistant's message, which is learned"])
    return tuple(turns)


def _plain(given: Mapping[str, Any]) -> str:
    if "text" not in given:
        lone = [key for pair in _PAIRS for key in pair if key in given]
        hint = f"; {lone[0]!r} alone is not enough" if lone else ""
        raise ConfigError(
            [f"holds no 'messages', no 'prompt' with 'completion' and no 'text'{hint}"]
        )
    beside = [key for key in _ANSWERS if key in given]
    if beside:
        raise ConfigError(
            [f"'text' beside {beside[0]!r}: name what is asked 'prompt', what is learned "
             "'completion'"]
        )  # fmt: skip
    return _worded("text", given["text"])
