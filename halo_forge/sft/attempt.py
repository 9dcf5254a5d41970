"""What every attempt at a run has: facts about the machine, trackers, a log of its own."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from halo_forge.config.sections import HardwareSettings
from halo_forge.core import registry
from halo_forge.models.profile import profile_facts
from halo_forge.store.atomic import disk_errors
from halo_forge.store.run_dir import RunDir
from halo_forge.tracking.base import Tracker
from halo_forge.tracking.jsonl import JsonlTracker
from halo_forge.utils import hardware

__all__ = ["attempt_facts", "log_file", "open_trackers"]

_LIBRARIES = ("halo-forge", "torch", "transformers", "trl", "peft", "accelerate", "numpy")


def attempt_facts(run: RunDir, settings: HardwareSettings) -> dict[str, Any]:
    """Return what is recorded of an attempt, and not compared."""
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": sys.argv,
        "libraries": {name: version(name) for name in _LIBRARIES},
        "machine": hardware.describe(disk=run.path),
        "profile": profile_facts(settings),
    }


@contextmanager
def open_trackers(names: Sequence[str], run: RunDir) -> Iterator[list[Tracker]]:
    """Open the trackers of this attempt, and close those that were opened whatever happens."""
    with ExitStack() as stack:
        with disk_errors(run.path):
            trackers: list[Tracker] = [JsonlTracker(run.metrics_path)]
        stack.callback(trackers[0].close)
        for name in names:
            folder = run.tensorboard_path if name == "tensorboard" else run.path / name
            trackers.append(registry.load("trackers", name)(folder))
            stack.callback(trackers[-1].close)
        yield trackers


@contextmanager
def log_file(run: RunDir) -> Iterator[None]:
    """Write halo-forge's log of this attempt to a folder of its own."""
    handler = logging.FileHandler(run.new_log_dir() / "halo_forge.log", encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logger = logging.getLogger("halo_forge")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        handler.close()
