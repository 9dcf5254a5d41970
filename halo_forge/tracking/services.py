"""trackio and wandb as mirrors of a run's figures; both have the same three calls."""

from __future__ import annotations

import importlib
import logging
import math
import sys
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any, ClassVar

from halo_forge.core.errors import UserError
from halo_forge.utils.typing import override

__all__ = ["TrackioTracker", "WandbTracker"]

_PROJECT = "halo-forge"
_log = logging.getLogger(__name__)


class _ServiceTracker:
    """Logs to the project `halo-forge`, under the name of the run directory.

    An attempt goes on with the service's run of the attempt before. Where the figures go, and with
    which account, is the service's own business: `wandb login` and ``WANDB_MODE``, ``TRACKIO_DIR``.
    Once it runs, its trouble is logged and never stops a run: `metrics.jsonl` has every figure.

    Args:
        path: Folder in the run directory for what the service keeps on this machine.

    Raises:
        UserError: If the package is not installed, or the service does not let us in.
    """

    MODULE: ClassVar[str]
    ERROR: ClassVar[tuple[str, str]]
    """Module and name of what the service raises."""

    def __init__(self, path: Path) -> None:
        try:
            self._service: Any = importlib.import_module(self.MODULE)
            module, name = self.ERROR
            own = getattr(importlib.import_module(module), name)
            self._troubles: tuple[type[Exception], ...] = (RuntimeError, ValueError, OSError, own)
        except ImportError as error:
            raise UserError(
                f"report_to: {self.MODULE} needs a package that is not installed ({error}). "
                f"Install it with: pip install 'halo-forge[{self.MODULE}]'"
            ) from error
        path.mkdir(parents=True, exist_ok=True)
        try:
            with redirect_stdout(sys.stderr):
                self._run = self._begin(path.absolute())
        except self._troubles as error:
            raise UserError(
                f"report_to: {self.MODULE}: {error}. Without it, metrics.jsonl has every figure "
                f"all the same: take {self.MODULE} out of report_to."
            ) from error

    def _begin(self, path: Path) -> Any:
        """Open or go on with the service's run."""
        raise NotImplementedError

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Send the figures of a step; what is no number is left out."""
        finite = {key: value for key, value in values.items() if math.isfinite(value)}
        with self._heard():
            self._run.log(finite, step=step)

    def close(self) -> None:
        """Send what is pending."""
        with self._heard():
            self._run.finish()

    @contextmanager
    def _heard(self) -> Iterator[None]:
        """Keep what the service prints off stdout, where results go, and log its trouble."""
        try:
            with redirect_stdout(sys.stderr):
                yield
        except self._troubles as error:
            _log.warning("%s: %s", self.MODULE, error)


def _own_id(path: Path) -> str:
    """Return what the run in ``path`` is called there: made once, and gone with the folder."""
    mark = path / "id"
    if not mark.exists():
        mark.write_text(uuid.uuid4().hex, encoding="utf-8")
    return mark.read_text("utf-8")


class TrackioTracker(_ServiceTracker):
    """trackio (https://github.com/gradio-app/trackio): a local database; see `trackio show`."""

    MODULE = "trackio"
    ERROR = ("trackio.exceptions", "TrackioAPIError")

    @override
    def _begin(self, path: Path) -> Any:
        name = f"{path.parent.name}-{_own_id(path)[:8]}"
        return self._service.init(project=_PROJECT, name=name, resume="allow")


class WandbTracker(_ServiceTracker):
    """Weights & Biases (https://docs.wandb.ai), by its own client."""

    MODULE = "wandb"
    ERROR = ("wandb.errors", "Error")

    @override
    def _begin(self, path: Path) -> Any:
        return self._service.init(
            project=_PROJECT,
            name=path.parent.name,
            id=_own_id(path),
            resume="allow",
            dir=str(path),
        )
