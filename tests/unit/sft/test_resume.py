"""A phase that is interrupted goes on to the very weights that an undisturbed one has."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file

from halo_forge.config.sections import LoraSettings
from halo_forge.core.errors import StoreFault
from halo_forge.models.weights import ADAPTER_WEIGHTS, WEIGHTS
from halo_forge.sft import resumable_trainer
from halo_forge.sft.base import Validation
from halo_forge.store.waypoints import Waypoints
from halo_forge.tracking.base import NullObserver

DROPOUT = LoraSettings(r=4, dropout=0.3)
ALL_WEIGHTS = LoraSettings(enabled=False)
EPOCHS, STEPS = 3, 4  # of each


class Pulled(NullObserver):
    """Pulls the plug after some optimiser steps."""

    def __init__(self, after: int) -> None:
        self._left = after
        self.first: int | None = None

    def stage(self, name, total, done=0, unit=""):
        self.first = done
        return super().stage(name, total, done, unit)

    def advance(self, n=1, **info):
        self._left -= n
        if not self._left:
            raise KeyboardInterrupt


@pytest.fixture
def examples(make_example):
    """Sixteen answers of different lengths."""
    return [make_example(str(n), 3 + n % 5, 4 + n) for n in range(STEPS * 4)]


@pytest.fixture
def watched(make_example):
    """What the phase is watched by."""
    return Validation([make_example(f"v{n}", 4, 6 + n) for n in range(5)])


@pytest.fixture
def phase(fit, examples, watched, tmp_path):
    """Run a phase in a folder of a name; the weights it left, its report and states."""

    def run(name, observer=None, **settings):
        file = WEIGHTS if settings.get("lora") is ALL_WEIGHTS else ADAPTER_WEIGHTS
        waypoints = Waypoints(tmp_path / name / "checkpoints")
        request = {"waypoints": waypoints, "save_steps": 3, "validation": watched}
        report = fit(
            examples,
            output=tmp_path / name / "out",
            observer=observer,
            request=request | settings.pop("request", {}),
            **{"batch_size": 2, "gradient_accumulation_steps": 2, "epochs": EPOCHS, "rate": 1e-2,
               "lora": DROPOUT} | settings,
        )  # fmt: skip
        return load_file(tmp_path / name / "out" / file), report, waypoints

    return run


def same(one, other) -> bool:
    """Whether two sets of weights are equal bit by bit."""
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


@pytest.mark.parametrize(
    ("settings", "plugs"),
    [
        ({"packing": "on"}, (4, 3, 2)),  # within an epoch, at its end, and once more
        ({"packing": "off"}, (4, 4)),  # within an epoch, where the order is owed
        ({"packing": "on", "lora": ALL_WEIGHTS, "rate": 1e-3}, (8,)),
        ({"packing": "on", "request": {"validation": None}}, (4, 2)),
    ],
    ids=["packed", "padded", "all weights", "nothing held out"],
)
def test_the_same_weights(phase, settings, plugs):
    """Weights, every step's loss and every epoch's score are those of the undisturbed phase."""
    expected, report, _ = phase("whole", **settings)
    for after in plugs:
        with pytest.raises(KeyboardInterrupt):
            phase("broken", Pulled(after), **settings)
    last = Pulled(1000)
    found, again, waypoints = phase("broken", last, **settings)
    assert last.first > 0
    assert again.losses == report.losses
    assert len(report.losses) == EPOCHS * STEPS
    assert again.eval_losses == report.eval_losses
    assert again.best_step == report.best_step
    assert same(found, expected)
    assert len(waypoints.steps()) <= 2
    assert not list(waypoints.path.glob(".tmp*"))


def test_the_test_can_fail(phase, monkeypatch):
    """Without the random states a phase that goes on ends with other weights."""
    expected, _, _ = phase("whole")
    with pytest.raises(KeyboardInterrupt):
        phase("broken", Pulled(5))
    trainer = resumable_trainer.ResumableTrainer
    monkeypatch.setattr(trainer, "_load_rng_state", lambda self, checkpoint: None)
    assert not same(phase("broken")[0], expected)


def test_a_state_is_whole_or_not_there(phase, monkeypatch):
    """A plug pulled while a state is written leaves the state before it, and the same end."""
    expected, _, _ = phase("whole")
    save = resumable_trainer.ResumableTrainer._save_rng_state

    def dying(self, folder):
        if self.state.global_step == 4:
            raise KeyboardInterrupt
        save(self, folder)

    monkeypatch.setattr(resumable_trainer.ResumableTrainer, "_save_rng_state", dying)
    with pytest.raises(KeyboardInterrupt):
        phase("broken")
    monkeypatch.undo()
    found, _, waypoints = phase("broken")
    assert same(found, expected)
    assert not list(waypoints.path.glob(".tmp*"))


def test_a_plug_pulled_while_an_epoch_is_scored(phase, monkeypatch):
    """The last epoch's score is owed, and the weights are chosen with it."""
    expected, report, _ = phase("whole")
    score = resumable_trainer.ResumableTrainer.evaluate

    def dying(self, *call, **named):
        if self.state.global_step == EPOCHS * STEPS:
            raise KeyboardInterrupt
        return score(self, *call, **named)

    monkeypatch.setattr(resumable_trainer.ResumableTrainer, "evaluate", dying)
    with pytest.raises(KeyboardInterrupt):
        phase("broken")
    monkeypatch.undo()
    found, again, _ = phase("broken")
    assert again.eval_losses == report.eval_losses
    assert same(found, expected)


def test_the_lowest_validation_loss_stays(phase):
    """At a rate that overshoots, the weights of the best epoch are written, not the last ones."""
    weights, report, waypoints = phase("hot", lora=ALL_WEIGHTS, rate=0.03)
    scores = dict(report.eval_losses)
    assert sorted(scores) == [STEPS, 2 * STEPS, 3 * STEPS]
    assert scores[report.best_step] == min(scores.values())
    assert report.best_step < 3 * STEPS
    assert same(weights, load_file(waypoints.at(report.best_step) / WEIGHTS))


def test_the_validation_loss_is_the_mean_over_tokens(phase, watched, tiny_model_dir, tmp_path):
    """By hand, answer by answer, with the weights of the first epoch."""
    from tests.unit.sft.test_learner import reference_loss

    _, report, _ = phase("one", epochs=1)
    expected = reference_loss(tmp_path / "one" / "out", watched.examples)
    assert report.eval_losses[0][1] == pytest.approx(expected, abs=2e-5)


def test_patience(phase, watched):
    """Training ends when the loss has not fallen for so many epochs, and stays ended."""
    impatient = {"validation": Validation(watched.examples, patience=1)}
    settings = {"rate": 0.5, "lr_scheduler": "constant", "epochs": 30, "request": impatient}
    expected, report, _ = phase("whole", **settings)
    scores = [loss for _, loss in report.eval_losses]
    assert len(scores) < 30
    assert scores[-1] >= scores[-2] == min(scores)
    assert report.tokens % len(scores) == 0
    once, _ = phase("once", **settings | {"epochs": 1})[1:]
    assert report.tokens == once.tokens * len(scores)  # epochs that never ran count nothing

    def plug(*call, **named):
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("halo_forge.sft.learner.save_checkpoint", plug)
        with pytest.raises(KeyboardInterrupt):
            phase("broken", **settings)
    found, again, _ = phase("broken", **settings)
    assert again.eval_losses == report.eval_losses
    assert same(found, expected)


def test_a_damaged_state_is_said(phase, tmp_path):
    """Which folder is damaged, and what happens when it is deleted."""
    with pytest.raises(KeyboardInterrupt):
        phase("broken", Pulled(5))
    state = Waypoints(tmp_path / "broken" / "checkpoints").last
    (state / "trainer_state.json").write_text("{")
    with pytest.raises(StoreFault, match="Delete this folder"):
        phase("broken")
