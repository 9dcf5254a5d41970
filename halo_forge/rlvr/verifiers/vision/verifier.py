"""Judges answers about images: the final answer decides, reasoning and perception order."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

from halo_forge.core.errors import VerifierFault
from halo_forge.core.types import Prompt, Sample, VerifyResult
from halo_forge.rlvr.verifiers.base import Verifier
from halo_forge.rlvr.verifiers.diagnostics import quoted, shown
from halo_forge.rlvr.verifiers.vision.answers import METRICS, Grade, Metric, final_answer, grade
from halo_forge.rlvr.verifiers.vision.claims import (
    CountClaim,
    PlaceClaim,
    TextClaim,
    claims_of,
)
from halo_forge.rlvr.verifiers.vision.ocr import READERS, TesseractReader
from halo_forge.rlvr.verifiers.vision.perception import (
    Detector,
    Perception,
    Reader,
    Scene,
    perceive,
)
from halo_forge.rlvr.verifiers.vision.reasoning import Reasoning, reason
from halo_forge.rlvr.verifiers.workbench import SandboxOpener
from halo_forge.sandbox import Sandbox
from halo_forge.utils.images import BadImageError, open_image
from halo_forge.utils.typing import override

__all__ = ["WRONG_AT_MOST", "VisionVerifier"]

WRONG_AT_MOST = 0.09
"""Reward that no wrong answer exceeds: less than any threshold of reward shaping (0.1 at least)."""

_RIGHT_FROM = 0.5
"""Reward that every right answer exceeds: the default threshold."""
_LONGEST = 16_000
"""Characters of the longest answer that is read; real ones have hundreds."""
_SIDE = 1600
_REMEMBERED = 256
_SHOWN = 5


class VisionVerifier(Verifier):
    """Judges an answer to a question about an image in three stages.

    *Output*: the final answer against ``ground_truth`` and ``alternatives``, as the benchmark of
    the preset compares. *Reasoning*: sums, contradictions, and whether the steps lead to the
    answer. *Perception*: objects, counts, places and quoted text that the answer claims, against
    a detector and OCR; what these cannot tell is not judged, and its weight goes to the others.

    With q the weighted mean of the stages, a right answer gets ``0.5 + q / 2`` and is a success.
    A wrong one gets at most 0.09, of how near it came and of what it saw rightly; nothing that it
    says around its answer changes that.

    Args:
        preset: ``vqa`` (VQA, TextVQA, RealWorldQA, MathVista), ``docvqa`` or ``chartqa``.
        perception_weight: Weight of what was seen.
        reasoning_weight: Weight of the steps.
        output_weight: Weight of the answer.
        detector: A YOLOX or YOLOv8 model as an ``.onnx`` file, or a detector; none when absent.
        ocr: ``tesseract``, or a reader; none when absent.
        max_workers: Answers judged at one time; cores and one more when absent.
        sandbox: Sandbox for Tesseract, which stays open, or what opens one.

    Raises:
        ValueError: If the preset or ``ocr`` is unknown, or the weights are not positive numbers.
    """

    def __init__(  # noqa: PLR0913 - each is a setting of its own
        self,
        preset: Metric = "vqa",
        perception_weight: float = 0.3,
        reasoning_weight: float = 0.4,
        output_weight: float = 0.3,
        detector: str | Detector | None = None,
        ocr: str | Reader | None = None,
        max_workers: int | None = None,
        sandbox: Sandbox | SandboxOpener | None = None,
    ) -> None:
        super().__init__(max_workers)
        if preset not in METRICS:
            raise ValueError(f"preset must be one of {', '.join(METRICS)}, got {preset!r}")
        if isinstance(ocr, str) and ocr not in READERS:
            raise ValueError(f"ocr must be {', '.join(READERS)} or a reader, got {ocr!r}")
        weights = (perception_weight, reasoning_weight, output_weight)
        if not all(math.isfinite(one) and one >= 0 for one in weights) or output_weight <= 0:
            raise ValueError(f"weights must not be negative, output_weight not 0, got {weights}")
        self.preset: Metric = preset
        self.known_answers = f"vision/{preset}"
        self._weights = dict(zip(("perception", "reasoning", "output"), weights, strict=True))
        self._detector, self._ocr, self._sandbox = detector, ocr, sandbox
        self._eyes: _Eyes | None = None
        self._lock = threading.Lock()

    @override
    def verify(self, code: str) -> VerifyResult:
        """Refuse: without its question no answer is right or wrong."""
        raise VerifierFault("an answer about an image is judged with its prompt: use `judge`")

    @override
    def judge(self, sample: Sample) -> VerifyResult:
        """Judge an answer by its prompt's ground truth and images."""
        truths = _truths(sample.prompt)
        eyes = self._open_eyes()
        text = sample.completion
        if len(text) > _LONGEST:
            return self._nothing(f"{len(text):,} characters are no answer")
        answer = final_answer(text)
        if not answer:
            return self._nothing("commits itself to no one answer")
        found = grade(answer, sample.prompt.text, truths, self.preset)
        steps = reason(text, answer)
        seen = perceive(*eyes.look(text, sample.prompt))
        reward, stages = self._weighed(found, steps, seen)
        word = "right" if found.right else "wrong"
        told = f"{word}: {quoted(answer)}"
        if not found.right:
            told += f", expected {quoted(found.truth)}"
        metadata = {
            "stage": "output",
            "integrity": "strong",
            "preset": self.preset,
            "answer": shown(answer, 200),
            "score": found.score,
            "stages": stages,
        }
        return VerifyResult(found.right, reward, told, metadata=metadata)

    @override
    def extract_code(self, text: str) -> str:
        """Return the final answer of a text, or ``""``."""
        return final_answer(text) if len(text) <= _LONGEST else ""

    @override
    def start(self, prompts: Sequence[Prompt] = ()) -> None:
        """Load detector and OCR, and look whether the prompts have a ground truth."""
        for prompt in prompts:
            _truths(prompt)
        self._open_eyes()

    @override
    def fingerprint(self) -> str:
        """Return the class, its settings, and what it sees with."""
        weights = " ".join(f"{name}={one:g}" for name, one in self._weights.items())
        return f"{super().fingerprint()}: {self.preset} {weights} {self._open_eyes().name}"

    @override
    def cleanup(self) -> None:
        """Forget what was seen, and close OCR's sandbox, if it is an own one."""
        with self._lock:
            eyes, self._eyes = self._eyes, None
        if eyes is not None:
            eyes.close()

    def _open_eyes(self) -> _Eyes:
        with self._lock:
            if self._eyes is None:
                detector = self._detector
                if isinstance(detector, str):
                    from halo_forge.rlvr.verifiers.vision.yolo import YoloDetector

                    detector = YoloDetector(detector)
                reader = self._ocr
                if isinstance(reader, str):
                    reader = TesseractReader(self._sandbox, self.max_workers)
                self._eyes = _Eyes(detector, reader)
            return self._eyes

    def _weighed(
        self, found: Grade, steps: Reasoning, seen: Perception
    ) -> tuple[float, dict[str, Any]]:
        """Return the reward and the evidence of each stage."""
        scores = {"output": 1.0 if found.right else found.near, "perception": seen.score}
        if found.right:
            scores["reasoning"] = steps.score
            judged = {name: one for name, one in scores.items() if one is not None}
            whole = sum(self._weights[name] for name in judged)
            quality = sum(self._weights[name] * one for name, one in judged.items()) / whole
            reward = _RIGHT_FROM + (1 - _RIGHT_FROM) * quality
        else:
            whole = sum(self._weights.values())
            part = sum(self._weights[name] * (one or 0.0) for name, one in scores.items()) / whole
            reward = WRONG_AT_MOST * part
        stages = {
            "output": {"right": found.right, "near": found.near, "compared_as": found.how},
            "reasoning": {
                "score": steps.score,
                "steps": steps.steps,
                "carried": steps.carried,
                "faults": [shown(one, 120) for one in steps.faults[:_SHOWN]],
            },
            "perception": seen.evidence(),
        }
        return round(reward, 2), stages  # in hundredths: selection keeps answers of equal reward

    def _nothing(self, why: str) -> VerifyResult:
        metadata = {"stage": "extract", "integrity": "strong", "preset": self.preset, "score": 0.0}
        return VerifyResult(success=False, reward=0.0, details=why, metadata=metadata)


def _truths(prompt: Prompt) -> tuple[str, ...]:
    """Return the accepted answers; the first one, as often as it was given, first.

    Raises:
        VerifierFault: If there is none.
    """
    reference = prompt.reference
    if reference.ground_truth is None:
        raise VerifierFault(f"prompt {prompt.id} has no 'ground_truth' to compare answers with")
    if reference.ground_truth in reference.alternatives:
        rest = list(reference.alternatives)
        rest.remove(reference.ground_truth)
        return (reference.ground_truth, *rest)
    return (reference.ground_truth, *reference.alternatives)


class _Eyes:
    """Detector and OCR with what they saw: each image is looked at once."""

    def __init__(self, detector: Detector | None, reader: Reader | None) -> None:
        self._detector, self._reader = detector, reader
        self._seen: OrderedDict[tuple[str, str], Future[Any]] = OrderedDict()
        self._lock = threading.Lock()
        self.name = f"{detector and detector.name} {reader and reader.name}"

    def look(
        self, text: str, prompt: Prompt
    ) -> tuple[list[CountClaim | PlaceClaim | TextClaim], Scene]:
        """Return what a text claims, and as much of what can be seen as it takes to tell.

        Of several images nobody knows which one a claim means, so they are not looked at.
        """
        claims = claims_of(text)
        if len(prompt.images) != 1:
            return claims, Scene()
        reads = any(isinstance(one, TextClaim) for one in claims)
        finds = any(not isinstance(one, TextClaim) for one in claims)
        (image,), detector, reader = prompt.images, self._detector, self._reader
        objects = words = None
        if finds and detector is not None:
            objects = self._once(image, "objects", lambda: detector.detect(_picture(image)))
        if reads and reader is not None:
            words = self._once(image, "words", lambda: reader.read(_picture(image)))
        known = detector.classes if detector is not None else frozenset()
        return claims, Scene(None if objects is None else tuple(objects), known, words)

    def close(self) -> None:
        """Close the reader."""
        if self._reader is not None:
            self._reader.close()

    def _once(self, image: str, what: str, look: Callable[[], Any]) -> Any:
        """Return what was seen; whoever asks first looks, and others wait."""
        key, mine = (image, what), Future[Any]()
        with self._lock:
            known = self._seen.setdefault(key, mine)
            while len(self._seen) > _REMEMBERED:
                self._seen.popitem(last=False)
        if known is mine:
            try:
                mine.set_result(look())
            finally:
                if not mine.done():  # whoever waits gets a fault, and looks itself next time
                    with self._lock:
                        self._seen.pop(key, None)
                    mine.cancel()
        return known.result()


def _picture(name: str) -> Any:
    try:
        return open_image(name, max_side=_SIDE)
    except BadImageError as error:
        raise VerifierFault(str(error)) from error
    except ModuleNotFoundError as error:
        raise VerifierFault(
            "looking at images needs the package pillow: pip install 'halo-forge[vision]'"
        ) from error
