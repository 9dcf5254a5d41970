"""What a run learned and what to doubt in it, by cycle: tables and lines; pure functions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from halo_forge.report.grid import Grid
from halo_forge.report.records import Cycle, Heldout, Run
from halo_forge.rlvr.controls import MEANINGS

__all__ = ["errors_grid", "honesty_grid", "notices"]

_NONE = "-"
_CLASSES = 8
_MANY_CUT = 0.2
"""Share of held-out answers cut before training above which learning to end may be a gain."""


def errors_grid(cycles: Sequence[Cycle]) -> Grid | None:
    """Return which share of the answers failed how: a row a class, a column a cycle.

    Of held-out answers where there are any, since their prompts are the same in every cycle; else
    of training answers. None without failures.
    """
    held = [(c.cycle, c.heldout.error_classes, c.heldout.samples) for c in cycles if c.heldout]
    trained = [(c.cycle, c.error_classes, c.total_samples) for c in cycles if c.total_samples]
    columns = held or [(cycle, found, total or 1) for cycle, found, total in trained]
    sums: Counter[str] = Counter()
    for _, found, _ in columns:
        sums.update(found)
    if not sums:
        return None

    def share(name: str) -> list[str]:
        return [f"{found.get(name, 0) / total:.1%}" for _, found, total in columns]

    common = [name for name, _ in sums.most_common(_CLASSES)]
    rows = tuple((name.replace("_", " "), *share(name)) for name in common)
    header = ("failed with", *(_when(cycle) for cycle, _, _ in columns))
    kind = "held-out" if held else "training"
    return Grid(header, rows, f"What went wrong in {kind} answers, share of all of them")


def honesty_grid(cycles: Sequence[Cycle]) -> Grid | None:
    """Return diversity, movement and signs of gaming: one row a cycle, columns that are known.

    None without figures.
    """
    rows = []
    for cycle in cycles:
        held = cycle.heldout
        rows.append(
            (
                _when(cycle.cycle),
                _rate(cycle.distinct_share),
                _reach(cycle),
                _rate(cycle.solved_first_share),
                _rate(cycle.lost_share),
                _gap(cycle),
                _counts(cycle),
                _rate(cycle.cut_share),
                _rate(held.distinct_share) if held else _NONE,
                _reach(held) if held else _NONE,
                _gap(held) if held else _NONE,
                _rate(held.cut_share) if held else _NONE,
            )
        )
    header = (
        "cycle",
        "different",
        "solved at all",
        "first time",
        "lost",
        "hidden gap",
        "tables, trivial",
        "cut",
        "held-out different",
        "held-out solved at all",
        "held-out hidden gap",
        "held-out cut",
    )
    title = (
        "What to doubt (!: alarm). Tables, trivial: answers made for the tests or idle, it seems. "
        "Cut: by the limit of tokens"
    )
    known = [n for n in range(1, len(header)) if any(row[n] != _NONE for row in rows)]
    if not known:
        return None
    shown = [tuple(row[n] for n in (0, *known)) for row in (header, *rows)]
    return Grid(shown[0], tuple(shown[1:]), title)


def notices(run: Run) -> list[str]:
    """Return what must be read before the figures of a run."""
    lines = []
    if run.control is not None:
        meaning = next((text for name, text in MEANINGS.items() if name == run.control), "")
        lines.append(
            f"CONTROL {run.control}: not a verified run, {meaning}. Its held-out figures are "
            "judged as in any run."
        )
    if run.stopped:
        lines.append(f"Ended early: {run.stopped}.")
    last = run.cycles[-1] if run.cycles else None
    if last is not None and last.decision is not None and last.decision.why and not run.stopped:
        lines.append(f"After cycle {last.cycle}: {last.decision.why}.")
    if run.best is not None:
        where = f"cycle {run.best}" if run.best else "the start; no cycle is better"
        lines.append(f"Best by the held-out pass rate: {where}.")
    wide = [
        c for c in run.cycles if c.hidden_gap_alarm or (c.heldout and c.heldout.hidden_gap_alarm)
    ]
    if wide:
        named = ", ".join(_when(cycle.cycle) for cycle in wide)
        lines.append(
            f"HIDDEN-TEST GAP ({named}): answers pass their tests more often than hidden tests "
            "too; the tests that reward are weak, or are being gamed."
        )
    return lines + _cut_notice([cycle for cycle in run.cycles if cycle.heldout])


def _cut_notice(cycles: Sequence[Cycle]) -> list[str]:
    shares = [one.heldout.cut_share for one in cycles if one.heldout]
    before, after = (shares[0], shares[-1]) if shares else (None, None)
    if before is None or after is None or before < _MANY_CUT or after >= before:
        return []
    return [
        f"CUT ANSWERS: {before:.0%} of the held-out answers were cut by the limit of tokens before "
        f"training, {after:.0%} after cycle {cycles[-1].cycle}. To end in time is learnt without a "
        "verifier too; see with a larger generation.max_new_tokens, or a control, what is left."
    ]


def _when(cycle: int) -> str:
    return str(cycle) if cycle else "before"


def _rate(value: float | None) -> str:
    return _NONE if value is None else f"{value:.1%}"


def _reach(one: Cycle | Heldout) -> str:
    reach = one.pass_at_k
    if reach is None:
        return _NONE
    return f"{reach.mean:.1%}" + (f" @{reach.k}" if reach.k else "")


def _gap(one: Cycle | Heldout) -> str:
    if one.hidden_gap is None:
        return _NONE
    return f"{100 * one.hidden_gap.mean:.1f}" + ("!" if one.hidden_gap_alarm else "")


def _counts(one: Cycle) -> str:
    if not one.suspicious:
        return _NONE
    return f"{one.suspicious.get('test_specialised', 0)}, {one.suspicious.get('trivial', 0)}"
