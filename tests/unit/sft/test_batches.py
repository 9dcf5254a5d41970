"""Steps, warm-up and columns: known before training starts, and right."""

import pytest

from halo_forge.config.raft import TrainingSettings
from halo_forge.core.types import TrainingExample
from halo_forge.sft.batches import optimizer_steps, to_columns, warmup_steps


def settings(batch: int, accumulation: int, epochs: int) -> TrainingSettings:
    """Settings of that size."""
    return TrainingSettings(
        batch_size=batch, gradient_accumulation_steps=accumulation, epochs=epochs
    )


@pytest.mark.parametrize(
    ("examples", "batch", "accumulation", "epochs", "steps"),
    [
        (1, 2, 16, 1, 1),
        (32, 2, 16, 1, 1),
        (33, 2, 16, 1, 2),
        (64, 2, 16, 1, 2),
        (65, 2, 16, 2, 6),
        (7, 1, 1, 3, 21),
    ],
)
def test_steps(examples: int, batch: int, accumulation: int, epochs: int, steps: int) -> None:
    """An incomplete batch and an incomplete accumulation count as whole ones, in every epoch."""
    assert optimizer_steps(examples, settings(batch, accumulation, epochs)) == steps


@pytest.mark.parametrize(
    ("total", "ratio", "steps"),
    [(1, 0.03, 0), (33, 0.03, 0), (34, 0.03, 1), (100, 0.03, 3), (1, 0.99, 0), (2, 0.99, 1)],
)
def test_warm_up_is_rounded_down(total: int, ratio: float, steps: int) -> None:
    """A short cycle has no warm-up at all."""
    assert warmup_steps(total, ratio) == steps


@pytest.mark.parametrize("total", range(1, 60))
@pytest.mark.parametrize("ratio", [0.0, 0.03, 0.5, 0.999])
def test_warm_up_never_takes_the_whole_cycle(total: int, ratio: float) -> None:
    """At least one step is at the full learning rate, whatever the ratio."""
    assert 0 <= warmup_steps(total, ratio) < total


def test_columns() -> None:
    """Token ids go in as they were sampled; labels mask the prompt and nothing else."""
    examples = [
        TrainingExample("a#0", (5, 6, 7, 2), completion_start=2),
        TrainingExample("b#1", (9, 2, 0, 2), completion_start=1),
    ]
    columns = {k: [row.tolist() for row in v] for k, v in to_columns(examples).items()}
    assert columns == {
        "input_ids": [[5, 6, 7, 2], [9, 2, 0, 2]],
        "labels": [[-100, -100, 7, 2], [-100, 2, 0, 2]],
    }


def test_turns_between_answers_carry_no_loss() -> None:
    """What lies between two answers of a chat is masked, and is not counted."""
    example = TrainingExample("c", (5, 6, 7, 2, 9, 9, 8, 2), 2, masked=((4, 6),))
    assert example.labels == [-100, -100, 7, 2, -100, -100, 8, 2]
    assert example.loss_tokens == 4


@pytest.mark.parametrize(("processes", "steps"), [(1, 5), (2, 3), (3, 2), (9, 1)])
def test_processes_share_the_batches(processes: int, steps: int) -> None:
    """Nine batches, two a step: each process takes its part, an incomplete one counts as whole."""
    assert optimizer_steps(18, settings(2, 2, 1), processes) == steps
