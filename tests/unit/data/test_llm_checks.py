"""What an item must stand, and what becomes of its statement."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from halo_forge.config.generate import CheckSettings
from halo_forge.core.errors import VerifierFault
from halo_forge.core.types import Verdict, VerifyResult
from halo_forge.data.llm.answers import Item, RejectedError, parse_item
from halo_forge.data.llm.checks import Trial, evidence, item_prompt, trial_of
from halo_forge.data.llm.probes import probes
from halo_forge.data.llm.requests import ItemRequest
from halo_forge.data.llm.topics import load_topic
from tests.generated_items import good

REQUEST = ItemRequest("topic-1", "edge_cases", 2, "system", "user", 7)
PYTHON = load_topic("python_testing")
STRONG = {"stage": "tests", "integrity": "strong", "tests_total": 4}


def item_of(name: str, **changes: Any) -> Item:
    """A good item of a topic, changed."""
    import json

    found = parse_item(json.dumps(good(name)), "stop", load_topic(name))
    return replace(found, **changes)


def trial(repeats: int = 3) -> Trial:
    """The trial of the good Python item."""
    item = item_of("python_testing")
    return trial_of(item, item_prompt(item, REQUEST, PYTHON), CheckSettings(repeats=repeats))


def judged(trial: Trial, attempts: list[bool], probes: dict[int, bool] | None = None,
           **metadata: Any) -> dict[str, Verdict]:  # fmt: skip
    """Verdicts by which attempts and probes passed."""
    facts = STRONG | metadata
    passed = dict(zip((s.id for s in trial.attempts), attempts, strict=True))
    for n, (_, sample) in enumerate(trial.probes):
        passed[sample.id] = (probes or {}).get(n, False)
    return {
        sample.id: Verdict(
            sample, VerifyResult(passed[sample.id], float(passed[sample.id]), "said", None, facts)
        )
        for sample in trial.samples
    }


def test_an_item_that_stands() -> None:
    """Its tests are counted, and the trivial solutions that came as far as them."""
    tried = trial()
    found = evidence(tried, judged(tried, [True] * 3), CheckSettings())
    assert found == {"tests": 4, "integrity": "strong", "trivial_rejected": len(tried.probes)}


@pytest.mark.parametrize(
    ("attempts", "probes", "metadata", "reason"),
    [
        ([False] * 3, {}, {}, "solution-fails"),
        ([True, True, False], {}, {}, "flaky"),
        ([True] * 3, {2: True}, {}, "passes-trivial"),
        ([True] * 3, {}, {"integrity": "weak"}, "weak-tests"),
        ([True] * 3, {}, {"stage": "compile"}, "weak-tests"),
    ],
)
def test_items_that_do_not(
    attempts: list[bool], probes: dict[int, bool], metadata: dict[str, Any], reason: str
) -> None:
    """Each for its reason."""
    tried = trial()
    with pytest.raises(RejectedError) as caught:
        evidence(tried, judged(tried, attempts, probes, **metadata), CheckSettings())
    assert caught.value.reason == reason


def test_weak_tests_on_request() -> None:
    """They are taken where the settings say so, and marked."""
    tried = trial()
    verdicts = judged(tried, [True] * 3, integrity="weak")
    found = evidence(tried, verdicts, CheckSettings(require_strong=False))
    assert found["integrity"] == "weak"


def test_a_fault_decides_nothing() -> None:
    """One verdict that could not be had leaves the item owed, whatever the others say."""
    tried = trial()
    verdicts = judged(tried, [False] * 3)
    sample = tried.probes[0][1]
    verdicts[sample.id] = Verdict(sample, fault="no compiler")
    with pytest.raises(VerifierFault, match="no compiler"):
        evidence(tried, verdicts, CheckSettings())


def test_samples_are_told_apart() -> None:
    """Every answer has a name of its own, or equal ones would be judged once."""
    names = [sample.id for sample in trial(4).samples]
    assert len(set(names)) == len(names) == 4 + 10
    assert {name.rpartition("/")[0] for name in names} == {"topic-1"}


@pytest.mark.parametrize(
    ("solution", "head"),
    [
        ("def clamp(a, b): return a if a else {1: b}\n", "def clamp(a, b):"),
        ("def clamp(a=':)', b={1: 2}) -> dict[str, int]:\n    SECRET = 1\n",
         "def clamp(a=':)', b={1: 2}) -> dict[str, int]:"),
        ("X = 1\n\ndef clamp(\n    a: int,  # :)\n    b: int,\n) -> int:\n    SECRET = 1\n",
         "def clamp(\n    a: int,  # :)\n    b: int,\n) -> int:"),
        ("async def clamp(f=lambda x: x):\n    SECRET = 1\n", "async def clamp(f=lambda x: x):"),
        ("class clamp:\n    SECRET = 1\n", "Name the class `clamp`."),
    ],
)  # fmt: skip
def test_the_head_of_a_function(solution: str, head: str) -> None:
    """The statement ends with what the tests call, and shows nothing of the solution."""
    prompt = item_prompt(item_of("python_testing", solution=solution), REQUEST, PYTHON)
    assert head in prompt.text
    assert "SECRET" not in prompt.text
    assert "return a if" not in prompt.text
    assert prompt.text.endswith(PYTHON.closing)
    assert (prompt.id, prompt.category, prompt.difficulty) == ("topic-1", "edge_cases", 2)


@pytest.mark.parametrize("solution", ["def other(): pass\n", "def clamp(a\n", "clamp = max\n"])
def test_no_head(solution: str) -> None:
    """A solution that does not define what its tests call is no item."""
    with pytest.raises(RejectedError, match="incomplete"):
        item_prompt(item_of("python_testing", solution=solution), REQUEST, PYTHON)


def test_a_class_is_tried_by_classes() -> None:
    """Trivial solutions have the kind of what is asked for."""
    made = probes(item_of("python_testing", solution="class clamp:\n    pass\n"), "python")
    assert made[0].code == ""
    assert all("class clamp:" in probe.code for probe in made[1:])
