"""VisionVerifier: the answer decides, style pays nothing, and what is not seen is not judged."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from halo_forge.config.raft import RaftConfig
from halo_forge.core.errors import SandboxFault, UserError, VerifierFault
from halo_forge.core.types import Message, Prompt, Reference, Sample
from halo_forge.rlvr.judges import make_verifier
from halo_forge.rlvr.verifiers import VisionVerifier
from halo_forge.rlvr.verifiers.audit import audit, corpus
from halo_forge.rlvr.verifiers.conformance import Check, Known, checks
from halo_forge.rlvr.verifiers.vision.perception import Detection, Detector, Reader
from halo_forge.rlvr.verifiers.vision.verifier import WRONG_AT_MOST

PRESETS = ("vqa", "docvqa", "chartqa")
ANIMAL = Prompt(
    "p", (Message("user", "What animal is it?"),), Reference(ground_truth="cat"), images=("x.png",)
)
STYLES = (
    "{}",
    "Looking at the image, this is visible in the picture. Thus the answer is {}.",
    "Step 1: I look carefully. Step 2: it is clear.\nTherefore, the final answer is {}.",
    "There are two dogs and a red car on the left of the bus.\nAnswer: {}",
    "2 + 2 = 4. The animal on the sofa has whiskers, a {}.\nAnswer: {}",
    "<answer>{}</answer>",
    "\\boxed{{{}}}",
    "**Final Answer:** {}",
)


class Painted(Detector):
    """A detector that sees what it was told."""

    def __init__(self, *found: Detection) -> None:
        self.name, self.classes, self.looks = "painted", frozenset({"cat", "dog", "car"}), 0
        self.found = list(found)

    def detect(self, image):
        self.looks += 1
        return self.found


class Written(Reader):
    """OCR that reads what it was told."""

    name = "written"

    def read(self, image) -> str:
        return "STOP\nHERE"


def _judged(text: str, verifier: VisionVerifier | None = None, prompt: Prompt = ANIMAL):
    return (verifier or VisionVerifier()).judge(Sample(prompt, 0, text))


@pytest.fixture
def picture(tmp_path) -> Prompt:
    """A prompt with a real, empty picture."""
    from PIL import Image

    Image.new("RGB", (64, 64), "white").save(tmp_path / "p.png")
    return replace(ANIMAL, images=(str(tmp_path / "p.png"),))


@pytest.mark.parametrize("preset", PRESETS)
def test_no_bad_answer_reaches_the_good_one_beside_it(preset):
    """The corpus: right ones pass, and of all others none comes near any of them."""
    verifier = VisionVerifier(preset)
    known = corpus(verifier.known_answers)
    found = audit(verifier)
    assert (found.false_accepts, found.false_rejects, found.skipped) == ((), (), {})
    assert found.judged == len(known)
    for task in {one.task for one in known}:
        rewards = {True: [], False: []}
        for one in known:
            if one.task == task:
                rewards[one.kind == "right"].append(verifier.judge(one.sample).reward)
        assert max(rewards[False]) <= WRONG_AT_MOST < 0.5 < min(rewards[True])


def test_the_corpus_is_large_enough():
    """At least sixty bad answers, each beside good ones, with names that tell them apart."""
    known = [one for preset in PRESETS for one in corpus(f"vision/{preset}")]
    assert sum(one.kind != "right" for one in known) >= 60
    assert len({(one.task, one.name) for one in known}) == len(known)
    for task in {one.task for one in known}:
        assert {one.kind for one in known if one.task == task} == {"right", "wrong", "exploit"}


def test_programs_are_audited_by_verifiers_of_programs():
    """The answers about images are no part of the others' audit."""
    assert not [one for one in corpus() if one.sample.prompt.reference.ground_truth]


@pytest.mark.parametrize("style", STYLES)
def test_style_never_pays_a_wrong_answer(style):
    """Any style around any wrong answer stays under every threshold there can be."""
    right = _judged(style.format(*["cat"] * 2))
    assert right.success
    assert right.reward > 0.5
    for wrong in ("wombat", "cat or dog", "not a cat", "category", "dog"):
        result = _judged(style.format(*[wrong] * 2))
        assert not result.success, (style, wrong)
        assert result.reward <= WRONG_AT_MOST


PIECES = st.sampled_from([*STYLES, "cat", "The cat. ", "Answer: cat, dog", "No. "])


@given(st.lists(PIECES, max_size=6), st.text(max_size=40))
@settings(max_examples=150, deadline=None)
def test_success_is_the_answers_alone(pieces, noise):
    """However texts are put together: success exactly where the final answer is the truth."""
    verifier = VisionVerifier()
    text = "\n".join([*pieces, noise]).replace("{}", "dog")
    result = _judged(text, verifier)
    words = verifier.extract_code(text).casefold().split()
    assert not result.success or "cat" in words[-1]
    assert not result.success or not {"or", "not", "no", "dog", "dog,"} & set(words)
    assert (result.reward > 0.5) == result.success
    assert result.success or result.reward <= WRONG_AT_MOST


def test_a_wrong_answer_stays_under_every_threshold():
    """Less than shaping, which lowers thresholds, can set; a right one is over the default."""
    threshold = RaftConfig.model_fields["raft"].default.reward_threshold
    assert WRONG_AT_MOST < 0.1
    weights = {"perception_weight": 5.0, "reasoning_weight": 0.0, "output_weight": 0.01}
    assert _judged("cat", VisionVerifier(**weights)).reward >= threshold


def test_reasoning_orders_the_right_ones():
    """Steps that lead there beat none, and those beat steps that contradict."""
    led = _judged("The animal on the sofa has whiskers, a cat.\nAnswer: cat").reward
    bare = _judged("cat").reward
    denied = _judged("It is not a cat on the sofa.\nAnswer: cat").reward
    assert led > bare > denied > 0.5
    assert led == 1.0
    phrases = _judged("Looking at the image, it is clearly visible.\nAnswer: cat").reward
    assert phrases == bare


def test_weights_are_the_readmes():
    """0.3, 0.4 and 0.3: of a right answer, half the reward is the weighted mean of the stages."""
    bare = _judged("cat")
    assert bare.reward == pytest.approx(0.5 + 0.5 * (0.3 * 1 + 0.4 * 0.5) / 0.7, abs=0.0051)
    assert bare.metadata["stages"]["perception"] == {"score": None, "claims": {}}
    one = _judged("cat", VisionVerifier(output_weight=1, reasoning_weight=0, perception_weight=0))
    assert one.reward == 1.0


def test_evidence_of_each_stage_is_told(picture):
    """Metadata says what was answered, what was wrong in the steps, and what was seen."""
    eyes = VisionVerifier(detector=Painted(Detection("cat", 0.9, (0.1, 0.1, 0.4, 0.4))),
                          ocr=Written())  # fmt: skip
    text = (
        'There is a cat and there are two dogs. The sign says "STOP HERE". 2 + 2 = 5.\nAnswer: cat'
    )
    result = _judged(text, eyes, picture)
    assert result.success
    stages = result.metadata["stages"]
    assert stages["perception"]["claims"] == {
        "reads 'STOP HERE'": "true", "some cat": "true", "2 dog": "false"
    }  # fmt: skip
    assert stages["perception"]["score"] == pytest.approx(2 / 3)
    assert stages["reasoning"]["faults"] == ["2 + 2 = 5 is wrong"]
    assert stages["output"] == {"right": True, "near": 0.0, "compared_as": "text"}
    expected = 0.5 + 0.5 * (0.3 + 0.4 * 0.25 + 0.3 * 2 / 3)
    assert result.reward == pytest.approx(expected, abs=0.0051)


def test_a_reader_that_fails_is_asked_again(picture):
    """Whatever it raises: nobody waits for a look that nobody takes, and the next one may see."""

    class Failing(Reader):
        name = "failing"
        asked = 0

        def read(self, image) -> str:
            self.asked += 1
            if self.asked == 1:
                raise SandboxFault("the sandbox is gone")
            return "STOP"

    reader = Failing()
    verifier = VisionVerifier(ocr=reader)
    text = 'The sign says "STOP".\nAnswer: cat'
    with pytest.raises(SandboxFault):
        _judged(text, verifier, picture)
    claims = _judged(text, verifier, picture).metadata["stages"]["perception"]["claims"]
    assert claims == {"reads 'STOP'": "true"}
    assert reader.asked == 2


def test_what_cannot_be_seen_is_not_judged(picture):
    """Without eyes, for unknown things and without a claim, the weight goes to the others."""
    blind, seeing = VisionVerifier(), VisionVerifier(detector=Painted())
    for text in ("There is a tree. Answer: cat", "Answer: cat", "Is there a dog? Answer: cat"):
        for verifier in (blind, seeing):
            result = _judged(text, verifier, picture)
            assert result.metadata["stages"]["perception"]["score"] is None
    without = _judged("There is a dog on it. Answer: cat", blind, picture)
    assert without.metadata["stages"]["perception"] == {
        "score": None, "claims": {"some dog": "not judged"}
    }  # fmt: skip
    refuted = _judged("There is a dog on it. Answer: cat", seeing, picture)
    assert refuted.reward < without.reward


def test_an_image_is_looked_at_once(picture):
    """All answers to a prompt share what was seen."""
    detector = Painted()
    verifier = VisionVerifier(detector=detector, max_workers=4)
    texts = [f"There is a dog and a car {n}. Answer: cat" for n in range(12)]
    results = verifier.verify_batch(texts, [picture] * 12)
    assert detector.looks == 1
    assert all(one.success for one in results)


def test_of_several_images_none_is_looked_at(picture):
    """Nobody knows which one a claim means."""
    detector = Painted()
    two = replace(picture, images=picture.images * 2)
    result = _judged("There is a dog. Answer: cat", VisionVerifier(detector=detector), two)
    assert detector.looks == 0
    assert result.metadata["stages"]["perception"]["score"] is None


def test_trouble_of_ours_is_a_fault(tmp_path):
    """A missing model, image, truth or OCR raises, and pays nothing."""
    with pytest.raises(VerifierFault, match="ground_truth"):
        _judged("cat", prompt=replace(ANIMAL, reference=Reference()))
    with pytest.raises(VerifierFault, match="ground_truth"):
        VisionVerifier().start([replace(ANIMAL, reference=Reference())])
    with pytest.raises(VerifierFault, match="are not there"):
        VisionVerifier(detector=str(tmp_path / "none.onnx")).start()
    with pytest.raises(VerifierFault, match=r"x\.png: cannot be read"):
        _judged("There is a dog. Answer: cat", VisionVerifier(detector=Painted()))
    with pytest.raises(VerifierFault, match="judged with its prompt"):
        VisionVerifier().verify("cat")


def test_arguments_are_checked():
    """An unknown preset and weights that are none are refused."""
    with pytest.raises(ValueError, match="preset must be one of vqa, docvqa, chartqa"):
        VisionVerifier("gqa")
    with pytest.raises(ValueError, match="ocr must be tesseract or a reader, got 'magic'"):
        VisionVerifier(ocr="magic")
    for weights in itertools.product((-1.0, float("nan"), 0.0), (0.0,), (0.0,)):
        with pytest.raises(ValueError, match="weights must not be negative"):
            VisionVerifier("vqa", *weights)


def test_settings_reach_it():
    """By name, with its options; what means nothing to it is refused."""
    from halo_forge.config.sections import VerifierSettings

    made = make_verifier(VerifierSettings(type="vision", options={"preset": "chartqa"}))
    assert made.known_answers == "vision/chartqa"
    assert made.fingerprint() != VisionVerifier().fingerprint()
    with pytest.raises(UserError, match="warn_as_error: means nothing"):
        make_verifier(VerifierSettings(type="vision", warn_as_error=True))
    with pytest.raises(UserError, match="preset must be one of"):
        make_verifier(VerifierSettings(type="vision", options={"preset": "gqa"}))


@pytest.mark.parametrize("check", checks(), ids=str)
def test_it_conforms(check: Check):
    """It has every property that any verifier must have."""
    known = Known(Sample(ANIMAL, 0, "cat"), Sample(ANIMAL, 0, "dog"),
                  VisionVerifier(detector="/nowhere.onnx"))  # fmt: skip
    check.run(VisionVerifier(), known)
