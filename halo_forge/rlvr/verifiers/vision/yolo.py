"""YOLO models on ONNX Runtime: objects of the 80 COCO classes, on a CPU, without torch.

YOLOX: Ge et al. 2021, arXiv:2107.08430; models and code by Megvii under Apache-2.0. The exported
models (``yolox_nano.onnx``, 3.7 MB) are assets of the release 0.1.1rc0 of the repository
Megvii-BaseDetection/YOLOX.

YOLOv8, and later models whose output has its form: by Ultralytics under AGPL-3.0. Their own files
are pickles, which run code when they are opened; ``yolo export model=yolov8n.pt format=onnx``,
where you trust such a file, makes one that is data.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from halo_forge.core.errors import VerifierFault
from halo_forge.rlvr.verifiers.vision.coco import CLASSES
from halo_forge.rlvr.verifiers.vision.perception import Detection, Detector
from halo_forge.utils.typing import override

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["UltralyticsHead", "YoloDetector", "YoloxHead"]

_GREY = 114
_STRIDES = (8, 16, 32)
_TRACE = 0.1
_OVERLAP = 0.45
_MOST = 300


class _Head(Protocol):
    """What a family of models wants to be given, and what its numbers mean.

    Attributes:
        name: Of the family.
    """

    name: str

    def prepared(self, pixels: Any) -> Any:
        """Return what the model is given for RGB values in [0, 255], [size, size, 3]."""

    def decoded(self, raw: Any) -> tuple[Any, Any, Any]:
        """Return centres and sides in pixels, [n, 2], and scores, [n, classes]."""


class YoloxHead:
    """YOLOX: blue first, in [0, 255]; offsets within the cells of three grids, [n, 85].

    Args:
        size: Side of the image in pixels.
    """

    name = "yolox"

    def __init__(self, size: int) -> None:
        self._cells, self._strides = _cells(size)

    def prepared(self, pixels: Any) -> Any:
        """Return the pixels with blue first."""
        return pixels[:, :, ::-1]

    def decoded(self, raw: Any) -> tuple[Any, Any, Any]:
        """Decode the grid: a centre is (offset + cell) * stride, a side exp(value) * stride."""
        centres = (raw[:, :2] + self._cells) * self._strides
        sides = np.exp(np.minimum(raw[:, 2:4], 20)) * self._strides
        return centres, sides, raw[:, 4:5] * raw[:, 5:]


class UltralyticsHead:
    """YOLOv8: red first, in [0, 1]; boxes in pixels, [84, n]."""

    name = "yolov8"

    def prepared(self, pixels: Any) -> Any:
        """Return the pixels as shares of white."""
        return pixels / 255

    def decoded(self, raw: Any) -> tuple[Any, Any, Any]:
        """Return the columns of each box: centre, sides, and a probability for each class."""
        return raw[:2].T, raw[2:4].T, raw[4:].T


class YoloDetector(Detector):
    """Finds objects with an exported model; which family it is of shows in its shape.

    The file is data, not code: ONNX Runtime computes a graph of its own operators.

    Args:
        weights: The ``.onnx`` file, with one input [1, 3, size, size] and one output:
            [1, anchors, 85] of YOLOX, or [1, 84, anchors] of YOLOv8.

    Raises:
        VerifierFault: If the file or ONNX Runtime is missing, or it is another model.
    """

    def __init__(self, weights: str | Path) -> None:
        path = Path(weights).expanduser()
        try:
            import onnxruntime
        except ModuleNotFoundError as error:
            raise VerifierFault(
                "the detector needs the package onnxruntime, which is not installed: "
                "pip install 'halo-forge[vision]'"
            ) from error
        if not path.is_file():
            raise VerifierFault(f"the detector's weights {path} are not there")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # verifiers run in threads of their own
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
            (one,), (out,) = self._session.get_inputs(), self._session.get_outputs()
        except _errors() as error:
            raise VerifierFault(f"{path} is no model that can be used: {error}") from error
        head = _head_for(one.shape, out.shape)
        if head is None:
            raise VerifierFault(
                f"{path} is no YOLOX or YOLOv8 with the {len(CLASSES)} classes of COCO and a fixed "
                f"size of image: it turns {one.shape} into {out.shape}"
            )
        self._head: _Head = head
        self._input, self._size = one.name, int(one.shape[-1])
        self.name = f"{head.name} {hashlib.sha256(path.read_bytes()).hexdigest()[:12]}"
        self.classes = frozenset(CLASSES)

    @override
    def detect(self, image: Image) -> list[Detection]:
        """Return what is in an RGB image, traces of confidence 0.1 included."""
        scale = min(self._size / image.width, self._size / image.height)
        small = image.resize(
            (max(1, int(image.width * scale)), max(1, int(image.height * scale))), 2
        )
        padded = np.full((self._size, self._size, 3), _GREY, np.float32)
        padded[: small.height, : small.width] = np.asarray(small)
        given = np.ascontiguousarray(self._head.prepared(padded).transpose(2, 0, 1)[None])
        try:
            (raw,) = self._session.run(None, {self._input: given})
        except _errors() as error:
            raise VerifierFault(f"the detector broke: {error}") from error
        found = self._head.decoded(raw[0])
        return _kept(*found, whole=scale * np.array([image.width, image.height] * 2))


def _head_for(given: Any, got: Any) -> _Head | None:
    """Return what reads a model that makes ``got`` of ``given``; None where nothing does."""
    size = given[-1] if given else None
    if not isinstance(size, int) or given != [1, 3, size, size] or len(got) != 3 or got[0] != 1:
        return None
    anchors = sum((size // stride) ** 2 for stride in _STRIDES)
    if got[1:] == [anchors, 5 + len(CLASSES)]:
        return YoloxHead(size)
    return UltralyticsHead() if got[1:] == [4 + len(CLASSES), anchors] else None


def _kept(centres: Any, sides: Any, scores: Any, *, whole: Any) -> list[Detection]:
    """Keep the best class of each box, and drop what overlaps a better one of its class."""
    best = scores.argmax(1)
    confidence = scores[np.arange(len(best)), best]
    boxes = np.concatenate([centres - sides / 2, centres + sides / 2], 1)
    order = np.argsort(-confidence, kind="stable")
    order = order[confidence[order] >= _TRACE][:_MOST]
    found: list[Detection] = []
    while len(order):
        first, rest = order[0], order[1:]
        shares = np.clip(boxes[first] / whole, 0, 1).tolist()
        found.append(Detection(CLASSES[best[first]], float(confidence[first]), tuple(shares)))
        same = best[rest] == best[first]
        order = rest[~(same & (_overlap(boxes[first], boxes[rest]) > _OVERLAP))]
    return found


def _errors() -> tuple[type[Exception], ...]:
    """Return what ONNX Runtime raises; its errors have no base of their own."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    known = (one for one in vars(state).values() if isinstance(one, type))
    return (
        RuntimeError,
        ValueError,
        TypeError,
        *(one for one in known if issubclass(one, Exception)),
    )


def _cells(size: int) -> tuple[Any, Any]:
    """Return for each anchor its cell (column, row) and its stride."""
    cells, strides = [], []
    for stride in _STRIDES:
        side = size // stride
        rows, columns = np.mgrid[:side, :side]
        cells.append(np.stack([columns, rows], -1).reshape(-1, 2))
        strides.append(np.full((side * side, 1), stride))
    return np.concatenate(cells), np.concatenate(strides)


def _overlap(box: Any, others: Any) -> Any:
    """Return intersection over union of a box with others."""
    low = np.maximum(box[:2], others[:, :2])
    high = np.minimum(box[2:], others[:, 2:])
    common = np.clip(high - low, 0, None).prod(1)
    areas = (others[:, 2:] - others[:, :2]).prod(1)
    return common / ((box[2:] - box[:2]).prod() + areas - common + 1e-9)
