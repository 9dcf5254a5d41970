"""Answers and their verdicts, as far as they are owed: plan - done, and nothing else.

Generation and verification overlap: samples stream from the engine through one bounded queue
(`halo_forge.rlvr.verifiers.batch.judge_all`) to the verifier's workers, and each is written down on
its way. Every caller (training, held-out evaluation, benchmarks) comes through here, first attempt
and tenth retry alike.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Container, Generator, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from halo_forge.core.errors import ModelFault, VerifierFault
from halo_forge.core.types import Prompt, Sample, Verdict
from halo_forge.engines.base import Engine, Request
from halo_forge.rlvr.budget import Budget, End, Quota
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
        samples_per_prompt: Answers wanted for each; the most, with a budget.
        seed: Seed of the pass; samples derive theirs from it.
        samples_path: Journal of answers as generated; None keeps only judged ones.
        verified_path: Journal of judged answers.
        budget: Ends prompts early; None wants all answers of every prompt.
    """

    name: str
    prompts: Sequence[Prompt]
    samples_per_prompt: int
    seed: int
    samples_path: Path | None
    verified_path: Path
    budget: Budget | None = None


@dataclass(frozen=True, slots=True)
class Rollout:
    """What a pass gave.

    Attributes:
        verdicts: One for each planned answer, in the order of prompts and indices.
        generation_seconds: Until the last answer of each wave was generated, in this attempt.
        verification_seconds: By which judging outlasted generating, in this attempt: from the last
            answer of each wave to its last verdict.
        blocked_seconds: Of `generation_seconds` those in which the engine was not asked to go on,
            because an answer was being handed over: verdicts were written down, or the queue was
            full.
        tokens: Tokens generated in this attempt.
        ends: For each prompt why it has no more answers.
    """

    verdicts: tuple[Verdict, ...]
    generation_seconds: float
    verification_seconds: float
    blocked_seconds: float
    tokens: int
    ends: tuple[End | None, ...]

    @property
    def added_seconds(self) -> float:
        """By how much judging lengthened the pass.

        It is the time in which nothing was generated since answers were not yet judged: before the
        last answer `blocked_seconds`, after it `verification_seconds`. What is left out is the
        cores' time that programs take from a decoder on the same processor; they step back for it
        (`verifier.niceness`). A server that goes on by itself loses less than this says.
        """
        return self.blocked_seconds + self.verification_seconds


def owed(
    plan: Plan, done: Container[str], quotas: Mapping[str, Quota] | None = None
) -> list[Request]:
    """Return the requests for every planned sample whose id is not in ``done``.

    Args:
        plan: What is planned.
        done: Ids of samples that are there.
        quotas: How many answers each prompt is to have; all of them when absent.
    """
    requests = []
    for prompt in plan.prompts:
        count = quotas[prompt.id].count if quotas is not None else plan.samples_per_prompt
        indices = [i for i in range(count) if f"{prompt.id}#{i}" not in done]
        if indices:
            requests.append(Request(prompt, tuple(indices)))
    return requests


def collect(
    plan: Plan, open_engine: Callable[[], Engine], verifier: Verifier, observer: Observer
) -> Rollout:
    """Generate and judge what is owed, and return everything the plan asks for.

    The engine is opened only when answers are owed. A fault is tried again at the end; what is
    still not judged then stops the run and stays owed. What an engine gave before its own fault
    is judged first. With a budget there are waves: what the next one owes follows from the
    verdicts on disk.

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
        passage = _Passage(plan, samples, verified)
        wave = passage.wave()
        if wave is None:
            return passage.rollout()
        total = None if plan.budget else len(plan.prompts) * plan.samples_per_prompt
        if samples.records:
            observer.message(f"{plan.name}: Loading cached samples ({len(samples.records)})...")
        generating = stack.enter_context(
            observer.stage("generate", total, len(samples.records), "samples")
        )
        judging = stack.enter_context(
            observer.stage("verify", total, len(verified.records), "samples")
        )
        engine = stack.enter_context(_LateEngine(open_engine, stay=plan.budget is not None))
        while wave is not None:
            passage.run(wave, engine, verifier, (generating, judging), observer)
            wave = passage.wave()
        return passage.rollout()


class _LateEngine:
    """An engine that is opened when it is first asked.

    Args:
        open_engine: Opens it.
        stay: Keep it open for further waves; otherwise the weights are freed after the first.
    """

    def __init__(self, open_engine: Callable[[], Engine], *, stay: bool) -> None:
        self._open_engine = open_engine
        self._stay = stay
        self._scope = contextlib.ExitStack()
        self._engine: Engine | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *details: Any) -> None:
        self._engine = None
        self._scope.__exit__(*details)

    def generate(self, requests: list[Request], seed: int) -> Generator[Sample, None, None]:
        """Yield the samples of one wave."""
        if self._engine is None:
            self._engine = self._scope.enter_context(self._open_engine())
        with closing(_generate(self._engine, requests, seed)) as stream:
            yield from stream
        if not self._stay:
            self._engine = None
            self._scope.close()


class _Passage:
    """One pass: where answers and verdicts are written, and how far it is."""

    def __init__(self, plan: Plan, samples: Journal, verified: Journal) -> None:
        self._plan = plan
        self._samples = samples
        self._verified = verified
        self._prompts = {prompt.id: prompt for prompt in plan.prompts}
        self._passed = sum(bool(record["success"]) for record in verified.records.values())
        self._quotas: Mapping[str, Quota] = {}
        self._broken: ModelFault | None = None
        self._generated_at = 0.0
        self._generation_seconds = 0.0
        self._verification_seconds = 0.0
        self._blocked_seconds = 0.0
        self._tokens = 0

    def wave(self) -> list[Request] | None:
        """Return what is to be generated now; None when nothing is owed, verdicts included."""
        self._quotas = self._count_quotas()
        requests = owed(self._plan, self._samples.records, self._quotas)
        unjudged = owed(self._plan, self._verified.records, self._quotas)
        return requests if requests or unjudged else None

    def run(
        self,
        requests: list[Request],
        engine: _LateEngine,
        verifier: Verifier,
        stages: tuple[Stage, Stage],
        observer: Observer,
    ) -> None:
        """Generate and judge one wave.

        Raises:
            VerifierFault: If answers could not be judged.
            ModelFault: If the engine could not go on.
        """
        generating, judging = stages
        name = self._plan.name
        if self._plan.budget is not None and requests:
            count = sum(len(request.indices) for request in requests)
            observer.message(f"{name}: {count} answers to {len(requests)} prompts")
        started = self._generated_at = time.monotonic()
        with closing(self._stream(requests, engine, generating)) as stream:
            faults = self._judge(verifier, stream, judging)
        if faults:
            observer.message(f"{name}: judging {len(faults)} samples again after a fault")
            faults = self._judge(verifier, (fault.sample for fault in faults), judging)
        if faults:
            raise VerifierFault(_unjudged(self._plan, faults))
        if self._broken is not None:
            raise self._broken
        self._generation_seconds += self._generated_at - started
        self._verification_seconds += time.monotonic() - self._generated_at

    def rollout(self) -> Rollout:
        """Return the whole pass in the order of the plan."""
        verdicts = tuple(
            verdict_from_record(self._verified.records[f"{prompt.id}#{index}"], self._prompts)
            for prompt in self._plan.prompts
            for index in range(self._quotas[prompt.id].count)
        )
        return Rollout(
            verdicts=verdicts,
            generation_seconds=self._generation_seconds,
            verification_seconds=self._verification_seconds,
            blocked_seconds=self._blocked_seconds,
            tokens=self._tokens,
            ends=tuple(self._quotas[prompt.id].end for prompt in self._plan.prompts),
        )

    def _count_quotas(self) -> Mapping[str, Quota]:
        """Return how many answers each prompt is to have, by the verdicts on disk."""
        budget, most = self._plan.budget, self._plan.samples_per_prompt
        if budget is None:
            return dict.fromkeys(self._prompts, Quota(most, "spent"))
        groups: dict[str, list[Verdict]] = {name: [] for name in self._prompts}
        for record in self._verified.records.values():
            groups[record["prompt_id"]].append(verdict_from_record(record, self._prompts))
        return {name: budget.quota(group, most) for name, group in groups.items()}

    def _stream(
        self, requests: list[Request], engine: _LateEngine, generating: Stage
    ) -> Generator[Sample, None, None]:
        """Yield answers that were generated but not judged, then those that are owed."""
        for key, record in list(self._samples.records.items()):
            if key not in self._verified:
                yield sample_from_record(record, self._prompts)
        if not requests:
            return
        blocked = 0.0
        try:
            with closing(engine.generate(requests, self._plan.seed)) as stream:
                for sample in stream:
                    self._blocked_seconds += blocked
                    if self._plan.samples_path is not None:
                        self._samples.append(sample_record(sample))
                    self._tokens += sample.length
                    generating.advance()
                    self._generated_at = time.monotonic()
                    yield sample
                    # of the last one it is not added: nobody waited for it to go on
                    blocked = time.monotonic() - self._generated_at
        except ModelFault as fault:
            # Raised here it would stop those who judge, and they would drop what they have in hand.
            self._broken = fault

    def _judge(
        self, verifier: Verifier, samples: Iterable[Sample], judging: Stage
    ) -> list[Verdict]:
        """Judge answers as they come, write the verdicts down, return the faults."""
        faults = []
        with closing(_judge_all(verifier, samples)) as verdicts:
            for verdict in verdicts:
                if verdict.result is None:
                    faults.append(verdict)
                    continue
                self._passed += verdict.result.success and verdict.sample.id not in self._verified
                self._verified.append(verdict_record(verdict.sample, verdict.result))
                judging.advance(pass_rate=self._passed / len(self._verified.records))
        return faults


def _generate(engine: Engine, requests: list[Request], seed: int) -> Generator[Sample, None, None]:
    yield from engine.generate(requests, seed)


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
