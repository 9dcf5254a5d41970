"""The shipped model of half a million weights answers about pictures by looking at them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from halo_forge.cli import main
from halo_forge.core.types import Prompt
from halo_forge.data import public_datasets
from halo_forge.data.prompts import write_prompts
from tests.needs import package

MODEL = Path(__file__).parents[2] / "assets" / "easy-vqa-model"
APART = 10


def rate(prompts: Sequence[Prompt], folder: Path, capsys: pytest.CaptureFixture[str]) -> float:
    """Return the share of right answers, each question asked once and answered greedily."""
    write_prompts(folder / "prompts.jsonl", prompts)
    told = ["--model", MODEL, "--prompts", folder / "prompts.jsonl", "-o", folder / "measured"]
    greedy = ["--samples", 1, "--k", 1, "--temperature", 0, "--max-new-tokens", 4]
    assert main(["vlm", "benchmark", *map(str, (*told, *greedy)), "-q", "--json"]) == 0
    return float(json.loads(capsys.readouterr().out)["pass_at_k"]["1"]["mean"])


def test_it_looks(tmp_path, capsys) -> None:
    """Held-out questions for a colour, and the same ones about grey pictures."""
    package("easy_vqa")
    from PIL import Image

    known = public_datasets.prompts("easy_vqa", split="test")
    asked = [prompt for prompt in known if "what" in prompt.text and "color" in prompt.text][
        ::APART
    ]
    blind = []
    for number, prompt in enumerate(asked):  # no grey twice: that would be one task asked twice
        path = tmp_path / f"{number}.png"
        Image.new("RGB", (64, 64), (100 + number, 100 + number, 100 + number)).save(path)
        blind.append(replace(prompt, images=(str(path),)))
    for name in ("seeing", "blind"):
        (tmp_path / name).mkdir()
    seeing = rate(asked, tmp_path / "seeing", capsys)
    assert seeing > 0.9
    assert rate(blind, tmp_path / "blind", capsys) < 0.3
