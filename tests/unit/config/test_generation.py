"""Bounds of what an answer is drawn by."""

import pytest
from pydantic import ValidationError

from halo_forge.config.sections import GenerationSettings, HardwareSettings


@pytest.mark.parametrize(
    "settings",
    [
        {"top_p": 0},
        {"top_p": 1.01},
        {"top_k": -1},
        {"top_k": 1.5},
        {"min_p": -0.1},
        {"min_p": 1.1},
        {"repetition_penalty": 0},
        {"stop": ["```", ""]},
        {"temperature": -1},
        {"batch_size": 0},
    ],
)
def test_out_of_bounds(settings) -> None:
    """What no law can mean is refused where it enters."""
    with pytest.raises(ValidationError):
        GenerationSettings(**settings)


def test_the_borders() -> None:
    """The least and the most that mean something are accepted."""
    law = {"top_p": 1, "top_k": 0, "min_p": 1, "repetition_penalty": 0.5, "stop": ["```"]}
    assert GenerationSettings(**law).stop == ("```",)
    with pytest.raises(ValidationError):
        HardwareSettings(kv_cache_gb=0)
