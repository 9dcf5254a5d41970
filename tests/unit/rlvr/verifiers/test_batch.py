"""Many answers: in order or as they complete, each distinct one once, faults as records."""

from __future__ import annotations

import threading
import time
from collections import Counter

import pytest

from halo_forge.core.errors import VerifierFault
from halo_forge.rlvr.verifiers import Verifier, VerifyResult
from halo_forge.rlvr.verifiers.batch import FaultRecord, judge_all


class Echo(Verifier):
    """Rewards an answer that is a number with it; counts calls; breaks on request."""

    def __init__(self, max_workers: int | None = None) -> None:
        super().__init__(max_workers)
        self.calls: Counter[str] = Counter()
        self.lock = threading.Lock()

    def verify(self, code: str) -> VerifyResult:
        with self.lock:
            self.calls[code] += 1
            count = self.calls[code]
        if code == "fault" or (code == "flaky" and count == 1):
            raise VerifierFault("no compiler")
        if code == "bug":
            raise KeyError("oops")
        if code == "slow":
            time.sleep(0.3)
        return VerifyResult(True, 0.5 if code in {"flaky", "slow"} else float(code))


@pytest.mark.parametrize("workers", [1, 4])
def test_batch_keeps_order(workers: int) -> None:
    """Results come in the order of the answers, whoever was faster."""
    codes = ["slow", "0.1", "0.2", "0.1", "0.3"]
    results = Echo(workers).verify_batch(codes)
    assert [result.reward for result in results] == [0.5, 0.1, 0.2, 0.1, 0.3]


def test_batch_turns_faults_into_records() -> None:
    """A fault costs one answer its verdict and the others nothing; it has no reward."""
    first, second, third = Echo(2).verify_batch(["0.1", "fault", "bug"])
    assert first.reward == 0.1
    assert second == FaultRecord("no compiler")
    assert third == FaultRecord("the verifier broke: KeyError: 'oops'")
    assert not hasattr(second, "reward")


def test_batch_needs_a_prompt_for_each_answer() -> None:
    """A shorter list of prompts is a mistake, not a smaller batch."""
    with pytest.raises(ValueError, match="shorter"):
        Echo().verify_batch(["0.1", "0.2"], ["p"])


def test_empty_batch() -> None:
    """No answers, no verdicts."""
    assert Echo().verify_batch([]) == []


def test_equal_work_is_done_once(make_sample) -> None:
    """Equal answers to one prompt are judged once, to two prompts twice."""
    verifier = Echo(2)
    samples = [make_sample("0.5", index=i) for i in range(20)] + [make_sample("0.5", id="p2")]
    verdicts = list(judge_all(verifier, samples))
    assert sorted(v.sample.id for v in verdicts) == sorted(s.id for s in samples)
    assert {v.result.reward for v in verdicts} == {0.5}
    assert verifier.calls["0.5"] == 2


def test_fault_is_tried_again(make_sample) -> None:
    """A fault that passes is no fault; one that stays is a verdict without a result."""
    verifier = Echo(2)
    flaky, fault = judge_all(verifier, [make_sample("flaky"), make_sample("fault")])
    if flaky.fault:
        flaky, fault = fault, flaky
    assert flaky.result.reward == 0.5
    assert (fault.result, fault.fault) == (None, "no compiler")
    assert verifier.calls == {"flaky": 2, "fault": 2}


def test_verdicts_stream(make_sample) -> None:
    """Verdicts come out while samples still come in, and reading waits when the queue is full."""
    read = 0

    def samples():
        nonlocal read
        for index in range(50):
            read += 1
            yield make_sample(f"0.{index:02}")

    stream = judge_all(Echo(1), samples())
    next(stream)
    assert read <= 6
    assert len(list(stream)) == 49


@pytest.mark.parametrize("equal", [False, True])
@pytest.mark.parametrize("workers", [1, 3])
def test_no_more_than_four_for_each_worker_are_in_hand(make_sample, equal, workers) -> None:
    """Samples read and not yet judged have a bound, also where all wait for one verdict."""
    go_on = threading.Event()
    read = 0

    class Slow(Echo):
        def verify(self, code: str) -> VerifyResult:
            go_on.wait(60)
            return super().verify(code)

    def samples():
        nonlocal read
        for index in range(40):
            read += 1
            if read == 4 * workers:
                threading.Timer(0.2, go_on.set).start()
            assert go_on.is_set() or read <= 4 * workers
            yield make_sample("0.5" if equal else f"0.{index:02}", index=index)

    assert len(list(judge_all(Slow(workers), samples()))) == read == 40


def test_stream_can_be_left(make_sample) -> None:
    """Closing the stream early cancels what has not begun."""
    verifier = Echo(1)
    stream = judge_all(verifier, [make_sample(text) for text in ("0.1", "slow", "0.2", "0.3")])
    next(stream)
    stream.close()
    assert sum(verifier.calls.values()) < 4
