"""Ctrl-C: the run ends soon, says how to go on, and goes on."""

import signal
import time

import pytest

from halo_forge.store.records import read_records

pytestmark = [pytest.mark.model, pytest.mark.toolchain("g++"), pytest.mark.timeout(1500)]


def test_ctrl_c_and_on(begin, undisturbed, journey, tmp_path):
    """An interrupted run keeps what is done, and the same command brings it to the same end."""
    attempt = begin(tmp_path / "run")
    attempt.until(lambda: attempt.generated >= 1)
    children = attempt.process.children(recursive=True)
    assert len(children) >= 2  # the sandbox's broker and a worker
    started = time.monotonic()
    attempt.process.send_signal(signal.SIGINT)
    assert attempt.wait() == 130
    assert time.monotonic() - started < 15
    assert attempt.survivors(children, seconds=5) == []
    assert attempt.said.count("halo-forge: interrupted") == 1
    assert "the same command goes on from there" in attempt.said
    assert "Traceback" not in attempt.said
    early = [record["id"] for record in read_records(attempt.run.samples_path(1))]
    assert 1 <= len(early) < len(undisturbed.samples)
    assert attempt.run.samples_path(1).read_bytes().endswith(b"\n")
    assert not list((tmp_path / "temporary").glob("halo-forge-*"))  # the sandbox's scratch

    attempt = begin(tmp_path / "run")
    assert attempt.wait() == 0, attempt.said
    assert f"Loading cached samples ({len(early)})" in attempt.said
    whole = journey(attempt.run)
    assert list(whole.samples)[: len(early)] == early
    assert whole.samples == undisturbed.samples
    assert whole.verdicts == undisturbed.verdicts
    assert whole.kept == undisturbed.kept
