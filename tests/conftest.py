"""What all tests share: a tiny model, the marks, and a bound on threads."""

from __future__ import annotations

import functools
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.needs import lacking
from tests.tiny_model import save_tiny_model

# Set before anything imports torch or tokenizers. More threads than cores make tests slower, and so
# do threads that wait for each other awake while compilers want the cores; no test may ask a hub
# for anything.
os.environ.setdefault("OMP_NUM_THREADS", str(min(4, os.cpu_count() or 1)))
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return Path(__file__).parents[1]


@pytest.fixture(scope="session")
def tiny_model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A two-layer random Llama with a byte-level tokenizer, as a local model folder."""
    return save_tiny_model(tmp_path_factory.mktemp("tiny-model"))


@pytest.fixture(autouse=True)
def _same_threads_for_every_test() -> Iterator[None]:
    """Undo `torch.set_num_threads` after a test, without importing torch for those that don't."""
    torch = sys.modules.get("torch")
    before = torch.get_num_threads() if torch else None
    yield
    if torch is not None and before is not None and torch.get_num_threads() != before:
        torch.set_num_threads(before)


@functools.cache
def _why_no_builtin_model() -> str | None:
    """Fetch the built-in model once; return the reason when it cannot be had."""
    from halo_forge.core.errors import HaloForgeError
    from halo_forge.models.builtin import fetch

    try:
        fetch("smollm2-135m")
    except HaloForgeError as error:
        return str(error)
    return None


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip, with the reason, what this machine cannot run."""
    for mark in item.iter_markers("toolchain"):
        if shutil.which(mark.args[0]) is None:
            lacking(f"{mark.args[0]} is not installed")
    if item.get_closest_marker("model") and (reason := _why_no_builtin_model()):
        lacking(f"the built-in model cannot be had: {reason}")
