"""Preparing 100,000 records: seconds, and whether memory grows with them.

    python bench/prepare.py [--records 100000]

Writes a file of chats (about 1.5 kB each) as JSONL and as Parquet, and prepares a tenth of it and
the whole, each in a process of its own, as `halo-forge data prepare` does. Prints records a second,
peak memory of each, the growth a record, and what reading the source alone and writing alone take.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import orjson

from halo_forge.data.rows import read_rows

__all__ = ["main"]

_PEAK = """
import resource, sys, time
from pathlib import Path
from halo_forge.data.prepare import prepare, work_of
from halo_forge.data.public_datasets import select
from halo_forge.data.training import training_record
from halo_forge.tracking.base import NullObserver
start, cpu = time.perf_counter(), time.process_time()
work = work_of(select(sys.argv[1]), "training", Path(sys.argv[2]), None, {})
lines = prepare(work, training_record, NullObserver())["lines"]
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(lines, time.perf_counter() - start, time.process_time() - cpu, peak)
"""


def main() -> None:
    """Make, prepare, report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=100_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for count in (options.records // 10, options.records):
            _make(folder, count)
        for suffix in ("jsonl", "parquet"):
            _report(folder, suffix, options.records)


def _make(folder: Path, count: int) -> None:
    """Write the same records as JSONL and Parquet."""
    from pyarrow import Table, parquet

    rng = random.Random(count)  # noqa: S311 - made-up text
    words = [f"word{n}" for n in range(5000)]
    rows = [
        {name: " ".join(rng.choices(words, k=90)) for name in ("question", "answer")}
        for _ in range(count)
    ]
    with (folder / f"{count}.jsonl").open("wb") as file:
        file.writelines(orjson.dumps(row) + b"\n" for row in rows)
    parquet.write_table(Table.from_pylist(rows), folder / f"{count}.parquet", row_group_size=1000)


def _report(folder: Path, suffix: str, records: int) -> None:
    peaks = {}
    for count in (records // 10, records):
        source = folder / f"{count}.{suffix}"
        argv = [sys.executable, "-c", _PEAK, str(source), str(folder / f"out-{source.name}.jsonl")]
        done = subprocess.run(argv, capture_output=True, text=True, check=True)
        lines, seconds, cpu, peak = map(float, done.stdout.split())
        peaks[count] = peak
        print(
            f"{suffix}: {lines:.0f} of {count} records in {seconds:.2f} s ({cpu:.2f} s CPU), "
            f"{lines / seconds:.0f}/s, peak {peak / 1024:.0f} MiB"
        )
    growth = (peaks[records] - peaks[records // 10]) * 1024 / (records - records // 10)
    start = time.perf_counter()
    rows = [row for _, row in read_rows(folder / f"{records}.{suffix}")]
    read = time.perf_counter() - start
    start = time.perf_counter()
    for row in rows:
        json.dumps(row)
    print(
        f"{suffix}: {growth:.0f} bytes of memory a record; reading alone {read:.2f} s, "
        f"json.dumps alone {time.perf_counter() - start:.2f} s"
    )


if __name__ == "__main__":
    main()
