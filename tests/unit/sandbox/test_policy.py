"""Limits, steps and jobs refuse what would not mean what it says."""

from __future__ import annotations

import math

import pytest

from halo_forge.sandbox import Job, Limits, Outcome, Status, Step


@pytest.mark.parametrize(
    "wrong",
    [
        {"cpu": 0},
        {"cpu": math.inf},
        {"cpu": math.nan},
        {"wall": -1.0},
        {"memory": 0},
        {"processes": 0},
        {"output": -1},
    ],
)
def test_limits_refuse_what_the_kernel_takes_for_unlimited(wrong: dict[str, float]) -> None:
    """Zero, negative and infinite limits are errors, not absences of a limit."""
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Limits(**wrong)


def test_wall_backstop_follows_cpu_time() -> None:
    """Without a wall limit it is three times the CPU time and two seconds."""
    assert Limits(cpu=4.0).wall_seconds == 14.0
    assert Limits(cpu=4.0, wall=1.5).wall_seconds == 1.5


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/etc/passwd", "../x", "nul\0", "n" * 201])
def test_file_names_stay_in_the_box(name: str) -> None:
    """A name that is more than a name is refused."""
    with pytest.raises(ValueError, match="plain name"):
        Job({name: b""})


@pytest.mark.parametrize("argv", [(), ("",), ("a", "b\0c")])
def test_steps_need_an_argv_for_exec(argv: tuple[str, ...]) -> None:
    """Empty programs and NUL characters are refused."""
    with pytest.raises(ValueError, match=r"argv|NUL"):
        Step(argv)


def test_steps_are_the_build_and_the_runs() -> None:
    """The steps come in the order in which they run."""
    build, run = Step(("a",)), Step(("b",))
    assert Job(build=build, runs=(run, run)).steps == (build, run, run)
    assert Job(runs=(run,)).steps == (run,)


def test_only_status_ok_is_ok() -> None:
    """An outcome is ok exactly when its status is."""
    for status in Status:
        outcome = Outcome(status, 0, None, b"", b"", 0.0, 0.0, 0, 0)
        assert outcome.ok == (status == "ok")
