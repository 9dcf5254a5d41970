"""Answers as models write them, with the verdicts they must get for ever."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from halo_forge.core import registry
from halo_forge.core.types import TestCase

GOLDEN = Path(__file__).parents[3] / "golden" / "verdicts" / "verdicts.jsonl"
ROWS = [json.loads(line) for line in GOLDEN.read_text(encoding="utf-8").splitlines()]


@pytest.mark.toolchain("g++")
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["id"])
def test_golden_verdict(row, sandbox, make_sample) -> None:
    """Success, reward and the stage reached are those on record."""
    prompt = dict(row["prompt"])
    prompt["tests"] = tuple(TestCase(**case) for case in prompt.pop("tests", ()))
    verifier = registry.load("verifiers", row["verifier"])(sandbox=sandbox, **row["options"])
    verdict = verifier.judge(make_sample(row["completion"], **prompt))
    assert row["expect"] == {
        "success": verdict.success,
        "reward": verdict.reward,
        "stage": verdict.metadata["stage"],
    }
