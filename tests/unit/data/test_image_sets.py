"""Data sets of questions about images: rows of the true columns, and easy-VQA out of its wheel."""

from __future__ import annotations

import importlib.util
import io

import pytest

from halo_forge.core.errors import UserError
from halo_forge.core.types import Sample
from halo_forge.data import public_datasets
from halo_forge.data.formats import parse_prompt, prompt_record
from halo_forge.data.items import Unfit, View
from halo_forge.data.training import training_record
from halo_forge.rlvr.verifiers import VisionVerifier
from halo_forge.utils.images import open_image
from tests.needs import lacking, package

IMAGES = ("chartqa", "docvqa", "easy_vqa", "mathvista", "realworldqa", "textvqa")


def _image() -> dict:
    """Return a picture as Parquet holds it."""
    pillow = package("PIL.Image")
    packed = io.BytesIO()
    pillow.new("RGB", (8, 8), "red").save(packed, "PNG")
    return {"bytes": packed.getvalue(), "path": None}


# name: split, row as the hub has it, truth, how many accepted answers, preset
ROWS = {
    "textvqa": ("validation", {
        "image_id": "003a8ae2ef43b901", "question_id": 34602, "question": "what is the brand?",
        "question_tokens": [], "image_width": 8, "image_height": 8,
        "answers": ["nous les gosses", "dakota", *["dakota digital"] * 7, "clos culombu"],
        "set_name": "val"}, "dakota digital", 10, "vqa"),
    "docvqa": ("validation", {
        "questionId": 49153, "question": "What is the 'actual' value per 1000 in 1975?",
        "question_types": ["figure/diagram"], "docId": 14465, "ucsf_document_id": "pybv0228",
        "ucsf_document_page_no": "81", "answers": ["0.28", ".28"]}, "0.28", 2, "docvqa"),
    "chartqa": ("val", {
        "query": "How many food items are shown in the bar graph?", "label": ["14"],
        "human_or_machine": 0}, "14", 0, "chartqa"),
    "realworldqa": ("test", {
        "question": "Which way does the car face?\n\nA. Left\nB. Right\nPlease answer directly "
        "with only the letter of the correct option and nothing else.",
        "answer": "B"}, "B", 0, "vqa"),
    "mathvista": ("testmini", {
        "pid": "2", "question": "What is the missing value?", "image": "images/2.jpg",
        "choices": ["60", "65"], "unit": None, "precision": None, "answer": "65",
        "question_type": "multi_choice", "answer_type": "text", "metadata": {"task": "geometry"},
        "query": "Hint: answer with the option letter.\nQuestion: What is the missing value?\n"
        "Choices:\n(A) 60\n(B) 65"}, "65", 0, "vqa"),
}  # fmt: skip


@pytest.mark.parametrize("name", ROWS)
def test_rows(name):
    """Question, picture, truth and every accepted answer arrive, and can be written and read."""
    split, row, truth, accepted, preset = ROWS[name]
    column = "decoded_image" if name == "mathvista" else "image"
    view = View("default", split)
    prompt = public_datasets.get(name).convert({**row, column: _image()}, view).prompt
    assert prompt.reference.ground_truth == truth
    assert len(prompt.reference.alternatives) == accepted
    assert row.get("query", row.get("question", "")).strip() in prompt.text
    assert open_image(prompt.images[0]).getpixel((1, 1)) == (255, 0, 0)
    assert parse_prompt(prompt_record(prompt)) == prompt
    verdict = VisionVerifier(preset).judge(Sample(prompt, 0, f"Answer: {truth}"))
    assert verdict.success


@pytest.mark.parametrize("name", ROWS)
def test_rows_that_give_nothing(name):
    """No picture, no answer (test splits have none), no question: each has its reason."""
    split, row, *_ = ROWS[name]
    column = "decoded_image" if name == "mathvista" else "image"
    convert, view = public_datasets.get(name).convert, View("default", split)
    whole = {**row, column: _image()}
    answers = {"textvqa": "answers", "docvqa": "answers", "chartqa": "label"}.get(name, "answer")
    for change, why in (
        ({answers: [] if name in {"textvqa", "docvqa", "chartqa"} else ""}, "no answer"),
        ({answers: None}, "no answer"),
        ({column: None}, "no image"),
        ({"question": "", "query": ""}, "no question"),
    ):
        with pytest.raises(Unfit, match=why):
            convert(whole | change, view)


def test_they_are_known_as_what_they_are():
    """All are data sets about images, and no other is."""
    known = {name for name in public_datasets.names() if public_datasets.get(name).images}
    assert known == set(IMAGES)


def test_training_records_keep_their_images():
    """The truth is the answer to learn, the image stands beside the chat, and no text drops it."""
    split, row, *_ = ROWS["docvqa"]
    view = View("default", split)
    item = public_datasets.get("docvqa").convert({**row, "image": _image()}, view)
    record = training_record(item)
    assert record["messages"][-1] == {"role": "assistant", "content": "0.28"}
    assert record["image"] == list(item.prompt.images)
    with pytest.raises(Unfit, match="no place in a text"):
        training_record(item, render=lambda chat: "text")


def test_easy_vqa_comes_out_of_its_wheel():
    """Real rows: shapes that can be opened, splits apart, each question once."""
    if importlib.util.find_spec("easy_vqa") is None:
        lacking("easy-vqa is not installed")
    train = list(public_datasets.prompts("easy_vqa", limit=300))
    test = list(public_datasets.prompts("easy_vqa", split="test", limit=300))
    assert len({one.id for one in (*train, *test)}) == 600
    assert train[0].text == "what is the blue shape?"
    assert train[0].reference.ground_truth == "rectangle"
    assert open_image(train[0].images[0]).size == (64, 64)
    assert not {one.images for one in train} & {one.images for one in test}
    verifier = VisionVerifier()
    assert verifier.judge(Sample(train[0], 0, "A rectangle.")).success
    assert not verifier.judge(Sample(train[0], 0, "circle")).success


def test_a_missing_wheel_is_named(monkeypatch):
    """Who has not installed it is told how."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip install easy-vqa"):
        list(public_datasets.prompts("easy_vqa"))


def test_odd_rows_of_easy_vqa_cost_themselves(tmp_path):
    """A list of another form is counted with its number."""
    folder = tmp_path / "data" / "train"
    folder.mkdir(parents=True)
    (folder / "questions.json").write_text('[["a?", "yes", 0], ["b?", "no"], 3, ["c?", "no", 1]]')
    selection = public_datasets.select("easy_vqa", source=tmp_path)
    tally = public_datasets.Tally()
    assert len(list(public_datasets.items(selection, tally))) == 2
    assert tally.rows == 4
    assert tally.first == {"not [question, answer, image]": "questions.json:2"}
