"""The snippets of docs/howto run as they stand there, in the order of the page."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from ruamel.yaml import YAML

from halo_forge.config.verify import VerifyConfig
from halo_forge.rlvr.judges import make_verifier

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "new-verifier.md"
TOKENS = MarkdownIt().parse(PAGE.read_text("utf-8"))
MODULE, *SNIPPETS = [token for token in TOKENS if token.info == "python"]
(SETTINGS,) = [token.content for token in TOKENS if token.info == "yaml"]


@pytest.fixture(autouse=True)
def _module(tmp_path, monkeypatch) -> None:
    """Write the first snippet to the file that it names, where imports find it."""
    sys.modules.pop("my_verifiers", None)
    first = MODULE.content.splitlines()[0]
    (tmp_path / first.removeprefix("# file: ")).write_text(MODULE.content, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    yield
    sys.modules.pop("my_verifiers", None)


@pytest.mark.parametrize("snippet", SNIPPETS, ids=lambda token: f"line {token.map[0] + 1}")
def test_snippet(snippet) -> None:
    """The snippet runs, and what it asserts holds; tests that it defines pass."""
    names: dict = {"__name__": "docs"}
    exec(compile(snippet.content, str(PAGE), "exec"), names)
    for name, test in names.items():
        if name.startswith("test_"):
            for mark in test.pytestmark:
                for value in mark.args[1]:
                    test(**{mark.args[0]: value})


def test_settings() -> None:
    """The settings name the class, and the option reaches its constructor."""
    settings = VerifyConfig.model_validate(YAML(typ="safe").load(SETTINGS)).verifier
    assert make_verifier(settings).partial == 0.1


def test_there_are_snippets() -> None:
    """Something is tested at all."""
    assert len(SNIPPETS) >= 4
