"""MultiPL-E: HumanEval and MBPP translated to other languages (Cassano et al. 2022).

Source: arXiv:2208.08227, repository nuprl/MultiPL-E. A row's ``prompt`` is a program up to the
head of a function, and its ``tests`` go on after the function's body, with the closing brace
first.
"""

from __future__ import annotations

import re

from halo_forge.core.types import Message, Prompt, Reference
from halo_forge.data.items import Files, Item, PublicDataset, Row, Unfit, View
from halo_forge.utils.text import fenced, language_name

__all__ = ["multipl_e"]

_ROWS = {
    "humaneval-cpp": 161,
    "humaneval-cs": 158,
    "humaneval-go": 154,
    "humaneval-rs": 156,
    "mbpp-cpp": 397,
    "mbpp-cs": 386,
    "mbpp-go": 374,
    "mbpp-rs": 354,
}
"""Configurations in the languages that a verifier here builds, and their problems."""
_TITLES = {"cpp": "C++", "csharp": "C#", "go": "Go", "rust": "Rust"}
_CALLED = re.compile(r"\bcandidate\s*:?=\s*(\w+)|\bDebug\.Assert\(\(?(\w+)\(")


def _item(row: Row, view: View) -> Item:
    """Read a row: the function's head is the task, its asserts are the tests."""
    name = str(row.get("name") or "").strip()
    head, tests = row.get("prompt"), row.get("tests")
    if not name or not isinstance(head, str) or not isinstance(tests, str) or not tests.strip():
        raise Unfit("'name', 'prompt' or 'tests' is missing")
    language = language_name(view.config.rpartition("-")[2])
    if language not in _TITLES:
        raise Unfit("is in a language that no verifier here builds")
    found = _CALLED.search(tests)
    task = f"Complete this {_TITLES[language]} function.\n\n{fenced(head, language)}"
    reference = Reference(
        test_code=tests.lstrip().removeprefix("}").strip("\n") + "\n",
        entry_point=(found[1] or found[2]) if found else None,
    )
    prompt = Prompt(f"{view.config}/{name}", (Message("user", task),), reference, language)
    return Item(prompt)


multipl_e = PublicDataset(
    name="multipl-e",
    summary="MultiPL-E: HumanEval and MBPP in C++, C#, Go and Rust; no answers",
    hub_id="nuprl/MultiPL-E",
    licence="MIT",
    fields=("name", "prompt", "tests"),
    tests="asserts in the language; verifier joined",
    configs={name: {"test": Files((f"{name}/test-*.parquet",), n)} for name, n in _ROWS.items()},
    convert=_item,
    answers=False,
)
