"""`halo-forge doctor`: facts judged, fixes said, constants measured on request."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from typing import Any

import pytest

from halo_forge.cli import main
from halo_forge.commands import _machine, doctor
from halo_forge.report.checks import check_machine
from halo_forge.rlvr.verifiers.toolchains import TOOLCHAINS

GIB = 2**30
FACTS: dict[str, Any] = {
    "hardware": {
        "memory": {"total": 24 * GIB, "available": 20 * GIB},
        "disk_free": 70 * GIB,
        "gpus": [],
    },
    "compilers": [{"name": "g++", "path": "/usr/bin/g++"}, {"name": "rustc", "path": None}],
    "sandbox": [
        {
            "backend": "namespaces",
            "works": True,
            "reason": "",
            "guarantees": {"network": {"level": "enforced"}, "files": {"level": "enforced"}},
        },
        {"backend": "bwrap", "works": False, "reason": "bwrap is not installed"},
    ],
}
TORCH = {"version": "2.13.0", "backend": "cpu", "threads": 2, "targets": [], "devices": []}
GPU = {"name": "RTX 3090", "vendor": "nvidia", "arch": None, "unified": False}


def changed(path: str, value: Any) -> dict[str, Any]:
    """The facts of a machine of which one thing is otherwise."""
    facts = copy.deepcopy(FACTS)
    *parts, last = path.split(".")
    here: Any = facts
    for part in parts:
        here = here[int(part) if part.isdigit() else part]
    here[last] = value
    return facts


def failed(facts: dict[str, Any], torch: dict[str, Any] | None = TORCH) -> dict[str, str]:
    """The checks that fail, with what is said to do."""
    return {one.name: one.fix for one in check_machine(facts, torch) if not one.ok}


def test_a_good_machine() -> None:
    """Nothing fails, and nothing is advised."""
    assert failed(FACTS) == {}
    assert all(one.fix == "" for one in check_machine(FACTS, TORCH))


@pytest.mark.parametrize(
    ("path", "value", "name", "advice"),
    [
        ("compilers", [{"name": "rustc", "path": "/bin/rustc"}], "compilers", "apt install g++"),
        ("sandbox.0.works", False, "sandbox", "docs/SECURITY.md"),
        ("sandbox.0.guarantees.files", {"level": "partial"}, "sandbox", "bwrap is not installed"),
        ("hardware.disk_free", GIB, "disk", "halo-forge plan"),
        ("hardware.memory", {"total": 4 * GIB, "available": GIB}, "memory", "Close other programs"),
        ("hardware.gpus", [GPU], "graphics card", "TORCH=system"),
    ],
)
def test_each_fault_is_found(path: str, value: Any, name: str, advice: str) -> None:
    """One thing amiss fails one check, which says how to mend it."""
    ((found, fix),) = failed(changed(path, value)).items()
    assert found == name
    assert advice in fix


def test_torch_and_the_card() -> None:
    """No torch fails; a card that torch sees is well."""
    assert set(failed(FACTS, None)) == {"torch"}
    seen = {**TORCH, "backend": "cuda", "devices": [GPU]}
    assert failed(changed("hardware.gpus", [GPU]), seen) == {}


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The machine replaced by facts."""
    facts = copy.deepcopy(FACTS)
    monkeypatch.setattr("halo_forge.commands._machine.machine_facts", lambda: facts)
    monkeypatch.setattr(doctor, "_torch_facts", lambda: TORCH)
    return facts


def test_exit_codes(machine: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    """0 when all is well, 1 with the fix when it is not."""
    assert main(["doctor"]) == 0
    assert "FAILED" not in capsys.readouterr().out
    machine["hardware"]["disk_free"] = GIB
    assert main(["doctor"]) == 1
    seen = capsys.readouterr()
    assert "FAILED" in seen.out
    assert "disk: 1.0 GiB free here, about 5 cycles of a 7B model. Free some" in seen.err


def test_as_json(machine: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    """Checks by name, and nothing measured that was not asked for."""
    machine["compilers"] = []
    assert main(["doctor", "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert [one["name"] for one in document["checks"] if not one["ok"]] == ["compilers"]
    assert document["bench"] == []


def test_bench(
    machine: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What is measured is printed."""
    from halo_forge.models import speed
    from halo_forge.models.constants import Constants
    from halo_forge.models.roofline import Rates

    found = [Constants.now("cpu", "float32", Rates(123e9, 9.8e9))]
    monkeypatch.setattr(speed, "bench_machine", lambda: found)
    assert main(["doctor", "--bench"]) == 0
    assert "cpu float32: products 123 GFLOP/s, reading 9.8 GB/s" in capsys.readouterr().out
    assert main(["doctor", "--bench", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["bench"][0]["rates"]["flops"] == 123e9


@pytest.mark.toolchain("g++")
def test_every_compiler_says_its_version(monkeypatch) -> None:
    """Each that is here has a version, also where one beside it cannot be started."""
    broken = replace(TOOLCHAINS["g++"], name="broken", version=("/no/such/program",))
    monkeypatch.setitem(TOOLCHAINS, "broken", broken)
    found = {one["name"]: one for one in _machine._compilers()}
    assert found["broken"]["version"] is None
    here = {name for name, one in found.items() if one["path"]} - {"broken"}
    assert "g++" in here
    assert all(found[name]["version"] for name in here)
    assert "cl" not in found  # it is on another machine
