"""An engine that reads its answers from a file: tests, examples and dry runs without weights.

The file is JSONL, one object a line: ``{"prompt_id": str, "completions": [str, ...]}``. Sample i
of a prompt is completion ``i % len``; ``prompt_id`` ``"*"`` answers every prompt that has no line
of its own. Token ids are those of the policy's tokenizer when one is given, so that a
learner can train on them; otherwise the UTF-8 bytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any, Self

from halo_forge.core.errors import UserError
from halo_forge.core.types import Message, Sample
from halo_forge.engines.base import EngineSpec, Request
from halo_forge.utils.jsonl import BadLine, read_jsonl

__all__ = ["ScriptedEngine"]


class ScriptedEngine:
    """The ``scripted`` engine; its answers are data, its log-probabilities are zero.

    Raises:
        UserError: If ``generation.script`` is missing or a line of it is not understood.
    """

    def __init__(self, spec: EngineSpec) -> None:
        self._spec = spec
        self._answers = _read(spec.generation.script)
        self._tokenizer: Any = None

    def __enter__(self) -> Self:
        """Load the tokenizer, when the policy names a model."""
        if self._spec.policy:
            from halo_forge.models import load

            self._tokenizer = load.load_tokenizer(
                self._spec.policy, trust_remote_code=self._spec.trust_remote_code
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Nothing to free."""
        self._tokenizer = None

    def generate(self, requests: Iterable[Request], seed: int) -> Iterator[Sample]:
        """Yield the scripted answers in order.

        Raises:
            UserError: If a prompt has no answer in the script.
        """
        for request in requests:
            answers = self._answers.get(request.prompt.id) or self._answers.get("*")
            if not answers:
                raise UserError(
                    f"{self._spec.generation.script}: no completions for prompt "
                    f"{request.prompt.id!r} and none for '*'"
                )
            prompt_ids = self._prompt_ids(request.prompt.messages)
            for index in request.indices:
                text = answers[index % len(answers)]
                tokens = self._completion_ids(text)
                yield Sample(
                    prompt=request.prompt,
                    index=index,
                    completion=text,
                    prompt_ids=prompt_ids,
                    token_ids=tokens,
                    logprobs=(0.0,) * len(tokens),
                    policy=self._spec.label,
                )

    def _prompt_ids(self, messages: Sequence[Message]) -> tuple[int, ...]:
        if self._tokenizer is None:
            return tuple(messages[-1].content.encode())
        from halo_forge.models import chat

        return tuple(chat.render(self._tokenizer, messages))

    def _completion_ids(self, text: str) -> tuple[int, ...]:
        if self._tokenizer is None:
            return tuple(text.encode())
        ids = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        end = self._tokenizer.eos_token_id
        return (*ids,) if end is None else (*ids, end)


def _read(script: str | None) -> dict[str, list[str]]:
    if script is None:
        raise UserError("the scripted engine needs generation.script: a JSONL file of answers")
    answers: dict[str, list[str]] = {}
    try:
        for number, record in read_jsonl(script):
            answers |= _answers(f"{script}:{number}", record)
    except OSError as error:
        raise UserError(f"{script}: cannot be read: {error.strerror}") from error
    return answers


def _answers(where: str, record: dict[str, Any] | BadLine) -> dict[str, list[str]]:
    if isinstance(record, BadLine):
        raise UserError(f"{where}: {record.reason}")
    name, texts = record.get("prompt_id"), record.get("completions")
    if not (isinstance(name, str) and isinstance(texts, list) and texts and _all_text(texts)):
        got = json.dumps(record, ensure_ascii=False)[:80]
        raise UserError(
            f'{where}: expected {{"prompt_id": "...", "completions": ["...", ...]}}, got {got}'
        )
    return {name: texts}


def _all_text(values: Iterable[object]) -> bool:
    return all(isinstance(value, str) for value in values)
