"""Text in images, read by Tesseract in the sandbox."""

from __future__ import annotations

import io
import shutil
from typing import TYPE_CHECKING

from halo_forge.core.errors import VerifierFault
from halo_forge.rlvr.verifiers.vision.perception import Reader
from halo_forge.rlvr.verifiers.workbench import Budget, SandboxOpener, Workbench
from halo_forge.sandbox import Job, Limits, Sandbox, Step
from halo_forge.utils.typing import override

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["READERS", "TesseractReader"]

READERS = ("tesseract",)
"""Names of what reads text; a verifier takes a `Reader` of one's own as well."""

_SECONDS = 30.0
_MEMORY = 1024
_SMALL = 32
_PAGE_MODE = "11"
"""Sparse text in no order: signs and labels are no pages of print."""


class TesseractReader(Reader):
    """Reads English text by the program ``tesseract`` (Apache-2.0), which runs in the sandbox.

    Args:
        sandbox: Sandbox to use, which stays open, or what opens one; the best there is when absent.
        workers: Images read at one time.

    Raises:
        VerifierFault: If ``tesseract`` is not on PATH.
    """

    def __init__(self, sandbox: Sandbox | SandboxOpener | None = None, workers: int = 1) -> None:
        program = shutil.which("tesseract")
        if program is None:
            raise VerifierFault(
                "OCR needs the program tesseract, which is not on PATH: apt install tesseract-ocr"
            )
        self._argv = (program, "image.png", "stdout", "--psm", _PAGE_MODE)
        self._bench = Workbench(sandbox, workers, Budget(_SECONDS, _SECONDS, _MEMORY))
        self.name = "tesseract"

    @override
    def read(self, image: Image) -> str:
        """Return the text in an RGB image; letters are made as large as Tesseract likes them."""
        if min(image.size) < _SMALL:
            return ""
        packed = io.BytesIO()
        image.save(packed, "PNG")
        limits = Limits(cpu=_SECONDS, memory=_MEMORY << 20)
        step = Step(self._argv, limits=limits)
        (outcome,) = self._bench.run(Job({"image.png": packed.getvalue()}, None, (step,))).runs
        if not outcome.ok:
            said = outcome.stderr.decode("utf-8", "replace").strip()[:200]
            raise VerifierFault(f"tesseract ended with {outcome.status}: {said}")
        return outcome.stdout.decode("utf-8", "replace")

    @override
    def close(self) -> None:
        """Close the sandbox, if it is an own one; the reader may be used again."""
        self._bench.close()
