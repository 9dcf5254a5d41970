"""Training records to tokens, each token marked as learned from or not.

Answers carry loss, their end tokens included; everything the user or the system says carries none
(`halo_forge.models.chat.dialogues` finds the answers by rendering, so a chat template needs no
generation markers).
"""

from __future__ import annotations

import itertools
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

from transformers import PreTrainedTokenizerBase

from halo_forge.config.sections import ImageSettings
from halo_forge.config.sft import DataSettings
from halo_forge.core.errors import ModelFault
from halo_forge.core.types import TrainingExample
from halo_forge.data.conversations import TrainingRecord
from halo_forge.models.adapter import Adapter, require_sight, showing
from halo_forge.models.chat import Dialogue, dialogues, marked_text, turn_marks
from halo_forge.models.pictures import open_pictures
from halo_forge.tracking.base import Stage

__all__ = ["Encoding", "encode"]

_CHUNK = 256
_Places = list[tuple[int, int]]


@dataclass(slots=True)
class Encoding:
    """Training records as tokens.

    Attributes:
        examples: What is trained on.
        records: Records that were read.
        dropped: Records left out because they are too long.
        cut: Records cut at their end because they are too long.
        unrolled: Records of which each answer became an example of its own.
        forged: Chats left out because a message holds the template's own marks, so that its turns
            would not be those of the record.
        empty: Texts left out because nothing in them is to be learned.
    """

    examples: list[TrainingExample] = field(default_factory=list)
    records: int = 0
    dropped: int = 0
    cut: int = 0
    unrolled: int = 0
    forged: int = 0
    empty: int = 0

    @property
    def tokens(self) -> int:
        """Tokens of all examples."""
        return sum(len(example.input_ids) for example in self.examples)

    @property
    def loss_tokens(self) -> int:
        """Tokens that carry loss."""
        return sum(example.loss_tokens for example in self.examples)

    def counts(self) -> dict[str, int]:
        """Return the figures, for records and cards."""
        return {
            "records": self.records,
            "examples": len(self.examples),
            "tokens": self.tokens,
            "loss_tokens": self.loss_tokens,
            "dropped_too_long": self.dropped,
            "cut_too_long": self.cut,
            "unrolled": self.unrolled,
            "dropped_with_marks": self.forged,
            "dropped_empty": self.empty,
        }


def encode(
    records: Sequence[TrainingRecord],
    adapter: Adapter,
    settings: DataSettings,
    stage: Stage,
    images: ImageSettings,
) -> Encoding:
    """Turn records into examples; a record that is too long is dropped or cut, and counted.

    Args:
        records: What was read.
        adapter: Of the model; its own chat template writes the chats.
        settings: Longest record, what becomes of longer ones, what is learned.
        stage: Told of each record.
        images: How the pictures of records are read.

    Raises:
        UserError: If a picture is damaged, or the model cannot see.
        ModelFault: If the template refuses a chat, or the tokenizer cannot say where in a text its
            tokens stand.
    """
    tokenizer = adapter.tokenizer
    if not tokenizer.is_fast:
        raise ModelFault(
            f"{tokenizer.name_or_path} has a tokenizer that does not say where in the text its "
            "tokens stand (no tokenizer.json), so answers cannot be told from questions"
        )
    done = Encoding()
    rest = iter(records)
    while chunk := list(islice(rest, _CHUNK)):
        for record in chunk:
            require_sight(adapter, record.images, f"line {record.line}")
        texts = [(r, at, one) for r in chunk for at, one in enumerate(_texts(tokenizer, r, done))]
        tokens = _tokens(tokenizer, [one for _, _, one in texts]) if texts else iter(())
        for (record, at, dialogue), (ids, places) in zip(texts, tokens, strict=True):
            name = f"{record.line}#{at}"
            learned = _learned(dialogue, places, settings)
            asked = _asked(adapter, dialogue) if record.images else 0
            if not adapter.silent.isdisjoint(ids[asked:]):
                done.forged += 1  # words that the model would take for a picture
                continue
            if record.images:
                shown = _shown(adapter, record, dialogue, images)
                ids, learned = shown + ids[asked:], [False] * len(shown) + learned[asked:]
            _take(done, name, ids, learned, settings, record.images)
        done.records += len(chunk)
        stage.advance(len(chunk))
    return done


def _texts(
    tokenizer: PreTrainedTokenizerBase, record: TrainingRecord, done: Encoding
) -> list[Dialogue]:
    if record.text is not None:
        return [marked_text(tokenizer, record.text)]
    marks = turn_marks(tokenizer)
    if any(mark in message.content for message in record.messages for mark in marks):
        done.forged += 1
        return []
    texts = dialogues(tokenizer, showing(record.messages, len(record.images)))
    done.unrolled += len(texts) > 1
    return texts


def _tokens(
    tokenizer: PreTrainedTokenizerBase, dialogues: Sequence[Dialogue]
) -> Iterator[tuple[list[int], _Places]]:
    """Yield the tokens of each text and where they stand in it.

    Tokens of a question are those it has when it is asked, even if its last characters would make
    one token with the first of the answer: such a text is cut there before it is encoded.
    """
    special = not tokenizer.chat_template
    whole = tokenizer(
        [one.text for one in dialogues], add_special_tokens=special, return_offsets_mapping=True
    )
    asked = iter(
        tokenizer(
            [one.text[:start] for one in dialogues for start, _ in one.answers],
            add_special_tokens=special,
        )["input_ids"]
    )
    for one, ids, places in zip(
        dialogues, whole["input_ids"], whole["offset_mapping"], strict=True
    ):
        before = list(islice(asked, len(one.answers)))
        if all(ids[: len(question)] == question for question in before):
            yield ids, places
        else:
            yield _pieced(tokenizer, one)


def _pieced(tokenizer: PreTrainedTokenizerBase, one: Dialogue) -> tuple[list[int], _Places]:
    """Encode a text piece by piece, cut where its answers begin."""
    starts = [start for start, _ in one.answers]
    ids: list[int] = []
    places: list[tuple[int, int]] = []
    for start, stop in itertools.pairwise([0, *starts, len(one.text)]):
        piece = tokenizer(
            one.text[start:stop],
            add_special_tokens=start == 0 and not tokenizer.chat_template,
            return_offsets_mapping=True,
        )
        ids += piece["input_ids"]
        places += [(start + first, start + last) for first, last in piece["offset_mapping"]]
    return ids, places


def _learned(dialogue: Dialogue, places: _Places, settings: DataSettings) -> list[bool]:
    """Tell for each token whether it lies within an answer.

    Byte-level tokenizers leave white space out of a token's place, so that one of nothing else is
    empty and stands at its end: hence the strict comparison.
    """
    everything = settings.train_on == "everything"
    spans: Iterator[tuple[int, int]] = iter(
        ((0, len(dialogue.text)),) if everything else dialogue.answers
    )
    start, stop = next(spans)
    learned = []
    for first, last in places:
        while first >= stop and last > stop:
            start, stop = next(spans, (len(dialogue.text), len(dialogue.text)))
            if start == stop:
                break
        learned.append(start <= first and start < last <= stop)
    return learned


def _shown(
    adapter: Adapter, record: TrainingRecord, dialogue: Dialogue, images: ImageSettings
) -> list[int]:
    """Return the tokens of a text up to its first answer, those of its pictures included."""
    where = f"line {record.line}"
    pictures = open_pictures(record.images, images, where)
    return adapter.encode(dialogue.text[: dialogue.answers[0][0]], pictures, where)


def _asked(adapter: Adapter, dialogue: Dialogue) -> int:
    """Return how many tokens a text has up to its first answer, before pictures are put in."""
    special = not adapter.tokenizer.chat_template
    text = dialogue.text[: dialogue.answers[0][0]]
    return len(adapter.tokenizer(text, add_special_tokens=special)["input_ids"])


def _take(
    done: Encoding,
    name: str,
    ids: list[int],
    learned: list[bool],
    settings: DataSettings,
    images: tuple[str, ...],
) -> None:
    if True not in learned:
        done.empty += 1
        return
    if len(ids) > settings.max_seq_length:
        if settings.long_records == "drop" or True not in learned[: settings.max_seq_length]:
            done.dropped += 1
            return
        done.cut += 1
        ids, learned = ids[: settings.max_seq_length], learned[: settings.max_seq_length]
    start = learned.index(True)
    done.examples.append(
        TrainingExample(
            name, array("i", ids), start, masked=tuple(_gaps(learned, start)), images=images
        )
    )


def _gaps(learned: Sequence[bool], start: int) -> Iterator[tuple[int, int]]:
    """Yield the ranges behind ``start`` that carry no loss."""
    since: int | None = None
    for at in range(start, len(learned)):
        if learned[at] and since is not None:
            yield since, at
            since = None
        elif not learned[at] and since is None:
            since = at
    if since is not None:
        yield since, len(learned)
