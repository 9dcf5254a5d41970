"""TensorBoard mirror of a run's figures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from halo_forge.core.errors import UserError

__all__ = ["TensorBoardTracker"]


class TensorBoardTracker:
    """Writes scalars for `tensorboard --logdir`.

    Args:
        path: Folder of the event files.

    Raises:
        UserError: If TensorBoard (or torch, whose writer is used) is not installed.
    """

    def __init__(self, path: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise UserError(
                f"report_to: tensorboard needs a package that is not installed ({error}). "
                "Install it with: pip install 'halo-forge[train]', or set report_to: []"
            ) from error
        self._writer = SummaryWriter(str(path))

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Add one point to the curve of each figure and write it out."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def close(self) -> None:
        """Close the event file."""
        self._writer.close()
