"""`halo-forge vlm datasets` and `vlm scenes`, as a user calls them."""

from __future__ import annotations

import json

import pytest

from halo_forge.cli import main
from halo_forge.data.prompts import load_prompts
from tests.needs import package


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
    package("PIL")
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


def test_answers_about_images_are_judged(tmp_path, capsys):
    """A samples file with truths needs no --verifier; images are seen from its folder."""
    (tmp_path / "p.png").write_bytes(b"not looked at without a claim")
    line = {"prompt": "Which animal?", "image": "p.png", "ground_truth": "cat"}
    samples = [line | {"completion": said} for said in ("It is a cat.", "Thus it is a wombat.")]
    path = tmp_path / "samples.jsonl"
    path.write_text("\n".join(map(json.dumps, samples)))
    assert main(["verify", "run", str(path), "--json", "-q"]) == 1
    right, wrong = map(json.loads, capsys.readouterr().out.splitlines())
    assert (right["success"], right["metadata"]["answer"]) == (True, "It is a cat")
    assert (wrong["success"], wrong["reward"]) == (False, 0.0)
    path.write_text(json.dumps(samples[0] | {"image": "q.png"}))
    assert main(["verify", "run", str(path), "--json", "-q"]) == 2
    assert "there is no image" in capsys.readouterr().err


@pytest.mark.parametrize("preset", ["vqa", "docvqa", "chartqa"])
def test_the_verifier_is_audited(preset, capsys):
    """The audit takes the answers that fit the preset, and finds nothing."""
    option = ["--set", f"verifier.options.preset={preset}"]
    assert main(["verify", "audit", "--verifier", "vision", *option, "--json", "-q"]) == 0
    assert json.loads(capsys.readouterr().out)["judged"] > 30
