"""What this machine is, told by the kernel and, for NVIDIA's memory, by the driver's own tool.

Linux is read from ``/proc`` and ``/sys`` below a root that tests replace by a recorded tree;
elsewhere psutil answers for processor and memory. Limits of the control group count: in a
container the machine is what the container may use.
"""

from __future__ import annotations

import importlib
import platform
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]

from halo_forge.utils.host import amd_cards, host_facts
from halo_forge.utils.kernel_facts import ROOT, available_cores, kernel_text, memory_limits

__all__ = [
    "Cpu",
    "Gpu",
    "Hardware",
    "Memory",
    "card_targets",
    "cpu_has_bf16",
    "describe",
    "disk_free",
    "probe",
    "torch_facts",
]

_TOOL_SECONDS = 10
_BF16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}  # the last is Arm's name
# Graphics in the processor that share its memory, by compiler target: device names do not tell.
_SHARED_MEMORY = re.compile(r"gfx(90c|103[56]|1103|115[0-9a-f])")


@dataclass(frozen=True, slots=True)
class Cpu:
    """The processor.

    Attributes:
        model: Its name.
        cores: Cores this process may use, by affinity and control group.
        avx512: It has AVX-512.
        amx: It has matrix tiles.
        bf16: It computes in bfloat16 natively.
    """

    model: str
    cores: int
    avx512: bool
    amx: bool
    bf16: bool


@dataclass(frozen=True, slots=True)
class Memory:
    """Main memory in bytes, as this process may use it."""

    total: int
    available: int


@dataclass(frozen=True, slots=True)
class Gpu:
    """A graphics processor.

    Attributes:
        vendor: ``amd`` or ``nvidia``.
        name: Its name, as far as the driver tells one.
        arch: Compiler target, such as ``gfx1151``.
        memory_total: Bytes it can use; on unified memory what the driver may map of main memory.
        memory_free: Of these, free ones.
        unified: It shares main memory with the processor.
    """

    vendor: str
    name: str
    arch: str | None
    memory_total: int | None
    memory_free: int | None
    unified: bool


@dataclass(frozen=True, slots=True)
class Hardware:
    """The machine."""

    cpu: Cpu
    memory: Memory
    gpus: tuple[Gpu, ...]


def probe(root: Path = ROOT) -> Hardware:
    """Return what the machine is.

    Args:
        root: Where ``proc`` and ``sys`` lie.
    """
    memory = _memory(root)
    return Hardware(_cpu(root), memory, (*_amd(root, memory.total), *_nvidia(root)))


def card_targets(root: Path = ROOT) -> list[str | None]:
    """Return the compiler target of each card, or None where only its driver's tool knows it.

    Asks no tool, so that it costs next to nothing.
    """
    cards = len(list(amd_cards(root))) + len(list((root / "proc/driver/nvidia/gpus").glob("*")))
    known = sorted(_amd_targets(root).values())
    return [*known, *[None] * (cards - len(known))]


def cpu_has_bf16(root: Path = ROOT) -> bool:
    """Tell whether the processor computes in bfloat16 rather than emulating it."""
    return bool(_flags(root) & _BF16_FLAGS)


def describe(root: Path = ROOT, disk: Path | None = None) -> dict[str, Any]:
    """Return the machine, its system and the free disk space as plain values for ``run.json``.

    Args:
        root: Where ``proc`` and ``sys`` lie.
        disk: Folder on the disk in question; the working directory when absent.
    """
    return {
        **asdict(probe(root)),
        "disk_free": disk_free(disk or Path.cwd()),
        "os": _system(root),
        "host": host_facts(root),
        "python": platform.python_version(),
    }


def disk_free(path: Path) -> int:
    """Return the free bytes on the disk of ``path`` or of its nearest existing parent."""
    place = next(candidate for candidate in [path, *path.absolute().parents] if candidate.exists())
    return shutil.disk_usage(place).free


def torch_facts() -> dict[str, Any]:
    """Return what torch sees: its version, its backend and its devices. Imports torch."""
    # By name, so that this room stays light for everyone who does not call this.
    torch: Any = importlib.import_module("torch")
    devices = []
    for index in range(torch.cuda.device_count()):
        device = torch.cuda.get_device_properties(index)
        devices.append({"name": device.name, "memory_total": device.total_memory})
    backend = "rocm" if torch.version.hip else "cuda" if torch.version.cuda else "cpu"
    return {
        "version": torch.__version__,
        "backend": backend,
        "threads": torch.get_num_threads(),
        "hip": torch.version.hip,
        "targets": torch.cuda.get_arch_list(),
        "devices": devices,
    }


def _number(path: Path) -> int | None:
    text = kernel_text(path)
    return int(text) if text.isdigit() else None


def _fields(text: str, separator: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        key, found, value = line.partition(separator)
        if found:
            yield key.strip(), value.strip()


def _flags(root: Path) -> set[str]:
    """Return the processor's features, which x86 and Arm list under different names."""
    lines = _fields(kernel_text(root / "proc/cpuinfo"), ":")
    return set(next((value for key, value in lines if key in ("flags", "Features")), "").split())


def _cpu(root: Path) -> Cpu:
    lines = _fields(kernel_text(root / "proc/cpuinfo"), ":")
    names = (value for key, value in lines if key in ("model name", "Model", "cpu model"))
    flags = _flags(root)
    return Cpu(
        model=next(names, "") or platform.processor() or platform.machine(),
        cores=available_cores(root),
        avx512="avx512f" in flags,
        amx="amx_tile" in flags,
        bf16=bool(flags & _BF16_FLAGS),
    )


def _memory(root: Path) -> Memory:
    """Return the memory of the machine, cut down to the tightest control group around us."""
    kibibytes = {
        key: int(value.split()[0]) * 1024
        for key, value in _fields(kernel_text(root / "proc/meminfo"), ":")
        if value.endswith(" kB")
    }
    if "MemTotal" in kibibytes:
        total, available = kibibytes["MemTotal"], kibibytes.get("MemAvailable", 0)
    else:
        seen = psutil.virtual_memory()
        total, available = seen.total, seen.available
    for group, limit in memory_limits(root):
        total = min(total, limit)
        available = min(available, max(0, limit - _held(group)))
    return Memory(total, available)


def _held(group: Path) -> int:
    """Return the bytes a control group cannot give back: cached files it drops on demand."""
    used = _number(group / "memory.current") or _number(group / "memory.usage_in_bytes") or 0
    stat = dict(_fields(kernel_text(group / "memory.stat"), " "))
    return used - int(stat.get("total_inactive_file", stat.get("inactive_file", 0)))


def _amd(root: Path, memory_total: int) -> Iterator[Gpu]:
    """Yield the AMD cards that the amdgpu driver lists."""
    targets = _amd_targets(root)
    for device in amd_cards(root):
        nodes = [path.name for path in (device / "drm").glob("renderD*")]
        arch = next((targets[node] for node in nodes if node in targets), None)
        unified = arch is not None and _SHARED_MEMORY.fullmatch(arch) is not None
        pool = "gtt" if unified else "vram"
        total = _number(device / f"mem_info_{pool}_total")
        used = _number(device / f"mem_info_{pool}_used") or 0
        if unified and total is not None:
            # The driver may promise to map more than there is.
            total = min(total, memory_total)
        yield Gpu(
            vendor="amd",
            name=kernel_text(device / "product_name")
            or f"AMD {arch or kernel_text(device / 'device')}",
            arch=arch,
            memory_total=total,
            memory_free=None if total is None else max(0, total - used),
            unified=unified,
        )


def _amd_targets(root: Path) -> dict[str, str]:
    """Return the compiler target of each render node, from the compute driver's topology."""
    targets = {}
    for path in (root / "sys/class/kfd/kfd/topology/nodes").glob("*/properties"):
        facts = dict(_fields(kernel_text(path), " "))
        code = int(facts.get("gfx_target_version", "0"))
        if code:
            # 110501 stands for gfx1151, 90010 for gfx90a: the last two are hexadecimal digits.
            major, minor, step = code // 10000, code // 100 % 100, code % 100
            targets[f"renderD{facts.get('drm_render_minor')}"] = f"gfx{major}{minor:x}{step:x}"
    return targets


def _nvidia(root: Path) -> Iterator[Gpu]:
    """Yield the NVIDIA cards: as their tool tells, or failing that the names the driver lists."""
    told = list(_nvidia_rows(_ask_nvidia())) if root == ROOT else []
    yield from told
    if not told:
        for path in sorted((root / "proc/driver/nvidia/gpus").glob("*/information")):
            name = dict(_fields(kernel_text(path), ":")).get("Model", "NVIDIA")
            yield Gpu("nvidia", name, None, None, None, unified=False)


def _ask_nvidia() -> str:
    """Return what nvidia-smi prints, or nothing when it is absent or stuck."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return ""
    query = "--query-gpu=name,compute_cap,memory.total,memory.free"
    try:
        return subprocess.run(
            [tool, query, "--format=csv,noheader,nounits"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_TOOL_SECONDS,
            encoding="utf-8",
            errors="replace",
            check=False,
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""


def _nvidia_rows(text: str) -> Iterator[Gpu]:
    """Read lines such as ``NVIDIA H200, 9.0, 143771, 143160``; other lines are messages."""
    for line in text.splitlines():
        match line.rsplit(", ", 3):
            case [name, capability, total, free]:
                yield Gpu(
                    vendor="nvidia",
                    name=name,
                    arch="sm_" + capability.replace(".", ""),
                    memory_total=_mebibytes(total),
                    memory_free=_mebibytes(free),
                    # Boards that share the processor's memory report it as not available.
                    unified=not total.isdigit(),
                )
            case _:
                continue


def _mebibytes(text: str) -> int | None:
    return int(text) << 20 if text.isdigit() else None


def _system(root: Path) -> str:
    """Return the distribution's name on Linux, the platform's elsewhere."""
    lines = dict(_fields(kernel_text(root / "etc/os-release"), "="))
    return lines.get("PRETTY_NAME", "").strip('"') or platform.platform(terse=True)
