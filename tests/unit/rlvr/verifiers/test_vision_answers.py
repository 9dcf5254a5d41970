"""The final answer, numbers with units, and the benchmarks' own ways to compare."""

from __future__ import annotations

import time
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from halo_forge.rlvr.verifiers.vision.answers import (
    anls,
    final_answer,
    grade,
    normalised,
    options_of,
    vqa_accuracy,
)
from halo_forge.rlvr.verifiers.vision.quantity import parse_quantity, same_quantity
from halo_forge.rlvr.verifiers.vision.reasoning import equations, reason

OPTIONS = "Which?\n(A) cat\n(B) hot dog\n(C) 12"


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("cat", "cat"),
        ("**Final Answer:** cat.", "cat"),
        ("It has whiskers.\nAnswer:\ncat", "cat"),
        ("I see <answer> cat </answer>", "cat"),
        (r"<answer>\boxed{3}</answer>", "3"),
        ("There are many. So the answer is 3.", "3"),
        ("There are two here. There is one there. So 3", "3"),
        ("The value is U.S.A.", "The value is U.S.A"),
        ("B. a cup", "B. a cup"),
        ("Answer: cat\nAnswer: Cat.", "cat"),
        ("Answer: cat\nAnswer: dog", ""),
        ("There is a cat. There is a dog.", ""),
        ("cat\ndog", ""),
        ("", ""),
        (" \n*** \n", ""),
    ],
)
def test_final_answer(text, answer):
    """A text commits itself to one answer, in one of the forms, or to none."""
    assert final_answer(text).casefold() == answer.casefold()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1,234.50", "1234.5"), ("-5", "-5"), ("\u22125", "-5"), ("1/2", "0.5"), ("1 1/2", "1.5"),
        ("2.5 million", "2500000"), ("$3k", "3000"), ("seven", "7"), ("50%", "50"),
        ("50 percent", "50"), (".5", "0.5"), ("7.", "7"), ("three km", "3"),
    ],
)  # fmt: skip
def test_numbers(text, value):
    """Separators, signs, fractions, scales, words and units are part of a number."""
    quantity = parse_quantity(text)
    assert quantity is not None
    assert quantity.value == Fraction(value)


@pytest.mark.parametrize(
    "text",
    ["", "about 5", "5 or 6", "1,23", "12:30", "5 foos", "1/0", "1e9", "nan", "--5", "9" * 99],
)
def test_no_numbers(text):
    """A text is a number as a whole or not at all."""
    assert parse_quantity(text) is None


@pytest.mark.parametrize(
    ("given", "truth", "same"),
    [
        ("5 cm", "50 mm", True), ("5", "5 cm", True), ("5 cm", "5", True), ("5 mm", "5 cm", False),
        ("5 kg", "5 m", False), ("$5", "5 dollars", True), ("€5", "$5", False),
        ("50%", "0.5", True), ("0.5", "50%", True), ("50", "50%", True), ("50%", "50", False),
        ("0.5", "0.5%", True), ("90 minutes", "1.5 hours", True), ("1/2", "0.5", True),
    ],
)  # fmt: skip
def test_units(given, truth, same):
    """Units convert within their kind; one that is left out is taken for the other's."""
    pair = parse_quantity(given), parse_quantity(truth)
    assert None not in pair
    assert same_quantity(*pair) is same


def test_vqa_accuracy_is_the_papers():
    """Zero to ten votes of ten give the figures of the evaluation code."""
    figures = [vqa_accuracy("red", ["red"] * n + ["x"] * (10 - n)) for n in range(11)]
    assert figures == pytest.approx([0, 0.3, 0.6, 0.9, *[1.0] * 7])
    assert vqa_accuracy("A red!", ["red", "blue"]) == 1.0


def test_three_of_ten_are_enough_and_two_are_not():
    """With ten people's answers, one that three gave is right; one that two gave is part of it."""
    truths = ["red"] * 5 + ["orange"] * 3 + ["pink"] * 2
    assert [grade(one, "", truths, "vqa").right for one in ("red", "orange", "pink")] == [
        True, True, False
    ]  # fmt: skip
    assert grade("pink", "", truths, "vqa").near == pytest.approx(0.6)


def test_anls_is_the_papers():
    """One minus the distance over the longer length, lower case, nothing under a half."""
    assert anls("Helo", ["hello"]) == pytest.approx(0.8)
    assert anls("HELLO", ["x", "hello"]) == 1.0
    assert anls("he", ["hello"]) == 0.0
    assert anls("kitten", ["sitting"]) == pytest.approx(1 - 3 / 7)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("The cat's", "cats"), ("two dogs", "2 dogs"), ("don't", "dont"), ("1,000", "1000"),
        ("T-shirt", "t shirt"), ("  A\tcat\n", "cat"), ("\uff23at", "cat"),
    ],
)  # fmt: skip
def test_texts_that_are_the_same(one, other):
    """Case, articles, apostrophes and punctuation make no other answer."""
    assert normalised(one) == normalised(other)


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        ("B", True), ("(b)", True), ("B.", True), ("hot dog", True), ("B. hot dog", True),
        ("option B", True), ("A", False), ("dog", False), ("B. cat", False), ("A, B, C", False),
        ("B or C", False), ("12", False), ("", False), ("D", False),
    ],
)  # fmt: skip
def test_multiple_choice(answer, right):
    """By letter, by words, or by both where they agree."""
    assert grade(answer, OPTIONS, ["B"], "vqa").right is right
    assert grade(answer, OPTIONS, ["hot dog"], "vqa").right is right


def test_options_are_read():
    """Three ways to list options; a letter in a sentence is none."""
    assert options_of(OPTIONS) == {"A": "cat", "B": "hot dog", "C": "12"}
    assert options_of("x?\nA. one\nB. two\nPlease answer.") == {"A": "one", "B": "two"}
    assert options_of("What is (A) and B? Vitamin B. is it") == {}


@pytest.mark.parametrize(
    ("answer", "truth", "metric", "right"),
    [
        ("104", "100", "chartqa", True), ("106", "100", "chartqa", False),
        ("104", "100", "vqa", False), ("2010", "2012", "chartqa", False),
        ("-104", "-100", "chartqa", True), ("0", "0", "chartqa", True),
        ("1976", "1975", "docvqa", False), ("3 dogs", "3", "vqa", True),
        ("3 cats", "3", "vqa", False), ("5%", "5", "vqa", False),
    ],
)  # fmt: skip
def test_numbers_by_benchmark(answer, truth, metric, right):
    """Within five percent in charts, years apart; exactly elsewhere."""
    assert grade(answer, "How many dogs are there?", [truth], metric).right is right


def test_a_benchmarks_own_score_is_kept_apart():
    """ANLS pays another year, and our verdict does not."""
    found = grade("1976", "", ["1975"], "docvqa")
    assert (found.right, found.score, found.near) == (False, 0.75, 0.0)
    slip = grade("Univrsity of Ohio", "", ["University of Ohio"], "docvqa")
    assert not slip.right
    assert 0.9 < slip.near < 1


@given(st.text(max_size=80), st.text(min_size=1, max_size=30))
def test_any_text_is_graded(answer, truth):
    """Whatever is said and whatever is true: figures in range, and the truth itself is right."""
    for metric in ("vqa", "docvqa", "chartqa"):
        found = grade(final_answer(answer), "", [truth], metric)
        assert 0 <= found.score <= 1
        assert 0 <= found.near < 1
        if truth.strip():
            assert grade(truth, "", [truth], metric).right


@pytest.mark.parametrize(
    ("text", "answer", "score"),
    [
        ("3 + 4 = 7.\nAnswer: 7", "7", 1.0),
        ("2 x 3 + 1 = 7, as can be seen.\nAnswer: 7", "7", 1.0),
        ("3 + 4 = 8.\nAnswer: 7", "7", 0.25),
        ("1 + 1 = 2.\nAnswer: 7", "7", 0.5),
        ("The animal on the sofa has whiskers, a cat.\nAnswer: cat", "cat", 1.0),
        ("Looking at the image, I can see it clearly.\nAnswer: cat", "cat", 0.5),
        ("Let me look step by step. This is visible in the picture.\nAnswer: cat", "cat", 0.5),
        ("cat", "cat", 0.5),
        ("It is not a cat on the sofa.\nAnswer: cat", "cat", 0.25),
        ("There are 2 dogs. There are 3 dogs.\nAnswer: 3", "3", 0.25),
        ("So there are 4.\nAnswer: 3", "3", 0.25),
        ("A dog is on the red mat.\nA dog is on the red mat.\nAnswer: dog", "dog", 0.25),
        ("3 + 4 = 8. 1 + 1 = 3. 2 + 2 = 5.\nAnswer: 7", "7", 0.0),
    ],
)
def test_reasoning(text, answer, score):
    """Steps that lead to the answer count, faults cost, stock phrases change nothing."""
    assert reason(text, answer).score == score


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("1/3 = 0.33", True), ("1/4 = 25%", True), ("10 - 3 - 2 = 5", True),
        ("2 + 3 * 4 = 14", True),
        ("1,000 + 1 = 1,001", True), ("$5 + $2 = $7", True), ("50% + 25% = 75%", True),
        ("1/3 = 0.34", False), ("2 + 3 * 4 = 20", False), ("7 - 9 = 2", False),
    ],
)  # fmt: skip
def test_sums(text, holds):
    """Multiplication before addition; a result may be rounded to the digits it shows."""
    assert [one.holds for one in equations(text)] == [holds]


def test_what_is_no_sum():
    """Dates, ranges and divisions by zero are passed over."""
    for text in ("1/0 = 5", "2019-2020", "x = 5", "a + b = 3", "3 = 3"):
        assert list(equations(text)) == []


@pytest.mark.parametrize(
    "text",
    [
        "answer " * 2000, "1 + " * 4000 + "= 1", "a. " * 5000, "\n" * 16_000, "answer\n" * 2000,
        "(A) x " * 2500, "<answer>" * 2000, "\\boxed{" * 2000, ". " * 8000, "the a " * 2500,
        "=" * 16_000, "1" * 16_000, "not " * 4000, "- " * 8000,
    ],
    ids=lambda text: text[:8],
)  # fmt: skip
def test_long_texts_take_time_that_follows_their_length(text):
    """The patterns do not blow up: CPU seconds, far above what is needed."""
    before = time.process_time()
    answer = final_answer(text)
    grade(answer, text, [text], "docvqa")
    reason(text, answer or "7")
    assert time.process_time() - before < 5
