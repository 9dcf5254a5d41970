"""Settings of a study: the same run with its verifier and without (`halo-forge raft study`)."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import ValidationError, model_validator

from halo_forge.config.base import PositiveInt
from halo_forge.config.raft import RaftConfig
from halo_forge.config.sft import SftTrainingSettings

__all__ = ["Arm", "StudyConfig"]

Arm = Literal["verified", "unverified", "shuffled", "compile-only", "sft"]


class StudyConfig(RaftConfig):
    """A RAFT run's settings, and which arms are run with them."""

    arms: tuple[Arm, ...] = ("verified", "unverified", "shuffled", "sft")
    """What is compared: `verified` and controls with as many sampled answers; `sft` learns from
    reference solutions."""

    seeds: PositiveInt = 2
    """How often each arm is run: with `seed`, `seed` + 1, and so on."""

    sft: SftTrainingSettings = SftTrainingSettings()
    """The gradient steps of the arm `sft`."""

    @model_validator(mode="after")
    def _comparable(self) -> Self:
        """Refuse what cannot be compared, or what would tell a control the verdicts."""
        others = [arm for arm in self.arms if arm != "verified"]
        if len(others) != len(self.arms) - 1 or not others or len(set(others)) < len(others):
            raise ValueError(
                "arms: 'verified' and one other at the least, each once; got "
                f"{', '.join(self.arms) or 'none'}"
            )
        if self.raft.control != "none":
            raise ValueError("raft.control: the arms of a study say it (--arms); leave it out")
        if self.reading_verdicts:
            raise ValueError(
                f"{', '.join(self.reading_verdicts)}: tells a control the verdicts that it must do "
                "without, and gives the arms other prompts or numbers of answers; leave that out"
            )
        if self.replay is not None:
            raise ValueError("replay: a study samples its own answers; leave it out")
        for arm in self.arms:
            try:
                self.arm(arm, self.seed, self.output_dir)
            except ValidationError as error:
                raise ValueError(f"arm {arm}: {error.errors()[0]['msg']}") from error
        return self

    def arm(self, arm: Arm, seed: int, output: str, **changes: object) -> RaftConfig:
        """Return the settings of one run of an arm.

        It goes through all its cycles: arms that stop at different ones would not have had the
        same budget.
        """
        given = self.model_dump(exclude_unset=True, exclude={"arms", "seeds", "sft"})
        control = "none" if arm in {"verified", "sft"} else arm
        given |= {"output_dir": output, "seed": seed}
        measured_only = {"num_cycles": 0, "kl_coef": 0.0}
        loop = {"control": control, **(measured_only if arm == "sft" else {})}
        given["raft"] = {**given.get("raft", {}), **loop}
        given["stopping"] = {"on_degradation": "continue", "plateau": 0}
        return RaftConfig.model_validate({**given, **changes})
