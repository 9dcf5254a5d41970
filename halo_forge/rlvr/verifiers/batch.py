"""Judging many answers at once: the one place where a fault becomes a record.

Everything below this door raises; everything above it reads `Verdict` or `FaultRecord`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Generic, TypeVar

from halo_forge.core.errors import HaloForgeError
from halo_forge.core.types import Prompt, Sample, Verdict, VerifyResult

if TYPE_CHECKING:
    from halo_forge.rlvr.verifiers.base import Verifier

__all__ = ["FaultRecord", "judge_all", "verify_each"]

_QUEUE_PER_WORKER = 4
"""Samples in hand for each worker, the one being judged included."""
_ATTEMPTS = 2

_Tag = TypeVar("_Tag")


@dataclass(frozen=True, slots=True)
class FaultRecord:
    """An answer that could not be judged. It has no reward on purpose.

    Attributes:
        fault: What went wrong on our side, and how to mend it.
    """

    fault: str


def judge_all(verifier: Verifier, samples: Iterable[Sample]) -> Iterator[Verdict]:
    """Judge samples as they arrive and yield a verdict for each, in the order of completion.

    ``samples`` is read on the caller's thread while earlier samples are judged on others. Reading
    pauses while four samples for each of the verifier's workers are in hand, read and not yet
    judged, so whoever makes them cannot run away from those who judge them. Samples with the same
    `Verifier.identity` are judged once. A fault is tried a second time before it becomes a verdict.
    """
    work = (_Work(verifier.identity(s), s, partial(verifier.judge, s)) for s in samples)
    for sample, judgement in _Crew[Sample](verifier.max_workers).stream(work):
        if isinstance(judgement, FaultRecord):
            yield Verdict(sample, fault=judgement.fault)
        else:
            yield Verdict(sample, result=judgement)


def verify_each(
    verifier: Verifier, answers: Sequence[tuple[str, Prompt | None]]
) -> list[VerifyResult | FaultRecord]:
    """Judge answers in parallel and return judgements or fault records in their order."""
    work = (_answer_work(verifier, index, *answer) for index, answer in enumerate(answers))
    found = dict(_Crew[int](verifier.max_workers).stream(work))
    return [found[index] for index in range(len(answers))]


@dataclass(frozen=True, slots=True)
class _Work(Generic[_Tag]):
    """One call, who asked for it, and what its answer depends on."""

    identity: Hashable
    tag: _Tag
    call: Callable[[], VerifyResult]


def _answer_work(verifier: Verifier, index: int, code: str, prompt: Prompt | None) -> _Work[int]:
    if prompt is None:
        return _Work(code, index, partial(verifier.verify, code))
    sample = Sample(prompt, index, code)
    return _Work(verifier.identity(sample), index, partial(verifier.judge, sample))


def _attempt(call: Callable[[], VerifyResult]) -> VerifyResult | FaultRecord:
    """Call, a second time after a fault, and turn the last fault into a record."""
    fault = ""
    for _ in range(_ATTEMPTS):
        try:
            return call()
        except HaloForgeError as error:
            fault = str(error)
        except Exception as error:  # noqa: BLE001 - a plug-in's bug is a fault of one sample, not the end of a run
            fault = f"the verifier broke: {type(error).__name__}: {error}"
    return FaultRecord(fault)


class _Crew(Generic[_Tag]):
    """Threads that do each distinct piece of work once and hand out its answer to all who ask."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._known: dict[Hashable, VerifyResult] = {}
        self._running: dict[Hashable, list[_Tag]] = {}
        self._in_hand = 0
        self._pending: dict[Future[VerifyResult | FaultRecord], Hashable] = {}

    def stream(
        self, work: Iterable[_Work[_Tag]]
    ) -> Iterator[tuple[_Tag, VerifyResult | FaultRecord]]:
        """Yield (tag, judgement) for each piece of work, as they complete."""
        bound = self._workers * _QUEUE_PER_WORKER
        with ThreadPoolExecutor(self._workers, thread_name_prefix="verifier") as pool:
            try:
                for item in work:
                    if item.identity in self._known:
                        yield item.tag, self._known[item.identity]
                        continue
                    self._enlist(pool, item)
                    yield from self._collect(block=self._in_hand >= bound)
                while self._pending:
                    yield from self._collect(block=True)
            finally:
                for future in self._pending:
                    future.cancel()

    def _enlist(self, pool: ThreadPoolExecutor, item: _Work[_Tag]) -> None:
        self._in_hand += 1
        if item.identity in self._running:
            self._running[item.identity].append(item.tag)
            return
        self._running[item.identity] = [item.tag]
        self._pending[pool.submit(_attempt, item.call)] = item.identity

    def _collect(self, *, block: bool) -> Iterator[tuple[_Tag, VerifyResult | FaultRecord]]:
        done = wait(self._pending, timeout=None if block else 0, return_when=FIRST_COMPLETED).done
        for future in done:
            identity = self._pending.pop(future)
            judgement = future.result()
            if not isinstance(judgement, FaultRecord):
                self._known[identity] = judgement
            tags = self._running.pop(identity)
            self._in_hand -= len(tags)
            for tag in tags:
                yield tag, judgement
