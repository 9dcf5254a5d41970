"""The 80 classes of COCO, and the words by which people call them.

Classes in the order of their indices (Lin et al. 2014, arXiv:1405.0312; the detection task's 80).
A word that may mean something else than its class (a "bat", a "mouse") is left out: it makes no
claim. Words for several classes ("animal") make none either.
"""

from __future__ import annotations

from types import MappingProxyType

__all__ = ["CLASSES", "NOUNS"]

CLASSES: tuple[str, ...] = (
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat",
    "traffic light", "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog",
    "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe", "backpack", "umbrella",
    "handbag", "tie", "suitcase", "frisbee", "skis", "snowboard", "sports ball", "kite",
    "baseball bat", "baseball glove", "skateboard", "surfboard", "tennis racket", "bottle",
    "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple", "sandwich", "orange",
    "broccoli", "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch", "potted plant",
    "bed", "dining table", "toilet", "tv", "laptop", "mouse", "remote", "keyboard", "cell phone",
    "microwave", "oven", "toaster", "sink", "refrigerator", "book", "clock", "vase", "scissors",
    "teddy bear", "hair drier", "toothbrush",
)  # fmt: skip
"""Class names by index."""

_OTHER_WORDS = {
    "person": "people man men woman women child children boy girl pedestrian human guy lady",
    "bicycle": "bike", "car": "automobile", "motorcycle": "motorbike",
    "airplane": "plane aeroplane aircraft", "truck": "lorry lorries", "boat": "ship",
    "cat": "kitten", "dog": "puppy puppies", "horse": "pony ponies", "sheep": "lamb",
    "cow": "cattle", "couch": "sofa couches", "bus": "buses", "bench": "benches",
    "tv": "television tvs", "cell phone": "phone cellphone smartphone telephone",
    "dining table": "table", "refrigerator": "fridge", "donut": "doughnut",
    "potted plant": "houseplant", "hair drier": "hairdryer", "knife": "knives",
    "sandwich": "sandwiches", "handbag": "purse", "skis": "ski", "scissors": "scissors",
}  # fmt: skip
_TWO_WORDS = {
    "mobile phone": "cell phone", "traffic signal": "traffic light", "hair dryer": "hair drier",
    "remote control": "remote", "coffee table": "dining table", "computer mouse": "mouse",
}  # fmt: skip
_AMBIGUOUS = frozenset({"orange", "mouse", "remote", "tie", "train", "clock", "bear"})
"""Class names that are other words too ("an orange car"): only their plural claims."""


def _nouns() -> dict[str, str]:
    nouns = {f"{name}s": name for name in CLASSES if name not in {"skis", "scissors", "sheep"}}
    nouns |= {name: name for name in CLASSES if name not in _AMBIGUOUS}
    for name, words in _OTHER_WORDS.items():
        nouns |= dict.fromkeys(words.split(), name)
        nouns |= {f"{word}s": name for word in words.split() if not word.endswith(("s", "e n"))}
    for words, name in _TWO_WORDS.items():
        nouns |= {words: name, f"{words}s": name}
    return nouns


NOUNS = MappingProxyType(_nouns())
"""Words, of one or two, singular and plural, and the class that they claim."""
