"""docs/PERFORMANCE.md is made from results, and what is typed into it by hand is found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tools.performance import main, page_is_current, performance

RESULT: dict[str, Any] = {
    "format": 1,
    "bench": "rollout",
    "command": "python bench/rollout.py --rounds 3",
    "commit": "abc1234",
    "date": "2026-11-28",
    "machine": {
        "cpu": {"model": "A processor", "cores": 2},
        "gpus": [],
        "memory": {"total": 2**34},
    },
    "libraries": {"torch": "2.13.0", "xllamacpp": None},
    "claims": [
        {
            "name": "ours over generate",
            "value": {"median": 3.2, "least": 2.9, "most": 3.4},
            "aim": 3,
            "roofline": {"median": 0.4, "least": 0.38, "most": 0.41},
            "limit": "rollout",
        },
        {"name": "planned over measured", "value": 1.3, "aim": [0.75, 1.25], "limit": "plan"},
        {"name": "only told", "value": {"median": 1, "least": 1, "most": 1}, "aim": None},
    ],
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tree with one result and its page."""
    (tmp_path / "docs/results").mkdir(parents=True)
    (tmp_path / "docs/results/rollout.json").write_text(json.dumps(RESULT), "utf-8")
    main(tmp_path)
    return tmp_path


def test_this_page_is_current(root: Path) -> None:
    """The repository's page is what its results make."""
    assert page_is_current(root) == []


def test_a_page_from_results(tree: Path) -> None:
    """Machine, command, ratio with spread, aim, roofline, limits and what was tried."""
    page = (tree / "docs/PERFORMANCE.md").read_text("utf-8")
    assert "python bench/rollout.py --rounds 3" in page
    assert "A processor, 2 cores, 16 GiB, no graphics card; torch 2.13.0. Commit abc1234" in page
    assert "| ours over generate | 3.20 (2.90 to 3.40) | 3 or more | yes | 40% (38%" in page
    assert "| planned over measured | 1.30 | 0.75 to 1.25 | no |  | plan |" in page
    assert "| only told | 1.00 |  |  |  |  |" in page
    assert "- **rollout**: A step reads all weights" in page
    assert "did not pay" in page


def test_what_is_typed_by_hand_is_found(tree: Path) -> None:
    """A page that results do not make, or none at all."""
    page = tree / "docs/PERFORMANCE.md"
    page.write_text(page.read_text("utf-8").replace("3.20", "4.20"), "utf-8")
    (violation,) = page_is_current(tree)
    assert violation.startswith("docs/PERFORMANCE.md:1: ")
    page.unlink()
    assert page_is_current(tree)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": 0}, "not a result"),
        ({"claims": [{"name": "x", "value": 1, "limit": "unknown"}]}, "no note 'unknown'"),
    ],
)
def test_a_result_without_what_is_needed(tree: Path, change: dict[str, Any], said: str) -> None:
    """It is named, with what to do."""
    path = tree / "docs/results/rollout.json"
    path.write_text(json.dumps(RESULT | change), "utf-8")
    with pytest.raises(ValueError, match=said):
        performance(tree)
    assert said in page_is_current(tree)[0]
