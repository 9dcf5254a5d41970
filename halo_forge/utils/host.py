"""How a host is set up for computing on its graphics: kernel, drivers' parameters, environment.

Read from ``/proc``, ``/sys``, ``/dev`` and ``/etc`` below a root that tests replace by a recorded
tree. Nothing is judged here; `halo_forge.report.host_checks` does that. A container sees its
host's kernel, parameters and devices, but not its tuned profile.
"""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from halo_forge.utils.kernel_facts import ROOT, kernel_text

__all__ = ["AMD", "amd_cards", "host_facts"]

AMD = "0x1002"
"""PCI vendor of AMD, as sysfs writes it."""

_ENVIRONMENT = re.compile(
    r"(HSA|HIP|ROCR|ROCBLAS|HIPBLASLT|TORCH_ROCM|PYTORCH|CUDA|FLASH_ATTENTION|FLA|MIOPEN)_"
    r"(?!.*(KEY|TOKEN|SECRET|PASS))"
)
_OPTIONS = re.compile(r"(amdgpu|ttm|amdttm)\.|(amd_|intel_)?iommu$|transparent_hugepage$")
_CONTAINERS = (
    ("run/.toolboxenv", "toolbox"),
    ("run/.containerenv", "podman"),
    (".dockerenv", "docker"),
)


def host_facts(root: Path = ROOT, environ: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return what is set on this host as plain values; None stands for what it does not tell.

    Args:
        root: Where ``proc``, ``sys``, ``dev`` and ``etc`` lie.
        environ: Environment variables; those of this process when absent.
    """
    seen = os.environ if environ is None else environ
    cards = list(amd_cards(root))
    card = cards[0] if cards else root / "nowhere"
    ttm = root / "sys/module/ttm/parameters"
    pages = root / "sys/kernel/mm/transparent_hugepage/enabled"
    return {
        "kernel": kernel_text(root / "proc/sys/kernel/osrelease") or platform.release(),
        "options": dict(_options(kernel_text(root / "proc/cmdline"))),
        "container": next((name for file, name in _CONTAINERS if (root / file).exists()), None),
        "devices": dict(_devices(root)),
        "memory": _memory(kernel_text(root / "proc/meminfo")),
        "carve_out": _number(card / "mem_info_vram_total"),
        "mes_firmware": kernel_text(card / "fw_version/mes_fw_version") or None,
        "performance_level": kernel_text(card / "power_dpm_force_performance_level") or None,
        "pages_limit": _number(ttm / "pages_limit"),
        "page_pool_size": _number(ttm / "page_pool_size"),
        "huge_pages": _chosen(kernel_text(pages)),
        "compaction": _number(root / "proc/sys/vm/compaction_proactiveness"),
        "tuned": kernel_text(root / "etc/tuned/active_profile") or None,
        "invlpgb": " invlpgb" in kernel_text(root / "proc/cpuinfo"),
        "environment": {key: seen[key] for key in sorted(seen) if _ENVIRONMENT.match(key)},
    }


def amd_cards(root: Path) -> Iterator[Path]:
    """Yield the device folders of the AMD cards that the amdgpu driver lists."""
    for device in sorted((root / "sys/class/drm").glob("card[0-9]*/device")):
        if kernel_text(device / "vendor") == AMD:
            yield device


def _options(line: str) -> Iterator[tuple[str, str]]:
    """Yield what the kernel's command line says of graphics and memory, and nothing else of it."""
    for word in line.split():
        name, _, value = word.partition("=")
        if _OPTIONS.match(name):
            yield name, value


def _devices(root: Path) -> Iterator[tuple[str, bool]]:
    """Yield each compute device and whether this process may use it."""
    for pattern in ("kfd", "dri/renderD*", "nvidia[0-9]*"):
        for path in sorted((root / "dev").glob(pattern)):
            yield f"/{path.relative_to(root)}", os.access(path, os.R_OK | os.W_OK)


def _memory(text: str) -> int | None:
    """Return the bytes of the whole machine, whatever a container may use of them."""
    found = re.search(r"^MemTotal:\s+(\d+) kB", text, re.MULTILINE)
    return int(found.group(1)) * 1024 if found else None


def _number(path: Path) -> int | None:
    text = kernel_text(path)
    return int(text) if text.isdigit() else None


def _chosen(text: str) -> str | None:
    """Return the bracketed word of ``always [madvise] never``."""
    found = re.search(r"\[(\w+)\]", text)
    return found.group(1) if found else None
