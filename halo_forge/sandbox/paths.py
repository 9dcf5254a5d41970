"""What of the host a program may see: toolchains, read-only, and nothing else."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

__all__ = ["own_python", "packages_with", "python_executable", "visible_paths"]

_SYSTEM = (
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/etc/alternatives",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/mono",
)
_TOOLS = ("g++", "gcc", "clang++", "clang", "rustc", "go", "mcs", "mono", "dotnet", "pwsh", "node")
_PACKAGES = ("pytest", "tree_sitter_pwsh")
_SYSTEM_PYTHON = Path("/usr/bin/python3")


@cache
def python_executable() -> str:
    """Return a Python interpreter by its path *inside* the sandbox.

    The system's own where there is one, since every user may read it; otherwise the
    installation that runs halo-forge (never its virtual environment).
    """
    if os.access(_SYSTEM_PYTHON, os.X_OK):
        return str(_SYSTEM_PYTHON)
    return own_python()


def own_python() -> str:
    """Return the interpreter that runs halo-forge, outside its virtual environment."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    return str(Path(sys.base_prefix, "bin", version))


@cache
def packages_with(package: str) -> str | None:
    """Return the folder of Python packages in which ``package`` lies, if it is installed here."""
    spec = find_spec(package)
    return None if spec is None or spec.origin is None else str(Path(spec.origin).parents[1])


@cache
def visible_paths() -> tuple[str, ...]:
    """Return the host paths that are bound into every sandbox, read-only.

    Besides the system's directories: the installation of the running Python, the packages beside
    those that verifiers use, Rust toolchains of rustup, and the prefix of every known tool on
    PATH that lies elsewhere, unless that would show a home directory.
    """
    paths = [path for path in _SYSTEM if os.path.lexists(path)]
    for extra in (Path(sys.base_prefix), *_packages(), *_rustup_toolchains(), *_tool_prefixes()):
        shown = any(extra.is_relative_to(Path(path)) for path in paths)
        if not shown and extra.is_dir() and not _is_private(extra):
            paths.append(str(extra))
    return tuple(paths)


def _packages() -> Iterator[Path]:
    for package in _PACKAGES:
        folder = packages_with(package)
        if folder is not None:
            yield Path(folder)


def _tool_prefixes() -> Iterator[Path]:
    for tool in _TOOLS:
        found = shutil.which(tool)
        if found is not None:
            real = Path(found).resolve()
            if real.parent.name == "bin" and real.name != "rustup":
                yield real.parent.parent
            elif real.name == "dotnet":  # its installation is one folder, without a bin
                yield real.parent


def _rustup_toolchains() -> Iterator[Path]:
    home = Path(os.environ.get("RUSTUP_HOME", Path.home() / ".rustup"))
    yield home / "toolchains"


def _is_private(path: Path) -> bool:
    """Return whether showing ``path`` would show somebody's home or the whole host."""
    return any(
        Path(place).resolve().is_relative_to(path)
        for place in (Path.home(), "/home", "/root", "/etc", "/var", "/run", "/proc")
    )
