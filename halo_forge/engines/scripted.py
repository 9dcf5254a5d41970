"""An engine that reads its answers from a file: tests, examples and dry runs without weights.

The file is JSONL, one object a line: ``{"prompt_id": str, "completions": [str, ...]}``. Sample i
of a prompt is completion ``i % len``; ``prompt_id`` ``"*"`` answers every prompt that has no line
of its own. Token ids are those of the policy's tokenizer when one is given, so that a
learner can train on them; otherwise the UTF-8 bytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any, Self

from halo_forge.core.errors import UserError
from halo_forge.core.types import Prompt, Sample
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
        self._adapter: Any = None

    def __enter__(self) -> Self:
        """Load tokenizer and processor, when the policy names a model."""
        if self._spec.policy:
            from halo_forge.models.adapter import open_adapter

            self._adapter = open_adapter(
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
        self._adapter = None

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
            prompt_ids = self._prompt_ids(request.prompt)
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

    def _prompt_ids(self, prompt: Prompt) -> tuple[int, ...]:
        if self._adapter is None:
            return tuple(prompt.text.encode())
        from halo_forge.models.adapter import encode_prompt

        return tuple(encode_prompt(self._adapter, prompt, self._spec.images))

    def _completion_ids(self, text: str) -> tuple[int, ...]:
        if self._adapter is None:
            return tuple(text.encode())
        tokenizer = self._adapter.tokenizer
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        end = tokenizer.eos_token_id
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
