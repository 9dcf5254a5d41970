"""Is what `halo-forge plan` says true? A run is planned, done, and compared.

    python bench/plan.py [--prompts 8] [--samples 4] [--max-new-tokens 192] [--rounds 1]
        [--config configs/raft_cpu.yaml] [--like RUN] [--json FILE]

One cycle on the first built-in training prompts, nothing held out. A first run, with another seed,
tells how long answers get and how many are kept (--like); what is then planned and measured is a
second one: the most memory of its process at once, and the seconds of its stages as its own records
and the clock have them. Prints each ratio of planned to measured; the aim is 0.75 to 1.25 for
memory and for time as a whole. --like takes a first run that is there already. The plan without
--like, a range, is printed too.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from measure import Spread
from results import write_result

from halo_forge.data.prompts import load_prompts, write_prompts

__all__ = ["main"]

_CLI = (sys.executable, "-m", "halo_forge")


def main() -> None:
    """Plan and run, as often as asked, and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompts", type=int, default=8)
    parser.add_argument("--samples", type=int, default=4)
    parser.add_argument("--max-new-tokens", type=int, default=192)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--config", type=Path, default=Path("configs/raft_cpu.yaml"))
    parser.add_argument("--like", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=".", prefix="runs-") as name:
        folder = Path(name)
        prompts = folder / "prompts.jsonl"
        write_prompts(prompts, load_prompts("builtin:cpp/train")[: options.prompts])
        flags = _flags(options, prompts)
        like = options.like or folder / "like"
        if not options.like:
            _run([*flags, "--seed", "1000"], like)
        rounds = [_round(flags, folder, like, number) for number in range(options.rounds)]
    ratios = {
        what: Spread.of([one["planned"][what] / one["measured"][what] for one in rounds])
        for what in rounds[0]["planned"]
    }
    for what, ratio in ratios.items():
        print(f"{what}: planned is {ratio:.2f} times what was measured")
    if options.json:
        claims = [
            {
                "name": f"planned over measured, {what}",
                "value": ratio,
                "aim": [0.75, 1.25] if what in ("peak bytes", "whole seconds") else None,
                "limit": "plan",
            }
            for what, ratio in ratios.items()
        ]
        write_result(options.json, claims, {"rounds": rounds, "flags": flags[:-2]})


def _flags(options: argparse.Namespace, prompts: Path) -> list[str]:
    return [
        *("--config", str(options.config), "--cycles", "1"),
        *("--samples-per-prompt", str(options.samples)),
        *("--max-new-tokens", str(options.max_new_tokens)),
        *("--set", "eval_prompts=null"),
        *("--prompts", str(prompts)),
    ]


def _round(flags: Sequence[str], folder: Path, like: Path, number: int) -> dict[str, Any]:
    own = [*flags, "--seed", str(number)]
    output = folder / f"run{number}"
    told = _plan(own, output, like)
    measured = _run(own, output)
    wide = _plan(own, output, None) if number == 0 else None
    stages = {stage["name"]: stage["seconds"]["high"] for stage in told["stages"]}
    planned = {
        "peak bytes": told["memory"]["peak"],
        "whole seconds": told["seconds"]["high"],
        "start seconds": stages["start"],
        "rollout seconds": stages["rollout"] + stages["verification, rollout"],
        "training seconds": stages["training"],
        "disk bytes": told["disk"]["total"],
    }
    for what, value in planned.items():
        print(f"  {what}: planned {value:.4g}, measured {measured[what]:.4g}", flush=True)
    if wide is not None:
        low, high = wide["seconds"]["low"], wide["seconds"]["high"]
        print(f"  without --like: {low:.0f} to {high:.0f} s", flush=True)
    return {"planned": planned, "measured": measured, "plan": told, "plan_without_like": wide}


def _plan(flags: Sequence[str], output: Path, like: Path | None) -> dict[str, Any]:
    asked = [*_CLI, "plan", *flags, "--output", str(output), "--json"]
    asked += ["--like", str(like)] if like else []
    done = subprocess.run(asked, stdout=subprocess.PIPE, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _run(flags: Sequence[str], output: Path) -> dict[str, float]:
    """Run the trainer in a process of its own; return what it took."""
    started = time.perf_counter()
    asked = [*_CLI, "raft", "train", *flags, "--output", str(output), "--progress", "none"]
    process = subprocess.Popen(asked, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"the run ended with {process.returncode}")
    (cycle,) = json.loads((output / "raft_statistics.json").read_text("utf-8"))
    rollout = cycle["generation_seconds"] + cycle["verification_seconds"]
    return {
        "peak bytes": usage.ru_maxrss * 1024,
        "whole seconds": wall,
        "start seconds": wall - rollout - cycle["training_seconds"],
        "rollout seconds": rollout,
        "training seconds": cycle["training_seconds"],
        "disk bytes": sum(path.stat().st_size for path in _files(output)),
    }


def _files(run: Path) -> list[Path]:
    journals = [*run.glob("cycle_*_samples.jsonl"), *run.glob("cycle_*_verified.jsonl")]
    return [*journals, *(path for path in run.glob("cycle_*_final/*") if path.is_file())]


if __name__ == "__main__":
    main()
