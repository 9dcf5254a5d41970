"""What is sent is what is received, whatever bytes a program says."""

from __future__ import annotations

import json
import socket
import struct
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from halo_forge.sandbox import (
    Guarantee,
    Job,
    JobResult,
    Kept,
    Limits,
    Outcome,
    Status,
    Step,
    Warm,
    wire,
)
from halo_forge.sandbox.policy import Level

_argument = st.text(st.characters(exclude_characters="\0", categories=["L", "N", "Cs"]), min_size=1)
_steps = st.builds(
    Step,
    st.lists(_argument, min_size=1, max_size=3).map(tuple),
    st.binary(max_size=50),
    st.builds(Limits, cpu=st.floats(0.1, 100), memory=st.integers(1, 1 << 40)),
)
_names = st.text("abc._-", min_size=1, max_size=9).filter(lambda name: name.strip("."))
_files = st.dictionaries(_names, st.binary(max_size=50), max_size=3)
_words = st.lists(_argument, max_size=3).map(tuple)
_kept = st.builds(
    Kept, _names, _files, st.builds(Step, _words.filter(len)), st.just(("out",)), _words
)
_warm = st.builds(Warm, _names, _files, st.just(()), _argument, _words)
_jobs = st.builds(
    Job,
    _files,
    st.none() | _steps,
    st.lists(_steps, max_size=3).map(tuple),
    st.frozensets(st.sampled_from(Status)),
    st.none() | _kept,
    st.none() | _warm,
)
_outcomes = st.builds(
    Outcome,
    st.sampled_from(Status),
    st.none() | st.integers(0, 255),
    st.none() | st.integers(1, 64),
    st.binary(max_size=50),
    st.binary(max_size=50),
    st.floats(0, 100),
    st.floats(0, 100),
    st.integers(0, 1 << 50),
    st.integers(0, 1000),
)
_results = st.builds(JobResult, st.none() | _outcomes, st.lists(_outcomes, max_size=3).map(tuple))


def _through_a_socket(header: dict[str, object], blobs: list[bytes]) -> wire.Message:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        sender = threading.Thread(target=wire.send, args=(ours, header, blobs))
        sender.start()
        message = wire.receive(theirs)
        sender.join()
    return message


@given(_jobs)
def test_jobs_survive_the_journey(job: Job) -> None:
    """A job decodes to itself, lone surrogates and all."""
    assert wire.decode_job(*_through_a_socket(*wire.encode_job(job)), {}) == job


@given(_results)
def test_results_survive_the_journey(result: JobResult) -> None:
    """A result decodes to itself."""
    assert wire.decode_result(*_through_a_socket(*wire.encode_result(result))) == result


def test_guarantees_survive_the_journey() -> None:
    """Guarantees decode to themselves."""
    rows = (Guarantee("network", Level.ENFORCED, "by", "proof"),)
    assert wire.decode_guarantees(json.loads(json.dumps(wire.encode_guarantees(rows)))) == rows


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"\0" * 5,
        struct.pack("!IQ", 1 << 30, 0),
        struct.pack("!IQ", 2, 1 << 60) + b"{}",
        struct.pack("!IQ", 13, 0) + b'{"sizes": [1]',
        struct.pack("!IQ", 14, 0) + b'{"sizes": [1]}',
    ],
)
def test_nonsense_closes_the_channel(frame: bytes) -> None:
    """Cut, absurd and inconsistent frames are errors, and nothing big is allocated for them."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(frame)
        ours.close()
        with pytest.raises((wire.ChannelClosed, ValueError)):
            wire.receive(theirs)
