"""How many answers ended by themselves, and how many of each kind compile and pass.

    python bench/ended.py results/study/seed_*/verified/cycle_0_eval.jsonl
    python bench/ended.py results/study/seed_*/verified/cycle_3_eval.jsonl

The files are journals of judged answers, of a run or of a benchmark; several are counted together.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from halo_forge.rlvr.statistics import compiled
from halo_forge.store.judged import read_judged


def main() -> None:
    """Print a line for answers that ended, and one for those that the limit of tokens cut."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("journals", type=Path, nargs="+")
    answers = [one for path in parser.parse_args().journals for one in read_judged(path)]
    for reason, name in (("stop", "ended"), ("length", "cut")):
        results = [one.result for one in answers if one.finish_reason == reason]
        compile_count = sum(map(compiled, results))
        passed = sum(result.success for result in results)
        print(f"{name}: {len(results)} of {len(answers)}, {compile_count} compile, {passed} pass")


if __name__ == "__main__":
    main()
