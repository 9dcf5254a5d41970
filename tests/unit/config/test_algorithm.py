"""Settings under which an algorithm would not be what its name says are refused."""

from __future__ import annotations

from typing import Any

import pytest

from halo_forge.config.load import load_config
from halo_forge.config.raft import RaftConfig
from halo_forge.core.errors import ConfigError


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"algorithm": "raft++", "generation.top_p": 0.9}, r"raft\+\+ compares each token with"),
        ({"algorithm": "reinforce-rej", "generation.top_k": 40}, "reinforce-rej compares each"),
        ({"algorithm": "raft++", "generation.min_p": 0.1}, "leave generation.top_p, top_k, min_p"),
        ({"algorithm": "raft++", "generation.repetition_penalty": 1.1}, "compares each token"),
        ({"algorithm": "raft++", "temperature": 0}, "at a temperature above 0"),
        ({"algorithm": "raft++", "raft.restart": True}, "raft.restart is for raft.algorithm raft:"),
        ({"raft.kl_coef": 0.1, "lora.enabled": False}, "raft.kl_coef needs adapters"),
        ({"algorithm": "grpo"}, "must be one of 'raft', 'raft\\+\\+' or 'reinforce-rej'"),
        ({"raft.clip_low": 1.0}, "must be below 1"),
    ],
)
def test_refused(flags: dict[str, Any], said: str) -> None:
    """Each with the key and the way out."""
    with pytest.raises(ConfigError, match=said):
        load_config(RaftConfig, [], flags)


def test_accepted() -> None:
    """What RAFT needs not to know may be anything; ratios go with a temperature."""
    load_config(RaftConfig, [], {"generation.top_p": 0.9, "raft.restart": True, "temperature": 0})
    flags = {"algorithm": "raft++", "temperature": 0.7, "raft.kl_coef": 0.1}
    guarded = load_config(RaftConfig, [], flags).value.guarded()
    assert (guarded["raft.algorithm"], guarded["raft.kl_coef"]) == ("raft++", 0.1)
    assert "replay" not in guarded
