"""Rules about what lies beside the code, and about what importing it costs."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement

from tools.source_rules import Rule

__all__ = ["RULES"]

LIGHT = (
    "halo_forge.cli",
    "halo_forge.config.raft",
    "halo_forge.rlvr.verifiers",
    "halo_forge.sandbox",
    "halo_forge.store",
)
"""Imported by commands that never touch a model; their import loads no heavy library."""

HEAVY = ("torch", "transformers", "peft", "trl", "datasets", "tensorboard")

_NOT_OURS = {
    *(".git", ".venv", "__pycache__", "build", "dist", "models", "results", "runs"),
    *(".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis", ".import_linter_cache"),
}
_PLACES = (  # written in halves, so that this file does not offend itself
    r"/wo" r"rk/(?:main|shared|\.)",
    r"/ho" r"me/\w",
    r"/ro" r"ot/\w",
    r"/Us" r"ers/\w",
    r"pypi\.o" r"rg",
    r"pythonh" r"osted\.org",
    r"download\.pyt" r"orch\.org",
    r"registry\.np" r"mjs\.org",
    r"deb\.deb" r"ian\.org",
)
_PLACE = re.compile("|".join(_PLACES))


def import_budget(root: Path) -> list[str]:
    """The light rooms load nothing heavy, each in an interpreter of its own."""
    found = []
    environment = os.environ | {"PYTHONPATH": str(root)}
    for module in LIGHT:
        code = f"import sys, {module}; print(*sorted({set(HEAVY)!r} & set(sys.modules)))"
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=root,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            found.append(f"{module}: cannot be imported: {done.stderr.strip().splitlines()[-1]}")
        elif done.stdout.strip():
            found.append(f"{module}: importing it loads {done.stdout.strip()}")
    return found


def config_headers(root: Path) -> list[str]:
    """A configuration file opens with the command that runs it."""
    found = []
    for path in sorted((root / "configs").rglob("*.y*ml")):
        name = path.relative_to(root).as_posix()
        first = path.read_text("utf-8").partition("\n")[0]
        if not re.match(rf"# halo-forge .*{re.escape(name)}", first):
            found.append(f"{name}:1: does not open with '# halo-forge ... {name}'")
    return found


def places(root: Path) -> list[str]:
    """No file names somebody's machine or a package index."""
    return [
        f"{path.relative_to(root).as_posix()}:{number}: names {hit.group()!r}"
        for path in _texts(root)
        for number, line in enumerate(path.read_text("utf-8", "replace").splitlines(), 1)
        for hit in _PLACE.finditer(line)
    ]


def _texts(root: Path) -> Iterator[Path]:
    """Yield the text files of the tree that are not made by tools."""
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(set(folders) - _NOT_OURS)
        for name in sorted(set(files) - _NOT_OURS):
            path = Path(folder) / name
            if b"\0" not in path.read_bytes()[:1024]:
                yield path


def pins(root: Path) -> list[str]:
    """Each direct dependency has its tested version in constraints.txt, within its bounds."""
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))
    wanted = [
        *project["build-system"]["requires"],
        *project["project"]["dependencies"],
        *itertools.chain(*project["project"]["optional-dependencies"].values()),
        *itertools.chain(*project["dependency-groups"].values()),
    ]
    lines = (root / "constraints.txt").read_text("utf-8").splitlines()
    pinned = dict(line.split("==") for line in lines if "==" in line and line[0] != "#")
    found = []
    for requirement in map(Requirement, wanted):
        version = pinned.get(requirement.name)
        if version is None:
            found.append(f"constraints.txt:1: {requirement.name} is not pinned")
        elif version not in requirement.specifier:
            found.append(f"constraints.txt:1: {requirement.name} {version} is not {requirement}")
    return found


RULES: tuple[Rule, ...] = (config_headers, places, pins, import_budget)
