"""The documents say what is: commands, links and trees are checked, and the checks bite."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from tools import docs_rules
from tools.source_rules import Rule

# rule, file to plant, its text, what the violation says
PLANTED = [
    ("commands", "README.md", "```sh\nhalo-forge dance\n```\n", "no command 'dance'"),
    ("commands", "docs/a.md", "Type `halo-forge data dance`.\n", "no command 'dance'"),
    ("commands", "docs/a.md", "```\n$ halo-forge data validate f --no\n```\n", "No such option"),
    ("commands", "docs/a.md", "```\nhalo-forge data validate \\\n--gold\n```", "file is missing"),
    ("commands", "configs/a.yaml", "# halo-forge dance --config configs/a.yaml\n", "no command"),
    ("links", "docs/a.md", "[b](b.md)\n", "b.md leads nowhere"),
    ("links", "docs/a.md", "# One\n[b](a.md#two)\n", "a.md#two leads nowhere"),
    ("two_commands", "README.md", "```bash\nmake demo\nmake\n```\n", "first shell block"),
    ("tree", "halo_forge/room/__init__.py", "", "the tree lacks room/"),
]  # fmt: skip
ALLOWED = [
    ("commands", "docs/a.md", "`halo-forge data validate` and `halo-forge --help`\n"),
    ("commands", "docs/a.md", "```python\nhalo-forge dance\n```\n"),
    ("links", "docs/a.md", "# One, two!\n[b](#one-two) [c](https://example.org) [d](../LICENSE)\n"),
]


def _plant(root: Path, file: str, text: str) -> None:
    for document in ("README.md", "docs/ARCHITECTURE.md", "LICENSE", file):
        (root / document).parent.mkdir(parents=True, exist_ok=True)
        (root / document).write_text(text if document == file else "", encoding="utf-8")


def _rule(name: str) -> Rule:
    return next(rule for rule in docs_rules.RULES if rule.__name__ == name)


@pytest.mark.parametrize("rule", docs_rules.RULES, ids=lambda rule: rule.__name__)
def test_documents_are_true(rule: Rule, root: Path) -> None:
    """The documents of the repository keep the rule."""
    assert rule(root) == []


@pytest.mark.parametrize(("name", "file", "text", "said"), PLANTED)
def test_violation_is_caught(name: str, file: str, text: str, said: str, tmp_path: Path) -> None:
    """A planted violation is named."""
    _plant(tmp_path, file, text)
    found = _rule(name)(tmp_path)
    assert found
    assert said in found[0]


@pytest.mark.parametrize(("name", "file", "text"), ALLOWED)
def test_what_is_allowed_passes(name: str, file: str, text: str, tmp_path: Path) -> None:
    """The rule does not forbid more than it says."""
    _plant(tmp_path, file, text)
    assert _rule(name)(tmp_path) == []


def test_help_example_is_caught(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command whose help shows what cannot be typed is named."""
    wrong = click.Command("wrong", help="Do it.\n\nExample:\n  halo-forge wrong --never")
    monkeypatch.setattr(docs_rules, "command_line", click.Group("root", commands=[wrong]))
    (violation,) = docs_rules.help_examples(root)
    assert violation.startswith("halo-forge wrong --help: halo-forge wrong --never: No such option")
