"""The bench of a start: what it measures, and that it can say no."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any


def _run(root: Path, folder: Path, code: str = "") -> tuple[int, dict[str, Any]]:
    """Run the bench for one round, after ``code`` in the same interpreter."""
    file = folder / "startup.json"
    start = (
        f"import sys; sys.path.insert(0, {str(root / 'bench')!r}); "
        f"sys.argv = ['startup.py', '--rounds', '1', '--json', {str(file)!r}]; "
        f"import startup; {code or 'pass'}; sys.exit(startup.main())"
    )
    done = subprocess.run([sys.executable, "-c", start], cwd=root, check=False)
    return done.returncode, json.loads(file.read_text())["details"]


def test_figures(root: Path, tmp_path: Path) -> None:
    """Each way has its seconds, help is held against the aim, and the verifiers are light."""
    code, report = _run(root, tmp_path)
    nothing, help_, _ = (way["cpu_seconds"]["median"] for way in report["ways"].values())
    assert 0 < nothing < help_
    assert report["aim_cpu_seconds"] == 3 * nothing + 0.1
    assert report["heavy_in_verifiers"] == []
    assert code == (0 if help_ < report["aim_cpu_seconds"] else 1)


def test_heavy_library_is_found(root: Path, tmp_path: Path) -> None:
    """What the verifiers load and should not is named, and the bench says no."""
    code, report = _run(root, tmp_path, "startup._HEAVY = ('markdown_it', 'torch')")
    assert report["heavy_in_verifiers"] == ["markdown_it"]
    assert code == 1
