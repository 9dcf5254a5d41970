"""How much of a run is shown at a time (`halo-forge runs`)."""

from __future__ import annotations

__all__ = ["PAGE_SIZE", "REPORT_SAMPLES"]

PAGE_SIZE = 10
"""Samples that `runs samples` prints at a time."""

REPORT_SAMPLES = 6
"""Best samples in a report, and as many of the worst."""
