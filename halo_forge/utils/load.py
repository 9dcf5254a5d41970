"""How busy the machine is: processor by psutil, AMD's cards by sysfs, NVIDIA's by its library.

One reading costs well under a millisecond and starts no process. What a driver does not tell is
absent.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]

from halo_forge.utils.host import amd_cards
from halo_forge.utils.kernel_facts import ROOT, kernel_text

__all__ = ["GpuLoad", "Load", "Loads"]


@dataclass(frozen=True, slots=True)
class GpuLoad:
    """A graphics card at one moment.

    Attributes:
        name: ``card0`` for AMD's, ``nvidia0`` for NVIDIA's.
        busy_percent: Share of time in which it computed, 0 to 100.
        memory_used: Bytes in use; on AMD's its own and those mapped of main memory together.
        power_watts: What it draws.
        temperature_c: Degrees Celsius.
    """

    name: str
    busy_percent: float | None = None
    memory_used: int | None = None
    power_watts: float | None = None
    temperature_c: float | None = None


@dataclass(frozen=True, slots=True)
class Load:
    """The machine at one moment.

    Attributes:
        cpu_percent: Share of all cores' time that was used since the last reading, 0 to 100.
        memory_used: Bytes of main memory that are not available.
        process_memory: Resident bytes of this process.
        gpus: The cards.
    """

    cpu_percent: float
    memory_used: int
    process_memory: int
    gpus: tuple[GpuLoad, ...]


class Loads:
    """Reads the load, again and again.

    Args:
        root: Where ``sys`` lies.

    Attributes:
        nvidia: Whether NVIDIA's library is installed and answers.
    """

    def __init__(self, root: Path = ROOT) -> None:
        self._root = root
        self._process = psutil.Process()
        self._nvml = _nvml() if root == ROOT else None
        self.nvidia = self._nvml is not None
        self._before = psutil.cpu_times()

    def read(self) -> Load:
        """Return the load now."""
        memory = psutil.virtual_memory()
        return Load(
            cpu_percent=self._cpu_percent(),
            memory_used=memory.total - memory.available,
            process_memory=self._process.memory_info().rss,
            gpus=(*_amd(self._root), *_nvidia(self._nvml)),
        )

    def _cpu_percent(self) -> float:
        """Return the share that was used; psutil's own would begin anew in each thread."""
        now = psutil.cpu_times()
        spent = {name: getattr(now, name) - getattr(self._before, name) for name in now._fields}
        self._before = now
        total = sum(max(seconds, 0.0) for seconds in spent.values())
        idle = spent["idle"] + spent.get("iowait", 0.0)
        return round(100 * min(max(1 - idle / total, 0.0), 1.0), 1) if total > 0 else 0.0


def _amd(root: Path) -> Iterator[GpuLoad]:
    """Yield AMD's cards as the amdgpu driver tells (kernel: gpu/amdgpu/thermal, driver-misc)."""
    for device in amd_cards(root):
        sensors = sorted((device / "hwmon").glob("hwmon*"))
        pools = [_number(device / f"mem_info_{pool}_used") for pool in ("vram", "gtt")]
        known = [int(used) for used in pools if used is not None]
        watts = _first(sensors, "power1_average", "power1_input")
        degrees = _first(sensors, "temp1_input")
        yield GpuLoad(
            name=device.parent.name,
            busy_percent=_number(device / "gpu_busy_percent"),
            memory_used=sum(known) if known else None,
            power_watts=None if watts is None else watts / 1e6,
            temperature_c=None if degrees is None else degrees / 1e3,
        )


def _first(folders: list[Path], *names: str) -> float | None:
    found = (_number(folder / name) for folder in folders for name in names)
    return next((value for value in found if value is not None), None)


def _number(path: Path) -> float | None:
    text = kernel_text(path)
    return float(text) if text.lstrip("-").isdigit() else None


def _nvml() -> Any:
    """Return NVIDIA's library (package nvidia-ml-py) where it is installed and finds a driver."""
    try:
        library = importlib.import_module("pynvml")
    except ImportError:
        return None
    try:
        library.nvmlInit()
    except library.NVMLError:
        return None
    return library


def _nvidia(library: Any) -> Iterator[GpuLoad]:
    """Yield NVIDIA's cards; see the NVML API reference."""
    if library is None:
        return
    count = 0
    with suppress(library.NVMLError):  # a card that is lost is no reason to end
        count = library.nvmlDeviceGetCount()
    for index in range(count):
        told: dict[str, Any] = {}
        # A card may tell some of it and not the rest: boards with unified memory have no count.
        with suppress(library.NVMLError):
            card = library.nvmlDeviceGetHandleByIndex(index)
            with suppress(library.NVMLError):
                told["busy_percent"] = float(library.nvmlDeviceGetUtilizationRates(card).gpu)
            with suppress(library.NVMLError):
                told["memory_used"] = int(library.nvmlDeviceGetMemoryInfo(card).used)
            with suppress(library.NVMLError):
                told["power_watts"] = library.nvmlDeviceGetPowerUsage(card) / 1e3
            with suppress(library.NVMLError):
                kind = library.NVML_TEMPERATURE_GPU
                told["temperature_c"] = float(library.nvmlDeviceGetTemperature(card, kind))
        yield GpuLoad(f"nvidia{index}", **told)
