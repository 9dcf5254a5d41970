"""What does fine-tuning on reference solutions do to answers on tasks that were held out?

    python bench/sft_gain.py [--config configs/sft_cpu.yaml] [--prompts builtin:python/heldout]
        [--verifier execution] [--samples 4] [--max-new-tokens 128] [--output results/sft_gain]

Measures the model of --config, fine-tunes it, and measures it again with the same seeds, all by the
commands that users have. Everything stays in --output; the same command goes on after an interrupt.
Prints both pass rates of single answers (pass@1) with their 95 % intervals over tasks, the paired
difference, and the same for answers that compile.
"""

from __future__ import annotations

import argparse
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from halo_forge.cli import main as halo
from halo_forge.config.sft import SFTConfig
from halo_forge.core.errors import CheckFailed
from halo_forge.core.types import Prompt
from halo_forge.data.prompts import load_prompts
from halo_forge.rlvr.statistics import compiled
from halo_forge.stats import bootstrap_rate, paired_difference
from halo_forge.store.codec import verdict_from_record
from halo_forge.store.records import read_records
from halo_forge.store.run_dir import RunDir

__all__ = ["main"]

_Rates = Mapping[str, tuple[float, float]]


def main() -> None:
    """Measure, train, measure, compare."""
    options = _options()
    base = SFTConfig.from_yaml(options.config).model.name
    run = options.output / "model"
    before = _measured(options, base, "before")
    _do(["sft", "train", "--config", str(options.config), "--output", str(run)])
    after = _measured(options, str(RunDir(run).final_model_path), "after")
    names = sorted(before)
    for index, what in enumerate(("pass", "compile")):
        first, last = ([rates[name][index] for name in names] for rates in (before, after))
        print(f"{what}@1 on {len(names)} tasks, {options.samples} answers each")
        print(f"  before      {bootstrap_rate(first)}")
        print(f"  after       {bootstrap_rate(last)}")
        print(f"  difference  {paired_difference(first, last)}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", type=Path, default=Path("configs/sft_cpu.yaml"))
    parser.add_argument("--prompts", default="builtin:python/heldout")
    parser.add_argument("--verifier", default="execution")
    parser.add_argument("--samples", type=int, default=4)
    parser.add_argument("--max-new-tokens", type=int, default=128)
    parser.add_argument("--output", type=Path, default=Path("results/sft_gain"))
    return parser.parse_args()


def _measured(options: argparse.Namespace, model: str, name: str) -> _Rates:
    """Return the shares of each task's answers that pass, and that compile."""
    run = RunDir(options.output / name)
    flags = {
        "--model": model,
        "--prompts": options.prompts,
        "--verifier": options.verifier,
        "--samples": options.samples,
        "--k": 1,
        "--max-new-tokens": options.max_new_tokens,
        "--output": run.path,
    }
    _do(["benchmark", "run", *(str(word) for pair in flags.items() for word in pair)])
    prompts: dict[str, Prompt] = {prompt.id: prompt for prompt in load_prompts(options.prompts)}
    marks: dict[str, list[tuple[bool, bool]]] = defaultdict(list)
    for record in read_records(run.benchmark_samples_path):
        result = verdict_from_record(record, prompts).result
        marks[record["prompt_id"]].append(
            (record["success"], result is not None and compiled(result))
        )
    return {task: (_share(pairs, 0), _share(pairs, 1)) for task, pairs in marks.items()}


def _share(pairs: Sequence[tuple[bool, bool]], index: int) -> float:
    return statistics.mean(float(pair[index]) for pair in pairs)


def _do(words: list[str]) -> None:
    if halo(words):
        raise CheckFailed(f"halo-forge {' '.join(words)} failed")


if __name__ == "__main__":
    main()
