"""docs/reference is made from the code, and what is typed into it by hand is found."""

from __future__ import annotations

from pathlib import Path

import pytest

from halo_forge.cli import main as command_line
from halo_forge.config.fields import fields_of
from halo_forge.config.load import CONFIG_TYPES
from tools import reference
from tools.docs_rules import leaves
from tools.messages import messages
from tools.reference import PAGES, main, reference_is_current


def test_these_pages_are_current(root: Path) -> None:
    """The repository's pages are what its code makes, whatever was called before."""
    assert command_line(["data", "prepare", "--list"]) == 0
    assert reference_is_current(root) == []


def test_every_command_and_every_key_is_there(root: Path) -> None:
    """Each command has its heading, each setting of each kind its row with default and range.

    What a study has in common with others is told there once.
    """
    commands = (root / "docs/reference/commands.md").read_text("utf-8")
    for name, _ in leaves():
        assert f"\n## {name}\n" in commands
    assert "| `--temperature FLOAT` | Sampling temperature;" in commands
    config = (root / "docs/reference/config.md").read_text("utf-8")
    for kind, model in CONFIG_TYPES.items():
        for key in fields_of(model):
            if kind == "study" and "." in key:
                continue
            assert f"| `{key}`" in config
    assert "| `training.lr_decay` | number, above 0, at most 1 | `0.85` |" in config
    assert "`max_new_tokens` for `generation.max_new_tokens`" in config


def test_what_is_typed_by_hand_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page that the code does not make, or none at all."""
    monkeypatch.setitem(reference.PAGES, "docs/reference/errors.md", lambda root: "none\n")
    assert len(reference_is_current(tmp_path)) == len(PAGES)
    main(tmp_path)
    assert reference_is_current(tmp_path) == []
    page = tmp_path / "docs/reference/config.md"
    page.write_text(page.read_text("utf-8").replace("`0.85`", "`0.9`"), "utf-8")
    (violation,) = reference_is_current(tmp_path)
    assert violation.startswith("docs/reference/config.md:1: ")


def test_a_new_message_appears(tmp_path: Path) -> None:
    """It stands under its exit code and room, with what only a run knows left open."""
    source = 'raise UserError(f"{name}: no such cow; there are " + ", ".join(cows))\n'
    source += 'raise StoreFault(_full())\ndef _full(): return "\\n".join(["no hay", "mow"])\n'
    (tmp_path / "halo_forge/barn").mkdir(parents=True)
    (tmp_path / "halo_forge/barn/cows.py").write_text(source, "utf-8")
    page = messages(tmp_path)
    told = page.index("**barn**\n\n- `{...}: no such cow; there are {...}`\n")
    assert page.endswith("**barn**\n\n- `no hay mow`\n")
    assert page.index("## Exit code 2") < told < page.index("## Exit code 1")
