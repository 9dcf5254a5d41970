r"""What checking a data file costs: records a second, and memory that must not follow the file.

    python bench/validate.py --records 10000,100000 [--ways read,check]
    python bench/validate.py --records 10000 --ways write,against,tokens --against FILE \
        --tokenizer builtin:smollm2-135m

Training records are made up (a task of 60 words, an answer with 20 lines of code; one in a hundred
repeats an earlier one exactly, one nearly). Each way has a process of its own: `read` only reads,
`check` looks for everything that needs no setting, the others do one thing more. Peak memory is
ru_maxrss of getrusage(2).
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from halo_forge.config.data import DecontaminationSettings, ValidateConfig
from halo_forge.data.shapes import read_records
from halo_forge.data.validate import Tools, validate

__all__ = ["make_file"]

_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_LINES = (
    "    {a} = [{b} for {b} in {c} if {b} % {n} == 0]",
    "    {a} = sorted({b}, key=lambda {c}: {c} * {n})",
    "    for {a} in range({n}):\n        {b}.append({a} - {c})",
    "    while {a} > {n}:\n        {a} -= {b}[{c} % len({b})]",
    "    if {a} in {b}:\n        {c} += {n}",
)


def make_file(path: Path, records: int, seed: int = 0) -> None:
    """Write a file of made-up training records."""
    with path.open("w", encoding="utf-8") as file:
        for record in _records(records, random.Random(seed)):  # noqa: S311 - made-up data
            file.write(json.dumps(record) + "\n")


def _records(number: int, rng: random.Random) -> Iterator[dict[str, Any]]:
    words = ["".join(rng.choices(_LETTERS, k=rng.randint(2, 9))) for _ in range(5000)]
    kept: list[dict[str, Any]] = []
    for at in range(number):
        if kept and at % 100 == 0:
            yield kept[rng.randrange(len(kept))]
            continue
        if kept and at % 100 == 1:
            asked = kept[rng.randrange(len(kept))]["messages"][0]["content"] + " again"
        else:
            asked = " ".join(rng.choices(words, k=60))
        lines = [_line(words, rng) for _ in range(15)]
        code = "\n".join([f"def {rng.choice(words)}_{at}(items):", *lines, "    return items"])
        turns = [
            {"role": "user", "content": asked},
            {"role": "assistant", "content": f"Here it is.\n\n```python\n{code}\n```"},
        ]
        record = {"messages": turns, "metadata": {"id": at}}
        if len(kept) < 500:
            kept.append(record)
        yield record


def _line(words: list[str], rng: random.Random) -> str:
    names = {name: f"{rng.choice(words)}_" for name in "abc"}
    return rng.choice(_LINES).format(n=rng.randint(2, 99), **names)


def _alone(work: Callable[..., int], *arguments: Any) -> tuple[int, float, float, float]:
    """Return what the work returns, its wall and CPU seconds, and its peak memory in MB."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_measured, (work, *arguments))


def _measured(work: Callable[..., int], *arguments: Any) -> tuple[int, float, float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    result = work(*arguments)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    return result, time.perf_counter() - wall, time.process_time() - cpu, peak


def _read(path: Path) -> int:
    return sum(1 for _ in read_records(path))


def _check(path: Path, against: tuple[str, ...], tokenizer: str | None, write: Path | None) -> int:
    config = ValidateConfig(
        tokenizer=tokenizer, decontaminate=DecontaminationSettings(against=against)
    )
    tools = Tools()
    if tokenizer is not None:
        from halo_forge.models.lengths import TokenCounter

        tools = Tools(measure=TokenCounter(tokenizer).count)
    return len(validate(path, config, tools, write=write).findings)


def main() -> None:
    """Print one row for each size and way."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", default="10000,100000")
    parser.add_argument("--against", action="append", default=[])
    parser.add_argument("--tokenizer")
    parser.add_argument("--ways", default="read,check,write,against,tokens")
    options = parser.parse_args()
    print(f"{'records':>8}  {'file MB':>7}  {'way':<12}  {'wall s':>7}  {'CPU s':>7}  "
          f"{'records/s':>9}  {'peak MB':>7}  {'findings':>8}")  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        for records in map(int, options.records.split(",")):
            path = Path(folder) / f"{records}.jsonl"
            make_file(path, records)
            clean = Path(folder) / "clean.jsonl"
            ways: dict[str, tuple[Any, ...]] = {
                "read": (_read, path),
                "check": (_check, path, (), None, None),
                "write": (_check, path, (), None, clean),
                "against": (_check, path, tuple(options.against), None, None),
                "tokens": (_check, path, (), options.tokenizer, None),
            }
            size = path.stat().st_size / 1e6
            for name in options.ways.split(","):
                work, *arguments = ways[name]
                found, wall, cpu, peak = _alone(work, *arguments)
                said = "" if work is _read else str(found)
                print(f"{records:>8}  {size:>7.1f}  {name:<12}  {wall:>7.1f}  {cpu:>7.1f}  "
                      f"{records / cpu:>9.0f}  {peak:>7.0f}  {said:>8}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
