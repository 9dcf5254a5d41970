"""Known traps of graphics that share main memory (Strix Halo) and of torch's builds, as checks.

The facts behind each, with their sources, are in docs/howto/set-up.md. A check that does not
concern the machine at hand returns None and is not shown.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from halo_forge.config.profiles import PROFILES

__all__ = ["HOST_CHECKS", "Check"]

_GIBI = 2**30
_PAGE = 4096
_FOR_SYSTEM = 8 * _GIBI  # what graphics should leave to everything else
_CARVE_OUT = 2 * _GIBI
_KERNEL, _UBUNTU_KERNEL = (6, 18, 4), (6, 17)
_BAD_MES = 0x83
_FIRST_OWN_ROCM, _NATIVE_ROCM = (7, 9), (7, 14)
_BITSANDBYTES = (0, 50)
_BITSANDBYTES_ROCM = {(6, 4), (7, 0), (7, 1), (7, 2), (7, 14), (7, 15)}

_Facts = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Check:
    """One question to the machine.

    Attributes:
        name: What is looked at.
        ok: Whether one can work so.
        found: The answer.
        fix: What to do; empty when there is nothing to mend. With ``ok`` it is advice.
    """

    name: str
    ok: bool
    found: str
    fix: str = ""

    @property
    def word(self) -> str:
        """``ok``, ``advice`` or ``FAILED``."""
        if not self.ok:
            return "FAILED"
        return "advice" if self.fix else "ok"


def _advised(name: str, found: str, fix: str) -> Check:
    """Return a check that cannot fail, with advice unless ``fix`` is empty."""
    return Check(name, ok=True, found=found, fix=fix)


def _access(facts: _Facts, torch: _Facts | None) -> Check | None:
    del torch
    if not any(gpu["vendor"] == "amd" for gpu in facts["hardware"]["gpus"]):
        return None
    host = facts["hardware"]["host"]
    nodes = {name: may for name, may in host["devices"].items() if "nvidia" not in name}
    inside = host["container"] is not None
    fix = (
        "Start the container with --device /dev/kfd --device /dev/dri --group-add keep-groups "
        "(podman) or --group-add video --group-add render; see toolbox/TOOLBOX_SETUP.md."
        if inside
        else "sudo usermod -aG render,video $USER, then log in again."
    )
    if "/dev/kfd" not in nodes or len(nodes) == 1:
        return Check("device access", ok=False, found="no /dev/kfd or /dev/dri/renderD*", fix=fix)
    closed = [name for name, may in nodes.items() if not may]
    if closed:
        return Check("device access", ok=False, found=f"{', '.join(closed)}: no access", fix=fix)
    return Check("device access", ok=True, found=", ".join(nodes))


def _kernel(facts: _Facts, torch: _Facts | None) -> Check | None:
    del torch
    text, system = facts["hardware"]["host"]["kernel"], facts["hardware"]["os"]
    ok = _version(text) >= (_UBUNTU_KERNEL if "Ubuntu" in system else _KERNEL)
    fix = "Boot 6.18.4 or newer (Ubuntu: HWE 6.17): older ones hang at 100 % or fault in HSA."
    return Check("kernel", ok, text, "" if ok else fix)


def _firmware(facts: _Facts, torch: _Facts | None) -> Check | None:
    del torch
    text = facts["hardware"]["host"]["mes_firmware"]
    if text is None:
        return Check("firmware", ok=True, found="MES version not told by this kernel")
    ok = int(text, 16) & 0xFF != _BAD_MES
    fix = (
        "This is linux-firmware 20251125, which breaks ROCm: install 20251111 or 20260110 and "
        "newer, rebuild the initial ramdisk (Fedora: sudo dracut -f), reboot."
    )
    return Check("firmware", ok, f"MES {text}", "" if ok else fix)


def _carve_out(facts: _Facts, torch: _Facts | None) -> Check | None:
    del torch
    size = facts["hardware"]["host"]["carve_out"]
    if size is None:
        return None
    fix = "Set the UMA frame buffer to the smallest in the BIOS: what is carved out is lost to all."
    found = f"{size / _GIBI:.1f} GiB set aside for graphics"
    return _advised("carve-out", found, "" if size <= _CARVE_OUT else fix)


def _mappable(facts: _Facts, torch: _Facts | None) -> Check | None:
    del torch
    host = facts["hardware"]["host"]
    limit, total = host["pages_limit"], host["memory"]
    if limit is None or total is None:
        return None
    size, best = limit * _PAGE, (total - _FOR_SYSTEM) // _PAGE
    found = f"{size / _GIBI:.0f} of {total / _GIBI:.0f} GiB may be mapped (ttm.pages_limit)"
    set_it = f"Kernel option ttm.pages_limit={best}, which leaves 8 GiB to the system."
    if size > total - _FOR_SYSTEM // 2:
        return _advised("mappable memory", found, f"Too much: the system may freeze. {set_it}")
    return _advised("mappable memory", found, "" if limit >= 0.85 * best else set_it)


def _page_pool(facts: _Facts, torch: _Facts | None) -> Check | None:
    del torch
    host = facts["hardware"]["host"]
    pool, limit = host["page_pool_size"], host["pages_limit"]
    if pool is None or limit is None:
        return None
    fix = f"On a machine for this alone: ttm.page_pool_size={limit}, against fragmentation."
    found = f"{pool * _PAGE / _GIBI:.0f} GiB kept (ttm.page_pool_size)"
    return _advised("page pool", found, "" if pool >= 0.9 * limit else fix)


def _old_options(facts: _Facts, torch: _Facts | None) -> Check | None:
    del torch
    given = facts["hardware"]["host"]["options"]
    old = sorted({"amdgpu.gttsize", "amdgpu.gtt_size"} & given.keys())
    fix = "Take it off the kernel's command line: the driver reads ttm.pages_limit instead."
    return _advised("old options", ", ".join(old) or "none", fix if old else "")


def _iommu(facts: _Facts, torch: _Facts | None) -> Check | None:
    del torch
    given = facts["hardware"]["host"]["options"].get("amd_iommu")
    fix = "Kernel option amd_iommu=off is 5 to 12 % faster; not with virtual machines' devices."
    return _advised("IOMMU", given or "on", "" if given == "off" else fix)


def _tuned(facts: _Facts, torch: _Facts | None) -> Check | None:
    del torch
    host = facts["hardware"]["host"]
    if host["container"] is not None:
        return None  # the host's profile cannot be seen
    fix = "sudo tuned-adm profile accelerator-performance: 3 % bandwidth, 5 to 8 % prefill."
    wanted = host["tuned"] == "accelerator-performance"
    return _advised("tuned", host["tuned"] or "no profile", "" if wanted else fix)


def _huge_pages(facts: _Facts, torch: _Facts | None) -> Check | None:
    del torch
    host = facts["hardware"]["host"]
    found = f"huge pages {host['huge_pages']}, compaction_proactiveness {host['compaction']}"
    fix = "transparent_hugepage=always and vm.compaction_proactiveness=20, if ttm_pool_alloc fails."
    good = host["huge_pages"] == "always" and (host["compaction"] or 0) >= 20
    return _advised("huge pages", found, "" if good else fix)


def _clock(facts: _Facts, torch: _Facts | None) -> Check | None:
    del torch
    level = facts["hardware"]["host"]["performance_level"]
    if level is None:
        return None
    fix = "echo auto | sudo tee /sys/class/drm/card*/device/power_dpm_force_performance_level"
    return _advised("clock", f"performance level {level}", fix if level == "low" else "")


def _override(facts: _Facts, torch: _Facts | None) -> Check | None:
    del torch
    value = facts["hardware"]["host"]["environment"].get("HSA_OVERRIDE_GFX_VERSION")
    fix = "unset HSA_OVERRIDE_GFX_VERSION: with builds for gfx1151 it breaks kernels."
    return Check("HSA_OVERRIDE_GFX_VERSION", value is None, value or "not set", fix * bool(value))


def _environment(facts: _Facts, torch: _Facts | None) -> Check | None:
    del torch
    given = facts["hardware"]["host"]["environment"]
    wanted = PROFILES["strix-halo"].environment
    other = {key: given[key] for key in wanted if given.get(key, wanted[key]) != wanted[key]}
    fix = "The profile wants " + ", ".join(f"{key}={wanted[key]}" for key in other) + "."
    found = ", ".join(f"{key}={value}" for key, value in other.items()) or "the profile's"
    return _advised("environment", found, fix if other else "")


def _evaluation(facts: _Facts, torch: _Facts | None) -> Check | None:
    del torch
    if facts["hardware"]["host"]["invlpgb"]:
        return Check("address translation", ok=True, found="invlpgb")
    return Check(
        "address translation",
        ok=True,
        found="no invlpgb: stages run in processes of their own (hardware.stage_isolation)",
    )


def _rocm(facts: _Facts, torch: _Facts | None) -> Check | None:
    del facts
    if torch is None or torch["backend"] != "rocm":
        return None
    built = _version(str(torch["version"]).partition("+rocm")[2] or torch["hip"])[:2]
    found = f"torch {torch['version']} for ROCm {torch['hip']}"
    fix = "Install AMD's wheels for gfx1151 (ROCm 7.14 or newer), see docs/howto/set-up.md"
    if built < _FIRST_OWN_ROCM:
        return Check("ROCm", ok=False, found=found, fix=f"{fix}; generic ones lack kernels.")
    return _advised("ROCm", found, "" if built >= _NATIVE_ROCM else f"{fix}.")


def _seen_memory(facts: _Facts, torch: _Facts | None) -> Check | None:
    sizes = [gpu["memory_total"] for gpu in facts["hardware"]["gpus"] if gpu["unified"]]
    seen = [one["memory_total"] for one in torch["devices"]] if torch else []
    if not seen or not sizes or sizes[0] is None:
        return None
    found = f"torch sees {seen[0] / _GIBI:.0f} of {sizes[0] / _GIBI:.0f} GiB"
    fix = "It counts the carve-out alone; halo-forge plans with the kernel's figure. Newer ROCm."
    return _advised("memory seen by torch", found, fix if seen[0] < sizes[0] / 2 else "")


def _bitsandbytes(facts: _Facts, torch: _Facts | None) -> Check | None:
    text = facts["libraries"].get("bitsandbytes")
    if text is None or torch is None or torch["backend"] != "rocm":
        return None
    rocm = _version(torch["hip"])[:2]
    fix = ""
    if _version(text) < _BITSANDBYTES:
        fix = "0.50 or newer, if you want 4 bits at all: bfloat16 is faster here."
    elif rocm not in _BITSANDBYTES_ROCM:
        fix = (
            "Its wheel has no library for this ROCm: build it with -DCOMPUTE_BACKEND=hip "
            "-DBNB_ROCM_ARCH=gfx1151, if you want 4 bits at all."
        )
    return _advised("bitsandbytes", f"{text}, ROCm {'.'.join(map(str, rocm))}", fix)


def _version(text: str) -> tuple[int, ...]:
    """Return the leading numbers of a version: ``6.18.4-200.fc43`` is (6, 18, 4)."""
    found = re.match(r"\d+(\.\d+)*", text)
    return tuple(int(part) for part in found.group().split(".")) if found else ()


HOST_CHECKS: Mapping[str, Callable[[_Facts, _Facts | None], Check | None]] = MappingProxyType(
    {
        "device access": _access,
        "kernel": _kernel,
        "firmware": _firmware,
        "carve-out": _carve_out,
        "mappable memory": _mappable,
        "page pool": _page_pool,
        "old options": _old_options,
        "IOMMU": _iommu,
        "tuned": _tuned,
        "huge pages": _huge_pages,
        "clock": _clock,
        "HSA_OVERRIDE_GFX_VERSION": _override,
        "environment": _environment,
        "address translation": _evaluation,
        "ROCm": _rocm,
        "memory seen by torch": _seen_memory,
        "bitsandbytes": _bitsandbytes,
    }
)
"""Checks by name, in the order in which they are shown; all but the first concern graphics that
share main memory."""
