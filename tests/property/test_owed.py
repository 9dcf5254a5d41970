"""Killed anywhere, any number of times: the end is that of an undisturbed run."""

from __future__ import annotations

import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self
from unittest import mock

import orjson
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from halo_forge.config.raft import AdaptiveSettings
from halo_forge.core.errors import VerifierFault
from halo_forge.core.types import Sample, Verdict
from halo_forge.rlvr.budget import Budget
from halo_forge.rlvr.rollout import Plan, collect
from halo_forge.store.records import Journal, read_records
from halo_forge.tracking.base import NullObserver
from tests.fakes import FakeEngine, FakeVerifier, make_prompt

Record = dict[str, Any]
_PROMPTS = tuple(make_prompt(name) for name in "abcd")
_SAMPLES = 3
_MOST = 9  # with a budget: waves of 2, so that prompts end after 2, 4, 6, 8 or 9
_WAVES = AdaptiveSettings(wave=2, enough=4, confidence=0.5, solved_rate=0.7, hopeless_rate=0.3)
_BUDGET = Budget(_WAVES, 0.5)
_PLACES = ("generate", "judge", "before append", "torn append", "after append")


@pytest.fixture(autouse=True, scope="module")
def _no_waiting_for_the_device() -> Iterator[None]:
    """Skip the flush: what is tested is what was written, thousands of times."""
    with mock.patch("os.fsync", return_value=None):
        yield


class _Killed(BaseException):
    """The process is gone."""


class _Attempt:
    """One attempt: dies at its ``nth`` passage of a place; some judgements fail for a while."""

    def __init__(self, place: str | None, nth: int, faults: dict[str, int]) -> None:
        self._place = place
        self._left = nth
        self._faults = faults
        self._lock = threading.Lock()
        self.generated: list[str] = []
        self.judged: list[str] = []

    def _pass(self, place: str) -> bool:
        """Tell whether this passage is the one to die at."""
        with self._lock:
            if place != self._place:
                return False
            self._left -= 1
            return self._left == 0

    def generate(self, name: str) -> None:
        if self._pass("generate"):
            raise _Killed
        self.generated.append(name)

    def judge(self, sample: Sample) -> None:
        if self._pass("judge"):
            raise _Killed
        with self._lock:
            self.judged.append(sample.id)
            if self._faults.get(sample.id, 0):
                self._faults[sample.id] -= 1
                raise VerifierFault("the sandbox died")

    def append(self, real: Callable[[Journal, Record], None]) -> Callable[[Journal, Record], None]:
        def appending(journal: Journal, record: Record) -> None:
            if self._pass("before append"):
                raise _Killed
            if self._pass("torn append"):
                line = orjson.dumps(record) + b"\n"
                journal._file.write(line[: len(line) * 2 // 3])
                raise _Killed
            real(journal, record)
            if self._pass("after append"):
                raise _Killed

        return appending

    def run(self, plan: Plan) -> tuple[Verdict, ...]:
        verifier = FakeVerifier(2, before=self.judge)
        with mock.patch.object(Journal, "append", self.append(Journal.append)):
            return collect(
                plan, lambda: FakeEngine(self.generate), verifier, NullObserver()
            ).verdicts


class _World:
    """A run directory, and the same run undisturbed."""

    def __init__(self, folder: Path, *, judged_only: bool, budget: Budget | None = None) -> None:
        self._budget = budget
        self.plan = self._plan(folder / "run", judged_only)
        self.calm = self._plan(folder / "calm", judged_only)

    @classmethod
    def at(cls, folder: str, *, judged_only: bool, budget: Budget | None = None) -> Self:
        return cls(Path(folder), judged_only=judged_only, budget=budget)

    def _plan(self, folder: Path, judged_only: bool) -> Plan:
        samples = None if judged_only else folder / "samples.jsonl"
        count = _MOST if self._budget else _SAMPLES
        verified = folder / "verified.jsonl"
        return Plan("cycle 1", _PROMPTS, count, 5, samples, verified, self._budget)


def _records(path: Path | None) -> dict[str, Record]:
    """Return the records by id, each of which must be there once."""
    records = list(read_records(path)) if path is not None else []
    by_id = {record["id"]: record for record in records}
    assert len(by_id) == len(records)
    return by_id


_deaths = st.lists(st.tuples(st.sampled_from(_PLACES), st.integers(1, 14)), max_size=4)
_ids = st.sampled_from([f"{p.id}#{i}" for p in _PROMPTS for i in range(_SAMPLES)])


@settings(max_examples=60, deadline=None)
@given(
    _deaths,
    st.dictionaries(_ids, st.integers(1, 6), max_size=3),
    st.booleans(),
    st.sampled_from([None, _BUDGET]),
)
def test_any_deaths_and_faults_end_alike(
    deaths: list[tuple[str, int]],
    faults: dict[str, int],
    judged_only: bool,
    budget: Budget | None,
) -> None:
    """Same records and verdicts as undisturbed; nothing on disk is generated or judged again."""
    with tempfile.TemporaryDirectory() as folder:
        world = _World.at(folder, judged_only=judged_only, budget=budget)
        expected = _Attempt(None, 0, {}).run(world.calm)
        faults = dict(faults)
        result = None
        for place, nth in [*deaths, *[(None, 0)] * 4]:
            on_disk = _records(world.plan.samples_path), _records(world.plan.verified_path)
            attempt = _Attempt(place, nth, faults)
            try:
                result = attempt.run(world.plan)
            except (_Killed, VerifierFault) as error:
                event(type(error).__name__)
            known = on_disk[1] if judged_only else on_disk[0]
            assert not known.keys() & set(attempt.generated)
            assert len(set(attempt.generated)) == len(attempt.generated)
            assert not on_disk[1].keys() & set(attempt.judged)
        assert result == expected
        assert _records(world.plan.samples_path) == _records(world.calm.samples_path)
        assert _records(world.plan.verified_path) == _records(world.calm.verified_path)


def test_the_budget_of_these_tests_ends_prompts_differently(tmp_path: Path) -> None:
    """Otherwise the property above would say nothing about waves."""
    verdicts = _Attempt(None, 0, {}).run(_World(tmp_path, judged_only=True, budget=_BUDGET).calm)
    counts = Counter(verdict.sample.prompt.id for verdict in verdicts)
    assert len(set(counts.values())) >= 3


@pytest.mark.parametrize("place", _PLACES)
def test_every_place_can_kill(tmp_path: Path, place: str) -> None:
    """Each kind of death happens, and leaves something owed that the next attempt does."""
    world = _World(tmp_path, judged_only=False)
    with pytest.raises(_Killed):
        _Attempt(place, 5, {}).run(world.plan)
    assert len(_records(world.plan.verified_path)) < len(_PROMPTS) * _SAMPLES
    last = _Attempt(None, 0, {})
    assert last.run(world.plan) == _Attempt(None, 0, {}).run(world.calm)
    assert last.judged
