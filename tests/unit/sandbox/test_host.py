"""What of the host is shown, used and cleaned up."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from halo_forge.core.errors import SandboxFault, UserError
from halo_forge.sandbox import backends, cgroup, open_sandbox, paths, python_executable
from halo_forge.sandbox.client import BrokerSandbox
from halo_forge.sandbox.policy import GUARANTEES, Level
from halo_forge.sandbox.scratch import erase
from tests.needs import lacking


def test_no_private_place_is_visible() -> None:
    """Homes, /etc as a whole and temporary places are never shown."""
    shown = [Path(path) for path in paths.visible_paths()]
    for private in (Path.home(), Path("/etc"), Path("/home"), Path("/tmp"), Path.cwd()):
        assert not any(private.is_relative_to(path) for path in shown), private


def test_python_is_visible_inside() -> None:
    """The interpreter that verifiers use lies in a place that is shown."""
    python = Path(python_executable())
    assert os.access(python, os.X_OK)
    assert any(python.is_relative_to(path) for path in paths.visible_paths())


def test_erase_removes_what_a_program_made_unreadable(tmp_path: Path) -> None:
    """Unreadable directories go, links are not followed, and files beyond them stay."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "keep").touch()
    tree = tmp_path / "tree"
    (tree / "deep" / "er").mkdir(parents=True)
    (tree / "link").symlink_to(outside)
    (tree / "deep" / "er").chmod(0)
    (tree / "deep").chmod(stat.S_IXUSR)
    erase(tree)
    assert not tree.exists()
    assert (outside / "keep").exists()


def test_erase_survives_deep_nesting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tree deeper than any path may be long goes as well."""
    top = tmp_path / "top"
    top.mkdir()
    monkeypatch.chdir(top)
    for _ in range(3000):
        Path("d").mkdir()
        os.chdir("d")
    monkeypatch.undo()
    erase(top)
    assert not top.exists()


def test_erase_refuses_relative_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty or relative path would mean wherever the process happens to be."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "keep").touch()
    with pytest.raises(ValueError, match="relative"):
        erase(Path())
    assert (tmp_path / "keep").exists()


def test_group_is_made_beside_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In version 2 the new group goes below the nearest ancestor that hands memory on."""
    (tmp_path / "cgroup.controllers").write_text("memory pids")
    for name, handed_on in {"": "memory", "a": "memory pids", "a/b": "", "a/b/c": ""}.items():
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        (folder / "cgroup.subtree_control").write_text(handed_on)
    monkeypatch.setattr(cgroup, "_ROOT", tmp_path)
    assert cgroup._delegated("/a/b/c") == [tmp_path / "a", tmp_path]


def _refuse(backend: str, **_: object) -> BrokerSandbox:
    raise SandboxFault(f"{backend} is not for you")


def test_closed_without_a_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a working backend nothing runs; the message names each, its reason, remedies."""
    monkeypatch.setattr(backends, "open_backend", _refuse)
    with pytest.raises(SandboxFault) as caught:
        open_sandbox()
    for word in ("namespaces is not for you", "bwrap is not", "unprivileged_userns_clone"):
        assert word in str(caught.value)
    assert "--unsafe-no-sandbox" in str(caught.value)
    assert "unsafe is not for you" not in str(caught.value)


def test_unknown_requirement_is_the_users_error() -> None:
    """A misspelt guarantee is refused with the list before anything is opened."""
    with pytest.raises(UserError, match="tree_kill"):
        open_sandbox(require=["networks"])


def test_requirements_are_met_or_refused() -> None:
    """What is required is enforced, or the sandbox does not open, unsafe or not."""
    try:
        with open_sandbox(workers=1, require=["network", "tree_kill"]) as sandbox:
            levels = {g.name: g.level for g in sandbox.guarantees()}
    except SandboxFault as fault:
        lacking(str(fault))
    assert tuple(levels) == GUARANTEES
    assert levels["network"] is levels["tree_kill"] is Level.ENFORCED


def test_unsafe_cannot_meet_requirements(monkeypatch: pytest.MonkeyPatch) -> None:
    """The unsafe backend says that it confines nothing, and fails closed on a requirement."""
    monkeypatch.setattr(backends, "CONFINED", ())
    with pytest.raises(SandboxFault, match=r"unsafe: works, but does not enforce network \(none\)"):
        open_sandbox(workers=1, unsafe=True, require=["network"])


def test_other_systems_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Elsewhere than on Linux only the unsafe backend is offered."""
    monkeypatch.setattr(backends.sys, "platform", "darwin")
    with pytest.raises(SandboxFault, match="needs Linux"):
        open_sandbox()
