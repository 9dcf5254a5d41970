"""How busy the machine is, as told by recorded files and by a library that stands in."""

from __future__ import annotations

import sys
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType, SimpleNamespace

import psutil
import pytest

from halo_forge.utils.load import GpuLoad, Loads

MIB = 1 << 20


def _card(root: Path, name: str, vendor: str, **files: str) -> None:
    device = root / "sys/class/drm" / name / "device"
    sensors = device / "hwmon/hwmon3"
    sensors.mkdir(parents=True)
    (device / "vendor").write_text(vendor)
    for file, text in files.items():
        (sensors if file.startswith(("power", "temp")) else device).joinpath(file).write_text(text)


def test_amd_by_sysfs(tmp_path: Path) -> None:
    """Each card of amdgpu, with what its driver tells; others are passed over."""
    _card(
        tmp_path,
        "card1",
        "0x1002\n",
        gpu_busy_percent="97\n",
        mem_info_vram_used=f"{100 * MIB}\n",
        mem_info_gtt_used=f"{900 * MIB}\n",
        power1_average="85000000\n",
        temp1_input="61000\n",
    )
    _card(tmp_path, "card2", "0x1002\n", power1_input="4000000\n", gpu_busy_percent="N/A\n")
    _card(tmp_path, "card3", "0x8086\n")

    assert Loads(tmp_path).read().gpus == (
        GpuLoad("card1", 97.0, 1000 * MIB, 85.0, 61.0),
        GpuLoad("card2", power_watts=4.0),
    )


def test_processor_in_another_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The share is of the time since the last reading, whoever reads."""
    times = namedtuple("times", "user idle iowait")
    readings = iter([times(0.0, 0.0, 0.0), times(3.0, 5.0, 2.0), times(3.0, 5.0, 2.0)])
    monkeypatch.setattr(psutil, "cpu_times", lambda: next(readings))
    loads = Loads(tmp_path)
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(loads.read).result().cpu_percent == 30.0
    assert loads.read().cpu_percent == 0.0  # no time has passed


def test_processor_and_memory(tmp_path: Path) -> None:
    """Shares and bytes are of this machine; there is a first reading too."""
    load = Loads(tmp_path).read()
    assert 0 <= load.cpu_percent <= 100
    assert load.process_memory > 0
    assert load.memory_used > 0
    assert load.gpus == ()


class _Library(ModuleType):
    """A stand-in for pynvml with two cards, the second of which tells little."""

    NVMLError = type("NVMLError", (Exception,), {})
    NVML_TEMPERATURE_GPU = 0

    def __init__(self, driver: bool = True) -> None:
        super().__init__("pynvml")
        self._driver = driver

    def nvmlInit(self) -> None:  # noqa: N802 - its name there
        if not self._driver:
            raise self.NVMLError

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return 2

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802
        return index

    def nvmlDeviceGetUtilizationRates(self, card: int) -> SimpleNamespace:  # noqa: N802
        return SimpleNamespace(gpu=40 + card)

    def nvmlDeviceGetMemoryInfo(self, card: int) -> SimpleNamespace:  # noqa: N802
        if card:
            raise self.NVMLError
        return SimpleNamespace(used=7 * MIB)

    def nvmlDeviceGetPowerUsage(self, card: int) -> int:  # noqa: N802
        return 250_000

    def nvmlDeviceGetTemperature(self, card: int, kind: int) -> int:  # noqa: N802
        raise self.NVMLError


def test_nvidia_by_its_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a card does not tell is absent, and the rest is there."""
    monkeypatch.setitem(sys.modules, "pynvml", _Library())
    loads = Loads()
    assert loads.nvidia
    assert [card for card in loads.read().gpus if card.name.startswith("nvidia")] == [
        GpuLoad("nvidia0", 40.0, 7 * MIB, 250.0),
        GpuLoad("nvidia1", 41.0, None, 250.0),
    ]


@pytest.mark.parametrize("library", [None, _Library(driver=False)])
def test_without_driver_or_library(
    library: ModuleType | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No package, or no driver behind it: no cards, and no error."""
    monkeypatch.setitem(sys.modules, "pynvml", library)
    assert not Loads().nvidia
