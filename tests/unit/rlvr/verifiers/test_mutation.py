"""Changes that tests must notice: where they strike, and where not."""

from __future__ import annotations

import pytest

from halo_forge.rlvr.verifiers.languages import LANGUAGES
from halo_forge.rlvr.verifiers.mutation import mutants

CPP = """\
#include <vector>
// a < b and 1 + 2
int main() {
    std::vector<int> v;
    for (int i = 0; i < 10; i++) v.push_back(i * 3);
    const char *s = "x == y";
    return v->size() >= 5 && s[0] != 'a' ? v[1] - 2 : 0;
}
"""
PYTHON = """\
def f(a, b):  # a < 1
    '''Return a + b.'''
    if a <= b and not b == 0:
        return min(a, b) + 1
    return "a - b"
"""


@pytest.mark.parametrize(
    ("language", "code", "expected"),
    [
        (
            "cpp",
            CPP,
            {
                (5, "0 became 1"), (5, "< became <="), (5, "10 became 11"), (5, "* became +"),
                (5, "3 became 4"), (7, ">= became >"), (7, "5 became 6"), (7, "&& became ||"),
                (7, "0 became 1"), (7, "!= became =="), (7, "1 became 2"), (7, "- became +"),
                (7, "2 became 3"),
            },
        ),
        (
            "python",
            PYTHON,
            {
                (3, "<= became <"), (3, "and became or"), (3, "== became !="), (3, "0 became 1"),
                (4, "min became max"), (4, "+ became -"), (4, "1 became 2"),
            },
        ),
    ],
)  # fmt: skip
def test_every_change(language, code, expected) -> None:
    """Operators, words and numbers change; comments, strings, templates and includes do not."""
    made = mutants(code, LANGUAGES[language], limit=99)
    assert {(one.line, one.change) for one in made} == expected
    assert len({one.code for one in made}) == len(made)
    assert all(one.code != code for one in made)


def test_limit_and_seed() -> None:
    """A seed always chooses the same changes, another one others."""
    few = mutants(CPP, LANGUAGES["cpp"], limit=4, seed=1)
    assert len(few) == 4
    assert few == mutants(CPP, LANGUAGES["cpp"], limit=4, seed=1)
    assert few != mutants(CPP, LANGUAGES["cpp"], limit=4, seed=2)
    assert mutants("print()\n", LANGUAGES["python"], limit=4) == []
