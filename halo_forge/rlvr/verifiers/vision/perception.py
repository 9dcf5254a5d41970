"""Claims against what a detector and OCR see: true, false, or not to be told.

A detector misses small things and sees some that are not there, so each claim has a band in
between where it is not judged. What has no detector, no class or no claim is not judged either.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from halo_forge.rlvr.verifiers.vision.answers import words_of
from halo_forge.rlvr.verifiers.vision.claims import CountClaim, PlaceClaim, TextClaim

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Detection", "Detector", "Perception", "Reader", "Scene", "perceive"]

_SURE, _LIKELY, _TRACE = 0.5, 0.3, 0.1
"""Confidences: surely there, probably there, not to be excluded."""
_APART = 0.05
"""Share of the image by which two centres must differ to lie beside each other."""


@dataclass(frozen=True, slots=True)
class Detection:
    """Something that was detected.

    Attributes:
        name: Class, as in `coco.CLASSES`.
        confidence: In [0, 1].
        box: Left, top, right, bottom, as shares of the image's width and height.
    """

    name: str
    confidence: float
    box: tuple[float, float, float, float]

    @property
    def centre(self) -> tuple[float, float]:
        """The middle of the box, from left and from above."""
        left, top, right, bottom = self.box
        return (left + right) / 2, (top + bottom) / 2


class Detector(ABC):
    """Finds objects of known classes; thread-safe.

    Attributes:
        name: What it is, for metadata and the fingerprint.
        classes: Names that it can give.
    """

    name: str
    classes: frozenset[str]

    @abstractmethod
    def detect(self, image: Image) -> list[Detection]:
        """Return what is in an RGB image, traces of confidence 0.1 included.

        Raises:
            VerifierFault: If the detector broke.
        """


class Reader(ABC):
    """Reads the text in images (OCR); thread-safe.

    Attributes:
        name: What it is, for metadata and the fingerprint.
    """

    name: str

    @abstractmethod
    def read(self, image: Image) -> str:
        """Return the text in an RGB image, line by line.

        Raises:
            VerifierFault: If the reader broke.
        """

    def close(self) -> None:
        """Free what it holds; it may be used again afterwards."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What was seen in an image.

    Attributes:
        detections: Objects; ``None`` without a detector.
        classes: Classes that the detector knows.
        text: What OCR read; ``None`` without OCR.
    """

    detections: tuple[Detection, ...] | None = None
    classes: frozenset[str] = frozenset()
    text: str | None = None


@dataclass(frozen=True, slots=True)
class Perception:
    """What became of the claims.

    Attributes:
        score: Share of true ones among those that could be judged; ``None`` without any.
        claims: Each claim in words, with ``true``, ``false`` or ``not judged``.
    """

    score: float | None
    claims: Mapping[str, str]

    def evidence(self) -> dict[str, Any]:
        """Return it for metadata."""
        return {"score": self.score, "claims": dict(self.claims)}


def perceive(claims: Sequence[CountClaim | PlaceClaim | TextClaim], scene: Scene) -> Perception:
    """Judge claims by a scene."""
    verdicts = {_told(claim): _holds(claim, scene) for claim in claims}
    judged = [one for one in verdicts.values() if one is not None]
    words = {None: "not judged", True: "true", False: "false"}
    score = sum(judged) / len(judged) if judged else None
    return Perception(score, {claim: words[one] for claim, one in verdicts.items()})


def _holds(claim: CountClaim | PlaceClaim | TextClaim, scene: Scene) -> bool | None:
    if isinstance(claim, TextClaim):
        return None if scene.text is None else _is_read(claim.text, scene.text)
    if scene.detections is None or claim.name not in scene.classes:
        return None
    if isinstance(claim, CountClaim):
        return _is_counted(claim, scene.detections)
    return _lies(claim, scene.detections)


def _is_read(wanted: str, text: str) -> bool | None:
    """Look for words in a row; OCR that read nothing at all tells nothing."""
    words, read = words_of(wanted), words_of(text)
    if not words or not read:
        return None
    size = len(words)
    return any(read[at : at + size] == words for at in range(len(read) - size + 1))


def _is_counted(claim: CountClaim, detections: Sequence[Detection]) -> bool | None:
    found = [one.confidence for one in detections if one.name == claim.name]
    surely = sum(one >= _SURE for one in found)
    probably = sum(one >= _LIKELY for one in found)
    at_most = sum(one >= _TRACE for one in found)
    if claim.count < 0:
        return True if probably else (None if at_most else False)
    if claim.count == probably and (claim.count or not at_most):
        return True
    return None if surely <= claim.count <= at_most else False


def _lies(claim: PlaceClaim, detections: Sequence[Detection]) -> bool | None:
    """Compare the centres of two things, if each is there once."""
    pair = []
    for name in (claim.name, claim.other):
        found = [one for one in detections if one.name == name and one.confidence >= _LIKELY]
        if len(found) != 1:
            return None
        pair.append(found[0].centre)
    (x, y), (other_x, other_y) = pair
    distance = {
        "left of": other_x - x, "right of": x - other_x, "above": other_y - y, "below": y - other_y,
    }[claim.relation]  # fmt: skip
    return None if abs(distance) < _APART else distance > 0


def _told(claim: CountClaim | PlaceClaim | TextClaim) -> str:
    if isinstance(claim, TextClaim):
        return f"reads {claim.text!r}"
    if isinstance(claim, PlaceClaim):
        return f"{claim.name} {claim.relation} {claim.other}"
    return f"{'some' if claim.count < 0 else claim.count} {claim.name}"
