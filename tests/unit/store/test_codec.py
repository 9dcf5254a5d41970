"""What is written of samples and verdicts is what is read again."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from halo_forge.core.types import Message, Prompt, Sample, Verdict, VerifyResult
from halo_forge.store.codec import (
    sample_from_record,
    sample_record,
    verdict_from_record,
    verdict_record,
)
from tests.fakes import make_prompt, make_sample

_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
_tokens = st.lists(st.integers(0, 300_000), max_size=6).map(tuple)
_prompts = st.builds(Prompt, _text, st.tuples(st.builds(Message, st.just("user"), _text)))
_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(-1e9, 1e9) | _text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_text, inner, max_size=3),
    max_leaves=6,
)
_samples = st.builds(
    Sample,
    _prompts,
    st.integers(0, 10_000),
    _text,
    prompt_ids=_tokens,
    token_ids=_tokens,
    logprobs=st.lists(st.integers(-90_000_000, 0).map(lambda n: n / 1e6), max_size=6).map(tuple),
    finish_reason=st.sampled_from(["stop", "length"]),
    policy=_text,
)
_results = st.builds(
    VerifyResult,
    st.booleans(),
    st.floats(0, 1),
    _text,
    st.none() | _text,
    st.dictionaries(_text, _json, max_size=3),
)


@settings(max_examples=50, deadline=None)
@given(_samples)
def test_samples_come_back(sample: Sample) -> None:
    """A sample survives the way through JSON, its token ids and log-probabilities too."""
    record = orjson.loads(orjson.dumps(sample_record(sample)))
    assert record["id"] == sample.id
    assert sample_from_record(record, {sample.prompt.id: sample.prompt}) == sample


@settings(max_examples=50, deadline=None)
@given(_samples, _results)
def test_verdicts_come_back(sample: Sample, result: VerifyResult) -> None:
    """A verdict survives the way through JSON, whatever the verifier noted."""
    record = orjson.loads(orjson.dumps(verdict_record(sample, result)))
    expected = Verdict(sample, result)
    assert verdict_from_record(record, {sample.prompt.id: sample.prompt}) == expected


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-60, 0), max_size=5))
def test_log_probabilities_keep_six_digits(values: list[float]) -> None:
    """What is rounded away is less than a millionth."""
    sample = make_sample(logprobs=tuple(values))
    read = sample_from_record(sample_record(sample), {"p1": sample.prompt})
    assert read.logprobs == pytest.approx(tuple(values), abs=5.1e-7)


def test_prompt_is_named_not_copied() -> None:
    """The record holds no text or test of its prompt, and reading gives the given prompt."""
    sample = make_sample(make_prompt("p1", "a secret statement"))
    assert "secret" not in str(sample_record(sample))
    other = make_prompt("p1", "as it is read now")
    assert sample_from_record(sample_record(sample), {"p1": other}).prompt is other


def test_unknown_prompt_is_named() -> None:
    """A record of a prompt that is not there does not become a sample."""
    with pytest.raises(KeyError, match="p1"):
        sample_from_record(sample_record(make_sample("p1")), {})
