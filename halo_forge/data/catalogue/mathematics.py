"""GSM8K: school mathematics in words (Cobbe et al. 2021, arXiv:2110.14168)."""

from __future__ import annotations

import re

from halo_forge.core.identity import content_id
from halo_forge.core.types import Message, Prompt, Reference
from halo_forge.data.items import Files, Item, PublicDataset, Row, Unfit, View

__all__ = ["gsm8k"]

_CALCULATION = re.compile(r"<<[^<>]*>>")
_FINAL = re.compile(r"\n?####\s*(-?[\d,]+(?:\.\d+)?)\s*\Z")


def _item(row: Row, _view: View) -> Item:
    """Read a question; what a program must print is the number after ``####``.

    The prompt asks for a program, as in Gao et al. 2022 (arXiv:2211.10435), because output is what
    can be judged; the answer to learn from is the data set's own, in words, to the bare question.
    """
    question, answer = str(row.get("question") or "").strip(), str(row.get("answer") or "").strip()
    final = _FINAL.search(answer)
    if not question or final is None:
        raise Unfit("has no question, or no number after '####'")
    task = f"{question}\n\nWrite a Python program that prints the answer, only the number."
    prompt = Prompt(
        id=f"gsm8k/{content_id(question)}",
        messages=(Message("user", task),),
        reference=Reference(expected_output=final[1].replace(",", "")),
        language="python",
    )
    return Item(prompt, _CALCULATION.sub("", answer), question)


gsm8k = PublicDataset(
    name="gsm8k",
    summary="Grade school mathematics in words, with worked answers",
    hub_id="openai/gsm8k",
    licence="MIT",
    fields=("question", "answer"),
    tests="the number that a program has to print; verifier execution",
    configs={
        "main": {
            "train": Files(("main/train-*.parquet",), 7473),
            "test": Files(("main/test-*.parquet",), 1319),
        },
        "socratic": {
            "train": Files(("socratic/train-*.parquet",), 7473),
            "test": Files(("socratic/test-*.parquet",), 1319),
        },
    },
    convert=_item,
    language=None,
    releases={"main": ("{split}.jsonl",), "socratic": ("{split}_socratic.jsonl",)},
)
