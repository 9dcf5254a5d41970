"""Loading without what third parties say to each other: progress bars and a deprecation."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from transformers.utils import logging as transformers_logging

__all__ = ["no_loading_reports", "no_progress_bars", "peft_warnings_ignored"]


@contextmanager
def no_progress_bars() -> Iterator[None]:
    """Switch the progress bars of transformers and the hub client off within the block."""
    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()  # type: ignore[no-untyped-call]


@contextmanager
def no_loading_reports() -> Iterator[None]:
    """Keep transformers' warnings about weights that a model has no place for to itself."""
    level = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)


@contextmanager
def peft_warnings_ignored() -> Iterator[None]:
    """Drop the deprecation that peft 0.21 sets off in transformers 5.23, which is not ours."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
        yield
