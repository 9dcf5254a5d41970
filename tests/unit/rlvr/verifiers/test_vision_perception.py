"""Claims, a real detector on a photograph, and real OCR in the sandbox."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from halo_forge.core.errors import VerifierFault
from halo_forge.rlvr.verifiers.vision.claims import CountClaim, PlaceClaim, TextClaim, claims_of
from halo_forge.rlvr.verifiers.vision.coco import CLASSES, NOUNS
from halo_forge.rlvr.verifiers.vision.perception import Detection, Scene, perceive
from tests.needs import lacking, package, public_file

PHOTO = Path(__file__).parents[3] / "assets" / "astronaut-and-cup.jpg"


@pytest.mark.parametrize(
    ("text", "claims"),
    [
        ("There are two dogs and a cat.", [CountClaim("dog", 2), CountClaim("cat", -1)]),
        ("The category is business, and the bandana is red.", []),
        ("There are no dogs.", [CountClaim("dog", 0)]),
        ("It is not a dog.", [CountClaim("dog", 0)]),
        ("Three big brown horses run.", [CountClaim("horse", 3)]),
        ("An orange car is there.", [CountClaim("car", -1)]),
        ("A man talks on his phone.", [CountClaim("person", -1)]),
        ("A mobile phone on a coffee table.",
         [CountClaim("cell phone", -1), CountClaim("dining table", -1)]),
        ("Is there a dog?", []),
        ("It might be a dog. It looks like a cat.", []),
        ("Answer: dog or cat", []),
        ('The sign says "STOP HERE".', [TextClaim("STOP HERE")]),
        ("The dog is to the left of the sofa.",
         [PlaceClaim("dog", "left of", "couch"), CountClaim("dog", -1), CountClaim("couch", -1)]),
        ("The cup is not above the book.", [CountClaim("cup", -1), CountClaim("book", -1)]),
    ],
)  # fmt: skip
def test_claims(text, claims):
    """Whole words, counts, negations, places and quoted text; questions claim nothing."""
    assert claims_of(text) == claims


def test_words_are_those_of_coco():
    """All eighty classes, and every word leads to one of them."""
    assert len(set(CLASSES)) == len(CLASSES) == 80
    assert set(NOUNS.values()) <= set(CLASSES)
    assert NOUNS["phone"] == "cell phone"
    assert NOUNS["table"] == "dining table"
    assert NOUNS["people"] == "person"


def _dog(confidence: float, left: float = 0.1) -> Detection:
    return Detection("dog", confidence, (left, 0.1, left + 0.2, 0.5))


@pytest.mark.parametrize(
    ("count", "confidences", "verdict"),
    [
        (-1, [0.9], "true"), (-1, [0.15], "not judged"), (-1, [], "false"),
        (2, [0.9, 0.8], "true"), (2, [0.9, 0.8, 0.2], "true"), (3, [0.9, 0.8, 0.2], "not judged"),
        (4, [0.9, 0.8, 0.2], "false"), (1, [0.9, 0.8], "false"),
        (0, [], "true"), (0, [0.2], "not judged"), (0, [0.9], "false"),
    ],
)  # fmt: skip
def test_counts_have_a_band_of_doubt(count, confidences, verdict):
    """Traces neither prove nor refute."""
    scene = Scene(tuple(map(_dog, confidences)), frozenset(CLASSES))
    assert [*perceive([CountClaim("dog", count)], scene).claims.values()] == [verdict]


def test_places_need_one_of_each():
    """Two things, each there once and clearly apart, lie beside each other or do not."""
    cat = Detection("cat", 0.9, (0.6, 0.1, 0.8, 0.5))
    left, right = PlaceClaim("dog", "left of", "cat"), PlaceClaim("dog", "right of", "cat")
    above = PlaceClaim("dog", "above", "cat")
    for dogs, verdicts in (
        ([_dog(0.9)], ["true", "false", "not judged"]),
        ([_dog(0.9), _dog(0.8)], ["not judged"] * 3),
        ([], ["not judged"] * 3),
        ([_dog(0.9, 0.58)], ["not judged"] * 3),
    ):
        scene = Scene((*dogs, cat), frozenset(CLASSES))
        assert [*perceive([left, right, above], scene).claims.values()] == verdicts


def test_text_is_read_by_words():
    """Words in a row, whole ones; OCR that read nothing says nothing."""
    scene = Scene(text="STOP\nHERE, please")
    claims = [TextClaim("stop here"), TextClaim("top"), TextClaim("here stop")]
    assert [*perceive(claims, scene).claims.values()] == ["true", "false", "false"]
    assert perceive(claims, Scene(text="")).score is None
    assert perceive(claims, Scene()).score is None


@pytest.fixture(scope="module")
def yolox():
    """The detector with its real weights."""
    package("onnxruntime")
    from halo_forge.rlvr.verifiers.vision.yolo import YoloDetector

    return YoloDetector(public_file("yolox_nano.onnx"))


def test_a_photograph(yolox):
    """What is claimed rightly about a real photograph is true, and the rest false or open."""
    from halo_forge.utils.images import open_image

    scene = Scene(tuple(yolox.detect(open_image(str(PHOTO)))), yolox.classes)
    text = (
        "One woman is left of a cup. There are no dogs. There are five cups. "
        "A cat sleeps. The cup is left of the woman. A tree grows."
    )
    assert perceive(claims_of(text), scene).claims == {
        "person left of cup": "true", "1 person": "true", "some cup": "true", "0 dog": "true",
        "5 cup": "false", "some cat": "false", "cup left of person": "false", "some person": "true",
    }  # fmt: skip


def test_boxes_are_shares_of_the_image(yolox):
    """The cup is in the right half, whatever the size and shape of the picture."""
    from PIL import ImageOps

    from halo_forge.utils.images import open_image

    image = open_image(str(PHOTO))
    shapes = (image.resize((320, 130)), image.resize((1280, 520)), ImageOps.pad(image, (640, 640)))
    for one_shape in shapes:
        found = max(
            (one for one in yolox.detect(one_shape) if one.name == "cup"),
            key=lambda one: one.confidence,
        )
        assert 0.5 < found.centre[0] < 0.9
        assert all(0 <= edge <= 1 for edge in found.box)
    assert yolox.detect(image.resize((1, 1))) is not None


def test_both_families_mean_the_same(yolox):
    """What YOLOX says in offsets and YOLOv8 in pixels is one set of boxes; the shape tells them."""
    import numpy as np

    from halo_forge.rlvr.verifiers.vision import yolo
    from halo_forge.utils.images import open_image

    given = []
    session = yolox._session
    yolox._session = SimpleNamespace(run=lambda *a: given.append(session.run(*a)[0]) or [given[-1]])
    try:
        expected = yolox.detect(open_image(str(PHOTO)))
    finally:
        yolox._session = session
    centres, sides, scores = yolo.YoloxHead(yolox._size).decoded(given[0][0])
    other = copy.copy(yolox)
    other._head = yolo.UltralyticsHead()
    raw = np.concatenate([centres, sides, scores], 1).T[None]
    other._session = SimpleNamespace(run=lambda _, inputs: [raw] if _brightest(inputs) <= 1 else [])
    assert other.detect(open_image(str(PHOTO))) == expected


def _brightest(inputs):
    (pixels,) = inputs.values()
    return pixels.max()


def test_the_shape_tells_the_family():
    """YOLOX, YOLOv8, or none that is known; and what YOLOv8's columns mean, without any weights."""
    import numpy as np

    from halo_forge.rlvr.verifiers.vision import yolo

    shapes = {"yolox": [1, 3549, 85], "yolov8": [1, 84, 3549], None: [1, 84, 3548]}
    for name, shape in shapes.items():
        head = yolo._head_for([1, 3, 416, 416], shape)
        assert (head and head.name) == name
    assert yolo._head_for([1, 3, "height", "width"], [1, 84, "anchors"]) is None
    raw = np.zeros((84, 3))
    raw[:4, 1], raw[4 + CLASSES.index("cup"), 1] = (50, 40, 20, 10), 0.75
    (cup,) = yolo._kept(*yolo.UltralyticsHead().decoded(raw), whole=np.array([100.0] * 4))
    assert cup == Detection("cup", 0.75, (0.4, 0.35, 0.6, 0.45))


def test_another_model_is_refused(tmp_path):
    """A file that is none, or is missing, is a fault that says so."""
    package("onnxruntime")
    from halo_forge.rlvr.verifiers.vision.yolo import YoloDetector

    (tmp_path / "x.onnx").write_bytes(b"not a model")
    with pytest.raises(VerifierFault, match="no model that can be used"):
        YoloDetector(tmp_path / "x.onnx")
    with pytest.raises(VerifierFault, match="are not there"):
        YoloDetector(tmp_path / "y.onnx")


def test_tesseract_reads_in_the_sandbox(sandbox):
    """An invoice that was drawn is read word for word, by a program that is confined."""
    if shutil.which("tesseract") is None:
        lacking("tesseract is not installed")
    from halo_forge.data.scenes import draw
    from halo_forge.rlvr.verifiers.vision.ocr import TesseractReader

    image, asked = draw("document", seed=3, difficulty=1, size=448)
    scene = Scene(text=TesseractReader(sandbox).read(image))
    claims = [TextClaim(one.answer) for one in asked]
    assert perceive(claims, scene).score == 1.0
    assert perceive([TextClaim("Invoice 0000")], scene).score == 0.0
    assert TesseractReader(sandbox).read(image.resize((9, 9))) == ""
