"""How well decontamination tells a benchmark's tasks from others, where the truth is known by ids.

    python bench/contamination.py --data FOLDER [--library FOLDER]

FOLDER holds MbppPlus.jsonl.gz, HumanEvalPlus.jsonl.gz, mbpp_train.jsonl and mbpp_sanitized.jsonl.
Statements: MBPP's tasks against MBPP+, which has some of them; of the others every hit is a false
alarm (or a task that MBPP holds twice). Code: the solutions against files of a Python library
(its standard one when not given), which were written for something else.
"""

from __future__ import annotations

import argparse
import sysconfig
from pathlib import Path

from halo_forge.config.data import DecontaminationSettings
from halo_forge.data.content import Content, row_content
from halo_forge.data.decontaminate import Benchmarks
from halo_forge.utils.jsonl import read_jsonl

__all__ = ["statements"]

_GRAMS, _SHARES = (6, 8, 10, 13), (0.5, 0.6, 0.7, 0.8)


def statements(tasks: Path, bench: Path, ngram: int) -> tuple[list[float], list[float]]:
    """Return how much of its own task each shared task holds, and of any task each other one."""
    rows = [row for _, row in read_jsonl(tasks, exact=True) if isinstance(row, dict)]
    known = [row for _, row in read_jsonl(bench, exact=True) if isinstance(row, dict)]
    ids = {str(row["task_id"]).removeprefix("Mbpp/") for row in known}
    settings = DecontaminationSettings(against=(str(bench),), ngram=ngram, share=0.01)
    benchmarks = Benchmarks(settings)
    own, other = [], []
    for row in rows:
        task = str(row["task_id"])
        found = {one.item: one.share for one in benchmarks.overlaps(row_content(row))}
        if task in ids:
            own.append(found.get(f"Mbpp/{task}", 0.0))
        else:
            other.append(max(found.values(), default=0.0))
    return own, other


def _false_alarms(library: Path, benches: list[Path]) -> tuple[int, float, list[str]]:
    settings = DecontaminationSettings(against=tuple(map(str, benches)), share=1.0)
    benchmarks = Benchmarks(settings)
    files, size, hits = 0, 0, []
    for path in sorted(library.rglob("*.py")):
        code = path.read_text(encoding="utf-8", errors="replace")
        files, size = files + 1, size + len(code)
        found = benchmarks.overlaps(Content(codes=((code, "python"),)))
        hits += [f"{path.name}: {one.share:.0%} of {one.item}" for one in found]
    return files, size / 1e6, hits


def main() -> None:
    """Print a row for each size and share, then what the library's code was taken for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--library", type=Path, default=Path(sysconfig.get_path("stdlib")))
    options = parser.parse_args()
    plus = options.data / "MbppPlus.jsonl.gz"
    for name in ("mbpp_sanitized.jsonl", "mbpp_train.jsonl"):
        for ngram in _GRAMS:
            own, other = statements(options.data / name, plus, ngram)
            for share in _SHARES:
                found, wrong = (sum(one >= share for one in each) for each in (own, other))
                print(f"{name}  n {ngram:>2}  share {share}  found {found} of {len(own)}, "
                      f"others {wrong} of {len(other)}")  # fmt: skip
    human = options.data / "HumanEvalPlus.jsonl.gz"
    files, size, hits = _false_alarms(options.library, [plus, human])
    print(f"{options.library}: {files} files, {size:.1f} MB: {len(hits)} taken for a solution")
    print("\n".join(hits))


if __name__ == "__main__":
    main()
