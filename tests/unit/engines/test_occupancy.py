"""The steps that are foreseen are those that the decoder makes."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from halo_forge.engines.base import Request
from halo_forge.engines.decoder import DecoderEngine
from halo_forge.engines.occupancy import occupancy


def slowly(lengths, rows):
    """Count step by step."""
    waiting, left, steps = list(lengths), [], Counter()
    while True:
        while waiting and len(left) < rows:
            length = waiting.pop(0)
            left += [length - 1] if length > 1 else []
        if not left:
            return steps
        steps[-(-len(left) // 8) * 8] += 1
        left = [n - 1 for n in left if n > 1]


@given(st.lists(st.integers(1, 40), max_size=60), st.integers(1, 8).map(lambda n: 8 * n))
def test_as_counted_step_by_step(lengths, rows) -> None:
    """Leaping from end to end gives what counting every step gives."""
    assert occupancy(lengths, rows) == slowly(lengths, rows)


def test_nothing_to_do() -> None:
    """No answers, or answers of one token, take no step."""
    assert occupancy([], 8) == Counter()
    assert occupancy([1] * 100, 8) == Counter()


@pytest.mark.parametrize("rows", [8, 16])
def test_as_the_decoder_does(lively_dir, prompts, make_spec, monkeypatch, rows) -> None:
    """On ragged answers the decoder makes exactly these steps, with these numbers of rows."""
    seen: Counter[int] = Counter()
    forward = DecoderEngine.forward

    def counting(self, tokens, cache):
        seen[tokens.shape[0]] += 1
        return forward(self, tokens, cache)

    monkeypatch.setattr(DecoderEngine, "forward", counting)
    requests = [Request(prompt, tuple(range(9))) for prompt in prompts]
    spec = make_spec(lively_dir, max_new_tokens=60, batch_size=rows, temperature=1.3)
    with DecoderEngine(spec) as engine:
        samples = list(engine.generate(requests, seed=3))
    longest_first = {"long": 0, "middle": 1, "short": 2}
    samples.sort(key=lambda sample: (longest_first[sample.prompt.id], sample.index))
    lengths = [sample.length for sample in samples]
    assert len(set(lengths)) > 3
    assert occupancy(lengths, rows) == seen
