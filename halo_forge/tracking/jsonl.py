"""`metrics.jsonl`: one record a step, always written, the truth that other trackers mirror."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import orjson

__all__ = ["JsonlTracker"]


class JsonlTracker:
    """Appends one line a step: ``{"step": 1, "time": "...", "reward": 0.61, ...}``.

    Args:
        path: The file; it is continued when it exists.

    Raises:
        OSError: If the file cannot be opened or a line cannot be written.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        # "ab" would keep a line that a kill left half-written in the middle of the file.
        self._file = path.open("r+b" if path.exists() else "x+b")
        self._file.truncate(self._file.read().rfind(b"\n") + 1)
        self._file.seek(0, 2)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Append one whole line and hand it to the system; what is no number becomes null."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        record = {key: value if math.isfinite(value) else None for key, value in values.items()}
        self._file.write(orjson.dumps({"step": step, "time": now, **record}) + b"\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()
