"""The image's recipe and every shell script are clean, and the build refuses what cannot work.

The image itself is built nowhere in these tests: that takes a network and a container engine.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.needs import lacking

SCRIPTS = ["toolbox/*.sh", "tools/*.sh", "examples/**/*.sh", ".ci/run"]


def tool(name: str) -> str:
    """The linter of the environment, which may be the base of this one."""
    folders = [
        Path(sys.executable).parent,
        *(Path(p).parents[2] / "bin" for p in sys.path if p.endswith("packages")),
    ]
    found = shutil.which(name, path=os.pathsep.join(map(str, folders)))
    if found is None:
        lacking(f"{name} is not installed: pip install --group lint")
    return found


def build(root: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {key: value for key, value in os.environ.items() if key not in {"INDEX", "ENGINE"}}
    return subprocess.run(
        ["bash", str(root / "toolbox" / "build.sh"), *arguments],
        env={**kept, "DRY": "1", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_recipe_is_clean(root: Path) -> None:
    """Hadolint finds nothing."""
    done = subprocess.run(
        [tool("hadolint"), "--no-color", str(root / "toolbox" / "Dockerfile")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_scripts_are_clean(root: Path) -> None:
    """Shellcheck finds nothing, and what has no first line of its own is for sh."""
    for path in [path for pattern in SCRIPTS for path in root.glob(pattern)]:
        sh = [] if path.read_text().startswith("#!") else ["--shell=sh"]
        done = subprocess.run(
            [tool("shellcheck"), "-x", "-P", "SCRIPTDIR", *sh, str(path)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stdout) == (0, ""), path


@pytest.mark.parametrize(
    ("variant", "index", "torch"),
    [
        ("gfx1151", "https://wheels.test/simple", r"torch\[device-gfx1151\]==2.13.0"),
        ("cuda", "", "torch==2.13.0"),
        ("cpu", "", "torch==2.13.0"),
    ],
)
def test_each_variant(root: Path, variant: str, index: str, torch: str) -> None:
    """The command has the variant's torch, the index, and the least ROCm where there is one."""
    done = build(root, variant, INDEX=index)
    assert done.returncode == 0, done.stderr
    for words in (f"TORCH={torch} ", f"INDEX={index} ", f"localhost/halo-forge:{variant} "):
        assert words in done.stdout
    assert ("LEAST_ROCM=7.14" in done.stdout) == (variant == "gfx1151")


def test_what_cannot_be_built(root: Path) -> None:
    """Without AMD's index there is no torch for gfx1151; an unknown variant is named."""
    assert "AMD's wheel index" in build(root).stderr
    done = build(root, "gfx942")
    assert (done.returncode, "unknown variant 'gfx942'" in done.stderr) == (1, True)


def test_versions_agree(root: Path) -> None:
    """The image's torch is the one that is tested."""
    pins = (root / "constraints.txt").read_text().splitlines()
    (torch,) = (line.removeprefix("torch==") for line in pins if line.startswith("torch=="))
    lines = (root / "toolbox" / "versions.env").read_text().splitlines()
    named = [line for line in lines if line.startswith("TORCH_")]
    assert len(named) == 3
    assert all(line.endswith(f"=={torch}") for line in named)


@pytest.mark.parametrize(
    ("hip", "least", "said"),
    [
        ("7.14.60850", "7.14", None),
        ("10.0.1", "7.14", None),
        (None, "", None),
        ("7.13.1", "7.14", "at least 7.14"),
        (None, "7.14", "not built for ROCm"),
        ("7.14.1", "", "is built for ROCm"),
    ],
)
def test_the_wrong_torch_stops_the_build(
    root: Path, monkeypatch: pytest.MonkeyPatch, hip: str | None, least: str, said: str | None
) -> None:
    """An index that has only an older ROCm, or none, is found while building."""
    import runpy
    from types import SimpleNamespace

    version = SimpleNamespace(hip=hip)
    torch = SimpleNamespace(version=version, __version__="2.13.0")
    monkeypatch.setitem(sys.modules, "torch", torch)
    check = runpy.run_path(str(root / "toolbox" / "check_torch.py"))["main"]
    found = check(least)
    assert found is None if said is None else said in found
