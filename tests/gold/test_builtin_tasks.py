"""The gold check of the built-in tasks, in the real sandbox: the tests accept what is right only.

One verifier judges everything, so that answers are judged on all cores; each test then looks at
its task's verdicts.
"""

import dataclasses

import pytest

from halo_forge.core.types import Message, Prompt, Reference, Sample
from halo_forge.data.builtin import LANGUAGE_TITLES, load_builtin, tasks
from halo_forge.data.gold import check_gold
from halo_forge.data.shapes import parse_record, read_records
from halo_forge.rlvr.verifiers import ExecutionVerifier
from halo_forge.rlvr.verifiers.batch import judge_all
from halo_forge.utils.text import fenced


@pytest.fixture(scope="module")
def verifier():
    """The verifier that users get, with its default limits."""
    with ExecutionVerifier() as one:
        one.start()
        yield one


@pytest.mark.toolchain("g++")
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("language", LANGUAGE_TITLES)
def test_references_pass_and_empty_answers_do_not(verifier, language):
    """Every reference scores 1.0 on tests and hidden tests together, an empty answer less."""
    lines = read_records(f"builtin:{language}/all")
    records = [parse_record(line, row, "prompts") for line, row in lines]
    assert len(records) == len(tasks())
    assert check_gold(records, lambda samples: judge_all(verifier, samples)) == []


@pytest.mark.timeout(1800)
def test_constant_programs_fail(verifier):
    """A program that prints the output of one test, whatever it reads, passes neither test set."""
    samples = []
    for prompt in load_builtin("builtin:python/all"):
        shown, hidden = prompt.reference.tests, prompt.reference.hidden_tests
        for name, cases in (("shown", shown), ("hidden", hidden)):
            constant = fenced(f"import sys\nsys.stdout.write({cases[0].expected!r})\n", "python")
            asked = dataclasses.replace(
                prompt, id=f"{prompt.id}#{name}", reference=Reference(tests=cases)
            )
            samples.append(Sample(asked, 0, constant))
    verdicts = list(judge_all(verifier, samples))
    assert [verdict.fault for verdict in verdicts if verdict.fault] == []
    passing = [v.sample.prompt.id for v in verdicts if v.result is None or v.result.reward == 1.0]
    assert passing == []


def test_the_gold_check_bites(verifier):
    """A wrong reference would be noticed: the check can fail."""
    cases = load_builtin("builtin:python/train")[0].reference.tests
    wrong = Prompt("wrong", (Message("user", "x"),), Reference(tests=cases), language="python")
    sample = Sample(wrong, 0, fenced("print(int(input()) - 1)", "python"))
    (verdict,) = judge_all(verifier, [sample])
    assert verdict.result is not None
    assert verdict.result.reward < 1.0
