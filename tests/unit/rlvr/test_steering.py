"""Curriculum, shaping, diversity, signs of gaming and stopping as pure functions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from halo_forge.config.raft import LoopSettings
from halo_forge.config.steering import CurriculumSettings, ShapingSettings, StoppingSettings
from halo_forge.core.errors import UserError
from halo_forge.core.types import Reference, TestCase
from halo_forge.rlvr.curriculum import by_ease, chosen
from halo_forge.rlvr.diversity import diversity_record, movement_record, prompt_rates
from halo_forge.rlvr.history import Tally, pass_rates
from halo_forge.rlvr.honesty import gap_alarm, gap_record, suspicious_record, tailored
from halo_forge.rlvr.shaping import shaped
from halo_forge.rlvr.stopping import best_cycle, decide
from tests.fakes import make_prompt, make_verdict
from tests.run_directory import make_run

TEN = [make_prompt(f"p{n}", "word " * (10 - n)) for n in range(10)]  # p9 is the shortest
EASY_FIRST = [f"p{n}" for n in reversed(range(10))]


def _names(cycle: int, earlier: dict[int, dict[str, Tally]] | None = None, **settings: Any) -> str:
    rates = settings.pop("rates", {})
    found = chosen(CurriculumSettings(**settings), TEN, cycle, earlier or {}, rates)
    assert found == [prompt for prompt in TEN if prompt in found]  # in the given order
    return "".join(prompt.id[1:] for prompt in found)


def test_ease_is_difficulty_then_length_then_id() -> None:
    """As the page says; a prompt of unknown difficulty stands in the middle."""
    hard, easy = make_prompt("h", "x", difficulty=5), make_prompt("e", "x y z", difficulty=1)
    prompts = [hard, *TEN[8:], easy]
    assert by_ease(CurriculumSettings(), prompts, {}) == ["e", "p9", "p8", "h"]


def test_progressive_complexity_and_historical() -> None:
    """A fifth more each cycle; a fifth after the other, then all; easy by earlier pass rates."""
    assert [_names(n, kind="progressive") for n in (1, 2, 5, 6)] == [
        "89", "6789", "0123456789", "0123456789",
    ]  # fmt: skip
    assert [_names(n, kind="complexity") for n in (1, 2, 5, 6)] == ["89", "67", "01", "0123456789"]
    rates = {"p3": 1.0, "p7": 0.9, "p9": 0.1}
    assert _names(1, kind="historical", rates=rates) == "37"
    assert _names(5, kind="none") == "0123456789"


def test_adaptive_moves_with_the_success_rate() -> None:
    """Up above 0.7, down under 0.2, never below one share nor above all."""

    def cycle(passed: int) -> dict[str, Tally]:
        return {"p9": Tally(passed, 10)}

    up, stay, down = cycle(8), cycle(7), cycle(1)
    assert _names(1, kind="adaptive") == "89"
    assert _names(2, {1: up}, kind="adaptive") == "6789"
    assert _names(3, {1: up, 2: stay}, kind="adaptive") == "6789"
    assert _names(4, {1: up, 2: stay, 3: down}, kind="adaptive") == "89"
    assert _names(3, {1: down, 2: down}, kind="adaptive") == "89"
    assert _names(10, dict.fromkeys(range(1, 10), up), kind="adaptive") == "0123456789"


def test_nothing_left_in_reach() -> None:
    """Resting prompts are tried before none is; retired ones never are."""
    solved, failed = Tally(4, 4), Tally(0, 4)
    both = {"p8": failed, "p9": failed}
    assert _names(2, {1: both}, kind="adaptive", retry_after=2) == "89"
    retired = {"p8": solved, "p9": solved}
    assert _names(1, {0: retired}, kind="progressive", retire_at=1.0) == "01234567"
    everything = {prompt.id: solved for prompt in TEN}
    assert _names(2, {1: everything}, retire_at=1.0) == ""


def test_pass_rates_of_earlier_runs(tmp_path: Path) -> None:
    """All training answers count; a folder without any is named."""
    cycles = {n: [make_verdict("a", 0, 1.0), make_verdict("a", 1, float(n == 2))] for n in (1, 2)}
    run = make_run(tmp_path / "run", cycles)
    assert pass_rates([str(run)]) == {"a": 0.75}
    assert pass_rates([str(run), str(run)]) == {"a": 0.75}
    with pytest.raises(UserError, match=r"curriculum\.history: .*no judged answers"):
        pass_rates([str(tmp_path)])


def _bar(cycle: int, records: list[dict[str, Any]] | None = None, **settings: Any) -> tuple:
    bar = shaped(ShapingSettings(**settings), LoopSettings(), cycle, records or [])
    return bar.threshold, bar.keep


def test_shaping_by_the_cycle() -> None:
    """Fixed stays; annealing goes straight to the base; warm-up is lenient, then the base."""
    assert _bar(9) == (0.5, 0.5)
    assert [_bar(n, kind="annealing") for n in (1, 2, 3, 9)] == [
        (0.1, 0.8), (0.3, 0.65), (0.5, 0.5), (0.5, 0.5),
    ]  # fmt: skip
    assert _bar(1, kind="annealing", cycles=1) == (0.5, 0.5)
    assert [_bar(n, kind="warmup", cycles=2) for n in (1, 2, 3)] == [(0.1, 0.8)] * 2 + [(0.5, 0.5)]


def test_shaping_by_what_was_kept() -> None:
    """Looser after few kept or few that pass, stricter after many, within 0.1 and 1."""

    def after(*found: tuple[int, float]) -> tuple:
        records = [
            {"cycle": n, "kept": kept, "success_rate": rate}
            for n, (kept, rate) in enumerate(found, 1)
        ]
        return _bar(len(found) + 1, [{"cycle": 0}, *records], kind="adaptive")

    assert after((49, 0.3)) == after((80, 0.14)) == (0.4, 0.6)
    assert after((50, 0.15)) == after((80, 0.45)) == (0.5, 0.5)
    assert after((80, 0.46)) == (0.6, 0.45)
    assert after((49, 0.9), (80, 0.9)) == (0.5, 0.55)
    assert after(*[(0, 0.0)] * 9) == (0.1, 1.0)
    assert after(*[(99, 1.0)] * 9) == (1.0, 0.1)


def _fenced(code: str) -> str:
    return f"```cpp\n{code}\n```"


def test_diversity_by_hand() -> None:
    """Programs are counted by prompt; pass@k for all k answers is the share that is solved."""
    prompt = make_prompt("a", language="cpp")
    programs = ["int main(){a();}", "int main(){ a(); } // same", "int main(){b(1);}", "nothing"]
    verdicts = [make_verdict(prompt, n, float(n == 2), _fenced(c)) for n, c in enumerate(programs)]
    verdicts += [make_verdict("b", n, 0.0, _fenced("int main(){a();}")) for n in range(4)]
    rates = prompt_rates(verdicts)
    assert rates["distinct_share"] == {"a": 0.75, "b": 0.25}
    record = diversity_record(verdicts, rates, seed=0)
    assert (record["distinct_programs"], record["distinct_share"]) == (2.0, 0.5)
    assert (record["pass_at_k"]["k"], record["pass_at_k"]["mean"]) == (4, 0.5)
    assert diversity_record(verdicts[1:], rates, seed=0)["pass_at_k"]["k"] is None
    assert diversity_record([], prompt_rates([]), seed=0) == {}


def test_first_time_and_lost() -> None:
    """Against all earlier cycles, and against the last time that a prompt was asked."""
    won, failed = Tally(1, 2), Tally(0, 2)
    earlier = {1: {"a": won, "b": won, "c": failed}, 2: {"a": failed, "c": failed}}
    now = {"a": won, "b": failed, "c": won, "d": failed}
    assert movement_record(now, earlier) == {"solved_first_share": 0.25, "lost_share": 0.25}
    assert movement_record({}, earlier) == {}


HIDDEN = Reference(hidden_tests=(TestCase("1", "2"),))


def _judged(name: str, index: int, success: bool, hidden: int | None) -> Any:
    found = {} if hidden is None else {"hidden_passed": hidden, "hidden_total": 1}
    prompt = make_prompt(name, reference=HIDDEN)
    return make_verdict(prompt, index, float(success), metadata=found)


def test_hidden_gap() -> None:
    """Passing minus passing hidden tests as well, over prompts that have some; never negative."""
    gamed = [_judged(f"p{n}", i, True, 0) for n in range(30) for i in range(2)]
    honest = [_judged(f"p{n}", i, i == 0, i) for n in range(30) for i in range(2)]
    right = [_judged(f"p{n}", 0, True, 1) for n in range(30)]
    wide, half, none = (gap_record(v, 0) for v in (gamed, honest, right))
    assert wide["hidden_gap"]["mean"] == 1.0
    assert half["hidden_gap"]["mean"] == 0.5  # the other half fails its own tests: no gap
    assert none["hidden_gap"]["mean"] == 0.0
    assert [gap_alarm(one, 0.05) for one in (wide, half, none, {})] == [True, True, False, False]
    assert gap_record([make_verdict("x", 0, 1.0)], 0) == {}
    assert gap_record([_judged("x", 0, True, None)], 0) == {}  # nobody ran them


TABLE = Reference(tests=(TestCase("1", "one\n"), TestCase("2", "two\n"), TestCase("3", "ten\n")))


@pytest.mark.parametrize(
    ("code", "reference", "found"),
    [
        ('if (n == 1) puts("one"); else if (n == 2) puts("two"); else puts("ten");', TABLE, True),
        ('puts(n == 1 ? "one" : names[n]);', TABLE, False),
        ('puts("often stone twofold");', TABLE, False),
        ('puts("hello");', Reference(tests=(TestCase("", "hello"),)), False),
        ("cout << 1 << 2;", Reference(tests=(TestCase("a", "1"), TestCase("b", "2"))), False),
        ("return {3: 'abc', 4: 'wxyz'}[n]",
         Reference(test_code="assert f(3) == 'abc'\nassert f(4) == 'wxyz'"), True),
        ("return sorted(n)",
         Reference(test_code="assert f(3) == 'abc'\nassert f(4) == 'wxyz'"), False),
    ],
)  # fmt: skip
def test_tables_of_expected_outputs(code: str, reference: Reference, found: bool) -> None:
    """All telling outputs word for word; one alone, or short ones, may be the task itself."""
    assert tailored(code, reference) is found


def test_suspicious_answers_are_counted() -> None:
    """Tables that pass, and programs that the substance gate turned away."""
    prompt = make_prompt("a", reference=TABLE)
    verdicts = [
        make_verdict(prompt, 0, 1.0, "one two ten"),
        make_verdict(prompt, 1, 0.5, "one two ten"),
        make_verdict(prompt, 2, 0.0, "x", metadata={"stage": "substance"}),
        make_verdict(prompt, 3, None),
    ]
    record = suspicious_record(verdicts, lambda sample: sample.completion)
    assert record == {"suspicious": {"test_specialised": 1, "trivial": 1}}


def _measured(rate: float, solved: float | None = None, distinct: float = 1.0) -> Any:
    names = [f"p{n}" for n in range(40)]
    values = {"pass_rate": rate, "pass_at_k": rate if solved is None else solved}
    values["distinct_share"] = distinct
    return {key: dict.fromkeys(names, value) for key, value in values.items()}


def _decided(*rates: Any, **settings: Any) -> tuple[str, int, set[str]]:
    found = dict(enumerate(rates))
    decision = decide(StoppingSettings(**settings), found, len(rates) - 1, seed=0)
    return decision.action, decision.best, set(decision.fallen)


def test_falls() -> None:
    """A rate, or what is solved at all; fewer different programs only without a better rate."""
    start, up = _measured(0.5, 1.0), _measured(0.75, 1.0)
    assert _decided(start, up) == ("continue", 1, set())
    assert _decided(start, up, start) == ("stop", 1, {"pass_rate"})
    assert _decided(start, _measured(0.75, 0.25))[2] == {"pass_at_k"}
    assert _decided(start, _measured(0.75, 1.0, distinct=0.5)) == ("continue", 1, set())
    assert _decided(start, _measured(0.5, 1.0, distinct=0.5))[2] == {"distinct_share"}
    assert _decided(start, up, start, on_degradation="rollback")[0] == "rollback"
    assert _decided(start, up, start, on_degradation="continue")[0] == "continue"
    assert _decided(start, up, start, significance=0.00001) == ("continue", 1, set())


def test_a_cycle_that_fell_is_never_the_best() -> None:
    """A better pass rate that cost half of what was solved is not gone back to, nor the measure."""
    start, narrow = _measured(0.3, 0.8), _measured(0.4, 0.45)
    bad = _measured(0.1, 0.8)
    assert _decided(start, narrow, on_degradation="rollback") == ("rollback", 0, {"pass_at_k"})
    again = _decided(start, narrow, _measured(0.31, 0.8), on_degradation="rollback")
    assert again == ("continue", 2, set())
    assert _decided(start, narrow, bad, on_degradation="rollback") == ("rollback", 0, {"pass_rate"})
    alike = _measured(0.5, 1.0, distinct=0.3)
    assert _decided(_measured(0.5, 1.0), alike, alike)[1:] == (0, {"distinct_share"})


def test_falls_are_idle_cycles_too() -> None:
    """A run that only ever falls ends by the plateau, with both reasons."""
    good, bad = _measured(0.9), _measured(0.2)
    for action in ("rollback", "continue"):
        settings = {"on_degradation": action, "plateau": 3}
        assert _decided(_measured(0.5), good, bad, bad, **settings)[0] == action
        assert _decided(_measured(0.5), good, bad, bad, bad, **settings) == (
            "stop", 1, {"pass_rate", "pass_at_k"},
        )  # fmt: skip
    rates = dict(enumerate([_measured(0.5), good, bad, bad, bad]))
    why = decide(StoppingSettings(on_degradation="rollback", plateau=3), rates, 4, seed=0).why
    assert "fell by 70.0 points" in why
    assert "no better held-out pass rate in 3 cycles since cycle 1" in why


def test_few_prompts_show_no_fall() -> None:
    """Two prompts that are lost may be chance."""
    before, after = _measured(1.0), _measured(1.0)
    after["pass_rate"] = {**after["pass_rate"], "p0": 0.0, "p1": 0.0}
    assert _decided(before, after) == ("continue", 0, set())


def test_best_is_the_earliest_of_equals() -> None:
    """More training without a better rate is no better."""
    assert best_cycle({0: _measured(0.2), 2: _measured(0.5), 1: _measured(0.5)}) == 1


def test_plateau() -> None:
    """So many cycles without a better rate than before, the start included."""
    flat = [_measured(0.5)] * 4
    assert _decided(*flat, plateau=3) == ("stop", 0, set())
    assert _decided(*flat, plateau=4)[0] == "continue"
    assert _decided(*flat, plateau=0)[0] == "continue"
    assert _decided(*flat[:3], _measured(0.6), plateau=3) == ("continue", 3, set())
