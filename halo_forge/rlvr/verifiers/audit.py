"""Does a verifier pay for what was not done, or refuse what was? Asked with answers that are known.

The corpus holds, for a few small tasks, right answers as models write them, an honest wrong one,
and programs that try to be paid for less. A verifier must pass every right one, and pay no exploit
more than the honest wrong answer beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from typing import Any, Literal

from ruamel.yaml import YAML

from halo_forge.core.errors import VerifierFault
from halo_forge.core.types import (
    Message,
    Prompt,
    Reference,
    Sample,
    TestCase,
    Verdict,
    VerifyResult,
)
from halo_forge.rlvr.verifiers.base import Verifier
from halo_forge.rlvr.verifiers.batch import judge_all
from halo_forge.rlvr.verifiers.languages import find_language
from halo_forge.rlvr.verifiers.mutation import Mutant, mutants
from halo_forge.utils.text import fenced

__all__ = ["Audit", "Kind", "Specimen", "TestAudit", "audit", "audit_tests", "corpus"]

Kind = Literal["right", "wrong", "exploit"]

_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Specimen:
    """An answer of which it is known what it deserves.

    Attributes:
        task: Name of the task; the honest wrong answer to the same task is the measure.
        name: What is special about it.
        kind: Whether it is right, honestly wrong, or an attempt to be paid for less.
        sample: The answer with its prompt.
    """

    task: str
    name: str
    kind: Kind
    sample: Sample


@dataclass(frozen=True, slots=True)
class Audit:
    """What an audit found.

    Attributes:
        judged: Answers that got a verdict.
        skipped: Tasks that the verifier cannot judge, with its reason.
        false_accepts: Exploits that were paid more than an honest wrong answer, or passed.
        false_rejects: Right answers that were not passed.
    """

    judged: int
    skipped: Mapping[str, str]
    false_accepts: tuple[tuple[Specimen, Verdict], ...]
    false_rejects: tuple[tuple[Specimen, Verdict], ...]

    @property
    def clean(self) -> bool:
        """Nothing was found, and there was something to judge."""
        return bool(self.judged) and not self.false_accepts and not self.false_rejects


@cache
def corpus(which: str = Verifier.known_answers) -> tuple[Specimen, ...]:
    """Return answers that come with halo-forge.

    Args:
        which: ``programs``, or questions about images such as ``vision/vqa``.
    """
    folder = resources.files("halo_forge.rlvr.verifiers") / "corpus"
    if which != Verifier.known_answers:
        document = YAML(typ="safe", pure=True).load((folder / f"{which}.yaml").read_text("utf-8"))
        return tuple(specimen for task in document for specimen in _answers(which, task))
    files = sorted((one for one in folder.iterdir() if one.name.endswith(".yaml")), key=str)
    found: list[Specimen] = []
    for file in files:
        document = YAML(typ="safe", pure=True).load(file.read_text("utf-8"))
        found += _specimens(file.name.removesuffix(".yaml"), document)
    return tuple(found)


def audit(
    verifier: Verifier,
    specimens: Sequence[Specimen] | None = None,
    advance: Callable[[], None] = lambda: None,
) -> Audit:
    """Judge known answers and compare.

    A task is skipped when the verifier cannot judge its first answer.

    Args:
        verifier: The verifier.
        specimens: Answers to judge; those of `corpus` for this verifier when absent.
        advance: Called after each verdict.
    """
    known = corpus(verifier.known_answers) if specimens is None else specimens
    verdicts: dict[str, Verdict] = {}
    with verifier.afresh():
        for verdict in judge_all(verifier, [one.sample for one in known]):
            verdicts[verdict.sample.id] = verdict
            advance()
    faults = {one.task: verdicts[one.sample.id].fault for one in reversed(known)}
    skipped = {task: fault for task, fault in faults.items() if fault is not None}
    pairs = [(one, verdicts[one.sample.id]) for one in known if one.task not in skipped]
    return Audit(
        judged=len(pairs),
        skipped=skipped,
        false_accepts=tuple(_overpaid(pairs)),
        false_rejects=tuple(
            (one, verdict)
            for one, verdict in pairs
            if one.kind == "right" and not (verdict.result and verdict.result.success)
        ),
    )


@dataclass(frozen=True, slots=True)
class TestAudit:
    """What the tests of one prompt are worth.

    Attributes:
        prompt: Whose tests they are.
        failure: Why the reference solution does not pass, if so.
        flaky: It was judged differently when asked again.
        changes: How many changed programs were judged.
        survivors: Changed programs that passed too.
    """

    __test__ = False

    prompt: Prompt
    failure: str | None
    flaky: bool
    changes: int
    survivors: tuple[Mutant, ...]

    @property
    def clean(self) -> bool:
        """The reference passes, always, and no change does."""
        return self.failure is None and not self.flaky and not self.survivors


def audit_tests(
    verifier: Verifier,
    prompts: Sequence[Prompt],
    *,
    changes: int = 5,
    seed: int = 0,
    advance: Callable[[], None] = lambda: None,
) -> list[TestAudit]:
    """Try the tests of prompts on their reference solutions and on changed ones.

    Args:
        verifier: Judges by the prompts' tests.
        prompts: Prompts with a reference solution; others are left out.
        changes: Changed programs to judge for each.
        seed: Of the choice of changes.
        advance: Called after each verdict.

    Raises:
        VerifierFault: If an answer could not be judged.
    """
    known = [prompt for prompt in prompts if prompt.reference.solution is not None]
    made = {prompt.id: _changed(prompt, changes, seed) for prompt in known}
    samples = [sample for prompt in known for sample in _trials(prompt, made[prompt.id])]
    results: dict[str, VerifyResult] = {}
    with verifier.afresh():
        for verdict in judge_all(verifier, samples):
            if verdict.result is None:
                raise VerifierFault(f"{verdict.sample.prompt.id}: {verdict.fault}")
            results[verdict.sample.id] = verdict.result
            advance()
    return [_tested(prompt, made[prompt.id], results) for prompt in known]


def _changed(prompt: Prompt, changes: int, seed: int) -> list[Mutant]:
    language = find_language(prompt.language or "")
    if language is None or prompt.reference.solution is None:
        return []
    return mutants(prompt.reference.solution, language, limit=changes, seed=seed)


def _trials(prompt: Prompt, made: Sequence[Mutant]) -> Iterator[Sample]:
    tag = prompt.language or ""
    solution = prompt.reference.solution or ""
    for attempt in range(_ATTEMPTS):
        # Under another name, or one call would judge equal samples once.
        again = replace(prompt, id=f"{prompt.id} (attempt {attempt})")
        yield Sample(again, 0, fenced(solution, tag))
    for number, mutant in enumerate(made):
        yield Sample(prompt, number, fenced(mutant.code, tag))


def _tested(
    prompt: Prompt, made: Sequence[Mutant], results: Mapping[str, VerifyResult]
) -> TestAudit:
    attempts = [results[f"{prompt.id} (attempt {n})#0"] for n in range(_ATTEMPTS)]
    failed = next((one for one in attempts if not one.success), None)
    return TestAudit(
        prompt=prompt,
        failure=None if failed is None else failed.error or failed.details,
        flaky=len({one.reward for one in attempts}) > 1,
        changes=len(made),
        survivors=tuple(
            mutant for n, mutant in enumerate(made) if results[f"{prompt.id}#{n}"].success
        ),
    )


def _overpaid(
    pairs: Sequence[tuple[Specimen, Verdict]],
) -> Iterator[tuple[Specimen, Verdict]]:
    """Yield the exploits that were paid too much; a fault in the middle of a task is none."""
    honest = {
        one.task: verdict.result for one, verdict in pairs if one.kind == "wrong" and verdict.result
    }
    for one, verdict in pairs:
        measure, result = honest.get(one.task), verdict.result
        if one.kind == "exploit" and result is not None and measure is not None:
            passed = result.success and not measure.success
            if passed or result.reward > measure.reward:
                yield one, verdict


def _specimens(task: str, document: Mapping[str, Any]) -> Iterator[Specimen]:
    tests = document["tests"]
    reference = Reference(
        tests=() if isinstance(tests, str) else tuple(TestCase(**case) for case in tests),
        test_code=tests if isinstance(tests, str) else None,
        entry_point=document.get("entry_point"),
    )
    language = document["language"]
    prompt = Prompt(task, (Message("user", document["task"]),), reference, language)
    for number, row in enumerate(document["programs"]):
        answer = row["answer"] if "answer" in row else f"```{language}\n{row['code']}```"
        yield Specimen(task, row["name"], row["kind"], Sample(prompt, number, answer))


def _answers(which: str, document: Mapping[str, Any]) -> Iterator[Specimen]:
    """Yield the answers to a question about an image that nobody needs to see."""
    reference = Reference(
        ground_truth=document["ground_truth"],
        alternatives=tuple(document.get("alternatives", ())),
    )
    name = f"{which}: {document['name']}"
    prompt = Prompt(name, (Message("user", document["question"]),), reference)
    rows: list[tuple[Kind, str, str]] = [
        *(("right", title, text) for title, text in document["right"].items()),
        ("wrong", "honest", document["wrong"]),
        *(("exploit", title, text) for title, text in document["exploits"].items()),
    ]
    for number, (kind, title, text) in enumerate(rows):
        yield Specimen(name, title, kind, Sample(prompt, number, text))
