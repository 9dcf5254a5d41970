"""The plug-in door: names, the nearest name, and what to install."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint

import pytest

from halo_forge.core import registry
from halo_forge.core.errors import UserError
from tests.fakes import FakeVerifier, plug_in


def test_plug_ins_stand_beside_built_ins(monkeypatch: pytest.MonkeyPatch) -> None:
    """A third party's verifier is listed and loaded like our own, in its group only."""
    plug_in(monkeypatch, "verifiers", "fake", FakeVerifier)
    assert {"fake", "gcc", "execution"} <= set(registry.names("verifiers"))
    assert registry.names("verifiers") == sorted(registry.names("verifiers"))
    assert registry.load("verifiers", "fake") is FakeVerifier
    assert "fake" not in registry.names("engines")


def test_unknown_name_gets_the_nearest_and_the_list() -> None:
    """A misspelled name is answered with what was probably meant, and all there is."""
    with pytest.raises(UserError, match="unknown engine 'transfomers'") as caught:
        registry.load("engines", "transfomers")
    assert "Did you mean 'transformers'?" in str(caught.value)
    assert "Known: openai, scripted, transformers" in str(caught.value)


def test_name_like_no_other() -> None:
    """Where nothing is near nothing is guessed."""
    with pytest.raises(UserError) as caught:
        registry.load("engines", "zzz")
    assert "Did you mean" not in str(caught.value)


def test_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A plug-in whose package is not installed says which, and the extra that brings it."""
    point = EntryPoint("x", "no_such_package.room:Thing", "halo_forge.engines")
    monkeypatch.setattr(registry, "entry_points", lambda **_: [point])
    with pytest.raises(UserError, match="engine 'x' needs the package 'no_such_package'") as caught:
        registry.load("engines", "x")
    assert "halo-forge[train]" in str(caught.value)


def test_listing_imports_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names are told without loading what they stand for."""
    point = EntryPoint("x", "no_such_package.room:Thing", "halo_forge.engines")
    monkeypatch.setattr(registry, "entry_points", lambda **_: [point])
    before = set(sys.modules)
    assert registry.names("engines") == ["x"]
    assert set(sys.modules) == before


def test_unknown_group_is_our_mistake() -> None:
    """A group that does not exist is a programming error, with the groups there are."""
    with pytest.raises(ValueError, match="no plug-in group 'verifier'; there are verifiers, eng"):
        registry.names("verifier")
