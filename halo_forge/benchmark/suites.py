"""Benchmarks by name: which problems, and which verifier judges their answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from halo_forge.config.benchmark import BenchmarkConfig
from halo_forge.core.errors import UserError
from halo_forge.core.types import Prompt
from halo_forge.data import public_datasets
from halo_forge.data.items import Item
from halo_forge.data.prompts import load_prompts, with_system
from halo_forge.utils.text import printable

__all__ = ["SUITES", "Problems", "Suite", "load_problems", "settled"]


@dataclass(frozen=True, slots=True)
class Suite:
    """A benchmark by name.

    Attributes:
        verifier: Registered verifier that runs the tests of its problems.
        builtin: Its problems where they are built in, such as ``builtin:cpp/heldout``.
        dataset: Registered public data set where they are not.
        config: The data set's configuration, where its default is another benchmark.
        split: The split that is meant for measuring.
        limits: The verifier's settings where its defaults would fail some reference solutions.
    """

    verifier: str
    builtin: str | None = None
    dataset: str = ""
    config: str | None = None
    split: str = "test"
    limits: tuple[tuple[str, int], ...] = ()


# HumanEval/15, 130 and 139 pass megabytes through their functions; see `bench/evalplus.py`.
_PLUS = (("timeout", 60), ("memory_limit_mb", 1024))
# Its own grader gives a test 6 seconds.
_CONTEST = (("timeout", 60), ("run_timeout", 6), ("memory_limit_mb", 1024))


def _multipl_e(language: str) -> Suite:
    return Suite("joined", dataset="multipl-e", config=f"humaneval-{language}")


SUITES: Mapping[str, Suite] = MappingProxyType(
    {
        "cpp": Suite("execution", "builtin:cpp/heldout"),
        "humaneval": Suite("humaneval", dataset="humaneval"),
        "humaneval_plus": Suite("humaneval", dataset="humaneval_plus", limits=_PLUS),
        "livecodebench": Suite("tests", dataset="livecodebench", limits=_CONTEST),
        "mbpp": Suite("mbpp", dataset="mbpp"),
        "mbpp_plus": Suite("mbpp", dataset="mbpp_plus", limits=_PLUS),
        **{f"multipl-e-{one}": _multipl_e(one) for one in ("cpp", "cs", "go", "rs")},
        "python": Suite("execution", "builtin:python/heldout"),
    }
)
"""Every benchmark that has a verifier for its tests."""


@dataclass(frozen=True, slots=True)
class Problems:
    """What is to be answered.

    Attributes:
        prompts: The problems, with their tests.
        about: Where they come from, for the result; empty for a prompts file.
    """

    prompts: tuple[Prompt, ...]
    about: Mapping[str, Any]


def settled(config: BenchmarkConfig) -> BenchmarkConfig:
    """Return the configuration with the verifier that the benchmark calls for.

    Raises:
        UserError: If another verifier, or a source for built-in problems, is asked for.
    """
    if config.benchmark is None:
        return config
    suite = SUITES[config.benchmark]
    if suite.builtin is not None:
        for key in ("source", "dataset_config", "revision", "date_from", "date_to"):
            if getattr(config, key) is not None:
                raise UserError(f"{key}: benchmark {config.benchmark!r} is built in and has none")
    asked = config.verifier.type
    if "type" in config.verifier.model_fields_set and asked != suite.verifier:
        raise UserError(
            f"verifier.type: benchmark {config.benchmark!r} is judged by verifier "
            f"{suite.verifier!r}, not {asked!r}. Leave it out; or make a prompts file (halo-forge "
            "data prompts) and judge it as you like (halo-forge benchmark run)."
        )
    given = config.verifier.model_fields_set
    limits = {name: limit for name, limit in suite.limits if name not in given}
    verifier = config.verifier.model_copy(update={"type": suite.verifier, **limits})
    return config.model_copy(update={"verifier": verifier})


def load_problems(config: BenchmarkConfig) -> Problems:
    """Read the problems that a benchmark asks for: all of them, or the first ``max_prompts``.

    Raises:
        UserError: If they cannot be found, or are fewer than published and that was not asked for.
        StoreFault: If the hub cannot be asked.
    """
    if config.benchmark is None:
        return Problems(
            _some(load_prompts(config.prompts, system=config.system_prompt), config), {}
        )
    suite = SUITES[config.benchmark]
    if suite.builtin is not None:
        prompts = load_prompts(suite.builtin, system=config.system_prompt)
        about = {"benchmark": config.benchmark, "source": suite.builtin, "published": len(prompts)}
        return Problems(_some(prompts, config), about)
    return _public(suite, config)


def _public(suite: Suite, config: BenchmarkConfig) -> Problems:
    selection = public_datasets.select(
        suite.dataset,
        config=_part(suite, config),
        split=suite.split,
        source=config.source,
        revision=config.revision,
        hidden=0.0,
    )
    tally = public_datasets.Tally()
    found: dict[str, Prompt] = {}
    outside = 0
    for item in public_datasets.items(selection, tally):
        if not _in_window(item, config):
            outside += 1
            continue
        found.setdefault(item.prompt.id, item.prompt)
        if len(found) == config.max_prompts:
            break
    published = (selection.rows or 0) - outside
    wanted = min(published, config.max_prompts or published)
    if not found or len(found) < wanted:
        raise UserError(_short(config, len(found), wanted, tally))
    about = {
        "benchmark": config.benchmark,
        "source": selection.origin.source,
        "revision": selection.origin.revision,
        "config": selection.view.config,
        "split": selection.view.split,
        "published": selection.rows,
        **({"from": config.date_from} if config.date_from else {}),
        **({"to": config.date_to} if config.date_to else {}),
    }
    prompts = [with_system(one, config.system_prompt) for one in found.values()]
    return Problems(tuple(prompts), about)


def _part(suite: Suite, config: BenchmarkConfig) -> str | None:
    """Return the data set's configuration: the benchmark's, or one of the same language.

    Raises:
        UserError: If another language is asked for.
    """
    asked = config.dataset_config
    if asked is None or suite.config is None:
        return asked or suite.config
    language = suite.config.rpartition("-")[2]
    if asked.rpartition("-")[2] != language:
        raise UserError(
            f"dataset_config {asked!r}: benchmark {config.benchmark!r} has the configurations "
            f"humaneval-{language} and mbpp-{language}"
        )
    return asked


def _in_window(item: Item, config: BenchmarkConfig) -> bool:
    """Tell whether a problem was published in the window of dates.

    Raises:
        UserError: If there is a window, and nothing says when the problem was published.
    """
    if config.date_from is None and config.date_to is None:
        return True
    if item.date is None:
        raise UserError(
            f"date_from, date_to: nothing says when {item.prompt.id} was published; benchmark "
            "livecodebench has dates"
        )
    return (config.date_from or item.date) <= item.date <= (config.date_to or item.date)


def _short(config: BenchmarkConfig, found: int, wanted: int, tally: public_datasets.Tally) -> str:
    """Say that problems are missing, and why: a part of a benchmark is another benchmark."""
    reasons = [
        printable(f"  left out: {count} rows, {why} (first: {tally.first[why]})")
        for why, count in tally.unfit.most_common()
    ]
    mend = "Give the whole data set (--source, --dataset-config)"
    part = f", or ask for a part: --max-prompts {found}" if found else ""
    return "\n".join(
        [
            f"benchmark {config.benchmark!r}: {wanted if wanted > 0 else 'no'} problems are wanted "
            f"and {found} "
            f"found in {tally.rows} rows of {config.source or 'the hub'}.",
            *reasons,
            f"{mend}{part}.",
        ]
    )


def _some(prompts: list[Prompt], config: BenchmarkConfig) -> tuple[Prompt, ...]:
    return tuple(prompts[: config.max_prompts])
