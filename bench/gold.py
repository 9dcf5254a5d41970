"""Do the reference solutions of a data set pass its tests, and does an empty answer fail?

    python bench/gold.py mbpp --source FOLDER [--split train] [--verifier mbpp] [--limit N]
    python bench/gold.py mbpp --source mbpp_train.jsonl --solutions MbppPlus.jsonl.gz

Reads the data set as `halo-forge data prompts` does, hidden tests included, and judges each
solution in the sandbox. Prints every task whose solution scores less than 1.0 or whose empty answer
scores 1.0, and the counts. `--solutions` takes solutions of MBPP tasks from a release of MBPP+,
for copies of MBPP that come without.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Iterator

from halo_forge.core import registry
from halo_forge.core.types import Prompt, Sample
from halo_forge.data import public_datasets
from halo_forge.rlvr.verifiers.batch import judge_all
from halo_forge.utils.text import fenced

__all__ = ["main"]

_VERIFIERS = {"humaneval": "humaneval", "humaneval_plus": "humaneval"}
_SECONDS = 20.0


def main() -> None:
    """Judge the references of one data set."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset")
    parser.add_argument("--source")
    parser.add_argument("--config")
    parser.add_argument("--split")
    parser.add_argument("--verifier")
    parser.add_argument("--solutions")
    parser.add_argument("--limit", type=int)
    options = parser.parse_args()
    prompts = list(
        public_datasets.prompts(
            options.dataset,
            source=options.source,
            config=options.config,
            split=options.split,
            limit=options.limit,
        )
    )
    if options.solutions is not None:
        prompts = list(_with_solutions(prompts, options.solutions))
    samples = [sample for prompt in prompts for sample in _samples(prompt)]
    name = options.verifier or _VERIFIERS.get(options.dataset, "mbpp")
    start = time.perf_counter()
    kind = registry.load("verifiers", name)
    with kind(timeout=_SECONDS, memory_limit_mb=1024, score_hidden=True) as verifier:
        verifier.start(prompts)
        verdicts = sorted(judge_all(verifier, samples), key=lambda one: one.sample.id)
    solved = empty = 0
    for verdict in verdicts:
        result, right = verdict.result, bool(verdict.sample.completion)
        if result is None:
            print(f"{verdict.sample.id}: fault: {verdict.fault}")
            continue
        hidden = (result.metadata.get("hidden_passed", 0), result.metadata.get("hidden_total", 0))
        passes = result.reward == 1.0 and hidden[0] == hidden[1]
        solved += passes and right
        empty += passes and not right
        if passes != right:
            print(f"{verdict.sample.id}: {result.details}; hidden {hidden[0]}/{hidden[1]}")
    references = sum(bool(sample.completion) for sample in samples)
    took = time.perf_counter() - start
    print(f"{options.dataset}: {len(prompts)} tasks, {references} with a solution: {solved} pass; ")
    print(f"{empty} empty answers pass; {took:.0f} s")


def _samples(prompt: Prompt) -> Iterator[Sample]:
    if prompt.reference.solution is not None:
        yield Sample(prompt, 0, fenced(prompt.reference.solution, "python"))
    yield Sample(prompt, 1, "")


def _with_solutions(prompts: list[Prompt], release: str) -> Iterator[Prompt]:
    known = {
        prompt.id.rpartition("/")[2]: prompt.reference.solution
        for prompt in public_datasets.prompts("mbpp_plus", source=release)
    }
    for prompt in prompts:
        solution = known.get(prompt.id.rpartition("/")[2])
        reference = dataclasses.replace(prompt.reference, solution=solution)
        yield dataclasses.replace(prompt, reference=reference)


if __name__ == "__main__":
    main()
