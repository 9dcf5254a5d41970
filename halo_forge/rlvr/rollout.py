"""Answers and their verdicts, as far as they are owed: plan - done, and nothing else.

Generation and verification overlap: samples stream from the engine through one bounded queue to
the verifier's workers, and each is written down on its way. Every caller (training, held-out
evaluation, benchmarks) comes through here, first attempt and tenth retry alike.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Container, Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from halo_forge.core.errors import ModelFault, VerifierFault
from halo_forge.core.types import Prompt, Sample, Verdict
from halo_forge.engines.base import Engine, Request
from halo_forge.rlvr.verifiers.base import Verifier
from halo_forge.rlvr.verifiers.batch import judge_all
from halo_forge.store.codec import (
    sample_from_record,
    sample_record,
    verdict_from_record,
    verdict_record,
)
from halo_forge.store.records import Journal
from halo_forge.tracking.base import Observer, Stage

__all__ = ["Plan", "Rollout", "collect", "owed"]


@dataclass(frozen=True, slots=True)
class Plan:
    """What one pass over prompts consists of.

    Attributes:
        name: Shown with the progress.
        prompts: Prompts with distinct ids.
        samples_per_prompt: Answers wanted for each.
        seed: Seed of the pass; samples derive theirs from it.
        samples_path: Journal of answers as generated; None keeps only judged ones.
        verified_path: Journal of judged answers.
    """

    name: str
    prompts: Sequence[Prompt]
    samples_per_prompt: int
    seed: int
    samples_path: Path | None
    verified_path: Path


@dataclass(frozen=True, slots=True)
class Rollout:
    """What a pass gave.

    Attributes:
        verdicts: One for each planned answer, in the order of prompts and indices.
        generation_seconds: Until the last answer was generated, in this attempt.
        verification_seconds: By which judging outlasted generating, in this attempt.
        tokens: Tokens generated in this attempt.
    """

    verdicts: tuple[Verdict, ...]
    generation_seconds: float
    verification_seconds: float
    tokens: int


def owed(plan: Plan, done: Container[str]) -> list[Request]:
    """Return the requests for every planned sample whose id is not in ``done``."""
    requests = []
    for prompt in plan.prompts:
        indices = [i for i in range(plan.samples_per_prompt) if f"{prompt.id}#{i}" not in done]
        if indices:
            requests.append(Request(prompt, tuple(indices)))
    return requests


def collect(
    plan: Plan, open_engine: Callable[[], Engine], verifier: Verifier, observer: Observer
) -> Rollout:
    """Generate and judge what is owed, and return everything the plan asks for.

    The engine is opened only when answers are owed. A fault is tried again at the end; what is
    still not judged then stops the run and stays owed. What an engine gave before its own fault
    is judged first.

    Raises:
        VerifierFault: If answers could not be judged.
        ModelFault: If the engine could not go on.
        StoreFault: If a journal cannot be read or written.
    """
    with contextlib.ExitStack() as stack:
        verified = stack.enter_context(Journal(plan.verified_path, _record_id))
        samples = verified
        if plan.samples_path is not None:
            samples = stack.enter_context(Journal(plan.samples_path, _record_id))
        total = len(plan.prompts) * plan.samples_per_prompt
        requests = owed(plan, samples.records)
        if not requests and not owed(plan, verified.records):
            return _rollout(plan, verified, 0.0, 0.0, 0)
        if samples.records:
            observer.message(f"{plan.name}: Loading cached samples ({len(samples.records)})...")
        generating = stack.enter_context(
            observer.stage("generate", total, len(samples.records), "samples")
        )
        judging = stack.enter_context(
            observer.stage("verify", total, len(verified.records), "samples")
        )
        started = time.monotonic()
        passage = _Passage(plan, samples, verified, generating, judging)
        with closing(passage.samples(requests, open_engine)) as stream:
            faults = passage.judge(verifier, stream)
        if faults:
            observer.message(f"{plan.name}: judging {len(faults)} samples again after a fault")
            faults = passage.judge(verifier, (fault.sample for fault in faults))
        if faults:
            raise VerifierFault(_unjudged(plan, faults))
        if passage.broken is not None:
            raise passage.broken
        generation = passage.generated_at - started
        rest = time.monotonic() - started - generation
        return _rollout(plan, verified, generation, rest, passage.tokens)


class _Passage:
    """One pass: where answers and verdicts are written, and how far it is."""

    def __init__(
        self, plan: Plan, samples: Journal, verified: Journal, generating: Stage, judging: Stage
    ) -> None:
        self._plan = plan
        self._samples = samples
        self._verified = verified
        self._generating = generating
        self._judging = judging
        self._passed = sum(bool(record["success"]) for record in verified.records.values())
        self.generated_at = time.monotonic()
        self.tokens = 0
        self.broken: ModelFault | None = None

    def samples(
        self, requests: list[Request], open_engine: Callable[[], Engine]
    ) -> Generator[Sample, None, None]:
        """Yield answers that were generated but not judged, then those that are owed."""
        prompts = {prompt.id: prompt for prompt in self._plan.prompts}
        for key, record in list(self._samples.records.items()):
            if key not in self._verified:
                yield sample_from_record(record, prompts)
        if not requests:
            return
        try:
            yield from self._generated(requests, open_engine)
        except ModelFault as fault:
            # Those who judge would be stopped too, and drop what they have in hand.
            self.broken = fault

    def _generated(
        self, requests: list[Request], open_engine: Callable[[], Engine]
    ) -> Generator[Sample, None, None]:
        with open_engine() as engine, closing(_generate(engine, requests, self._plan)) as stream:
            for sample in stream:
                if self._plan.samples_path is not None:
                    self._samples.append(sample_record(sample))
                self.tokens += sample.length
                self._generating.advance()
                self.generated_at = time.monotonic()
                yield sample

    def judge(self, verifier: Verifier, samples: Iterable[Sample]) -> list[Verdict]:
        """Judge answers as they come, write the verdicts down, return the faults."""
        faults = []
        with closing(_judge_all(verifier, samples)) as verdicts:
            for verdict in verdicts:
                if verdict.result is None:
                    faults.append(verdict)
                    continue
                self._passed += verdict.result.success and verdict.sample.id not in self._verified
                self._verified.append(verdict_record(verdict.sample, verdict.result))
                self._judging.advance(pass_rate=self._passed / len(self._verified.records))
        return faults


def _rollout(
    plan: Plan, verified: Journal, generation: float, verification: float, tokens: int
) -> Rollout:
    """Return the whole pass in the order of the plan."""
    prompts = {prompt.id: prompt for prompt in plan.prompts}
    verdicts = tuple(
        verdict_from_record(verified.records[f"{prompt.id}#{index}"], prompts)
        for prompt in plan.prompts
        for index in range(plan.samples_per_prompt)
    )
    return Rollout(verdicts, generation, verification, tokens)


def _generate(engine: Engine, requests: list[Request], plan: Plan) -> Generator[Sample, None, None]:
    yield from engine.generate(requests, plan.seed)


def _judge_all(verifier: Verifier, samples: Iterable[Sample]) -> Generator[Verdict, None, None]:
    yield from judge_all(verifier, samples)


def _record_id(record: dict[str, object]) -> str:
    return str(record["id"])


def _unjudged(plan: Plan, faults: Sequence[Verdict]) -> str:
    first = faults[0]
    return (
        f"{plan.name}: {len(faults)} of the answers could not be judged, first {first.sample.id}: "
        f"{first.fault}\nNothing is lost: mend this and run the same command again; these answers "
        "are then judged, not scored 0."
    )
