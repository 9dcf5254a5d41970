"""The whole pipeline as its script runs it: data, fine-tuning, RAFT, benchmark."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.model, pytest.mark.timeout(1200)]


def test_the_example(root, tmp_path) -> None:
    """Sixteen tasks of MBPP go all the way, and some answers pass their tests and are learnt."""
    out = tmp_path / "out"
    environment = {
        **os.environ,
        "OUT": str(out),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    script = root / "examples" / "full_pipeline" / "run.sh"
    run = subprocess.run(["bash", script], env=environment, check=False, capture_output=True)
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-2000:]
    assert len((out / "prompts.jsonl").read_text().splitlines()) == 12
    (cycle,) = json.loads((out / "raft" / "raft_statistics.json").read_bytes())
    assert (cycle["total_samples"], cycle["faults"]) == (24, 0)
    assert cycle["kept"] >= 1
    results = [json.loads(one.read_bytes()) for one in out.glob("benchmarks/*/result.json")]
    assert len(results) == 3
    assert all(one["prompts"] == 4 for one in results)
