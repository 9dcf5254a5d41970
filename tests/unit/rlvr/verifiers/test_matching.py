"""Outputs are compared as each mode promises."""

from __future__ import annotations

import pytest

from halo_forge.core.errors import UserError
from halo_forge.rlvr.verifiers import ExecutionVerifier, TestCase
from halo_forge.rlvr.verifiers.matching import check_expected, matches

SAME = [
    ("exact", "3", "3\n"),
    ("exact", "a\nb\n", "a  \r\nb\t\n\n\n"),
    ("exact", "", "\n"),
    ("contains", "total: 3\n", "the\ntotal: 3 apples"),
    ("numeric", "0.333333333", "3.3333333334e-1"),
    ("numeric", "1 2\n3", "1 2 3"),
    ("numeric", "3", "3.0"),
    ("numeric", "-0 007", "0 7"),
    ("numeric", "yes 1.5", "yes 1.50"),
    ("numeric", "9" * 5000, "+" + "9" * 5000),
]
DIFFERENT = [
    ("exact", "3", "33"),
    ("exact", " 3", "3"),
    ("exact", "a\n\nb", "a\nb"),
    ("exact", "a", "A"),
    ("contains", "total: 3", "total: 4"),
    ("numeric", "1 2", "1 2 3"),
    ("numeric", "1", "1.01"),
    ("numeric", "1", "nan"),
    ("numeric", "nan", "1"),
    ("numeric", "1000000000000000000", "1000000000000000001"),
    ("numeric", "10", "1_0"),
    ("numeric", "yes", "no"),
]


@pytest.mark.parametrize(("mode", "expected", "actual"), SAME)
def test_same(mode, expected, actual):
    """These outputs count as equal."""
    assert matches(mode, expected, actual)


@pytest.mark.parametrize(("mode", "expected", "actual"), DIFFERENT)
def test_different(mode, expected, actual):
    """These outputs do not."""
    assert not matches(mode, expected, actual)


@pytest.mark.parametrize(("mode", "expected"), [("regex", "("), ("regex", " "), ("contains", "\n")])
def test_expectation_without_meaning_is_refused(mode, expected):
    """A pattern that is none, or that anything matches, is the author's mistake."""
    with pytest.raises(UserError):
        check_expected(mode, expected)


def test_regex_is_searched_in_the_sandbox(sandbox):
    """A pattern is found anywhere; one that takes exponential time is no match and no hang."""
    for pattern, reward in ((r"^b\d+$", 1.0), (r"^c", 0.5), (r"^a(b|b\d*|\d)+\d*x$", 0.5)):
        verifier = ExecutionVerifier([TestCase("", pattern)], match_mode="regex", sandbox=sandbox)
        assert verifier.verify("print('a\\nb' + '1' * 40)").reward == reward
