"""YOLOX on ONNX Runtime: objects of the 80 COCO classes, on a CPU, without torch.

Ge et al. 2021, arXiv:2107.08430; models and code by Megvii under Apache-2.0. The exported models
(``yolox_nano.onnx``, 3.7 MB) are assets of the release 0.1.1rc0 of Megvii-BaseDetection/YOLOX.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from halo_forge.core.errors import VerifierFault
from halo_forge.rlvr.verifiers.vision.coco import CLASSES
from halo_forge.rlvr.verifiers.vision.perception import Detection, Detector
from halo_forge.utils.typing import override

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["YoloxDetector"]

_GREY = 114
_STRIDES = (8, 16, 32)
_TRACE = 0.1
_OVERLAP = 0.45
_MOST = 300


class YoloxDetector(Detector):
    """Finds objects with an exported YOLOX model.

    The file is data, not code: ONNX Runtime computes a graph of its own operators.

    Args:
        weights: The ``.onnx`` file, with input ``images`` [1, 3, size, size] and output
            [1, anchors, 85].

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
            size = one.shape[-1]
            fits = one.shape == [1, 3, size, size] and out.shape[-1] == 5 + len(CLASSES)
        except _errors() as error:
            raise VerifierFault(f"{path} is no model that can be used: {error}") from error
        if not fits:
            raise VerifierFault(f"{path} is no YOLOX with the {len(CLASSES)} classes of COCO")
        self._input, self._size = one.name, int(size)
        self._cells = _cells(self._size)
        self.name = f"yolox {hashlib.sha256(path.read_bytes()).hexdigest()[:12]}"
        self.classes = frozenset(CLASSES)

    @override
    def detect(self, image: Image) -> list[Detection]:
        """Return what is in an RGB image, traces of confidence 0.1 included."""
        scale = min(self._size / image.width, self._size / image.height)
        small = image.resize(
            (max(1, int(image.width * scale)), max(1, int(image.height * scale))), 2
        )
        padded = np.full((self._size, self._size, 3), _GREY, np.float32)
        padded[: small.height, : small.width] = np.asarray(small)[:, :, ::-1]  # blue first
        try:
            (raw,) = self._session.run(None, {self._input: padded.transpose(2, 0, 1)[None]})
        except _errors() as error:
            raise VerifierFault(f"the detector broke: {error}") from error
        return self._found(raw[0], scale * np.array([image.width, image.height] * 2))

    def _found(self, raw: Any, whole: Any) -> list[Detection]:
        """Decode the grid, keep the best class of each cell, and drop what overlaps a better one.

        A centre is (offset + cell) * stride, a side exp(value) * stride.
        """
        cells, strides = self._cells
        centres = (raw[:, :2] + cells) * strides
        sides = np.exp(np.minimum(raw[:, 2:4], 20)) * strides
        scores = raw[:, 4:5] * raw[:, 5:]
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
