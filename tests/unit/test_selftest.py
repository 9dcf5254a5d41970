"""`halo-forge test`: what is well passes, and each kind of thing amiss fails its check."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from halo_forge import selftest
from halo_forge.cli import main
from halo_forge.core.errors import CheckFailed
from halo_forge.core.types import VerifyResult
from halo_forge.rlvr.verifiers.base import Verifier
from halo_forge.tracking.base import NullObserver

SMOKE = ["Import modules", "Compiler available", "Verifier logic"]
STANDARD = [*SMOKE, "Device available", "Model loading", "Code generation", "Code verification"]


class Lenient(Verifier):
    """Passes whatever it is given."""

    def verify(self, code: str) -> VerifyResult:
        return VerifyResult(True, 1.0)


def rates(mean: float, low: float = 0.0, high: float = 0.0) -> dict[str, Any]:
    """A held-out record with a rate, and a difference of that interval."""
    difference = {"mean": (low + high) / 2, "low": low, "high": high}
    return {"pass_rate": {"mean": mean}, "differences": {"pass_rate": {"difference": difference}}}


@pytest.mark.toolchain("g++")
def test_smoke_needs_no_torch() -> None:
    """Its output is the one that is documented, and nothing heavy is imported for it."""
    code = (
        "import sys; from halo_forge.cli import main; code = main(['test', '-l', 'smoke']); "
        "sys.exit(code or 9 * ('torch' in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    ruler = "=" * 60
    lines = done.stdout.splitlines()
    assert lines[:4] == [ruler, "halo-forge Smoke Test", ruler, ""]
    assert [re.sub(r"\d+\.\ds", "0.0s", one) for one in lines[4:7]] == [
        f"  [OK] {name} (0.0s)" for name in SMOKE
    ]
    assert lines[7:] == ["", ruler, "Test Results: 3/3 passed", ruler]


@pytest.mark.toolchain("g++")
def test_a_model_of_chance(tiny_model_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It loads and answers, but cannot be trained to help: all passes but the last."""
    assert main(["test", "-l", "full", "-m", str(tiny_model_dir), "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    checks = {one["name"]: one for one in document["checks"]}
    assert list(checks) == [*STANDARD, "Training helps"]
    assert [name for name, one in checks.items() if not one["ok"]] == ["Training helps"]
    assert "Nothing was trained" in checks["Training helps"]["found"]
    assert (document["passed"], document["total"]) == (7, 8)


@pytest.mark.toolchain("g++")
def test_what_fails_takes_with_it_what_needs_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A model that is not there fails its loading, and what comes after says so."""
    assert main(["test", "-m", str(tmp_path / "none")]) == 1
    shown = capsys.readouterr()
    assert "[FAIL] Model loading" in shown.out
    assert "not tried, since this failed: Model loading" in shown.out
    assert "Test Results: 4/7 passed" in shown.out
    assert "Model loading; Code generation; Code verification failed" in shown.err


def test_a_verifier_that_lets_everything_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is found out."""
    monkeypatch.setattr(selftest, "make_verifier", lambda settings: Lenient())
    found = selftest.run_checks("smoke", None, NullObserver(), lambda outcome: None)
    assert [one.name for one in found if not one.ok] == ["Verifier logic"]
    assert "a reward of 1, not 0.5" in found[2].found


def test_no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fix is that of the doctor."""
    monkeypatch.setattr(selftest, "driver_path", lambda tool: None)
    found = selftest.run_checks("smoke", None, NullObserver(), lambda outcome: None)
    assert not found[1].ok
    assert "sudo apt install g++" in found[1].found


@pytest.mark.parametrize(
    ("before", "after", "low", "high", "said"),
    [
        (0.3, 0.8, 0.2, 0.7, "0.30 -> 0.80, \\+0.45 \\[\\+0.20, \\+0.70\\]"),
        (0.96, 0.97, -0.1, 0.1, "no room to rise"),
    ],
)
def test_a_rise(before: float, after: float, low: float, high: float, said: str) -> None:
    """It counts when its whole interval is above nothing, or there was no room."""
    assert re.search(said, selftest.rise(rates(before), rates(after, low, high)))


@pytest.mark.parametrize(
    ("before", "after", "low", "high", "said"),
    [
        (0.3, 0.4, -0.1, 0.3, "beyond chance"),
        (0.5, 0.2, -0.5, -0.1, "beyond chance"),
        (0.98, 0.5, -0.6, -0.2, "made it worse"),
    ],
)
def test_no_rise(before: float, after: float, low: float, high: float, said: str) -> None:
    """Less than that, or a fall, fails."""
    with pytest.raises(CheckFailed, match=said):
        selftest.rise(rates(before), rates(after, low, high))


def test_the_splits_share_no_word() -> None:
    """What is measured was not trained on."""
    train, heldout = (
        {prompt.text for prompt in selftest.tiny_tasks(split)} for split in ("train", "heldout")
    )
    assert len(train) >= 16
    assert len(heldout) >= 8
    assert not train & heldout
