"""Memory, time and disk of a run as arithmetic over measured figures."""

import re
from dataclasses import replace

import pytest

from halo_forge.models.roofline import Rates, Shape, step_work, training_work
from halo_forge.rlvr.expectation import Answers, Expectation
from halo_forge.rlvr.forecast import forecast, rows_of, usual_positions
from halo_forge.rlvr.planned import Job, Judging, Machine, Trials
from halo_forge.sft.memory import Activations
from halo_forge.sft.rehearsal import DecodingTrial, TrainingTrial

GIB, MIB = 2**30, 2**20
SHAPE = Shape(30, 106_000_000, 28_000_000, 134_000_000, 5_000_000, 576, 192, 576, 49152)
ANSWERS = Answers((100,) * 32, ((200, 100),) * 8, (100,) * 8)
JOB = Job(
    prompts=[100] * 8,
    samples=4,
    adaptive=False,
    heldout=[100] * 4,
    heldout_samples=2,
    cycles=3,
    new_tokens=156,
    rows=64,
    kv_limit=None,
    epochs=2,
    batch=4,
    reference=False,
    checkpointing="auto",
    expected=Expectation(ANSWERS, ANSWERS, "said"),
)
MACHINE = Machine("cpu", Rates(1e11, 1e10), 20 * GIB, GIB // 2, 50 * GIB, 4, 46080, packs=True)
TRIALS = Trials(
    shape=SHAPE,
    importing=10.0,
    positions=150,
    prompt=100,
    answer=(200, 100),
    decoding=DecodingTrial(2.0, 0.3, {32: 0.3, 16: 0.2, 8: 0.15}, 0.1),
    training=TrainingTrial(3.0, 2.0, Activations(1e6, 0.0), 23_500_000),
    judging=Judging(1.0, 0.25),
)


def stages(job=JOB, machine=MACHINE, shape=SHAPE, trials=TRIALS):
    """The stages of a forecast by name."""
    return {stage.name: stage for stage in forecast(job, machine, shape, trials).stages}


def test_time_of_a_rollout() -> None:
    """Opening, each prompt once, each step at the rows it has, and packing for each such number."""
    assert usual_positions(JOB.prompts, ANSWERS.lengths) == TRIALS.positions
    low, high = stages()["rollout"].seconds
    assert low == high == pytest.approx(2.0 + 8 * 0.3 + 99 * 0.3 + 0.1)
    assert stages()["rollout"].least < high


def test_time_of_everything() -> None:
    """Each stage as often as it is done: held-out once more than cycles."""
    found = forecast(JOB, MACHINE, SHAPE, TRIALS)
    names = stages()
    assert names["training"].seconds[1] == pytest.approx(3.0 + 2 * 8 * 2.0)
    assert names["verification, rollout"].seconds[1] == 32 * 0.25
    assert names["verification, held-out"].times == names["held-out"].times == 4
    assert found.seconds[1] == pytest.approx(
        11.0 + sum(s.seconds[1] * s.times for n, s in names.items() if n != "start")
    )


def test_the_cores_beside_a_card_are_free() -> None:
    """There judging is hidden behind generation, as far as it takes no longer."""
    card = replace(MACHINE, device="cuda", packs=False)
    assert stages(machine=card)["verification, rollout"].seconds[1] == 0
    slow = replace(TRIALS, judging=Judging(1.0, 5.0))
    rollout = stages(machine=card, trials=slow)
    over = rollout["verification, rollout"].seconds[1]
    assert over == pytest.approx(32 * 5.0 - rollout["rollout"].seconds[1])


def test_from_first_layers_to_all() -> None:
    """What was rehearsed on a part grows by the work of the whole."""
    cut = SHAPE.cut(10)
    part = replace(TRIALS, shape=cut)
    whole, grown = stages()["rollout"].seconds[1], stages(trials=part)["rollout"].seconds[1]
    work, of_part = (step_work(s, 32, 150, 4).one_by_one(MACHINE.rates) for s in (SHAPE, cut))
    assert whole < grown < 1.1 * whole * work / of_part
    train = stages(trials=part)["training"].seconds[1]
    more = training_work(SHAPE, [(200, 100)]).flops / training_work(cut, [(200, 100)]).flops
    assert train == pytest.approx(3 * SHAPE.parameters / cut.parameters + 32 * more)


def test_memory_of_the_decoder() -> None:
    """Process, weights, their packed copy, and room for the longest answer in every row."""
    memory = stages()["rollout"].memory
    assert memory["weights"] == 4 * SHAPE.parameters
    assert memory["packed weights"] == 4 * (SHAPE.linear + SHAPE.head)
    assert memory["keys and values"] == 32 * 256 * MACHINE.position
    assert stages()["rollout"].peak == sum(memory.values())
    assert rows_of(JOB, MACHINE, SHAPE) == [32, 16, 8]


def test_memory_of_training() -> None:
    """Weights, adapters with their moments, the activations of the heaviest batch."""
    memory = stages()["training"].memory
    assert memory["weights"] == 4 * (SHAPE.parameters + SHAPE.adapters)
    assert memory["gradients and moments"] == 12 * SHAPE.adapters
    assert memory["activations"] == 4 * 200 * 1_000_000
    assert memory["logits of a chunk"] == 2 * 4 * 256 * 49152
    full = stages(shape=replace(SHAPE, adapters=0), trials=replace(TRIALS))["training"].memory
    assert full["gradients and moments"] == 12 * SHAPE.parameters


def test_what_an_allocator_loses() -> None:
    """What the rehearsal grew by beyond what is counted is expected again, as a share."""
    beside = 4 * (SHAPE.parameters + SHAPE.adapters) + 12 * SHAPE.adapters + 8 * 256 * 49152
    grown = replace(TRIALS.training, grown=beside + 1_200_000_000)
    memory = stages(trials=replace(TRIALS, training=grown))["training"].memory
    assert memory["activations"] == 800_000_000
    assert memory["between activations"] == pytest.approx(400_000_000)
    assert stages()["training"].memory["between activations"] == 0


def test_little_memory_means_fewer_rows_and_recomputing() -> None:
    """What the decoder and the learner would do where memory is short is what is foreseen."""
    tight = replace(MACHINE, free=int(1.9 * GIB))
    found = stages(job=replace(JOB, kv_limit=0.1), machine=tight)
    assert "packed weights" not in found["rollout"].memory
    assert found["rollout"].note == "8 rows"
    assert stages(machine=tight)["rollout"].note == "32 rows"
    assert "activations recomputed" in found["training"].note
    assert found["training"].seconds[1] > stages()["training"].seconds[1]
    assert found["training"].memory["activations"] < 800_000_000
    off = stages(job=replace(JOB, checkpointing="off"), machine=tight)["training"]
    assert off.memory["activations"] == 800_000_000


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"free": GIB // 4}, "smaller model"),
        ({"free": int(1.1 * GIB)}, "Lower generation.max_new_tokens"),
        ({"disk": 10 * MIB}, "disk on another|another disk"),
    ],
)
def test_what_does_not_fit_is_said(change, said) -> None:
    """Each with what to change."""
    found = forecast(JOB, replace(MACHINE, **change), SHAPE, None)
    assert any(re.search(said, problem) for problem in found.problems)
    assert forecast(JOB, MACHINE, SHAPE, None).problems == ()


def test_training_that_does_not_fit() -> None:
    """Activations that are not recomputed may not fit."""
    heavy = replace(TRIALS, training=replace(TRIALS.training, activations=Activations(1e8, 0)))
    found = forecast(replace(JOB, checkpointing="off"), MACHINE, SHAPE, heavy)
    (problem,) = found.problems
    assert problem.startswith("training: ")
    assert "gradient_checkpointing" in problem


def test_without_a_rehearsal_nothing_is_invented() -> None:
    """No seconds then, and that is said."""
    found = forecast(JOB, MACHINE, SHAPE, None)
    assert found.seconds is None
    assert any("nothing was rehearsed" in line for line in found.assumptions)
    nobody = forecast(JOB, MACHINE, SHAPE, replace(TRIALS, judging=None))
    assert any("verification is left out" in line for line in nobody.assumptions)


def test_disk() -> None:
    """Journals and checkpoints of all cycles; what lies beside the weights counts each time."""
    disk = forecast(JOB, MACHINE, SHAPE, TRIALS).disk
    assert disk["checkpoints"] == 3 * TRIALS.training.written
    once = forecast(replace(JOB, cycles=1), MACHINE, SHAPE, TRIALS).disk
    assert disk["journals"] == 3 * once["journals"]
    assert 32 * 100 * 30 < once["journals"] < 32 * 200 * 60


def test_an_adaptive_budget_is_an_assumption() -> None:
    """That each prompt is planned with all of its answers is said where it may get fewer."""
    said = " ".join(forecast(replace(JOB, adaptive=True), MACHINE, SHAPE, TRIALS).assumptions)
    assert "adaptive" in said
    assert "adaptive" not in " ".join(forecast(JOB, MACHINE, SHAPE, TRIALS).assumptions)
