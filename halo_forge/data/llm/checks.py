"""What an item must stand: its solution passes its tests, each time, and trivial ones do not.

Pure: it says which answers are to be judged, and what their verdicts mean. A fault (no compiler, a
broken sandbox) means nothing about the item, which then stays owed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from halo_forge.config.generate import CheckSettings, TopicConfig
from halo_forge.core.errors import ConfigError, VerifierFault
from halo_forge.core.types import Prompt, Sample, Verdict, VerifyResult
from halo_forge.data.formats import parse_prompt
from halo_forge.data.llm.answers import Item, RejectedError
from halo_forge.data.llm.probes import Probe, probes
from halo_forge.data.llm.requests import ItemRequest
from halo_forge.utils.text import fenced

__all__ = ["Trial", "evidence", "item_prompt", "trial_of"]

_TESTS = "tests"
_STRONG = "strong"
_LONGEST_HEAD = 2000
_SIGNS = re.compile(r"""[()\[\]{}:]|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|#[^\n]*""")
"""Brackets and colons; strings and comments, so that what is in them does not count."""


@dataclass(frozen=True, slots=True)
class Trial:
    """The answers by which one item is judged.

    Attributes:
        prompt: The item as a prompt with its tests.
        attempts: The solution, as often as it is to be run.
        probes: Trivial solutions, each with its sample.
    """

    prompt: Prompt
    attempts: tuple[Sample, ...]
    probes: tuple[tuple[Probe, Sample], ...]

    @property
    def samples(self) -> list[Sample]:
        """Everything that is to be judged."""
        return [*self.attempts, *(sample for _, sample in self.probes)]


def item_prompt(item: Item, request: ItemRequest, topic: TopicConfig) -> Prompt:
    """Return the item as a prompt: the statement, what the topic puts under it, and the tests.

    Where a function is asked for, the statement ends with the head that its tests call.

    Raises:
        RejectedError: If it makes no prompt (``incomplete``).
    """
    head = "" if item.entry_point is None else _head(item)
    tests = item.test_code or [{"input": c.input, "expected": c.expected} for c in item.cases]
    record = {
        "id": request.id,
        "prompt": f"{item.statement.strip()}\n{head}\n{topic.closing}",
        "language": topic.language,
        "category": request.category,
        "difficulty": request.difficulty,
        "tests": tests,
        "entry_point": item.entry_point,
        "reference": item.solution,
    }
    try:
        return parse_prompt({key: value for key, value in record.items() if value is not None})
    except ConfigError as error:
        raise RejectedError("incomplete", error.problems[0]) from None


def trial_of(item: Item, prompt: Prompt, settings: CheckSettings) -> Trial:
    """Return the answers by which an item is judged.

    Each has a prompt id of its own, since judges may answer equal samples once.
    """
    language = prompt.language or ""

    def sample(name: str, code: str) -> Sample:
        named = replace(prompt, id=f"{prompt.id}/{name}")
        return Sample(named, 0, fenced(code, language) if code else "")

    attempts = [sample(f"attempt {n}", item.solution) for n in range(1, settings.repeats + 1)]
    tried = [
        (probe, sample(f"probe {n}", probe.code)) for n, probe in enumerate(probes(item, language))
    ]
    return Trial(prompt, tuple(attempts), tuple(tried))


def evidence(
    trial: Trial, verdicts: Mapping[str, Verdict], settings: CheckSettings
) -> dict[str, str | int]:
    """Return what is known of an item that stood the trial.

    Args:
        trial: What was judged.
        verdicts: The verdicts by sample id.
        settings: What is asked of an item.

    Raises:
        RejectedError: If it did not stand it: ``solution-fails``, ``flaky``, ``weak-tests`` or
            ``passes-trivial``.
        VerifierFault: If something could not be judged.
    """
    attempts = [_result(verdicts[sample.id]) for sample in trial.attempts]
    tried = [(probe, _result(verdicts[sample.id])) for probe, sample in trial.probes]
    _require_solved(attempts)
    integrity = str(attempts[0].metadata.get("integrity", ""))
    if settings.require_strong and integrity != _STRONG:
        raise RejectedError("weak-tests", "they can only be run in the solution's own process")
    for probe, result in tried:
        if result.success:
            raise RejectedError("passes-trivial", f"{probe.name} passes the tests")
    # A trivial program that is turned away before the tests says nothing about them.
    asked = sum(result.metadata.get("stage") == _TESTS for _, result in tried)
    if not asked:
        raise RejectedError("weak-tests", "no trivial solution came as far as the tests")
    total = attempts[0].metadata.get("tests_total", 0)
    return {"tests": int(total), "integrity": integrity, "trivial_rejected": asked}


def _require_solved(attempts: Sequence[VerifyResult]) -> None:
    failed = [result for result in attempts if not result.success]
    if not failed:
        return
    why = " ".join((failed[0].error or failed[0].details).split())
    if len(failed) < len(attempts):
        raise RejectedError(
            "flaky", f"the solution fails in {len(failed)} of {len(attempts)} runs: {why}"
        )
    raise RejectedError("solution-fails", why)


def _result(verdict: Verdict) -> VerifyResult:
    if verdict.result is None:
        raise VerifierFault(f"{verdict.sample.prompt.id}: {verdict.fault}")
    return verdict.result


def _head(item: Item) -> str:
    """Return the lines that say how the tests call the solution, out of the solution itself."""
    name = item.entry_point or ""
    found = re.search(rf"^(?:async def|def|class) {re.escape(name)}\b", item.solution, re.MULTILINE)
    if found is None:
        raise RejectedError("incomplete", f"the solution has no function or class {name}")
    if found[0].startswith("class"):
        return f"\nName the class `{name}`.\n"
    head = _signature(item.solution[found.start() : found.start() + _LONGEST_HEAD])
    return "\nStart from this line:\n\n" + fenced(head, "python") + "\n"


def _signature(code: str) -> str:
    """Return a function's head up to the colon that ends it, and nothing of its body."""
    depth = 0
    for found in _SIGNS.finditer(code):
        depth += (found[0] in "([{") - (found[0] in ")]}")
        if found[0] == ":" and depth == 0:
            return code[: found.end()]
    raise RejectedError("incomplete", "the head of the solution's function has no end")
