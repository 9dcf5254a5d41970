"""Profiles: which one, what it sets, and that whoever knows better goes before it."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from halo_forge.config.profiles import PROFILES, pick_profile
from halo_forge.config.raft import RaftConfig
from halo_forge.config.sections import HardwareSettings
from halo_forge.models import profile

FLAG = "TORCH_ROCM_AOTRITON_ENABLE_EXPERIMENTAL"
STRIX = HardwareSettings(profile="strix-halo")


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = {k: v for k, v in os.environ.items() if k not in PROFILES["strix-halo"].environment}
    monkeypatch.setattr(os, "environ", kept)
    monkeypatch.setattr(profile, "card_targets", list)


@pytest.mark.parametrize(
    ("settings", "targets", "name"),
    [
        ({}, [], "cpu"),
        ({}, ["gfx1151"], "strix-halo"),
        ({}, ["gfx1100"], "cuda"),
        ({}, [None, None], "cuda"),
        ({"device": "cpu"}, ["gfx1151"], "cpu"),
        ({"profile": "cuda"}, ["gfx1151"], "cuda"),
        ({"profile": "strix-halo"}, [], "strix-halo"),
    ],
)
def test_which_one(settings, targets, name):
    """By the compiler target of the cards, unless one is asked for."""
    assert pick_profile(HardwareSettings(**settings), targets).name == name


def test_variables_are_set_and_ours_never_win(monkeypatch):
    """What the user has set stays."""
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    os.environ[FLAG] = "0"
    profile.prepare(STRIX)
    assert os.environ[FLAG] == "0"
    assert os.environ["ROCBLAS_USE_HIPBLASLT"] == "1"
    assert "HSA_OVERRIDE_GFX_VERSION" not in os.environ
    facts = profile.profile_facts(STRIX)
    assert facts["environment"][FLAG] == "0"
    assert (facts["name"], facts["memory_fraction"], facts["stage_isolation"]) == (
        "strix-halo",
        0.8,
        True,
    )


def test_a_processor_needs_threads_that_sleep(monkeypatch):
    """Nothing else is set; what the user has set stays."""
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    before = dict(os.environ)
    profile.prepare(HardwareSettings())
    assert os.environ == before | {"OMP_WAIT_POLICY": "PASSIVE"}
    os.environ["OMP_WAIT_POLICY"] = "ACTIVE"
    profile.prepare(HardwareSettings())
    assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"


@pytest.mark.parametrize(
    ("version", "name"),
    [("2.13.0+rocm7.14", "PYTORCH_ALLOC_CONF"), ("2.9.1", "PYTORCH_HIP_ALLOC_CONF")],
)
def test_the_allocator_was_renamed(monkeypatch, version, name):
    """An older torch is told by the older name."""
    monkeypatch.setattr(profile, "version", lambda package: version)
    spelled = profile.environment(PROFILES["strix-halo"])
    assert [key for key in spelled if "ALLOC" in key] == [name]


def test_too_late_is_said(monkeypatch, caplog):
    """With torch imported the variables may count for nothing."""
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace())
    with caplog.at_level(logging.WARNING):
        profile.prepare(STRIX)
    assert FLAG in caplog.text
    caplog.clear()
    profile.prepare(STRIX)
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("settings", "fraction"),
    [({}, 0.8), ({"memory_fraction": 0.5}, 0.5), ({"profile": "cuda"}, None)],
)
def test_memory_is_bounded(monkeypatch, settings, fraction):
    """On unified memory, by the profile or the setting; a card of its own is left alone."""
    import torch

    bounds = []
    monkeypatch.setattr(
        torch.cuda, "set_per_process_memory_fraction", lambda *given: bounds.append(given)
    )
    device = torch.device("cuda:0")
    profile.bound_memory(device, STRIX.model_copy(update=settings))
    profile.bound_memory(torch.device("cpu"), STRIX)
    assert bounds == ([] if fraction is None else [(fraction, device)])


@pytest.mark.parametrize(("setting", "apart"), [("auto", True), ("off", False), ("on", True)])
def test_stages_apart(setting, apart):
    """The profile's choice can be overruled both ways."""
    assert profile.isolates(STRIX.model_copy(update={"stage_isolation": setting})) is apart
    assert profile.isolates(HardwareSettings(stage_isolation=setting)) is (setting == "on")


def test_how_it_is_used_does_not_change_what_a_run_is():
    """A run goes on under another profile."""
    one, other = (
        RaftConfig(hardware=HardwareSettings(**settings))
        for settings in ({}, {"profile": "cpu", "memory_fraction": 0.5, "stage_isolation": "on"})
    )
    assert one.guarded() == other.guarded()


@pytest.mark.parametrize(
    "command",
    [
        "raft train -c builtin:demo",
        "demo",
        "plan -c builtin:demo",
        "sft train --data builtin:cpp/train",
        "benchmark run --prompts builtin:cpp/heldout",
    ],
)
def test_a_command_sets_them_before_torch(tmp_path, command):
    """Whoever resolves the settings of a command comes before whoever imports torch."""
    words = [*command.split(), "--quiet", "--set", "hardware.profile=strix-halo"]
    code = (
        "import os, sys; sys.modules['torch'] = None  # importing it fails\n"
        "from halo_forge.cli import main\n"
        f"main({words!r})\n"
        f"sys.exit(os.environ.get('{FLAG}') != '1')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ, check=False, cwd=tmp_path, capture_output=True
    )
    assert done.returncode == 0, done.stderr.decode()[-500:]


def test_info_shows_it():
    """Everything that the profile decides, with what the variables are."""
    from halo_forge.commands.info import _profile

    profile.prepare(STRIX)
    loader = {"dataloader_num_workers": 0, "dataloader_pin_memory": False}
    rows = dict(_profile({**profile.profile_facts(STRIX), **loader}))
    assert rows["name"] == "strix-halo (hardware.profile)"
    assert rows["graphics memory"] == "0.8 of it at most"
    assert rows["stages"] == "processes of their own"
    assert rows["data loader"] == "0 processes, no pinned memory"
    assert rows[FLAG] == "1"
