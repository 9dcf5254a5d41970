"""Messages between the client, the broker and the workers: a JSON header and raw bytes.

Frame: 4 bytes header length, 8 bytes body length (network order), header, body. The header's
``sizes`` cut the body into blobs. Nothing is ever unpickled or evaluated.
"""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Container, Mapping, MutableMapping, Sequence
from typing import Any

from halo_forge.sandbox.policy import (
    Guarantee,
    Job,
    JobResult,
    Kept,
    Level,
    Limits,
    Outcome,
    Status,
    Step,
    Warm,
)

__all__ = [
    "ChannelClosed",
    "Message",
    "decode_guarantees",
    "decode_job",
    "decode_result",
    "decode_step",
    "decode_warm",
    "encode_guarantees",
    "encode_job",
    "encode_result",
    "encode_step",
    "encode_warm",
    "receive",
    "send",
]

Message = tuple[dict[str, Any], list[bytes]]

_PREFIX = struct.Struct("!IQ")
_MAX_HEADER = 16 << 20
_MAX_BODY = 4 << 30
_AT_ONCE = 1 << 20


class ChannelClosed(ConnectionError):
    """The other side is gone, or sent something that is not a frame."""


def send(channel: socket.socket, header: Mapping[str, Any], blobs: Sequence[bytes] = ()) -> None:
    """Send one frame, blocking until the whole of it is on its way."""
    sizes = [len(blob) for blob in blobs]
    head = json.dumps({**header, "sizes": sizes}).encode()
    frame = _PREFIX.pack(len(head), sum(sizes)) + head
    if sum(sizes) <= _AT_ONCE:
        channel.sendall(b"".join([frame, *blobs]))
        return
    channel.sendall(frame)
    for blob in blobs:
        channel.sendall(blob)


def receive(channel: socket.socket) -> Message:
    """Receive one frame as its header and its blobs.

    Raises:
        ChannelClosed: At end of file, in the middle of a frame, or when the frame is absurd.
    """
    header_size, body_size = _PREFIX.unpack(_read(channel, _PREFIX.size))
    if header_size > _MAX_HEADER or body_size > _MAX_BODY:
        raise ChannelClosed(f"frame of {header_size} + {body_size} bytes")
    header: dict[str, Any] = json.loads(_read(channel, header_size))
    sizes = header.pop("sizes")
    if sum(sizes) != body_size:
        raise ChannelClosed("the sizes of a frame do not add up")
    return header, [_read(channel, size) for size in sizes]


def _read(channel: socket.socket, size: int) -> bytes:
    data = bytearray(size)
    view, got = memoryview(data), 0
    while got < size:
        count = channel.recv_into(view[got:])
        if count == 0:
            raise ChannelClosed("the channel was closed")
        got += count
    return bytes(data)


def encode_step(step: Step) -> tuple[dict[str, Any], bytes]:
    """Return a step as a JSON object and its standard input."""
    limits = {name: getattr(step.limits, name) for name in Limits.__slots__}
    return {"argv": list(step.argv), "limits": limits}, step.stdin


def decode_step(header: Mapping[str, Any], stdin: bytes = b"") -> Step:
    """Invert `encode_step`."""
    return Step(tuple(header["argv"]), stdin, Limits(**header["limits"]))


def encode_job(job: Job, known: Container[str] = ()) -> Message:
    """Return a job as a header and blobs: the standard inputs, then the files.

    Args:
        job: The job.
        known: Keys of what is warm that the other side has been told before.
    """
    steps = [encode_step(step) for step in job.steps]
    header = {
        "names": list(job.files),
        "build": job.build is not None,
        "steps": [head for head, _ in steps],
        "stop": sorted(job.stop_on),
    }
    blobs = [*(stdin for _, stdin in steps), *job.files.values()]
    if job.kept is not None:
        head, _ = encode_step(job.kept.build)
        kept = {"key": job.kept.key, "step": head, "files": list(job.kept.files)}
        header["kept"] = {**kept, "names": job.kept.names, "flags": job.kept.flags}
        blobs += job.kept.files.values()
    if job.warm is not None and job.warm.key in known:
        header["warm"] = {"key": job.warm.key}
    elif job.warm is not None:
        header["warm"], files = encode_warm(job.warm)
        blobs += files
    return header, blobs


def decode_job(
    header: Mapping[str, Any], blobs: Sequence[bytes], known: MutableMapping[str, Warm]
) -> Job:
    """Invert `encode_job`, and remember in ``known`` what is warm."""
    heads = header["steps"]
    steps = [decode_step(head, blob) for head, blob in zip(heads, blobs, strict=False)]
    build = steps.pop(0) if header["build"] else None
    names = header["names"]
    files = dict(zip(names, blobs[len(heads) :], strict=False))
    rest = blobs[len(heads) + len(names) :]
    warm = None
    if "warm" in header:
        head = header["warm"]
        if head["key"] not in known:
            end = len(rest) - len(head["files"]) - len(head["cold"])
            known[head["key"]] = decode_warm(head, rest[end:])
            rest = rest[:end]
        warm = known[head["key"]]
    kept = _decode_kept(header.get("kept"), rest)
    stop = frozenset(map(Status, header["stop"]))
    return Job(files, build, tuple(steps), stop_on=stop, kept=kept, warm=warm)


def _decode_kept(header: Mapping[str, Any] | None, blobs: Sequence[bytes]) -> Kept | None:
    if header is None:
        return None
    return Kept(
        key=header["key"],
        files=dict(zip(header["files"], blobs, strict=True)),
        build=decode_step(header["step"]),
        names=tuple(header["names"]),
        flags=tuple(header["flags"]),
    )


def encode_warm(warm: Warm) -> Message:
    """Return what is warm as a header and the contents of its files."""
    header = {name: getattr(warm, name) for name in Warm.__slots__}
    names = {"files": list(warm.files), "cold": list(warm.cold)}
    return {**header, **names}, [*warm.files.values(), *warm.cold.values()]


def decode_warm(header: Mapping[str, Any], blobs: Sequence[bytes]) -> Warm:
    """Invert `encode_warm`."""
    names, cold = header["files"], header["cold"]
    return Warm(
        key=header["key"],
        files=dict(zip(names, blobs, strict=False)),
        argv=tuple(header["argv"]),
        main=header["main"],
        prepare=tuple(header["prepare"]),
        cold=dict(zip(cold, blobs[len(names) :], strict=True)),
    )


def encode_result(result: JobResult) -> Message:
    """Return a result as a header and blobs: standard output and error of each outcome."""
    outcomes = result.runs if result.build is None else (result.build, *result.runs)
    numbers = [
        [o.status.value, o.code, o.signal, o.cpu, o.wall, o.rss, o.leftovers] for o in outcomes
    ]
    blobs = [blob for o in outcomes for blob in (o.stdout, o.stderr)]
    return {"build": result.build is not None, "outcomes": numbers}, blobs


def decode_result(header: Mapping[str, Any], blobs: Sequence[bytes]) -> JobResult:
    """Invert `encode_result`."""
    outcomes = []
    for i, (status, code, signal, cpu, wall, rss, left) in enumerate(header["outcomes"]):
        out, err = blobs[2 * i], blobs[2 * i + 1]
        outcomes.append(Outcome(Status(status), code, signal, out, err, cpu, wall, rss, left))
    build = outcomes.pop(0) if header["build"] else None
    return JobResult(build, tuple(outcomes))


def encode_guarantees(guarantees: Sequence[Guarantee]) -> list[list[str]]:
    """Return guarantees as JSON rows."""
    return [[g.name, g.level.value, g.by, g.proof] for g in guarantees]


def decode_guarantees(rows: Sequence[Sequence[str]]) -> tuple[Guarantee, ...]:
    """Invert `encode_guarantees`."""
    return tuple(Guarantee(name, Level(level), by, proof) for name, level, by, proof in rows)
