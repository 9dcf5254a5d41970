"""Real runs through the real command line: start one, watch it, end it, and read what it left."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from halo_forge.core.identity import derive_seed
from halo_forge.data.prompts import load_prompts
from halo_forge.rlvr.selection import select
from halo_forge.store.codec import verdict_from_record
from halo_forge.store.records import read_records
from halo_forge.store.run_dir import RunDir
from tests.needs import lacking

SEED, THRESHOLD, KEEP, SAMPLES = 7, 0.0, 1.0, 4
PROMPTS = """\
{"id": "hello", "prompt": "Write a C++ program that prints hello. Answer with one short code block \
and nothing else.", "language": "cpp", "tests": [{"input": "", "expected": "hello\\n"}]}
{"id": "seven", "prompt": "Write a C++ program that prints the number 7. Answer with one short \
code block and nothing else.", "language": "cpp", "tests": [{"input": "", "expected": "7\\n"}]}
"""
# Three epochs over the few kept answers make a training phase of some seconds.
SETTINGS = {
    "seed": SEED,
    "raft.num_cycles": 1,
    "raft.samples_per_prompt": SAMPLES,
    "raft.reward_threshold": THRESHOLD,
    "raft.keep_top_percent": KEEP,
    "generation.max_new_tokens": 80,
    "training.learning_rate": 5e-4,
    "training.batch_size": 1,
    "training.gradient_accumulation_steps": 1,
    "training.epochs": 3,
    "hardware.device": "cpu",
    "hardware.gradient_checkpointing": "false",
    "report_to": "[]",
}
TOTAL = 2 * SAMPLES
HALO = [sys.executable, "-m", "halo_forge"]
_PATIENCE = 600.0
_POLL = 0.002


@dataclass(frozen=True)
class Journey:
    """What a finished run holds."""

    samples: dict[str, dict[str, Any]]
    verdicts: dict[str, tuple[bool, float, str]]
    kept: list[str]
    statistics: dict[str, Any]
    adapter: dict[str, Any]


class Attempt:
    """One process of `halo-forge raft train`, and everything that it started.

    Args:
        run: Run directory.
        temporary: Folder for what the process keeps while it runs.
        settings: Assignments that replace those every run has.
        progress: How it shows its progress.
    """

    def __init__(
        self, run: Path, temporary: Path, settings: dict[str, Any], progress: str = "plain"
    ) -> None:
        temporary.mkdir(exist_ok=True)
        (run.parent / "prompts.jsonl").write_text(PROMPTS, encoding="utf-8")
        self.run = RunDir(run)
        self.log = run.parent / f"{run.name}-{time.monotonic_ns()}.log"
        self._temporary = temporary
        assigned = {"prompts": run.parent / "prompts.jsonl", "output_dir": run, **settings}
        flags = [word for pair in assigned.items() for word in ("--set", "{}={}".format(*pair))]
        with self.log.open("wb") as log:
            self.process = psutil.Popen(
                [*HALO, "raft", "train", "--progress", progress, *flags],
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                env={
                    **os.environ,
                    "HF_HUB_OFFLINE": "1",
                    # Waiting threads that spin starve a busy machine.
                    "OMP_WAIT_POLICY": "PASSIVE",
                    "TMPDIR": str(temporary),
                    "COLUMNS": "200",
                },
            )

    @property
    def said(self) -> str:
        """Everything it has printed so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def wait(self) -> int:
        """Wait for the end and return the exit code."""
        return self.process.wait(_PATIENCE)

    def until(self, happened: Callable[[], bool]) -> None:
        """Wait until something has happened while the process lives."""
        end = time.monotonic() + _PATIENCE
        while not happened():
            assert self.process.poll() is None, f"ended too early:\n{self.said}"
            assert time.monotonic() < end, f"waited in vain:\n{self.said}"
            time.sleep(_POLL)

    def kill(self) -> list[psutil.Process]:
        """Kill it without warning; return the processes it had started."""
        children = self.process.children(recursive=True)
        self.process.send_signal(signal.SIGKILL)
        assert self.process.wait(10) == -signal.SIGKILL
        return children

    def survivors(self, children: list[psutil.Process], seconds: float = 15.0) -> list[str]:
        """Return what still runs of it after some seconds, children and their children."""
        _, alive = psutil.wait_procs(children, timeout=seconds)
        lines = {process.pid: str(process) for process in alive if process.is_running()}
        for process in psutil.process_iter(["cmdline"]):
            if any(str(self._temporary) in word for word in process.info["cmdline"] or ()):
                lines[process.pid] = str(process)
        return list(lines.values())

    def count(self, path: Path) -> int:
        """Return the whole lines of a journal so far."""
        return path.read_bytes().count(b"\n") if path.exists() else 0

    @property
    def generated(self) -> int:
        """Answers on the disk."""
        return self.count(self.run.samples_path(1))

    @property
    def judged(self) -> int:
        """Verdicts on the disk."""
        return self.count(self.run.verified_path(1))


@pytest.fixture(scope="session")
def begin() -> Iterator[Callable[..., Attempt]]:
    """Start a run in a directory; whatever is still running at the end is killed."""
    attempts: list[Attempt] = []

    def start(run: Path, progress: str = "plain", **settings: Any) -> Attempt:
        dotted = {key.replace("__", "."): value for key, value in settings.items()}
        attempt = Attempt(run, run.parent / "temporary", SETTINGS | dotted, progress)
        attempts.append(attempt)
        return attempt

    yield start
    for attempt in attempts:
        if attempt.process.poll() is None:
            attempt.kill()


def _journey(run: RunDir) -> Journey:
    from safetensors.torch import load_file

    prompts = {prompt.id: prompt for prompt in load_prompts(run.prompts_path)}
    samples = list(read_records(run.samples_path(1)))
    judged = list(read_records(run.verified_path(1)))
    for records in (samples, judged):
        assert len({record["id"] for record in records}) == len(records) == TOTAL
    kept = select(
        [verdict_from_record(record, prompts) for record in judged],
        threshold=THRESHOLD,
        keep=KEEP,
        seed=derive_seed(SEED, "select", 1),
    )
    (statistics,) = run.read_statistics()
    return Journey(
        samples={
            r["id"]: {k: r[k] for k in ("token_ids", "logprobs", "prompt_ids", "finish_reason")}
            for r in samples
        },
        verdicts={r["id"]: (r["success"], r["reward"], r["details"]) for r in judged},
        kept=[verdict.sample.id for verdict in kept],
        statistics=statistics,
        adapter=load_file(run.checkpoint_path(1) / "adapter_model.safetensors"),
    )


@pytest.fixture(scope="session")
def journey() -> Callable[[RunDir], Journey]:
    """Read a finished run; the kept set is worked out anew from the journal."""
    return _journey


@pytest.fixture(scope="session")
def undisturbed(begin, tmp_path_factory) -> Journey:
    """A run that nobody disturbs, once for all tests."""
    if shutil.which("g++") is None:
        lacking("g++ is not installed")
    attempt = begin(tmp_path_factory.mktemp("undisturbed") / "run")
    assert attempt.wait() == 0, attempt.said
    return _journey(attempt.run)
