"""Signs that answers pass their tests without doing the task: pure functions of verdicts."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from halo_forge.core.types import Reference, Sample, Verdict
from halo_forge.rlvr.statistics import has_hidden_tests, hidden_passed
from halo_forge.stats import Paired, paired_difference

__all__ = ["gap_alarm", "gap_record", "gap_warning", "suspicious_record", "tailored"]

_TELLING = 3
"""Characters from which an expected output is no chance find in a program."""

_FEWEST = 2
"""Different expected outputs that a table has at the least; one alone may be the task itself."""

_EXPECTED = re.compile(r"==\s*(.+)")
_ENDS = "\"'`()[]{};, \t"


def gap_record(verdicts: Sequence[Verdict], seed: int) -> dict[str, Any]:
    """Return how much higher the rate of passing is than that of passing hidden tests as well.

    Of answers whose prompts have hidden tests; ``{}`` where none was scored by them. The unit is
    the prompt. An answer that fails its own tests fails in both, so the gap is never negative.

    Returns:
        ``hidden_gap``: its mean over prompts with a 95 % interval, and ``p_value``.
    """
    shown: dict[str, list[float]] = {}
    hidden: dict[str, list[float]] = {}
    is_scored = False
    for verdict in verdicts:
        result = verdict.result
        if result is None or not has_hidden_tests(verdict):
            continue
        # a program that does not build has no hidden tests run, and fails all of them
        if result.success and not result.metadata.get("hidden_total"):
            continue
        is_scored = is_scored or bool(result.metadata.get("hidden_total"))
        shown.setdefault(verdict.sample.prompt.id, []).append(float(result.success))
        hidden.setdefault(verdict.sample.prompt.id, []).append(float(hidden_passed(result)))
    if not is_scored:
        return {}
    names = sorted(shown)
    before, after = ([_mean(group[name]) for name in names] for group in (hidden, shown))
    pair: Paired = paired_difference(before, after, seed)
    return {"hidden_gap": {**asdict(pair.difference), "p_value": pair.p_value}}


def gap_alarm(record: dict[str, Any], limit: float) -> bool:
    """Tell whether the gap of a record is surely above ``limit``: its interval is."""
    gap = record.get("hidden_gap")
    return gap is not None and gap["low"] > limit


def gap_warning(record: dict[str, Any], where: str) -> str:
    """Return what to say when the gap is too wide."""
    gap = record["hidden_gap"]
    return (
        f"WARNING: {where}: answers pass their tests {100 * gap['mean']:.1f} points more often "
        f"than their hidden tests too (95 % interval {100 * gap['low']:.1f} to "
        f"{100 * gap['high']:.1f}): the tests that reward are weak, or are being gamed. Look with "
        "halo-forge runs samples RUN --verdict pass"
    )


def suspicious_record(
    verdicts: Sequence[Verdict], program: Callable[[Sample], str]
) -> dict[str, dict[str, int]]:
    """Count answers that look made for the tests, and programs that do nothing; heuristics.

    ``test_specialised``: answers that pass and hold every expected output (see `tailored`).
    ``trivial``: answers that the substance gate turned away.
    """
    tables = trivial = 0
    for verdict in verdicts:
        result = verdict.result
        if result is None:
            continue
        trivial += result.metadata.get("stage") == "substance"
        reference = verdict.sample.prompt.reference
        tables += result.success and tailored(program(verdict.sample), reference)
    return {"suspicious": {"test_specialised": tables, "trivial": trivial}}


def tailored(code: str, reference: Reference) -> bool:
    """Tell whether a program holds, word for word, all that its visible tests expect.

    Only for tests that expect at least two different outputs of three characters or more, and then
    all of them must be there. A heuristic: a task over a small fixed set of outputs looks the same,
    and a table that is computed does not.

    Args:
        code: The program.
        reference: What is known of the right answer; hidden tests are not looked at.
    """
    expected = {case.expected.strip() for case in reference.tests}
    if reference.test_code is not None:
        found = _EXPECTED.findall(reference.test_code)
        expected |= {text.partition(" and ")[0].strip(_ENDS) for text in found}
    telling = {text for text in expected if len(text) >= _TELLING}
    if len(telling) < _FEWEST:
        return False
    return all(re.search(rf"(?<!\w){re.escape(text)}(?!\w)", code) for text in telling)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
