"""Two measurements of the same problems, paired by problem: pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from halo_forge.benchmark.measured import Measured
from halo_forge.benchmark.pass_at_k import estimate_pass_at_k, pass_at_k
from halo_forge.core.errors import UserError
from halo_forge.stats import Estimate, Paired, paired_difference

__all__ = ["Comparison", "Moved", "compare", "require_comparable"]

_ALPHA = 0.05
_SHOWN = 60


@dataclass(frozen=True, slots=True)
class Moved:
    """A problem on which the two differ.

    Attributes:
        problem: Its id.
        before: Answers of the baseline that count.
        after: Answers of the other that count.
    """

    problem: str
    before: int
    after: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """What the difference of two measurements is, and what it shows.

    Attributes:
        baseline: Compared with.
        other: Compared.
        k: Budget of pass@k.
        before: pass@k of the baseline with its interval.
        after: pass@k of the other.
        change: Mean difference over problems, other - baseline, with interval and p-value.
        moved: Problems on which the two differ, in the order of their ids.
        differs: Other settings that differ, with both values: what the comparison is of.
    """

    baseline: Measured
    other: Measured
    k: int
    before: Estimate
    after: Estimate
    change: Paired
    moved: tuple[Moved, ...]
    differs: Mapping[str, tuple[Any, Any]]

    @property
    def is_shown(self) -> bool:
        """Tell whether there is a difference: the interval is off 0, and p is below 0.05."""
        interval = self.change.difference
        return self.change.p_value < _ALPHA and not interval.low <= 0 <= interval.high

    @property
    def gained(self) -> tuple[Moved, ...]:
        """Problems that some answer of the other solves, and none of the baseline."""
        return tuple(one for one in self.moved if not one.before)

    @property
    def lost(self) -> tuple[Moved, ...]:
        """Problems that some answer of the baseline solves, and none of the other."""
        return tuple(one for one in self.moved if not one.after)


def compare(baseline: Measured, other: Measured, *, k: int = 1, seed: int = 0) -> Comparison:
    """Compare pass@k of two measurements, problem by problem.

    Args:
        baseline: The one to start from.
        other: The one that may be better; comparable, see `require_comparable`.
        k: Budget, at most the answers to a problem.
        seed: Of the resampling.

    Raises:
        UserError: If they are not comparable, or k is above the number of answers.
    """
    require_comparable([baseline, other])
    n = baseline.samples
    if k > n:
        raise UserError(f"k = {k} needs at least {k} samples a problem; these have {n}")
    problems = sorted(baseline.counts)
    old = [baseline.counts[problem] for problem in problems]
    new = [other.counts[problem] for problem in problems]
    before, after = ([pass_at_k(n, c, k) for c in counts] for counts in (old, new))
    return Comparison(
        baseline=baseline,
        other=other,
        k=k,
        before=estimate_pass_at_k(old, n, k, seed),
        after=estimate_pass_at_k(new, n, k, seed),
        change=paired_difference(before, after, seed),
        moved=tuple(
            Moved(problem, a, b) for problem, a, b in zip(problems, old, new, strict=True) if a != b
        ),
        differs=_different(baseline.settings, other.settings),
    )


def require_comparable(all_measured: Sequence[Measured]) -> None:
    """Refuse measurements of other problems, with other numbers of answers, or judged otherwise.

    Raises:
        UserError: With everything by which one of them differs from the first.
    """
    first, *others = all_measured
    problems = [line for other in others for line in _obstacles(first, other)]
    if problems:
        raise UserError(
            "\n".join(
                [
                    "These cannot be compared, since their figures differ for another reason than "
                    "the model:",
                    *problems,
                    "Measure all with the same prompts, samples and verifier.",
                ]
            )
        )


def _obstacles(first: Measured, other: Measured) -> list[str]:
    pair = f"{first.name} and {other.name}"
    found = []
    if first.samples != other.samples:
        found.append(f"  {pair}: {first.samples} and {other.samples} samples a problem")
    if first.conditions["prompts"] != other.conditions["prompts"]:
        found.append(f"  {pair}: {_other_prompts(first, other)}")
    keys = sorted((first.conditions.keys() | other.conditions.keys()) - {"prompts"})
    for key in keys:
        was, now = first.conditions.get(key), other.conditions.get(key)
        if was != now:
            found.append(f"  {pair}: {key}: {_where_apart(repr(was), repr(now))}")
    return found


def _other_prompts(first: Measured, other: Measured) -> str:
    only, common = first.counts.keys() - other.counts.keys(), first.counts.keys() & other.counts
    sizes = f"other prompts ({len(first.counts)} and {len(other.counts)} problems, "
    if not only and len(common) == len(other.counts):
        return f"{sizes}of the same ids: their text, their tests or the system prompt differs)"
    return f"{sizes}{len(common)} in both)"


def _where_apart(was: str, now: str) -> str:
    """Return both values from shortly before where they part: fingerprints are long."""
    same = next((at for at, (a, b) in enumerate(zip(was, now, strict=False)) if a != b), 0)
    start = max(same - _SHOWN // 2, 0) if max(len(was), len(now)) > _SHOWN else 0
    texts = (("..." if start else "") + text[start : start + _SHOWN] for text in (was, now))
    return " and ".join(texts)


def _different(
    before: Mapping[str, Any], after: Mapping[str, Any]
) -> Mapping[str, tuple[Any, Any]]:
    both = sorted(before.keys() & after.keys())
    return {key: (before[key], after[key]) for key in both if before[key] != after[key]}
