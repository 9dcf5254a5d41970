"""One pass over prompts: what is owed is generated and judged, at the same time, once."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from halo_forge.core.errors import ModelFault, StoreFault, VerifierFault
from halo_forge.core.types import Prompt, Sample, Verdict
from halo_forge.engines.base import Request
from halo_forge.rlvr import rollout as passes
from halo_forge.rlvr.rollout import Plan, collect, owed
from halo_forge.rlvr.verifiers.base import Verifier
from halo_forge.store.records import Journal, read_records
from tests.fakes import Diary, FakeEngine, FakeVerifier, Hook, make_prompt, tree

_PATIENCE = 300.0
_PROMPTS = (make_prompt("a"), make_prompt("b"), make_prompt("c"))


def _plan(folder: Path, *, judged_only: bool = False, samples: int = 2) -> Plan:
    return Plan(
        name="cycle 1",
        prompts=_PROMPTS,
        samples_per_prompt=samples,
        seed=11,
        samples_path=None if judged_only else folder / "samples.jsonl",
        verified_path=folder / "verified.jsonl",
    )


def _ids(path: Path) -> list[str]:
    return [record["id"] for record in read_records(path)]


def _must_not_open() -> FakeEngine:
    pytest.fail("the engine was opened although nothing was owed")


class _Once:
    """A hook that raises an error the first ``times`` times it sees an id."""

    def __init__(self, name: str, error: BaseException, times: int = 1) -> None:
        self._name = name
        self._error = error
        self.left = times
        self.seen: list[str] = []

    def __call__(self, what: str | Sample) -> None:
        name = what.id if isinstance(what, Sample) else what
        self.seen.append(name)
        if name == self._name and self.left:
            self.left -= 1
            raise self._error


def test_owed_is_plan_without_done() -> None:
    """Each missing index is asked for, in order; a prompt with none missing is not asked."""
    plan = Plan("x", _PROMPTS, 3, 0, None, Path("v"))
    requests = owed(plan, {"a#0", "a#1", "a#2", "b#1", "z#0"})
    assert requests == [Request(_PROMPTS[1], (0, 2)), Request(_PROMPTS[2], (0, 1, 2))]


def test_owed_does_not_mix_up_ids() -> None:
    """Ids that are beginnings of each other, or hold a #, stay apart."""
    prompts: list[Prompt] = [make_prompt("p"), make_prompt("p#1"), make_prompt("p#1#0")]
    plan = Plan("x", prompts, 2, 0, None, Path("v"))
    assert owed(plan, {"p#1#0"}) == [
        Request(prompts[0], (0, 1)),
        Request(prompts[1], (1,)),
        Request(prompts[2], (0, 1)),
    ]


@pytest.mark.parametrize("judged_only", [False, True])
def test_whole_pass(tmp_path: Path, judged_only: bool) -> None:
    """Every planned answer is generated, judged and on disk; the result is in the plan's order."""
    plan = _plan(tmp_path, judged_only=judged_only)
    rollout = collect(plan, FakeEngine, FakeVerifier(), Diary())
    wanted = [f"{p}#{i}" for p in "abc" for i in range(2)]
    assert [verdict.sample.id for verdict in rollout.verdicts] == wanted
    assert sorted(_ids(plan.verified_path)) == wanted
    assert (tmp_path / "samples.jsonl").exists() is not judged_only
    if plan.samples_path is not None:
        assert _ids(plan.samples_path) == wanted
    assert rollout.tokens == sum(len(v.sample.token_ids) for v in rollout.verdicts)
    assert rollout.generation_seconds >= 0
    assert rollout.verification_seconds >= 0
    for verdict in rollout.verdicts:
        assert verdict.result == FakeVerifier().verify(verdict.sample.completion)


def test_nothing_owed_opens_no_engine(tmp_path: Path) -> None:
    """The second call generates nothing, judges nothing, says nothing and changes no file."""
    plan = _plan(tmp_path)
    first = collect(plan, FakeEngine, FakeVerifier(), Diary())
    before = tree(tmp_path)
    diary = Diary()
    verifier = FakeVerifier(before=lambda sample: pytest.fail(f"{sample.id} was judged again"))
    again = collect(plan, _must_not_open, verifier, diary)
    assert again.verdicts == first.verdicts
    assert (again.tokens, again.generation_seconds, again.verification_seconds) == (0, 0, 0)
    assert diary.messages == diary.stages == []
    assert tree(tmp_path) == before


def test_only_judging_owed_opens_no_engine(tmp_path: Path) -> None:
    """Answers that are on disk are judged without loading a model."""
    plan = _plan(tmp_path)
    whole = collect(plan, FakeEngine, FakeVerifier(), Diary())
    plan.verified_path.unlink()
    diary = Diary()
    again = collect(plan, _must_not_open, FakeVerifier(), diary)
    assert again.verdicts == whole.verdicts
    assert again.generation_seconds >= 0
    assert diary.messages == ["cycle 1: Loading cached samples (6)..."]
    assert diary.stages == [("generate", 6, 6), ("verify", 6, 0)]


def test_more_samples_keep_the_first(tmp_path: Path) -> None:
    """Asking for more answers generates only the new ones, and the old ones stay as they were."""
    few = collect(_plan(tmp_path), FakeEngine, FakeVerifier(), Diary())
    asked: list[str] = []
    many = collect(
        _plan(tmp_path, samples=4), lambda: FakeEngine(asked.append), FakeVerifier(), Diary()
    )
    assert asked == ["a#2", "a#3", "b#2", "b#3", "c#2", "c#3"]
    assert [v for v in many.verdicts if v.sample.index < 2] == list(few.verdicts)


def test_progress_is_told(tmp_path: Path) -> None:
    """Both stages count every answer, and judging shows the share that passed so far."""
    diary = Diary()
    rollout = collect(_plan(tmp_path), FakeEngine, FakeVerifier(), diary)
    passed = sum(v.result.success for v in rollout.verdicts if v.result)
    assert [n for name, n, _ in diary.advances if name == "generate"] == [1] * 6
    shown = [info["pass_rate"] for name, _, info in diary.advances if name == "verify"]
    assert len(shown) == 6
    assert shown[-1] == pytest.approx(passed / 6)


@pytest.mark.parametrize("judged_only", [False, True])
def test_verification_overlaps_generation(tmp_path: Path, judged_only: bool) -> None:
    """The second answer is generated only after the first was judged, and yet it comes."""
    judged = threading.Event()

    def hold(name: str) -> None:
        if name == "a#1":
            assert judged.wait(_PATIENCE), "a#0 was not judged while a#1 was being generated"

    def note(sample: Sample) -> None:
        if sample.id == "a#0":
            judged.set()

    plan = _plan(tmp_path, judged_only=judged_only)
    rollout = collect(plan, lambda: FakeEngine(hold), FakeVerifier(before=note), Diary())
    assert len(rollout.verdicts) == 6


def test_generation_overlaps_verification(tmp_path: Path) -> None:
    """The first answer is judged only after the second was generated, and yet it is judged."""
    generated = threading.Event()

    def note(name: str) -> None:
        if name == "a#1":
            generated.set()

    def hold(sample: Sample) -> None:
        if sample.id == "a#0":
            assert generated.wait(_PATIENCE), "a#1 was not generated while a#0 was being judged"

    verifier = FakeVerifier(1, before=hold)
    collect(_plan(tmp_path), lambda: FakeEngine(note), verifier, Diary())
    assert generated.is_set()


def test_answers_do_not_pile_up(tmp_path: Path) -> None:
    """While the first answer is being judged, generation stops at the queue's bound."""
    generated: list[str] = []
    piled_up = threading.Event()
    seen: list[bool] = []

    def count(name: str) -> None:
        generated.append(name)
        if len(generated) > 12:
            piled_up.set()

    def hold(sample: Sample) -> None:
        if sample.id == "a#0":
            seen.append(piled_up.wait(0.5))

    plan = _plan(tmp_path, samples=20)
    collect(plan, lambda: FakeEngine(count), FakeVerifier(1, before=hold), Diary())
    assert len(generated) == 60
    assert seen == [False]


def test_fault_that_goes_away_is_judged_later(tmp_path: Path) -> None:
    """A fault in the first round is tried again at the end, and the pass is whole."""
    trouble = _Once("b#0", VerifierFault("the sandbox died"), times=2)
    diary = Diary()
    rollout = collect(_plan(tmp_path), FakeEngine, FakeVerifier(before=trouble), diary)
    assert [v.sample.id for v in rollout.verdicts if v.fault] == []
    assert len(rollout.verdicts) == 6
    assert diary.messages == ["cycle 1: judging 1 samples again after a fault"]


def test_fault_that_stays_is_no_verdict(tmp_path: Path) -> None:
    """The run stops, names the answer and the reason, and scores nothing in its place."""
    trouble = _Once("b#0", VerifierFault("g++ is gone"), times=1000)
    plan = _plan(tmp_path)
    with pytest.raises(VerifierFault, match="1 of the answers could not be judged") as caught:
        collect(plan, FakeEngine, FakeVerifier(before=trouble), Diary())
    assert "b#0: g++ is gone" in str(caught.value)
    assert "run the same command again" in str(caught.value)
    assert sorted(_ids(plan.verified_path)) == ["a#0", "a#1", "b#1", "c#0", "c#1"]

    judged: list[str] = []
    verifier = FakeVerifier(before=lambda sample: judged.append(sample.id))
    mended = collect(plan, _must_not_open, verifier, Diary())
    assert judged == ["b#0"]
    assert len(mended.verdicts) == 6


def test_broken_plug_in_is_a_fault_too(tmp_path: Path) -> None:
    """An exception in a verifier's code is not the model's failure."""
    trouble = _Once("a#0", ZeroDivisionError("oops"), times=1000)
    with pytest.raises(VerifierFault, match="a#0: the verifier broke: ZeroDivisionError: oops"):
        collect(_plan(tmp_path), FakeEngine, FakeVerifier(before=trouble), Diary())


class _Interrupt(BaseException):
    """Ends a run as Ctrl-C does."""


def _journal_breaks(patch: pytest.MonkeyPatch, name: str) -> None:
    append = Journal.append

    def failing(self: Journal, record: dict[str, object]) -> None:
        if "success" in record and record["id"] == name:
            raise StoreFault("no space left")
        append(self, record)

    patch.setattr(Journal, "append", failing)


@pytest.mark.parametrize("how", ["verifier", "journal"])
def test_engine_is_closed_when_judging_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """When judging ends the pass, the generator and the engine are closed before the error."""
    engine = FakeEngine()
    trouble = _Once("a#0", _Interrupt())
    verifier = FakeVerifier(1, before=trouble) if how == "verifier" else FakeVerifier(1)
    with monkeypatch.context() as patch:
        if how == "journal":
            _journal_breaks(patch, "a#0")
        with pytest.raises(_Interrupt if how == "verifier" else StoreFault):
            collect(_plan(tmp_path, samples=40), lambda: engine, verifier, Diary())
    assert not engine.open
    assert engine.orderly
    assert len(_ids(tmp_path / "samples.jsonl")) < 120
    rollout = collect(_plan(tmp_path, samples=40), FakeEngine, FakeVerifier(), Diary())
    assert len(rollout.verdicts) == 120


@pytest.mark.parametrize("name", ["a#0", "b#1", "c#1"])
def test_engine_that_fails_loses_nothing(tmp_path: Path, name: str) -> None:
    """What was generated before an engine's error is on disk, and not generated again."""
    plan = _plan(tmp_path)
    trouble = _Once(name, _Interrupt())
    engine = FakeEngine(trouble)
    with pytest.raises(_Interrupt):
        collect(plan, lambda: engine, FakeVerifier(), Diary())
    assert not engine.open
    assert plan.samples_path is not None
    assert _ids(plan.samples_path) == trouble.seen[:-1]
    collect(plan, lambda: FakeEngine(trouble), FakeVerifier(), Diary())
    assert sorted(trouble.seen) == sorted([*[f"{p}#{i}" for p in "abc" for i in range(2)], name])


@pytest.mark.parametrize("judged_only", [False, True])
def test_engine_that_gives_up_keeps_what_it_gave(tmp_path: Path, judged_only: bool) -> None:
    """After an engine's own fault the answers in hand are judged and written; then it is raised."""
    given_up = threading.Event()

    def give_up(name: str) -> None:
        if name == "b#1":
            given_up.set()
            raise ModelFault("the server is gone")

    def slow(sample: Sample) -> None:
        assert given_up.wait(_PATIENCE)

    plan = _plan(tmp_path, judged_only=judged_only)
    engine = FakeEngine(give_up)
    with pytest.raises(ModelFault, match="the server is gone"):
        collect(plan, lambda: engine, FakeVerifier(before=slow), Diary())
    assert not engine.open
    assert sorted(_ids(plan.verified_path)) == ["a#0", "a#1", "b#0"]
    asked: list[str] = []
    collect(plan, lambda: FakeEngine(asked.append), FakeVerifier(), Diary())
    assert asked == ["b#1", "c#0", "c#1"]


class _NeverOpens(FakeEngine):
    def __enter__(self) -> FakeEngine:
        raise StoreFault("out of memory")


def test_engine_that_cannot_be_opened(tmp_path: Path) -> None:
    """Answers on disk are judged first; then the engine's own error is what one sees."""
    plan = _plan(tmp_path)
    hook: Hook = _Once("b#0", _Interrupt())
    with pytest.raises(_Interrupt):
        collect(plan, lambda: FakeEngine(hook), FakeVerifier(), Diary())
    with pytest.raises(StoreFault, match="out of memory"):
        collect(plan, _NeverOpens, FakeVerifier(), Diary())


class _Clock:
    """Seconds that pass only where a test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(passes.time, "monotonic", lambda: self.now)

    def spend(self, seconds: float) -> None:
        self.now += seconds


def test_what_judging_adds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Time before the last answer in which the engine was kept waiting, and all time after it."""
    clock = _Clock(monkeypatch)

    def judge(verifier: Verifier, samples: Iterable[Sample]) -> Iterator[Verdict]:
        for sample in samples:
            clock.spend(0.25)
            yield Verdict(sample, result=verifier.judge(sample))
            clock.spend(1.0)
        clock.spend(4.0)

    monkeypatch.setattr(passes, "judge_all", judge)
    engine = FakeEngine(lambda name: clock.spend(10.0))
    found = collect(_plan(tmp_path), lambda: engine, FakeVerifier(), Diary())
    assert found.blocked_seconds == 5 * 1.25
    assert found.generation_seconds == 6 * 10 + found.blocked_seconds
    assert found.verification_seconds == 1.25 + 4
    assert found.added_seconds == 5 * 1.25 + 1.25 + 4


def test_full_queue_is_told(tmp_path: Path) -> None:
    """While the queue is full nothing is generated, and that time is added to what judging cost."""
    generated: list[str] = []

    def hold(sample: Sample) -> None:
        time.sleep(0.02)

    verifier = FakeVerifier(1, before=hold)
    plan = _plan(tmp_path, samples=10)
    found = collect(plan, lambda: FakeEngine(generated.append), verifier, Diary())
    # thirty answers, one worker: all but the four in hand at the end were waited for
    assert found.blocked_seconds >= 20 * 0.02
    assert found.generation_seconds >= found.blocked_seconds
