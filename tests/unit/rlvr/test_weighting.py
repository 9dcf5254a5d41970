"""Which answers each algorithm trains on, and at which weight."""

from __future__ import annotations

from typing import Any

import pytest

from halo_forge.config.algorithm import AlgorithmSettings
from halo_forge.core.errors import UserError
from halo_forge.core.types import Verdict
from halo_forge.rlvr.selection import select
from halo_forge.rlvr.weighting import Choice, choice_record, choose, objective
from tests.fakes import make_verdict

# p: two good of four; q: all good; r: all bad; s: one compiles, one is right, one was cut
JOURNAL = [
    *(make_verdict("p", i, reward) for i, reward in enumerate((1.0, 0.0, 1.0, 0.0))),
    *(make_verdict("q", i, 1.0) for i in range(4)),
    *(make_verdict("r", i, 0.0) for i in range(4)),
    make_verdict("s", 0, 0.5),
    make_verdict("s", 1, 1.0),
    make_verdict("s", 2, 0.0, finish_reason="length"),
    make_verdict("s", 3, None),
]


def _choose(verdicts: list[Verdict] = JOURNAL, keep: float = 0.5, **loop: Any) -> Choice:
    return choose(verdicts, AlgorithmSettings(**loop), threshold=0.5, keep=keep, seed=0)


def _ids(verdicts: list[Verdict]) -> list[str]:
    return [verdict.sample.id for verdict in verdicts]


@pytest.mark.parametrize("algorithm", ["raft", "raft++"])
def test_raft_keeps_what_selection_keeps(algorithm: str) -> None:
    """The best answers, at weight 1; nothing bad."""
    choice = _choose(algorithm=algorithm)
    assert choice.good == select(JOURNAL, threshold=0.5, keep=0.5, seed=0)
    assert choice.bad == []
    assert set(choice.weights.values()) == {1.0}
    assert [e.weight for e in choice.examples(with_logprobs=True)] == [1.0] * len(choice.good)


def test_reinforce_rej_drops_prompts_of_one_kind() -> None:
    """All of a mixed prompt, whatever the share kept; good is the highest reward it reached."""
    choice = _choose(algorithm="reinforce-rej", keep=0.1)
    assert _ids(choice.good) == ["p#0", "p#2", "s#1"]
    assert _ids(choice.bad) == ["p#1", "p#3", "s#0"]  # the cut one and the fault are let be
    signed = {e.id: e.weight for e in choice.examples(with_logprobs=True)}
    assert signed == {"p#0": 1, "p#2": 1, "s#1": 1, "p#1": -1, "p#3": -1, "s#0": -1}


@pytest.mark.parametrize(("reward", "good"), [(0.0, ["p#0"]), (1.0, [])])
def test_a_cut_answer_counts_and_is_not_trained_on(reward: float, good: list[str]) -> None:
    """One that fails makes a prompt mixed, one that passes does not; neither is trained on."""
    verdicts = [make_verdict("p", 0, 1.0), make_verdict("p", 1, reward, finish_reason="length")]
    choice = _choose(verdicts, algorithm="reinforce-rej")
    assert (_ids(choice.good), choice.bad) == (good, [])


def test_a_lower_rung_is_not_made_likelier() -> None:
    """Where the only answer that passes was cut, none is good, so none is bad beside it."""
    verdicts = [
        make_verdict("p", 0, 1.0, finish_reason="length"),
        make_verdict("p", 1, 0.5),
        make_verdict("p", 2, 0.0),
    ]
    for weights in ("uniform", "inverse-pass-rate"):
        choice = _choose(verdicts, algorithm="reinforce-rej", prompt_weights=weights)
        assert choice == Choice([], [], {})


def test_without_mixed_prompts_there_is_nothing() -> None:
    """All alike in each prompt: no answer is chosen, and nothing divides by zero."""
    verdicts = [v for v in JOURNAL if v.sample.prompt.id in "qr"]
    choice = _choose(verdicts, algorithm="reinforce-rej", prompt_weights="inverse-pass-rate")
    assert choice == Choice([], [], {})


def test_inverse_pass_rate() -> None:
    """A prompt weighs as one over its pass rate, and the mean over what is trained on is 1."""
    choice = _choose(keep=1.0, prompt_weights="inverse-pass-rate")
    # kept: 2 of p (rate 1/2), 4 of q (rate 1), 1 of s (rate 1/3, the fault not counted)
    mean = (2 * 2 + 4 * 1 + 1 * 3) / 7
    assert choice.weights == pytest.approx({"p": 2 / mean, "q": 1 / mean, "s": 3 / mean})
    weights = [e.weight for e in choice.examples(with_logprobs=False)]
    assert sum(weights) == pytest.approx(7)
    # so each prompt's good answers together weigh as its number of judged answers
    assert 2 * choice.weights["p"] == pytest.approx(4 * choice.weights["q"])


@pytest.mark.parametrize(("algorithm", "good", "bad"), [("raft", 2, 0), ("reinforce-rej", 2, 2)])
def test_most_of_one_prompt(algorithm: str, good: int, bad: int) -> None:
    """The bound holds for good and for bad answers of each prompt."""
    verdicts = [make_verdict("p", i, float(i % 2)) for i in range(20)]
    choice = _choose(verdicts, keep=1.0, algorithm=algorithm, max_per_prompt=2)
    assert (len(choice.good), len(choice.bad)) == (good, bad)


def _program(index: int, code: str, reward: float = 1.0) -> Verdict:
    return make_verdict("p", index, reward, f"```python\n{code}\n```")


PROGRAMS = [
    _program(0, "print(sum([1, 2]))"),
    _program(1, "print( sum([1, 2]) )  # adds"),
    _program(2, "total = 3\nprint(total)"),
    _program(3, "x = 3\nprint(x)"),
]


def test_one_answer_of_each_program() -> None:
    """Repeats in all but layout and names are left out, the shortest stays; others are kept."""
    assert _ids(_choose(PROGRAMS, keep=1.0, distinct=True).good) == ["p#0", "p#3"]
    assert len(_choose(PROGRAMS, keep=1.0).good) == 4
    half = _choose(PROGRAMS, keep=0.5, distinct=True).good
    assert _ids(half) == ["p#0", "p#3"]  # half of four answers, and both programs


def test_figures_of_a_choice() -> None:
    """How many of the programs that were found are trained on."""
    loop = AlgorithmSettings(max_per_prompt=1)
    choice = choose(PROGRAMS, loop, threshold=0.5, keep=1.0, seed=0)
    assert choice_record(choice, PROGRAMS, loop, 0.5) == {
        "algorithm": "raft",
        "kept_bad": 0,
        "distinct_accepted": 2,
        "distinct_kept": 1,
    }


def test_answers_without_log_probabilities_are_refused() -> None:
    """raft++ cannot compare with what is not known; raft need not."""
    choice = _choose([make_verdict("p", 0, 1.0, logprobs=())], algorithm="raft++")
    with pytest.raises(UserError, match="p#0: the engine gave no log-probability for each token"):
        choice.examples(with_logprobs=True)
    assert len(choice.examples(with_logprobs=False)) == 1


def test_objectives() -> None:
    """Plain RAFT needs none; ratios are taken at the temperature of the sampling."""
    choice = _choose()

    def made(choice: Choice = choice, **loop: Any) -> Any:
        return objective(AlgorithmSettings(**loop), choice, 0.7)

    assert made() is None
    ratio = made(algorithm="raft++", clip_high=0.28)
    assert (ratio.ratio, ratio.clip_high, ratio.temperature) == (True, 0.28, 0.7)
    anchored = made(kl_coef=0.1)
    assert (anchored.ratio, anchored.kl_coef, anchored.temperature) == (False, 0.1, 1.0)
    loop = {"prompt_weights": "inverse-pass-rate"}
    assert made(_choose(**loop), **loop).temperature == 1.0
