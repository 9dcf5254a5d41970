"""`python -m tools.performance`: write docs/PERFORMANCE.md from docs/results/*.json.

The files are what the scripts of `bench/` write with ``--json``; nothing is typed by hand but the
notes in `tools.performance_notes`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tools.performance_notes import LIMITS, TRIED
from tools.source_rules import Rule

__all__ = ["RULES", "main", "performance"]

_PAGE, _RESULTS = "docs/PERFORMANCE.md", "docs/results"
_FORMAT = 1
_GIBI = 2**30
_HEAD = """# Performance

Written by `python -m tools.performance` from [docs/results](results/README.md); do not edit. Each
table shows one run of one script of `bench/`, with its command. Ratios are medians, in brackets the
least and the most of the rounds; machines are noisy, so a ratio counts and a number of seconds does
not. *Roofline* is the share of the least time in which the machine could do the same
work ([010](design/010-rollouts-near-the-roofline.md)). First entries and what they do not show are
in [BENCHMARKS.md](BENCHMARKS.md).
"""


def performance(root: Path) -> str:
    """Return the page as the results in ``root`` make it.

    Raises:
        ValueError: If a result lacks what the page needs; names the file.
    """
    return "\n".join(_lines(root))


def _lines(root: Path) -> Iterator[str]:
    yield _HEAD
    results = [(path, _read(path)) for path in sorted((root / _RESULTS).glob("*.json"))]
    if not results:
        yield "No results yet.\n"
    limits: dict[str, None] = {}
    for path, result in sorted(results, key=lambda one: (one[1]["bench"], one[0].name)):
        yield from _result(path, result)
        limits |= dict.fromkeys(claim["limit"] for claim in result["claims"] if "limit" in claim)
    yield "## What limits each number\n"
    for key in limits:
        yield f"- **{key}**: {LIMITS[key]}"
    yield "\n## What was tried and did not pay\n"
    for what, why in TRIED:
        yield f"- {what}: {why}."
    yield ""


def _read(path: Path) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(path.read_text("utf-8"))
    wanted = {"format", "bench", "command", "commit", "date", "machine", "libraries", "claims"}
    if result.get("format") != _FORMAT or wanted - result.keys():
        raise ValueError(f"{path}: not a result of bench/results.py; write it anew with --json")
    unknown = {c["limit"] for c in result["claims"] if "limit" in c} - LIMITS.keys()
    if unknown:
        raise ValueError(f"{path}: no note {sorted(unknown)[0]!r} in tools/performance_notes.py")
    return result


def _result(path: Path, result: Mapping[str, Any]) -> Iterator[str]:
    yield f"## {result['bench']}, {result['date']}\n"
    yield f"```sh\n{result['command']}\n```\n"
    yield f"{_machine(result)} Commit {result['commit']}. [All figures](results/{path.name}).\n"
    yield "| claim | median (least to most) | aim | reached | roofline | limited by |"
    yield "|---|---|---|---|---|---|"
    for claim in result["claims"]:
        aim = claim.get("aim")
        cells = (
            claim["name"],
            _spread(claim["value"], ".2f"),
            _aim(aim),
            "" if aim is None else "yes" if _reached(claim["value"], aim) else "no",
            _spread(claim["roofline"], ".0%") if "roofline" in claim else "",
            claim.get("limit", ""),
        )
        yield f"| {' | '.join(cells)} |"
    yield ""


def _machine(result: Mapping[str, Any]) -> str:
    machine = result["machine"]
    cpu = machine["cpu"]
    cards = ", ".join(gpu["name"] for gpu in machine["gpus"]) or "no graphics card"
    libraries = ", ".join(
        f"{name} {version}" for name, version in result["libraries"].items() if version
    )
    memory = machine["memory"]["total"] / _GIBI
    return f"{cpu['model']}, {cpu['cores']} cores, {memory:.0f} GiB, {cards}; {libraries}."


def _spread(value: Any, how: str) -> str:
    if not isinstance(value, Mapping):
        return format(value, how)
    least, most = (format(value[end], how) for end in ("least", "most"))
    median = format(value["median"], how)
    return median if least == most == median else f"{median} ({least} to {most})"


def _aim(aim: Any) -> str:
    match aim:
        case None:
            return ""
        case [low, high]:
            return f"{low:g} to {high:g}"
        case _:
            return f"{aim:g} or more"


def _reached(value: Any, aim: Any) -> bool:
    median = value["median"] if isinstance(value, Mapping) else value
    return bool(aim[0] <= median <= aim[1] if isinstance(aim, Sequence) else median >= aim)


def page_is_current(root: Path) -> list[str]:
    """docs/PERFORMANCE.md is what its results make."""
    try:
        wanted = performance(root)
    except ValueError as error:
        return [str(error)]
    page = root / _PAGE
    if page.is_file() and page.read_text("utf-8") == wanted:
        return []
    return [f"{_PAGE}:1: not what {_RESULTS} makes; run python -m tools.performance"]


def main(root: Path) -> None:
    """Write the page."""
    (root / _PAGE).write_text(performance(root), encoding="utf-8")


RULES: tuple[Rule, ...] = (page_is_current,)

if __name__ == "__main__":
    main(Path(__file__).parents[1])
