"""The house rules hold in this tree, and each of them catches a planted violation."""

from __future__ import annotations

from pathlib import Path

import pytest

from halo_forge.core import registry
from halo_forge.data.items import PublicDataset
from tools import source_rules, tree_rules
from tools.source_rules import Rule

RULES = (*source_rules.RULES, *tree_rules.RULES)
_HOME = "/ho" + "me/ada/models"
_INDEX = "https://py" + "pi.org/simple"

# rule, file to plant, its text, what the violation says
PLANTED = [
    ("length", "halo_forge/long.py", "\n" * 401, "401 lines"),
    ("exports", "halo_forge/a.py", "def seen(): ...\n", "no __all__"),
    ("exports", "halo_forge/a.py", "__all__ = ['x']\nx = 1\ndef seen(): ...\n", "seen is public"),
    ("exports", "halo_forge/a.py", "__all__ = ['x', 'gone']\nx = 1\n", "names gone"),
    ("exports", "halo_forge/p/__init__.py", "from halo_forge.a import b\n", "no __all__"),
    ("flag_defaults", "halo_forge/commands/a.py", "x = click.option('--n', default=3)\n", ":1:"),
    ("flag_defaults", "halo_forge/commands/a.py", "x = click.option('--n', default=-1)\n", ":1:"),
    ("flag_defaults", "halo_forge/commands/a.py", "x = option('--n', default=['x'])\n", ":1:"),
    (
        "entry_points",
        "pyproject.toml",
        "[project.scripts]\na = 'halo_forge.no:main'\n",
        "no module",
    ),
    ("broad_excepts", "halo_forge/a.py", "try: ...\nexcept Exception: pass\n", ":2:"),
    ("broad_excepts", "halo_forge/a.py", "try: ...\nexcept (OSError, BaseException): x()\n", ":2:"),
    ("broad_excepts", "halo_forge/a.py", "try: ...\nexcept: pass\n", ":2:"),
    ("prints", "halo_forge/a.py", "print('x')\n", "print()"),
    ("prints", "halo_forge/a.py", "click.echo('x')\n", "click.echo()"),
    ("processes", "halo_forge/store/a.py", "def f():\n    import subprocess\n", ":2:"),
    ("processes", "halo_forge/a.py", "from subprocess import run\n", ":1:"),
    ("config_headers", "configs/a.yaml", "model: x\n", "does not open"),
    (
        "config_headers",
        "configs/a.yaml",
        "# halo-forge raft train --config b.yaml\n",
        "does not open",
    ),
    ("places", "docs/a.md", f"put it in {_HOME}\n", "a.md:1"),
    ("places", "Makefile", f"pip install -i {_INDEX}\n", "Makefile:1"),
]
ALLOWED = [
    ("exports", "halo_forge/a.py", "__all__ = ['command']\n@click.group()\ndef command(): ...\n"
     "@command.command('x')\ndef x(): ...\n"),
    ("exports", "halo_forge/p/__init__.py", '"""An empty package."""\n'),
    ("flag_defaults", "halo_forge/commands/a.py", "x = click.option('--n', default=None)\n"),
    ("flag_defaults", "halo_forge/commands/a.py", "x = click.option('--n', default=config.n)\n"),
    ("broad_excepts", "halo_forge/a.py", "try: ...\nexcept Exception:\n    undo()\n    raise\n"),
    ("broad_excepts", "halo_forge/cli.py", "try: ...\nexcept Exception: say()\n"),
    ("prints", "halo_forge/commands/a.py", "click.echo('x')\n"),
    ("processes", "halo_forge/sandbox/a.py", "import subprocess\n"),
    ("places", "docs/a.md", "run it in /tmp or ~/models\n"),
]  # fmt: skip


def _plant(root: Path, file: str, text: str) -> None:
    target = root / file
    target.parent.mkdir(parents=True, exist_ok=True)
    if file == "pyproject.toml":
        text = f"[project]\nname = 'x'\n{text}"
    target.write_text(text, encoding="utf-8")


def _rule(name: str) -> Rule:
    return next(rule for rule in RULES if rule.__name__ == name)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_tree_is_clean(rule: Rule, root: Path) -> None:
    """The repository keeps the rule."""
    assert rule(root) == []


@pytest.mark.parametrize(("name", "file", "text", "said"), PLANTED)
def test_violation_is_caught(name: str, file: str, text: str, said: str, tmp_path: Path) -> None:
    """A planted violation is named, with its place."""
    _plant(tmp_path, file, text)
    (violation,) = _rule(name)(tmp_path)
    assert file in violation
    assert said in violation


@pytest.mark.parametrize(("name", "file", "text"), ALLOWED)
def test_what_is_allowed_passes(name: str, file: str, text: str, tmp_path: Path) -> None:
    """The rule does not forbid more than it says."""
    _plant(tmp_path, file, text)
    assert _rule(name)(tmp_path) == []


def test_pins_catches_what_is_not_tested(tmp_path: Path) -> None:
    """A dependency without a tested version, and one with a version out of bounds, are named."""
    (tmp_path / "pyproject.toml").write_text(
        "[build-system]\nrequires = ['a>=1']\n"
        "[project]\ndependencies = ['b<2']\n[project.optional-dependencies]\nx = ['c']\n"
        "[dependency-groups]\ntest = ['a<3']\n"
    )
    (tmp_path / "constraints.txt").write_text("# why: c==9\na==1.5\nb==2.1\n")
    assert tree_rules.pins(tmp_path) == [
        "constraints.txt:1: b 2.1 is not b<2",
        "constraints.txt:1: c is not pinned",
    ]


def test_import_budget_catches_a_heavy_import(tmp_path: Path) -> None:
    """A light room that imports torch, and one that cannot be imported, are both named."""
    for module in tree_rules.LIGHT:
        parts = module.split(".")
        for depth in range(1, len(parts)):
            _plant(tmp_path, "/".join([*parts[:depth], "__init__.py"]), "")
        _plant(tmp_path, "/".join(parts) + ".py", "")
    _plant(tmp_path, "torch.py", "")
    assert tree_rules.import_budget(tmp_path) == []
    _plant(tmp_path, "halo_forge/store.py", "def f(): ...\nimport torch\n")
    _plant(tmp_path, "halo_forge/cli.py", "import halo_forge.gone\n")
    cli, store = tree_rules.import_budget(tmp_path)
    assert cli.startswith("halo_forge.cli: cannot be imported: ModuleNotFoundError")
    assert store == "halo_forge.store: importing it loads torch"


@pytest.mark.parametrize("group", registry.GROUPS)
def test_every_plug_in_loads(group: str) -> None:
    """What is registered can be imported."""
    for name in registry.names(group):
        found = registry.load(group, name)
        assert isinstance(found, PublicDataset) if group == "datasets" else callable(found)


@pytest.mark.parametrize("package", ["halo_forge", "halo_forge.rlvr", "halo_forge.sft"])
def test_lazy_packages_keep_their_promise(package: str) -> None:
    """Every name in `__all__` of a package that loads on demand can be had."""
    import importlib

    module = importlib.import_module(package)
    for name in getattr(module, "__all__", ()):
        assert getattr(module, name) is not None
