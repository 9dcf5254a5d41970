"""The machine as told by recorded kernel files."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from halo_forge.utils import hardware
from tests.needs import package

GIB = 1 << 30
X86 = "processor\t: 0\nmodel name\t: AMD EPYC 9B14\nflags\t\t: fpu avx2 avx512f avx512_bf16\n"
ARM = "processor\t: 0\nFeatures\t: fp asimd i8mm bf16\n"
MEMINFO = "MemTotal:       131072000 kB\nMemAvailable:   65536000 kB\nHugePages_Total:       0\n"


def write_tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def strix_halo(root: Path, *, gtt_gib: int, used_gib: int = 0) -> Path:
    """The files of a Ryzen AI Max+ 395, as its kernel shows them, the interesting lines of each."""
    node = "sys/class/kfd/kfd/topology/nodes"
    card = "sys/class/drm/card1/device"
    return write_tree(
        root,
        {
            "proc/cpuinfo": "model name\t: AMD RYZEN AI MAX+ 395 w/ Radeon 8060S\nflags\t: avx512f "
            "avx512_bf16\n",
            "proc/meminfo": MEMINFO,
            f"{node}/0/properties": "cpu_cores_count 32\nsimd_count 0\ngfx_target_version 0\n",
            f"{node}/1/properties": "simd_count 80\ngfx_target_version 110501\n"
            "drm_render_minor 128\n",
            f"{card}/vendor": "0x1002\n",
            f"{card}/device": "0x1586\n",
            f"{card}/mem_info_vram_total": f"{GIB // 2}\n",
            f"{card}/mem_info_gtt_total": f"{gtt_gib * GIB}\n",
            f"{card}/mem_info_gtt_used": f"{used_gib * GIB}\n",
            f"{card}/drm/renderD128/dev": "226:128\n",
            "sys/class/drm/card1-HDMI-A-1/status": "connected\n",
        },
    )


def test_x86_with_bfloat16(tmp_path: Path) -> None:
    """An EPYC's flags are read from its cpuinfo."""
    write_tree(tmp_path, {"proc/cpuinfo": X86, "proc/meminfo": MEMINFO})
    cpu = hardware.probe(tmp_path).cpu
    assert (cpu.model, cpu.avx512, cpu.amx, cpu.bf16) == ("AMD EPYC 9B14", True, False, True)


@pytest.mark.parametrize(
    ("cpuinfo", "expected"),
    [(X86, True), (ARM, True), ("flags : avx2 avx512f\n", False), ("flags: amx_bf16\n", True)],
)
def test_bfloat16_by_flags(tmp_path: Path, cpuinfo: str, expected: bool) -> None:
    """Native bfloat16 is told on x86 and Arm, and not taken for AVX-512 alone."""
    assert hardware.cpu_has_bf16(write_tree(tmp_path, {"proc/cpuinfo": cpuinfo})) is expected


def test_no_kernel_files_at_all(tmp_path: Path) -> None:
    """Without /proc and /sys psutil answers and nothing is claimed."""
    machine = hardware.probe(tmp_path)
    assert machine.memory.total > 0
    assert not machine.cpu.bf16
    assert machine.gpus == ()


def test_cores_follow_the_affinity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that is bound to three cores has three."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 2, 5}, raising=False)
    assert hardware.probe(tmp_path).cpu.cores == 3


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/cpu.max": "150000 100000\n"}, 2),
        ({"proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/a/cpu.max": "max 100000\n"}, 8),
        (
            {
                "proc/self/cgroup": "3:cpu,cpuacct:/a\n",
                "sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us": "50000\n",
                "sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us": "100000\n",
            },
            1,
        ),
        (
            {
                "proc/self/cgroup": "3:cpu:/a\n",
                "sys/fs/cgroup/cpu/a/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu/a/cpu.cfs_period_us": "100000\n",
            },
            8,
        ),
    ],
)
def test_cores_follow_the_control_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], cores: int
) -> None:
    """A CPU quota of either version, on the group or a parent, cuts the number of cores."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert hardware.probe(write_tree(tmp_path, files)).cpu.cores == cores


def test_memory_of_a_container(tmp_path: Path) -> None:
    """The tightest group counts, and cached files in it count as available."""
    write_tree(
        tmp_path,
        {
            "proc/meminfo": MEMINFO,
            "proc/self/cgroup": "0::/pod/box\n",
            "sys/fs/cgroup/pod/memory.max": f"{16 * GIB}\n",
            "sys/fs/cgroup/pod/memory.current": f"{10 * GIB}\n",
            "sys/fs/cgroup/pod/memory.stat": f"anon {6 * GIB}\ninactive_file {4 * GIB}\n",
            "sys/fs/cgroup/pod/box/memory.max": "max\n",
        },
    )
    memory = hardware.probe(tmp_path).memory
    assert (memory.total, memory.available) == (16 * GIB, 10 * GIB)


def test_memory_of_a_container_version_1(tmp_path: Path) -> None:
    """Control groups of version 1 are read as well; their "no limit" is a huge number."""
    group = "sys/fs/cgroup/memory/job"
    write_tree(
        tmp_path,
        {
            "proc/meminfo": MEMINFO,
            "proc/self/cgroup": "4:memory:/job\n",
            f"{group}/memory.limit_in_bytes": f"{8 * GIB}\n",
            f"{group}/memory.usage_in_bytes": f"{3 * GIB}\n",
            f"{group}/memory.stat": f"total_inactive_file {GIB}\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
        },
    )
    memory = hardware.probe(tmp_path).memory
    assert (memory.total, memory.available) == (8 * GIB, 6 * GIB)


def test_strix_halo_shares_main_memory(tmp_path: Path) -> None:
    """On unified memory the mappable pool counts, not the carve-out."""
    (gpu,) = hardware.probe(strix_halo(tmp_path, gtt_gib=96, used_gib=6)).gpus
    assert gpu == hardware.Gpu("amd", "AMD gfx1151", "gfx1151", 96 * GIB, 90 * GIB, unified=True)


def test_mappable_memory_never_exceeds_main_memory(tmp_path: Path) -> None:
    """A driver that promises 512 GiB on a machine of 125 GiB is not believed."""
    machine = hardware.probe(strix_halo(tmp_path, gtt_gib=512))
    assert machine.gpus[0].memory_total == machine.memory.total == 131072000 * 1024


def test_discrete_amd_card(tmp_path: Path) -> None:
    """A card of its own counts its own memory, and its target has hexadecimal digits."""
    card = "sys/class/drm/card0/device"
    write_tree(
        tmp_path,
        {
            "sys/class/kfd/kfd/topology/nodes/1/properties": "gfx_target_version 90010\n"
            "drm_render_minor 129\n",
            f"{card}/vendor": "0x1002\n",
            f"{card}/product_name": "AMD Instinct MI250X\n",
            f"{card}/mem_info_vram_total": f"{64 * GIB}\n",
            f"{card}/mem_info_vram_used": f"{GIB}\n",
            f"{card}/mem_info_gtt_total": f"{500 * GIB}\n",
            f"{card}/drm/renderD129/dev": "226:129\n",
        },
    )
    (gpu,) = hardware.probe(tmp_path).gpus
    assert gpu == hardware.Gpu(
        "amd", "AMD Instinct MI250X", "gfx90a", 64 * GIB, 63 * GIB, unified=False
    )


def test_display_adapters_of_others_are_not_gpus(tmp_path: Path) -> None:
    """A virtual display has a card folder, too."""
    write_tree(tmp_path, {"sys/class/drm/card0/device/vendor": "0x1af4\n"})
    assert hardware.probe(tmp_path).gpus == ()


def test_nvidia_without_its_tool(tmp_path: Path) -> None:
    """The driver's files give the name; the memory stays unknown."""
    write_tree(
        tmp_path,
        {"proc/driver/nvidia/gpus/0000:01:00.0/information": "Model: \t\t NVIDIA H200\nIRQ: 1\n"},
    )
    (gpu,) = hardware.probe(tmp_path).gpus
    assert gpu == hardware.Gpu("nvidia", "NVIDIA H200", None, None, None, unified=False)


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in is a shell script")
def test_nvidia_by_its_tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each line of nvidia-smi is a card; a message is none."""
    tool = tmp_path / "nvidia-smi"
    tool.write_text(
        "#!/bin/sh\necho 'NVIDIA H200, 9.0, 143771, 143160'\n"
        "echo 'NVIDIA GB10, 12.1, [N/A], [N/A]'\necho 'Failed to initialize NVML'\n"
    )
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    cards = [gpu for gpu in hardware.probe().gpus if gpu.vendor == "nvidia"]
    assert cards == [
        hardware.Gpu("nvidia", "NVIDIA H200", "sm_90", 143771 << 20, 143160 << 20, unified=False),
        hardware.Gpu("nvidia", "NVIDIA GB10", "sm_121", None, None, unified=True),
    ]


def test_describe_is_plain(tmp_path: Path) -> None:
    """What goes into run.json is JSON and names system, kernel, Python and disk."""
    import json

    write_tree(tmp_path, {"etc/os-release": 'NAME="Debian"\nPRETTY_NAME="Debian GNU/Linux 12"\n'})
    facts = hardware.describe(strix_halo(tmp_path, gtt_gib=96), disk=tmp_path / "not" / "yet")
    assert facts["os"] == "Debian GNU/Linux 12"
    assert facts["gpus"][0]["arch"] == "gfx1151"
    assert facts["disk_free"] > 0
    assert json.loads(json.dumps(facts))["cpu"]["bf16"] is True


def test_torch_facts() -> None:
    """What torch sees is asked of torch, and only then."""
    torch = package("torch")
    facts = hardware.torch_facts()
    assert facts["version"] == torch.__version__
    assert len(facts["devices"]) == torch.cuda.device_count()
