"""Stand-ins that are cheap and exact: prompts and verdicts, an engine, a verifier, a learner.

What the fake engine says is a function of prompt, index and seed; how the fake verifier judges is
a function of the answer. So every difference between two runs is the code's under test.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

from halo_forge.config.sections import LoraSettings
from halo_forge.core import registry
from halo_forge.core.identity import derive_seed
from halo_forge.core.types import (
    Message,
    Prompt,
    Sample,
    TrainingExample,
    Verdict,
    VerifyResult,
)
from halo_forge.engines.base import EngineSpec, Request
from halo_forge.engines.scripted import ScriptedEngine
from halo_forge.rlvr.verifiers.base import Verifier
from halo_forge.sft.base import FitReport, FitRequest
from halo_forge.store.atomic import replace_directory

RUNGS = {"pass": 1.0, "runs": 0.7, "compile": 0.5, "warn": 0.3, "fail": 0.0}
Hook = Callable[[Any], None]


def nothing(_: Any) -> None:
    """Do nothing."""


def make_prompt(name: str = "p1", text: str | None = None, **fields: Any) -> Prompt:
    """Return a prompt of one user message."""
    return Prompt(name, (Message("user", text or f"Do {name}."),), **fields)


def make_sample(
    prompt: str | Prompt = "p1", index: int = 0, completion: str = "answer", **fields: Any
) -> Sample:
    """Return a sample; its tokens are the bytes of the completion unless given."""
    fields.setdefault("prompt_ids", (1, 2, 3))
    fields.setdefault("token_ids", tuple(completion.encode()))
    fields.setdefault("logprobs", (-0.5,) * len(fields["token_ids"]))
    prompt = make_prompt(prompt) if isinstance(prompt, str) else prompt
    return Sample(prompt, index, completion, **fields)


def make_verdict(
    prompt: str | Prompt = "p1",
    index: int = 0,
    reward: float | None = 1.0,
    completion: str | None = None,
    metadata: dict[str, Any] | None = None,
    **fields: Any,
) -> Verdict:
    """Return a verdict with ``reward``, or a fault when that is None."""
    sample = make_sample(prompt, index, completion or f"answer {index}", **fields)
    if reward is None:
        return Verdict(sample, fault="no compiler")
    return Verdict(sample, VerifyResult(reward == 1.0, reward, metadata=metadata or {}))


class FakeEngine:
    """Says a rung's name and who it is; ``before`` is called with each id to be generated."""

    def __init__(self, before: Hook = nothing, label: str = "fake") -> None:
        self._before = before
        self._label = label
        self.open = False
        self.generating = False
        self.orderly = False

    def __enter__(self) -> Self:
        self.open = True
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.open = False
        self.orderly = not self.generating  # the generator is closed first

    def generate(self, requests: Iterable[Request], seed: int) -> Iterator[Sample]:
        """Yield what is asked for, in order."""
        self.generating = True
        try:
            for request in requests:
                for index in request.indices:
                    self._before(f"{request.prompt.id}#{index}")
                    yield self._answer(request.prompt, index, seed)
        finally:
            self.generating = False

    def _answer(self, prompt: Prompt, index: int, seed: int) -> Sample:
        luck = derive_seed(seed, prompt.id, index)
        text = f"{list(RUNGS)[luck % len(RUNGS)]} {prompt.id} {index}"
        cut = luck % 7 == 0
        return make_sample(
            prompt,
            index,
            text,
            logprobs=tuple(-(luck >> shift & 15) / 8 for shift in range(len(text))),
            finish_reason="length" if cut else "stop",
            policy=self._label,
        )


class Offline(ScriptedEngine):
    """The scripted engine without the policy's tokenizer, so without torch."""

    def __init__(self, spec: EngineSpec) -> None:
        super().__init__(replace(spec, policy=""))
        self.spec = spec


class FakeVerifier(Verifier):
    """Judges by the first word; ``before`` is called with each sample to be judged."""

    def __init__(
        self,
        max_workers: int | None = 2,
        *,
        timeout: float = 30,
        bonus: float = 0.0,
        score_hidden: bool = False,
        before: Hook = nothing,
    ) -> None:
        super().__init__(max_workers)
        if bonus < 0:
            raise ValueError(f"bonus must not be negative, got {bonus}")
        self.timeout = timeout
        self.bonus = bonus
        self.score_hidden = score_hidden
        self._before = before

    def verify(self, code: str) -> VerifyResult:
        """Judge an answer on its own."""
        word = code.split()[0]
        reward = min(1.0, RUNGS[word] + self.bonus)
        hidden = {"hidden_passed": int(word == "pass"), "hidden_total": 1}
        return VerifyResult(
            reward == 1.0, reward, word, metadata=hidden if self.score_hidden else {}
        )

    def judge(self, sample: Sample) -> VerifyResult:
        """Call the hook, then judge."""
        self._before(sample)
        return self.verify(sample.completion)

    def fingerprint(self) -> str:
        """Return a name that depends on what verdicts depend on."""
        return f"fake bonus={self.bonus:g}"


class FakeLearner:
    """Writes its examples as the checkpoint; ``before`` and ``after`` see each request."""

    def __init__(self, before: Hook = nothing, after: Hook = nothing) -> None:
        self._before = before
        self._after = after
        self.requests: list[FitRequest] = []
        self.examples: list[list[TrainingExample]] = []

    def check(self, policy: str, lora: LoraSettings, *, trust_remote_code: bool) -> None:
        """Find nothing wrong."""

    def fit(
        self, examples: Sequence[TrainingExample], request: FitRequest, observer: Any
    ) -> FitReport:
        """Write the ids trained on and return plausible figures."""
        self._before(request)
        self.requests.append(request)
        self.examples.append(list(examples))
        with replace_directory(request.output) as folder:
            ids = json.dumps([request.policy.rpartition("/")[2], [e.id for e in examples]])
            (folder / "adapter.json").write_text(ids)
        self._after(request)
        return FitReport(
            steps=2, loss=0.5, grad_norm=1.0, entropy=0.25, tokens=len(examples), seconds=1.5
        )


class Diary:
    """An observer that remembers what it was told."""

    def __init__(self) -> None:
        self.messages: list[str] = []
        self.stages: list[tuple[str, int | None, int]] = []
        self.advances: list[tuple[str, int, dict[str, float]]] = []

    def message(self, text: str) -> None:
        """Remember the message."""
        self.messages.append(text)

    @contextmanager
    def stage(
        self, name: str, total: int | None, done: int = 0, unit: str = ""
    ) -> Iterator[_DiaryStage]:
        """Remember the stage."""
        self.stages.append((name, total, done))
        yield _DiaryStage(self, name)


class _DiaryStage:
    def __init__(self, diary: Diary, name: str) -> None:
        self._diary = diary
        self._name = name

    def advance(self, n: int = 1, **info: float) -> None:
        self._diary.advances.append((self._name, n, info))


def write_script(path: Path, answers: dict[str, list[str]]) -> Path:
    """Write a script for the scripted engine."""
    lines = [
        json.dumps({"prompt_id": name, "completions": texts}) for name, texts in answers.items()
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


def plug_in(monkeypatch: pytest.MonkeyPatch, group: str, name: str, target: type) -> None:
    """Register ``target`` as an installed plug-in would be."""
    point = EntryPoint(name, f"{target.__module__}:{target.__qualname__}", f"halo_forge.{group}")
    known = registry.entry_points

    def points(**wanted: str) -> list[EntryPoint]:
        return [*known(**wanted), *([point] if wanted == {"group": point.group} else [])]

    monkeypatch.setattr(registry, "entry_points", points)


def tree(folder: Path) -> dict[str, str]:
    """Return every file below ``folder`` with a digest of its content."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
