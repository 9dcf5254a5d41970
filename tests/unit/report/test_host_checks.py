"""The traps of known machines: each is found, by name, and nothing else is.

``tests/machines`` holds one file a machine, whose first line says where it comes from.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from halo_forge.report.checks import CHECKS, check_machine
from halo_forge.report.host_checks import HOST_CHECKS, Check
from halo_forge.utils import hardware, host
from tests.unit.commands.test_doctor import FACTS

CARD = "sys/class/drm/card1/device"
TTM = "sys/module/ttm/parameters"
Machine = Callable[..., dict[str, Check]]


@pytest.fixture
def checked(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Check a machine of the folder, of which some files are otherwise."""

    def check(name: str, changes: dict[str, str] | None = None) -> dict[str, Check]:
        text = (root / "tests" / "machines" / f"{name}.txt").read_text()
        parts = dict(part.split("\n", 1) for part in text.split("== ")[1:])
        parts |= changes or {}
        tree = tmp_path / name
        for path, content in parts.items():
            (tree / path).parent.mkdir(parents=True, exist_ok=True)
            (tree / path).write_text(content)
        monkeypatch.setattr(hardware, "ROOT", tree)
        monkeypatch.setattr(hardware, "_ask_nvidia", lambda: parts.get("nvidia-smi", ""))
        facts = copy.deepcopy(FACTS)
        facts["hardware"] = hardware.describe(tree, disk=tree)
        environ = json.loads(parts.get("environ.json", "{}"))
        facts["hardware"]["host"] = host.host_facts(tree, environ)
        facts["libraries"] = json.loads(parts.get("libraries.json", "{}"))
        facts["hardware"]["disk_free"] = 100 * 2**30
        found = check_machine(facts, json.loads(parts["torch.json"]))
        return {one.name: one for one in found}

    return check


def bad(checks: dict[str, Check]) -> dict[str, str]:
    return {name: one.word for name, one in checks.items() if one.word != "ok"}


def test_machines_that_are_well(checked: Machine) -> None:
    """Nothing to say; Strix Halo is asked everything, the others only what concerns them."""
    assert bad(strix := checked("strix_halo")) == {}
    assert strix.keys() == CHECKS.keys() | HOST_CHECKS.keys()
    assert bad(nvidia := checked("nvidia")) == {}
    assert nvidia.keys() == CHECKS.keys()
    assert bad(cpu := checked("cpu")) == {}
    assert cpu.keys() == CHECKS.keys() - {"torch kernels"}


def test_a_closed_container(checked: Machine) -> None:
    """Its memory limit counts, missing devices are its own fault, and pip's torch is told."""
    found = checked("container")
    failed = {name for name, word in bad(found).items() if word == "FAILED"}
    assert failed == {"memory", "graphics card", "torch kernels", "device access"}
    assert found["memory"].found == "2.0 of 16.0 GiB available"
    assert "keep-groups" in found["device access"].fix
    assert "take AMD's wheels" in found["graphics card"].fix
    assert "tuned" not in found
    assert found["mappable memory"].found.startswith("120 of 125 GiB")  # not of the container's


@pytest.mark.parametrize(
    ("name", "word", "file", "content", "advice"),
    [
        ("kernel", "FAILED", "proc/sys/kernel/osrelease", "6.14.0-37-generic", "6.18.4"),
        ("firmware", "FAILED", f"{CARD}/fw_version/mes_fw_version", "0x00000083", "20251111"),
        ("carve-out", "advice", f"{CARD}/mem_info_vram_total", f"{64 << 30}", "BIOS"),
        ("mappable memory", "advice", f"{TTM}/pages_limit", f"{16 << 18}", "=30670848"),
        ("mappable memory", "advice", f"{TTM}/pages_limit", f"{128 << 18}", "may freeze"),
        ("page pool", "advice", f"{TTM}/page_pool_size", "65536", "page_pool_size=31457280"),
        (
            "old options",
            "advice",
            "proc/cmdline",
            "amd_iommu=off amdgpu.gttsize=131072",
            "ttm.pages_limit",
        ),
        ("IOMMU", "advice", "proc/cmdline", "quiet", "amd_iommu=off"),
        ("tuned", "advice", "etc/tuned/active_profile", "balanced", "accelerator-performance"),
        ("huge pages", "advice", "proc/sys/vm/compaction_proactiveness", "0", "ttm_pool_alloc"),
        ("clock", "advice", f"{CARD}/power_dpm_force_performance_level", "low", "echo auto"),
        (
            "HSA_OVERRIDE_GFX_VERSION",
            "FAILED",
            "environ.json",
            '{"HSA_OVERRIDE_GFX_VERSION": "11.0.0"}',
            "unset",
        ),
        (
            "environment",
            "advice",
            "environ.json",
            '{"TORCH_ROCM_AOTRITON_ENABLE_EXPERIMENTAL": "0"}',
            "EXPERIMENTAL=1",
        ),
        ("bitsandbytes", "advice", "libraries.json", '{"bitsandbytes": "0.49.2"}', "0.50"),
    ],
)
def test_each_trap(
    checked: Machine, name: str, word: str, file: str, content: str, advice: str
) -> None:
    """One thing amiss is found by one check, which says how to mend it."""
    found = checked("strix_halo", {file: content})
    assert bad(found) == {name: word}
    assert advice in found[name].fix


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"version": "2.11.0+rocm7.2", "hip": "7.2.26"}, {"ROCm": "FAILED"}),
        (
            {"version": "2.11.0+rocm7.13.0", "hip": "7.13.1"},
            {"ROCm": "advice", "bitsandbytes": "advice"},
        ),
        ({"targets": ["gfx1100", "gfx1201"]}, {"torch kernels": "FAILED"}),
        (
            {"devices": [{"name": "AMD Radeon Graphics", "memory_total": 16 << 30}]},
            {"memory seen by torch": "advice"},
        ),
        ({"devices": []}, {"graphics card": "FAILED"}),
    ],
)
def test_each_trap_of_torch(
    checked: Machine, root: Path, changes: dict[str, Any], expected: dict[str, str]
) -> None:
    """A build for another card, another ROCm, or one that counts the carve-out alone."""
    text = (root / "tests/machines/strix_halo.txt").read_text()
    torch = json.loads(text.split("== torch.json\n")[1].split("\n")[0])
    assert bad(checked("strix_halo", {"torch.json": json.dumps(torch | changes)})) == expected


def test_an_old_card_of_nvidia(checked: Machine) -> None:
    """A torch without kernels for it fails, though it sees the card."""
    old = "NVIDIA GeForce GTX 1080, 6.1, 8192, 8000\n"
    assert bad(checked("nvidia", {"nvidia-smi": old})) == {"torch kernels": "FAILED"}
    new = "NVIDIA GeForce RTX 5090, 12.0, 32607, 32000\n"
    assert bad(checked("nvidia", {"nvidia-smi": new})) == {}


def test_devices_that_may_not_be_opened(checked: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Outside a container the cure is the group."""
    monkeypatch.setattr(host.os, "access", lambda path, mode: "kfd" not in str(path))
    found = checked("strix_halo")
    assert bad(found) == {"device access": "FAILED"}
    assert "usermod -aG render" in found["device access"].fix


def test_no_secrets_are_recorded() -> None:
    """Of the environment only what concerns graphics, and nothing that looks like a key."""
    environ = {"HSA_ENABLE_SDMA": "0", "OPENAI_API_KEY": "x", "CUDA_SECRET": "y", "HOME": "z"}
    assert host.host_facts(Path("nowhere"), environ)["environment"] == {"HSA_ENABLE_SDMA": "0"}


def test_every_machine_says_where_it_comes_from(root: Path) -> None:
    """Recorded, or made and not recorded."""
    for path in (root / "tests" / "machines").glob("*.txt"):
        first = path.read_text().partition("\n")[0]
        assert "recorded 20" in first or "not recorded" in first, path
