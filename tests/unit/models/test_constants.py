"""Measured constants are kept for this machine as it is, and for no other."""

import json

import pytest
import torch

from halo_forge.models import constants, speed
from halo_forge.models.constants import Constants, keep_constants, known_constants
from halo_forge.models.roofline import Rates

RATES = Rates(1e11, 1e10)


@pytest.fixture(autouse=True)
def _cache(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("HALO_FORGE_CACHE", str(tmp_path))


def test_kept_and_found(monkeypatch) -> None:
    """What is kept is found again, beside what is kept of another type."""
    first = Constants.now("cpu", "float32", RATES)
    second = Constants.now("cuda", "bfloat16", Rates(1e14, 3e12))
    keep_constants(first)
    keep_constants(second)
    assert known_constants() == {("cpu", "float32"): first, ("cuda", "bfloat16"): second}


def test_of_another_machine(monkeypatch) -> None:
    """With another torch, processor or number of threads nothing is known."""
    keep_constants(Constants.now("cpu", "float32", RATES))
    monkeypatch.setattr(constants, "_torch", lambda: "0.1")
    assert known_constants() == {}
    monkeypatch.undo()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"machine": 3}', '{"machine": "x"}'])
def test_damaged(text) -> None:
    """A file that cannot be read counts as none, and is replaced."""
    constants.constants_path().write_text(text)
    assert known_constants() == {}
    keep_constants(Constants.now("cpu", "float32", RATES))
    assert known_constants()["cpu", "float32"].rates == RATES


def test_measured_once(monkeypatch) -> None:
    """Rates are measured when they are not known, and again when that is asked for."""
    asked = []

    def measure(dtype, device):
        asked.append(dtype)
        return RATES

    monkeypatch.setattr(speed, "measure_rates", measure)
    for _ in range(2):
        assert speed.known_rates(torch.float32, torch.device("cpu")) == RATES
    assert asked == [torch.float32]
    found = speed.bench_machine("cpu")
    assert asked[1:] == [torch.float32] + [torch.bfloat16] * (len(found) - 1)
    kept = json.loads(constants.constants_path().read_text())["constants"]
    assert set(kept) == {f"cpu {one.dtype}" for one in found}


def test_rates_are_of_the_right_size() -> None:
    """A machine multiplies more than a million numbers a second and reads as many bytes."""
    found = speed.measure_rates(torch.float32, torch.device("cpu"))
    assert found.flops > 1e6
    assert found.reading > 1e6
