"""Questions about images: photographs with text, documents, charts, figures and shapes.

Sources: TextVQA (Singh et al. 2019, arXiv:1904.08920), DocVQA (Mathew et al. 2021,
arXiv:2007.00398), ChartQA (Masry et al. 2022, arXiv:2203.10244), RealWorldQA (xAI 2024), MathVista
(Lu et al. 2024, arXiv:2310.02255), easy-VQA (Victor Zhou 2019). Every accepted answer is kept, as
often as people gave it. Pictures come along as ``data:`` addresses; none is decoded here.
"""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from halo_forge.core.identity import content_id
from halo_forge.core.types import Message, Prompt, Reference
from halo_forge.data.items import Files, Item, PublicDataset, Row, Unfit, View
from halo_forge.data.rows import read_values
from halo_forge.utils.jsonl import BadLine

__all__ = ["chartqa", "docvqa", "easy_vqa", "mathvista", "realworldqa", "textvqa"]

_ASK = (
    'Answer in a word, a number or a short phrase. If you explain, end with a line "Answer: ...".'
)
_MAGIC = {
    b"\x89PNG": "png", b"\xff\xd8\xff": "jpeg", b"GIF8": "gif", b"RIFF": "webp", b"BM": "bmp",
    b"II*\0": "tiff", b"MM\0*": "tiff",
}  # fmt: skip
_VERIFIED = "answers of people; verifier vision"


def _item(
    name: str, question: Any, answers: Any, image: Any, category: Any = None, *, ask: str = _ASK
) -> Item:
    """Return a question as a task; its truth is the answer that most gave."""
    if not isinstance(question, str) or not question.strip():
        raise Unfit("has no question")
    known = [one.strip() for one in _listed(answers) if one.strip()]
    if not known:
        raise Unfit("has no answer that is published")
    truth = Counter(known).most_common(1)[0][0]
    reference = Reference(ground_truth=truth, alternatives=tuple(known) if len(known) > 1 else ())
    text = f"{question.strip()}\n{ask}" if ask else question.strip()
    label = category if isinstance(category, str) and category.strip() else None
    return Item(
        Prompt(name, (Message("user", text),), reference, category=label, images=(_shown(image),)),
        truth,
    )


def _listed(answers: Any) -> Sequence[str]:
    if isinstance(answers, str):
        return [answers]
    return [one for one in answers if isinstance(one, str)] if isinstance(answers, list) else []


def _shown(image: Any) -> str:
    """Return a picture as it stands in a Parquet file, or the name of its file, as an address."""
    if isinstance(image, str) and image:
        return image
    data = image.get("bytes") if isinstance(image, dict) else None
    if not isinstance(data, bytes) or not data:
        raise Unfit("has no image")
    kind = next((one for magic, one in _MAGIC.items() if data.startswith(magic)), "png")
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def _textvqa(row: Row, view: View) -> Item:
    name = f"textvqa/{view.split}/{row['question_id']}"
    return _item(name, row.get("question"), row.get("answers"), row.get("image"))


def _docvqa(row: Row, view: View) -> Item:
    kinds = row.get("question_types")
    category = kinds[0] if isinstance(kinds, list) and kinds else None
    name = f"docvqa/{view.split}/{row['questionId']}"
    return _item(name, row.get("question"), row.get("answers"), row.get("image"), category)


def _chartqa(row: Row, view: View) -> Item:
    """Read a row of the hub: it has no id, so its question and picture name it."""
    image, question = _shown(row.get("image")), row.get("query")
    who = {0: "human", 1: "machine"}.get(row.get("human_or_machine", -1))
    name = f"chartqa/{view.split}/{content_id([question, image])}"
    return _item(name, question, row.get("label"), image, who)


def _realworldqa(row: Row, view: View) -> Item:
    """Read a row; its question says itself how to answer."""
    image, question = _shown(row.get("image")), row.get("question")
    name = f"realworldqa/{view.split}/{content_id([question, image])}"
    return _item(name, question, row.get("answer"), image, ask="")


def _mathvista(row: Row, view: View) -> Item:
    """Read a row; ``query`` is the question with its choices and the form of the answer."""
    about = row.get("metadata")
    task = about.get("task") if isinstance(about, dict) else None
    question = row.get("query") or row.get("question")
    name = f"mathvista/{view.split}/{row['pid']}"
    return _item(name, question, row.get("answer"), row.get("decoded_image"), task)


def _easy_vqa(row: Row, view: View) -> Item:
    question = row.get("question")
    name = f"easy_vqa/{view.split}/{row['image_id']}/{content_id(question)}"
    return _item(name, question, row.get("answer"), row.get("image"), ask="")


def _easy_vqa_rows(path: Path) -> Iterator[tuple[int, dict[str, Any] | BadLine]]:
    """Yield the rows of ``questions.json``: lists of question, answer and number of the image."""
    for number, value in read_values(path):
        if not isinstance(value, list) or len(value) != 3 or type(value[2]) is not int:
            yield number, BadLine(path, number, "not [question, answer, image]")
            continue
        question, answer, image = value
        picture = path.parent.absolute() / "images" / f"{image}.png"
        yield number, {
            "question": question, "answer": answer, "image_id": image, "image": str(picture)
        }  # fmt: skip


_dataset = partial(PublicDataset, images=True)

textvqa = _dataset(
    name="textvqa",
    summary="TextVQA: questions about text in photographs",
    preset="vqa",
    hub_id="lmms-lab/textvqa",
    licence="CC-BY-4.0",
    fields=("question_id", "question", "answers", "image"),
    tests=f"ten {_VERIFIED}",
    configs={
        "default": {
            "train": Files(("data/train-*.parquet",), 34602),
            "validation": Files(("data/validation-*.parquet",), 5000),
            "test": Files(("data/test-*.parquet",), 5734),
        }
    },
    convert=_textvqa,
)

docvqa = _dataset(
    name="docvqa",
    summary="DocVQA: questions about scanned documents",
    preset="docvqa",
    hub_id="HuggingFaceM4/DocumentVQA",
    licence="terms of the DocVQA challenge",
    fields=("questionId", "question", "question_types", "answers", "image"),
    tests=f"all {_VERIFIED}; the test split has none",
    configs={
        "default": {
            "train": Files(("data/train-*.parquet",), 39463),
            "validation": Files(("data/validation-*.parquet",), 5349),
            "test": Files(("data/test-*.parquet",), 5188),
        }
    },
    convert=_docvqa,
)

chartqa = _dataset(
    name="chartqa",
    summary="ChartQA: questions about charts, by people and by a machine",
    preset="chartqa",
    hub_id="HuggingFaceM4/ChartQA",
    licence="GPL-3.0",
    fields=("image", "query", "label", "human_or_machine"),
    tests="one answer; verifier vision",
    configs={
        "default": {
            "train": Files(("data/train-*.parquet",), 28299),
            "val": Files(("data/val-*.parquet",), 1920),
            "test": Files(("data/test-*.parquet",), 2500),
        }
    },
    convert=_chartqa,
)

realworldqa = _dataset(
    name="realworldqa",
    summary="RealWorldQA: where things are in everyday scenes",
    preset="vqa",
    hub_id="xai-org/RealworldQA",
    licence="CC-BY-ND-4.0",
    fields=("image", "question", "answer"),
    tests="a letter, a word or a number; verifier vision",
    configs={"default": {"test": Files(("data/test-*.parquet",), 765)}},
    convert=_realworldqa,
)

mathvista = _dataset(
    name="mathvista",
    summary="MathVista: mathematics in figures",
    preset="vqa",
    hub_id="AI4Math/MathVista",
    licence="CC-BY-SA-4.0",
    fields=("pid", "query", "question", "decoded_image", "answer", "metadata"),
    tests="one answer; verifier vision; the test split has none",
    configs={
        "default": {
            "testmini": Files(("data/testmini-*.parquet",), 1000),
            "test": Files(("data/test-*.parquet",), 5141),
        }
    },
    convert=_mathvista,
)

easy_vqa = _dataset(
    name="easy_vqa",
    summary="easy-VQA: coloured shapes, 64 pixels wide; pip install easy-vqa",
    preset="vqa",
    hub_id="vzhou842/easy-VQA",
    licence="MIT",
    fields=("question", "answer", "image_id"),
    tests="one answer; verifier vision",
    configs={
        "default": {
            "train": Files(("data/train/questions.json",), 38575),
            "test": Files(("data/test/questions.json",), 9673),
        }
    },
    convert=_easy_vqa,
    package="easy_vqa",
    reader=_easy_vqa_rows,
)
