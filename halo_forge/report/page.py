"""A run as one HTML file that needs nothing else: no network, no script, light and dark.

Everything that a run directory holds is hostile: a model wrote the answers, and its programs the
diagnostics. Four walls keep it text: the template engine escapes every value, no value is ever
declared safe, control characters are replaced, and the page's own policy lets a browser load and
run nothing but the one style sheet whose digest it names.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from halo_forge import __version__
from halo_forge.report.charts import drawn
from halo_forge.report.curves import charts_of, training_rates
from halo_forge.report.grid import Grid
from halo_forge.report.highlight import LONGEST, Line, highlighted
from halo_forge.report.lessons import errors_grid, honesty_grid, notices
from halo_forge.report.prompts import movements, movements_grid
from halo_forge.report.records import Run
from halo_forge.report.samples import (
    Answer,
    all_cycles,
    best,
    diagnostics,
    outcome,
    program,
    read_answers,
    worst,
)
from halo_forge.report.tables import before_after, cycles_grid, settings_grid
from halo_forge.rlvr.statistics import error_class
from halo_forge.utils.text import printable

__all__ = ["report_html"]

_CUT = "\n[cut here]"


@dataclass(frozen=True, slots=True)
class _Sample:
    """An answer as the page shows it."""

    answer: Answer
    outcome: str
    error_class: str | None
    prompt: str
    code: list[Line]
    completion: str
    said: list[str]


def report_html(run: Run, count: int) -> str:
    """Return the page of a run.

    Args:
        run: The run.
        count: Samples shown of the best, and of the worst.

    Raises:
        StoreFault: If a journal of the run is damaged.
    """
    environment = _environment()
    style = environment.get_template("report.css").render()
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    charts = charts_of(run.cycles, training_rates(read_answers(run.path, "training")))
    return environment.get_template("report.html").render(
        style_digest=digest,
        version=__version__,
        name=run.path.resolve().name,
        facts=_facts(run),
        notices=notices(run),
        grids=_grids(run),
        charts=[drawing for chart in charts if (drawing := drawn(chart)) is not None],
        samples=_samples(run, count),
        settings=settings_grid(run.config, {}),
        environment=_attempts(run.info),
    )


def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_harmless,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _harmless(value: Any) -> Any:
    """Replace control characters in what is written into the page; what a macro made is ours."""
    return value if isinstance(value, Markup) else printable(str(value))


def _facts(run: Run) -> list[tuple[str, str]]:
    config = run.config
    return [
        *([("CONTROL, not a verified run", run.control)] if run.control else []),
        ("model", str(config.get("sft_checkpoint") or config.get("model.name"))),
        ("verifier", str(config.get("verifier.type"))),
        ("cycles", f"{run.done} of {run.planned}"),
        ("seed", str(config.get("seed"))),
    ]


def _grids(run: Run) -> list[Grid]:
    change = before_after(run.cycles)
    grids = [change] if change is not None else []
    grids.append(replace(cycles_grid(run.cycles), title="By cycle"))
    grids += [g for g in (errors_grid(run.cycles), honesty_grid(run.cycles)) if g is not None]
    for kind, title in (("training", "Training prompts"), ("heldout", "Held-out prompts")):
        moved = movements(read_answers(run.path, kind))  # type: ignore[arg-type]
        if moved:
            grids.append(movements_grid(moved, title))
    return grids


def _samples(run: Run, count: int) -> list[tuple[str, list[_Sample]]]:
    """Return titles and samples of the last cycle with judged answers."""
    cycles = all_cycles(run.path, "training")
    if not cycles:
        return []
    answers = list(read_answers(run.path, "training", cycles[-1:]))
    chosen = (
        (f"Best answers of cycle {cycles[-1]}, the hardest prompts first", best(answers, count)),
        (f"Worst answers of cycle {cycles[-1]}, the easiest prompts first", worst(answers, count)),
    )
    return [(title, [_sample(answer) for answer in found]) for title, found in chosen if found]


def _sample(answer: Answer) -> _Sample:
    result = answer.result
    language = result.metadata.get("language")
    code = _short(program(answer))
    return _Sample(
        answer=answer,
        outcome=outcome(result),
        error_class=error_class(result),
        prompt=_short(answer.prompt.text) if answer.prompt is not None else "",
        code=highlighted(code, str(language) if language else None),
        completion=_short(answer.completion),
        said=[_short(text) for text in diagnostics(result)],
    )


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - len(_CUT)] + _CUT


def _attempts(info: Mapping[str, Any]) -> list[Grid]:
    """Return what each attempt noted about itself, and what the run guards."""
    attempts: Sequence[Any] = info.get("attempts", [])
    grids = [
        Grid(("", ""), tuple(_flat("", attempt)), f"Attempt {number}", wide=True)
        for number, attempt in enumerate(attempts, 1)
    ]
    guarded = {
        key: value
        for key, value in info["guarded"].items()
        if key.endswith((".content", ".fingerprint"))
    }
    return [*grids, Grid(("", ""), tuple(_flat("", guarded)), "What the run guards", wide=True)]


def _flat(prefix: str, value: Any) -> Iterator[tuple[str, str]]:
    """Yield the leaves of nested values by dotted name."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(f"{prefix}.{key}" if prefix else str(key), inner)
    elif isinstance(value, list) and all(isinstance(each, str) for each in value):
        yield prefix, " ".join(value)
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _flat(f"{prefix}.{number}", inner)
    else:
        yield prefix, "-" if value is None else str(value)
