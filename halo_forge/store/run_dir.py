"""The run directory: every file name in one place, and the guard against mixing configurations."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from filelock import FileLock, Timeout

from halo_forge.core.errors import StoreFault, UserError
from halo_forge.store.atomic import disk_errors, write_text
from halo_forge.utils.text import json_kind

__all__ = ["CARD", "RunDir", "difference"]

CARD = "README.md"
"""Name of the model card in a checkpoint."""

_SHOWN = 12


@dataclass(frozen=True, slots=True)
class RunDir:
    """Paths of one run, and reading and writing of its small files.

    Args:
        path: The directory; need not exist yet.
    """

    path: Path

    @property
    def config_path(self) -> Path:
        """Resolved configuration, re-runnable."""
        return self.path / "config.yaml"

    @property
    def run_json(self) -> Path:
        """What the run depends on, and the machine it ran on."""
        return self.path / "run.json"

    @property
    def prompts_path(self) -> Path:
        """Training prompts as they were read."""
        return self.path / "prompts.jsonl"

    @property
    def eval_prompts_path(self) -> Path:
        """Held-out prompts as they were read."""
        return self.path / "eval_prompts.jsonl"

    @property
    def statistics_path(self) -> Path:
        """One record a cycle."""
        return self.path / "raft_statistics.json"

    @property
    def metrics_path(self) -> Path:
        """Figures for trackers, one line a step."""
        return self.path / "metrics.jsonl"

    @property
    def tensorboard_path(self) -> Path:
        """TensorBoard's event files."""
        return self.path / "tensorboard"

    @property
    def logs_path(self) -> Path:
        """One folder an attempt."""
        return self.path / "logs"

    def samples_path(self, cycle: int) -> Path:
        """Answers of a cycle, as they were generated."""
        return self.path / f"cycle_{cycle}_samples.jsonl"

    def verified_path(self, cycle: int) -> Path:
        """Answers of a cycle with their verdicts."""
        return self.path / f"cycle_{cycle}_verified.jsonl"

    def checkpoint_path(self, cycle: int) -> Path:
        """The policy after a cycle; its existence means that the cycle is complete."""
        return self.path / f"cycle_{cycle}_final"

    def card_path(self, cycle: int) -> Path:
        """The model card in the checkpoint of a cycle."""
        return self.checkpoint_path(cycle) / CARD

    def is_complete(self, cycle: int) -> bool:
        """Tell whether the cycle's checkpoint is there; an empty folder is none."""
        path = self.checkpoint_path(cycle)
        return path.is_dir() and any(path.iterdir())

    @property
    def last_complete(self) -> int:
        """The last cycle up to which every checkpoint is there; 0 for none."""
        cycle = 0
        while self.is_complete(cycle + 1):
            cycle += 1
        return cycle

    @property
    def best_cycle(self) -> int | None:
        """The best cycle by the last decision; 0 is the start, None is not known."""
        decisions = [r["decision"] for r in self.read_statistics() if "decision" in r]
        return int(decisions[-1]["best"]) if decisions else None

    def eval_path(self, cycle: int) -> Path:
        """Held-out answers after a cycle (0: before the first) with their verdicts."""
        return self.path / f"cycle_{cycle}_eval.jsonl"

    @property
    def final_model_path(self) -> Path:
        """The fine-tuned model; its existence means that the run is complete."""
        return self.path / "final_model"

    @property
    def waypoints_path(self) -> Path:
        """States of a fine-tuning run to go on from."""
        return self.path / "checkpoints"

    @property
    def sft_result_path(self) -> Path:
        """Figures of a fine-tuning run."""
        return self.path / "sft_result.json"

    @property
    def verified_cycles(self) -> list[int]:
        """Cycles with judged training answers, in order."""
        return self._numbers("cycle_*_verified.jsonl")

    @property
    def eval_cycles(self) -> list[int]:
        """Cycles with judged held-out answers, in order; 0 is before the first."""
        return self._numbers("cycle_*_eval.jsonl")

    def _numbers(self, pattern: str) -> list[int]:
        """Return what stands for the star in the names of files that match ``pattern``."""
        before, after = pattern.split("*")
        names = (path.name for path in self.path.glob(pattern))
        numbers = (name.removeprefix(before).removesuffix(after) for name in names)
        return sorted(int(number) for number in numbers if number.isdecimal())

    @property
    def report_path(self) -> Path:
        """What `runs report` writes unless told otherwise."""
        return self.path / "report.html"

    @property
    def benchmark_samples_path(self) -> Path:
        """Every answer of a benchmark with its verdict."""
        return self.path / "samples.jsonl"

    @property
    def benchmark_result_path(self) -> Path:
        """Figures of a benchmark."""
        return self.path / "result.json"

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the directory for this process until the ``with`` block ends.

        Raises:
            UserError: If another process runs in it.
        """
        with disk_errors(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.path / ".lock")
            try:
                lock.acquire(timeout=0)
            except Timeout as error:
                raise UserError(
                    f"{self.path}: another halo-forge process works in this run directory. "
                    "Wait for it, or choose another --output."
                ) from error
        try:
            yield
        finally:
            lock.release()

    def claim(self, guarded: Mapping[str, Any], facts: Mapping[str, Any], config: str) -> None:
        """Make the directory this run's own, or check that it is.

        Args:
            guarded: Everything a result depends on, by dotted key.
            facts: The machine, versions; recorded once an attempt, not compared.
            config: Resolved configuration as YAML.

        Raises:
            UserError: If the directory belongs to a run with other settings; names them.
            StoreFault: If the directory cannot be written.
        """
        known = self.read_info()
        if known is not None:
            differing = difference(known["guarded"], guarded)
            if differing:
                raise UserError(_mixed(self.path, differing))
        attempts = [*(known or {}).get("attempts", []), dict(facts)]
        info = {"guarded": dict(guarded), "attempts": attempts}
        write_text(self.config_path, config)
        write_text(self.run_json, _pretty(info))

    def read_info(self) -> dict[str, Any] | None:
        """Return ``run.json``, or None when there is none.

        Raises:
            StoreFault: If it is damaged.
        """
        value = _read_json(self.run_json)
        if value is None:
            return None
        if not isinstance(value, dict) or not isinstance(value.get("guarded"), dict):
            raise StoreFault(f"{self.run_json}: not the record of a run (no object 'guarded')")
        attempts = value.get("attempts", [])
        if not isinstance(attempts, list) or not all(isinstance(one, dict) for one in attempts):
            raise StoreFault(f"{self.run_json}: damaged ('attempts' is no list of objects)")
        return value

    def read_sft_result(self) -> dict[str, Any] | None:
        """Return the figures of a finished fine-tuning run, or None before its end.

        Raises:
            StoreFault: If the file is damaged.
        """
        value = _read_json(self.sft_result_path)
        if value is not None and not isinstance(value, dict):
            raise StoreFault(f"{self.sft_result_path}: expected one JSON object")
        return value

    def write_sft_result(self, figures: Mapping[str, Any]) -> None:
        """Write the figures of a finished fine-tuning run."""
        write_text(self.sft_result_path, _pretty(dict(figures)))

    def read_statistics(self) -> list[dict[str, Any]]:
        """Return the records of all cycles so far, in order.

        Raises:
            StoreFault: If the file is damaged.
        """
        value = _read_json(self.statistics_path)
        if value is None:
            return []
        if not isinstance(value, list):
            raise StoreFault(f"{self.statistics_path}: expected a list of cycles")
        for place, record in enumerate(value, 1):
            why = _no_cycle(record)
            if why is not None:
                raise StoreFault(f"{self.statistics_path}: record {place}: {why}")
        return value

    def read_benchmark(self) -> dict[str, Any] | None:
        """Return the figures of a benchmark, or None when it is not finished.

        Raises:
            StoreFault: If they are damaged.
        """
        value = _read_json(self.benchmark_result_path)
        if value is not None and not isinstance(value, dict):
            raise StoreFault(f"{self.benchmark_result_path}: not the result of a benchmark")
        return value

    def update_statistics(self, cycle: int, fields: Mapping[str, Any]) -> None:
        """Merge ``fields`` into the record of ``cycle``, which is made when absent."""
        records = {record["cycle"]: record for record in self.read_statistics()}
        records[cycle] = {"cycle": cycle, **records.get(cycle, {}), **fields}
        write_text(self.statistics_path, _pretty([records[n] for n in sorted(records)]))

    def new_log_dir(self) -> Path:
        """Make the log folder of this attempt and return it."""
        with disk_errors(self.logs_path):
            taken = [
                path.name.removeprefix("attempt_") for path in self.logs_path.glob("attempt_*")
            ]
            number = 1 + max((int(name) for name in taken if name.isdecimal()), default=0)
            folder = self.logs_path / f"attempt_{number}"
            folder.mkdir(parents=True)
        return folder


def difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """Return (key, old value, new value) for every key whose values differ, sorted by key."""
    plain = orjson.loads(orjson.dumps(dict(new)))
    keys = sorted(old.keys() | plain.keys())
    return [(k, old.get(k), plain.get(k)) for k in keys if old.get(k) != plain.get(k)]


def _no_cycle(record: Any) -> str | None:
    """Say why a record of `raft_statistics.json` is none, if so."""
    if not isinstance(record, dict):
        return f"an object is wanted, not {json_kind(record)}"
    if type(record.get("cycle")) is not int:
        return "'cycle' is no whole number"
    heldout = record.get("heldout")
    if heldout is not None and (
        not isinstance(heldout, dict) or type(heldout.get("samples")) is not int
    ):
        return "'heldout' is no object with 'samples'"
    return None


def _mixed(path: Path, differing: Sequence[tuple[str, Any, Any]]) -> str:
    lines = [f"  {key}: {was!r} then, {now!r} now" for key, was, now in differing[:_SHOWN]]
    if len(differing) > _SHOWN:
        lines.append(f"  ... and {len(differing) - _SHOWN} more")
    return "\n".join(
        [
            f"{path}: this run directory was made with other settings:",
            *lines,
            "Use the old settings to go on with it, or another --output. With raft train and sft "
            "train --fork DIR starts a new run from here.",
        ]
    )


def _pretty(value: Any) -> str:
    options = orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY
    return orjson.dumps(value, option=options).decode() + os.linesep


def _read_json(path: Path) -> Any:
    try:
        return orjson.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreFault(f"{path}: cannot be read ({error.strerror or error})") from error
    except orjson.JSONDecodeError as error:
        raise StoreFault(f"{path}: damaged ({error})") from error
