"""What a run is given: prompts to train on, without benchmarks' tasks, and those held out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from halo_forge.config.raft import RaftConfig
from halo_forge.core.errors import UserError
from halo_forge.core.types import Message, Prompt
from halo_forge.data.decontaminate import decontaminate_prompts
from halo_forge.data.pictures import pictures_digest
from halo_forge.data.prompts import load_prompts

__all__ = ["Material", "read_material"]

_Asked = tuple[tuple[Message, ...], tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Material:
    """The prompts of a run.

    Attributes:
        prompts: Those that are trained on.
        heldout: Those that are not; may be empty.
        decontamination: What the first were compared with, and which held a benchmark's task;
            empty when nothing was compared.
    """

    prompts: Sequence[Prompt]
    heldout: Sequence[Prompt]
    decontamination: Mapping[str, Any]


def read_material(config: RaftConfig) -> Material:
    """Read the prompts that a run of ``config`` has.

    Raises:
        ConfigError: With every bad line of a file.
        UserError: If a file cannot be read, a benchmark's task is to be refused, or a held-out
            prompt is also trained on.
    """
    system = config.system_prompt
    cleaned = decontaminate_prompts(
        load_prompts(config.prompts, system=system), config.decontaminate
    )
    heldout = load_prompts(config.eval_prompts, system=system) if config.eval_prompts else []
    trained = set(_asked(cleaned.kept))
    leaks = [
        prompt.id
        for prompt, asked in zip(heldout, _asked(heldout), strict=True)
        if asked in trained
    ]
    if leaks:
        raise UserError(
            f"{config.eval_prompts}: {len(leaks)} held-out prompts are also trained on, first "
            f"{leaks[0]!r}. A rate measured on them would show memory, not learning."
        )
    return Material(cleaned.kept, heldout, cleaned.facts)


def _asked(prompts: Sequence[Prompt]) -> list[_Asked]:
    """Return what each prompt shows: pictures by their content, wherever they lie.

    A system message that all prompts share is no part of a task.
    """
    systems = {one.messages[0] if one.messages[0].role == "system" else None for one in prompts}
    is_told_apart = len(systems) > 1
    return [
        (
            tuple(one for one in prompt.messages if is_told_apart or one.role != "system"),
            tuple(pictures_digest(prompt.images)),
        )
        for prompt in prompts
    ]
