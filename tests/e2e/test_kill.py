"""A run that is killed in generation, in verification and in training ends like one that is not.

One run directory is killed three times and then left alone; a second one is never disturbed.
"""

import re
from dataclasses import dataclass, field

import pytest
import torch

from halo_forge.store.records import read_records

pytestmark = [pytest.mark.model, pytest.mark.toolchain("g++"), pytest.mark.timeout(1500)]

_TRAIN_STEP = re.compile(r"[1-9]\d*/\d+ steps")


@dataclass
class History:
    """What was found after each kill, and at the end.

    Attributes:
        generated: Answers on the disk after each kill.
        judged: Verdicts on the disk after each kill.
        children: How many processes each killed one had started.
        survivors: Processes that outlived each kill.
        names: Files and folders of the run directory after each kill.
        said: What the last attempt printed.
        run: The finished run.
    """

    generated: list[int] = field(default_factory=list)
    judged: list[int] = field(default_factory=list)
    children: list[int] = field(default_factory=list)
    survivors: list[list[str]] = field(default_factory=list)
    names: list[set[str]] = field(default_factory=list)
    said: str = ""
    run: object = None

    def kill(self, attempt) -> None:
        """Kill an attempt and note what is left of it."""
        children = attempt.kill()
        self.children.append(len(children))
        self.survivors.append(attempt.survivors(children))
        folder = attempt.run.path
        self.generated.append(len(list(read_records(attempt.run.samples_path(1)))))
        self.judged.append(len(list(read_records(attempt.run.verified_path(1)))))
        self.names.append({path.name for path in folder.iterdir()})


@pytest.fixture(scope="module")
def history(begin, undisturbed, tmp_path_factory) -> History:
    """The run with three kills; the reference is made first, so that no two runs compete."""
    folder = tmp_path_factory.mktemp("killed") / "run"
    found = History()

    attempt = begin(folder)
    attempt.until(lambda: attempt.generated >= 2)
    found.kill(attempt)

    attempt = begin(folder, verifier__max_workers=1)
    total = len(undisturbed.samples)
    attempt.until(lambda: attempt.generated == total and attempt.judged < total)
    found.kill(attempt)

    attempt = begin(folder, progress="rich")
    attempt.until(lambda: _TRAIN_STEP.search(attempt.said) is not None)
    found.kill(attempt)

    # and what a kill while the checkpoint is written would leave
    half = folder / "cycle_1_final.tmp-dead"
    half.mkdir()
    (half / "adapter_config.json").write_text("{", encoding="utf-8")

    attempt = begin(folder)
    assert attempt.wait() == 0, attempt.said
    found.said, found.run = attempt.said, attempt.run
    return found


def test_killed_where_it_should_be(history, undisturbed):
    """The kills hit the middle of generating, of judging, and of training."""
    total = len(undisturbed.samples)
    assert 2 <= history.generated[0] < total
    assert history.generated[1:] == [total, total]
    assert history.judged[0] <= history.generated[0]
    assert history.judged[0] <= history.judged[1] < total
    assert history.judged[2] == total
    assert not any("cycle_1_final" in names for names in history.names)
    assert not any("raft_statistics.json" in names for names in history.names)


def test_what_was_done_is_not_done_again(history):
    """The last attempt found every answer and every verdict, and only trained."""
    assert "Cycle 1: training on" in history.said
    assert "generate" not in history.said
    assert "verify" not in history.said


def test_the_same_samples(history, undisturbed, journey):
    """Sample by sample the tokens, figures and verdicts are those of the undisturbed run."""
    killed = journey(history.run)
    assert killed.samples == undisturbed.samples
    assert killed.verdicts == undisturbed.verdicts
    assert len({tuple(s["token_ids"]) for s in killed.samples.values()}) > 4


def test_the_same_kept_set(history, undisturbed, journey):
    """Selection keeps the same answers, by the journal and by the statistics."""
    killed = journey(history.run)
    assert killed.kept == undisturbed.kept
    for run in (killed, undisturbed):
        assert run.statistics["kept"] == len(run.kept) >= 1
    same = ("total_samples", "avg_reward", "reward_distribution", "steps", "training_tokens")
    assert {k: killed.statistics[k] for k in same} == {k: undisturbed.statistics[k] for k in same}


def test_the_same_adapter(history, undisturbed, journey):
    """Training on the same answers with the same seed gives the same adapter."""
    killed = journey(history.run)
    assert killed.statistics["loss"] == pytest.approx(undisturbed.statistics["loss"], abs=1e-6)
    assert killed.adapter.keys() == undisturbed.adapter.keys()
    for name, weight in undisturbed.adapter.items():
        torch.testing.assert_close(killed.adapter[name], weight, atol=1e-6, rtol=0)
    assert any(w.abs().max() > 1e-5 for n, w in killed.adapter.items() if "lora_B" in n)


def test_nothing_survives_a_kill(history):
    """No compiler, no program and no part of the sandbox outlives the run."""
    assert min(history.children) >= 1
    assert history.survivors == [[], [], []]


def test_nothing_half_written_stays(history):
    """Half a checkpoint is never taken for one, and is gone in the end."""
    names = {path.name for path in history.run.path.iterdir()}
    assert "cycle_1_final" in names
    assert not any(".tmp-" in name for name in names)
