"""`halo-forge vlm datasets` and `vlm scenes`, as a user calls them."""

from __future__ import annotations

import json

import pytest

from halo_forge.cli import main
from halo_forge.data.prompts import load_prompts


def test_datasets_are_listed(capsys):
    """Names, repositories and sizes, for people and for programs."""
    assert main(["vlm", "datasets"]) == 0
    shown = capsys.readouterr().out
    for word in ("textvqa", "lmms-lab/textvqa", "HuggingFaceM4/DocumentVQA", "xai-org/RealworldQA"):
        assert word in shown
    assert main(["vlm", "datasets", "--json"]) == 0
    listed = {one["name"]: one for one in json.loads(capsys.readouterr().out)}
    assert listed["chartqa"]["configs"] == {"default": {"train": 28299, "val": 1920, "test": 2500}}
    assert "mbpp" not in listed


def test_scenes_are_written(tmp_path, capsys):
    """A folder that `load_prompts` reads; the same call again writes nothing over it."""
    pytest.importorskip("PIL")
    call = ["vlm", "scenes", "-o", str(tmp_path / "s"), "--pictures", "3", "--size", "96",
            "--kinds", "chart,counting", "--json"]  # fmt: skip
    assert main(call) == 0
    document = json.loads(capsys.readouterr().out)
    prompts = load_prompts(document["prompts"])
    assert len(prompts) == document["questions"]
    assert {one.category for one in prompts} == {"chart", "counting"}
    assert main(call) == 2
    assert "there already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "--output is missing"),
        (["--kinds", "maps"], "kinds"),
        (["--size", "9"], "size"),
        (["--hardest", "6"], "hardest"),
    ],
)
def test_bad_wishes_are_refused(tmp_path, capsys, arguments, said):
    """A kind or size that there is not, and a missing folder: one clear error, nothing written."""
    output = ["-o", str(tmp_path / "s")] if arguments else []
    assert main(["vlm", "scenes", *output, *arguments]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "s").exists()
