"""The documents make a site without a warning: every page has its place, every link a target."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.needs import lacking


@pytest.fixture(autouse=True)
def _sphinx() -> None:
    if importlib.util.find_spec("sphinx") is None:
        lacking("sphinx is not installed: make docs installs it")


def _build(source: Path, out: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", source, out]
    return subprocess.run(command, check=False, capture_output=True, text=True)


def test_no_warning(root: Path, tmp_path: Path) -> None:
    """`make docs` ends well, and what was generated is there."""
    done = _build(root / "docs", tmp_path / "site")
    assert done.returncode == 0, done.stderr
    assert "raft.num_cycles" in (tmp_path / "site/reference/config.html").read_text("utf-8")


@pytest.mark.parametrize(
    ("text", "said"),
    [("[b](c.md)\n", "c.md"), ("[b](#nowhere)\n", "nowhere"), ("No title.\n", "toctree")],
)
def test_a_flaw_ends_it(text: str, said: str, root: Path, tmp_path: Path) -> None:
    """A link that leads nowhere, and a page without a place, are named."""
    docs = tmp_path / "docs"
    docs.mkdir()
    shutil.copy(root / "docs/conf.py", docs)
    index = "# One\n" if said == "toctree" else "# One\n\n```{toctree}\na\n```\n"
    (docs / "index.md").write_text(index, encoding="utf-8")
    (docs / "a.md").write_text(f"# Two\n\n{text}", encoding="utf-8")
    done = _build(docs, tmp_path / "site")
    assert done.returncode != 0
    assert said in done.stderr
