"""The loop: the order of its stages, what it writes, and that nothing is done twice."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from halo_forge.config.raft import AdaptiveSettings, EvaluationSettings, LoopSettings, RaftConfig
from halo_forge.config.sections import GenerationSettings, HardwareSettings
from halo_forge.core.errors import CheckFailed, VerifierFault
from halo_forge.core.types import Prompt, Sample
from halo_forge.engines.base import EngineSpec, Request
from halo_forge.engines.scripted import ScriptedEngine
from halo_forge.rlvr.cycle import Collaborators, run_cycles
from halo_forge.store.records import read_records
from halo_forge.store.run_dir import RunDir
from halo_forge.tracking.jsonl import JsonlTracker
from tests.fakes import (
    Diary,
    FakeLearner,
    FakeVerifier,
    Hook,
    make_prompt,
    nothing,
    tree,
    write_script,
)

ANSWERS = {
    "t1": ["pass a", "compile b", "pass c", "fail d"],
    "t2": ["compile a", "compile b", "runs c", "fail d"],
    "t3": ["fail a", "fail b", "fail c", "fail d"],
    "*": ["pass x", "fail y"],
}
TRAIN = tuple(make_prompt(name) for name in ("t1", "t2", "t3"))
HELDOUT = tuple(make_prompt(name) for name in ("h1", "h2"))

# what a record of raft_statistics.json promises to hold, and the held-out rate beside it
CONTRACT = {
    "cycle",
    "elapsed_minutes",
    "total_samples",
    "above_threshold",
    "kept",
    "unique_kept",
    "avg_reward",
    "avg_kept_reward",
    "success_rate",
    "reward_distribution",
    "faults",
    "prompts_solved",
    "effective_threshold",
    "learning_rate",
    "temperature",
    "tokens_generated",
    "generation_seconds",
    "verification_seconds",
    "verification_added_seconds",
    "training_seconds",
    "entropy",
    "heldout",
}
OF_THE_CLOCK = {
    "elapsed_minutes",
    "generation_seconds",
    "verification_seconds",
    "verification_added_seconds",
    "training_seconds",
    "step_time",
    "tokens_per_s",
    "time",
}


class _Killed(BaseException):
    """The process is gone."""


class _Noting(ScriptedEngine):
    """The scripted engine, noting what it is asked and by which policy."""

    def __init__(self, stage: Stage, policy: str, label: str) -> None:
        script = stage.scripts.get(Path(policy).name, stage.script)
        generation = GenerationSettings(engine="scripted", script=str(script))
        super().__init__(EngineSpec("", generation, HardwareSettings(), label=label))
        self._stage = stage
        self._policy = Path(policy).name

    def generate(self, requests: Iterable[Request], seed: int) -> Iterator[Sample]:
        """Note the request, then answer it."""
        requests = list(requests)
        kind = "heldout" if requests[0].prompt.id.startswith("h") else "train"
        self._stage.log.append(f"generate {kind} from {self._policy}")
        self._stage.seeds.append((kind, seed))
        for sample in super().generate(requests, seed):
            self._stage.before_sample(sample.id)
            yield sample


class Stage:
    """A run directory with everything around it, and a log of what was done."""

    def __init__(self, folder: Path, answers: dict[str, list[str]] | None = None) -> None:
        folder.mkdir(exist_ok=True)
        self.run = RunDir(folder / "run")
        self.script = write_script(folder / "script.jsonl", answers or ANSWERS)
        self.train: Sequence[Prompt] = TRAIN
        self.heldout: Sequence[Prompt] = HELDOUT
        self.scripts: dict[str, Path] = {}
        self.log: list[str] = []
        self.seeds: list[tuple[str, int]] = []
        self.heats: list[float] = []
        self.diary = Diary()
        self.described: list[int] = []
        self.before_sample: Hook = nothing
        self.before_fit: Hook = nothing
        self.after_fit: Hook = nothing
        self.judging: Hook = nothing
        self.learner = FakeLearner(self._fit, self._fitted)

    def _engine(self, policy: str, label: str, temperature: float) -> _Noting:
        self.heats.append(round(temperature, 9))
        return _Noting(self, policy, label)

    def _fit(self, request: Any) -> None:
        self.log.append(f"fit {request.output.name} from {Path(request.policy).name}")
        self.before_fit(request)

    def _fitted(self, request: Any) -> None:
        self.after_fit(request)

    def go(
        self,
        cycles: int = 2,
        *,
        heldout: bool = True,
        adaptive: AdaptiveSettings | None = None,
        steering: dict[str, Any] | None = None,
        **loop: Any,
    ) -> None:
        """Run the loop, as one attempt of a process does."""
        self.diary = Diary()
        config = RaftConfig(
            generation=GenerationSettings(sampling="adaptive" if adaptive else "fixed"),
            adaptive=adaptive or AdaptiveSettings(),
            raft=LoopSettings(num_cycles=cycles, samples_per_prompt=4, **loop),
            evaluation=EvaluationSettings(samples_per_prompt=2),
            **(steering or {}),
        )
        tracker = JsonlTracker(self.run.metrics_path)
        crew = Collaborators(
            config=config,
            run=self.run,
            prompts=self.train,
            eval_prompts=self.heldout if heldout else (),
            open_engine=self._engine,
            verifier=FakeVerifier(before=self.judging),
            examiner=FakeVerifier(score_hidden=True),
            learner=self.learner,
            trackers=[tracker],
            observer=self.diary,
            describe=self.described.append,
        )
        try:
            run_cycles(crew, "start-model")
        finally:
            tracker.close()

    def metrics(self) -> list[dict[str, Any]]:
        """Return the lines of `metrics.jsonl`."""
        return [json.loads(line) for line in self.run.metrics_path.read_text().splitlines()]


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """An empty run directory."""
    return Stage(tmp_path)


WHOLE = [
    "generate heldout from start-model",
    "generate train from start-model",
    "fit cycle_1_final from start-model",
    "generate heldout from cycle_1_final",
    "generate train from cycle_1_final",
    "fit cycle_2_final from cycle_1_final",
    "generate heldout from cycle_2_final",
]


def _timeless(records: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{k: v for k, v in record.items() if k not in OF_THE_CLOCK} for record in records]


def test_order_of_stages(stage: Stage) -> None:
    """Baseline, then generate, train and measure in every cycle, each from the policy before."""
    stage.go()
    assert stage.log == WHOLE
    assert [r["cycle"] for r in stage.run.read_statistics()] == [0, 1, 2]


def test_seeds_of_stages(stage: Stage) -> None:
    """Each cycle draws its own answers; held-out answers are drawn alike every time."""
    stage.go()
    assert len({seed for kind, seed in stage.seeds if kind == "train"}) == 2
    assert len({seed for kind, seed in stage.seeds if kind == "heldout"}) == 1
    assert len({seed for _, seed in stage.seeds}) == 3


def test_learner_is_given_the_kept_answers(stage: Stage) -> None:
    """Half of what is good enough, per prompt, of the best rung; rate and seed of the cycle."""
    stage.go()
    first, second = stage.learner.requests
    assert [example.id for example in stage.learner.examples[0]] == ["t1#0", "t2#2"]
    labels = [example.labels for example in stage.learner.examples[0]]
    asked = (len("Do t1."), len("Do t2."))
    assert labels == [
        [-100] * asked[0] + list(b"pass a"),
        [-100] * asked[1] + list(b"runs c"),
    ]
    assert (first.learning_rate, second.learning_rate) == (5e-5, pytest.approx(4.25e-5))
    assert first.seed != second.seed
    assert first.output == stage.run.checkpoint_path(1)
    assert first.meta == {"cycle": 1, "kept": 2}


def test_restart_trains_from_the_start_each_time(stage: Stage) -> None:
    """The last model answers, the start model is trained on its answers."""
    stage.go(restart=True)
    asked = [line.replace("fit cycle_2_final from cycle_1_final", "") for line in WHOLE]
    assert stage.log == [line or "fit cycle_2_final from start-model" for line in asked]


def test_learner_is_told_the_algorithm(stage: Stage) -> None:
    """Plain RAFT has no objective; a ratio has the temperature, bad answers a weight below 0."""
    stage.go(cycles=1)
    assert stage.learner.requests[0].objective is None
    other = Stage(stage.run.path.parent / "other")
    other.go(cycles=1, algorithm="reinforce-rej")
    objective = other.learner.requests[0].objective
    assert objective is not None
    assert (objective.ratio, objective.temperature) == (True, 0.7)
    signed = {one.id: one.weight for one in other.learner.examples[0]}
    assert signed == {
        "t1#0": 1, "t1#2": 1, "t1#1": -1, "t1#3": -1, "t2#2": 1, "t2#0": -1, "t2#1": -1, "t2#3": -1,
    }  # fmt: skip
    _, record = other.run.read_statistics()
    assert (record["algorithm"], record["kept"], record["kept_bad"]) == ("reinforce-rej", 3, 5)
    assert "Cycle 1: training on 3 answers and against 5 at 5.00e-05" in other.diary.messages


def test_no_prompt_with_both_kinds(tmp_path: Path) -> None:
    """Reinforce-Rej on prompts that all pass or all fail has nothing to train on, and says why."""
    stage = Stage(tmp_path / "alike", {"t3": ["fail a"], "*": ["pass a"]})
    with pytest.raises(CheckFailed, match="0 of 12 answers to prompts that also have bad ones"):
        stage.go(algorithm="reinforce-rej")
    assert stage.learner.requests == []


def test_temperature_grows(stage: Stage) -> None:
    """Training answers are sampled hotter each cycle, held-out ones as at first."""
    stage.go(temperature_growth=1.2)
    assert [r["temperature"] for r in stage.run.read_statistics()[1:]] == pytest.approx([0.7, 0.84])
    assert stage.heats == [0.7, 0.7, 0.7, 0.84, 0.7]


def test_statistics_have_what_the_contract_lists(stage: Stage) -> None:
    """Every field is there in every cycle, the held-out rate with its interval."""
    stage.go()
    baseline, *cycles = json.loads(stage.run.statistics_path.read_text())
    assert set(baseline) == {"cycle", "heldout"}
    for record in cycles:
        assert record.keys() >= CONTRACT
        assert all(record[name] is not None for name in CONTRACT)
        assert record["heldout"]["pass_rate"].keys() == {"mean", "low", "high", "units"}
        assert record["heldout"]["differences"]["pass_rate"]["p_value"] == 1.0
        assert (record["total_samples"], record["above_threshold"], record["kept"]) == (12, 6, 2)
        assert record["reward_distribution"] == {"0": 6, "0.5": 3, "0.7": 1, "1": 2}
        assert record["prompts_solved"] == 1
        assert record["training_seconds"] == 1.5
        assert record["elapsed_minutes"] >= 1.5 / 60
    assert baseline["heldout"]["pass_rate"]["mean"] == 0.5
    assert baseline["heldout"]["hidden_pass_rate"]["mean"] == 0.5
    assert baseline["heldout"]["differences"] == {}


def test_metrics_have_each_step_once(stage: Stage) -> None:
    """One line for each training and each measurement, with the names people know."""
    stage.go()
    lines = stage.metrics()
    assert [(line["step"], "loss" in line) for line in lines] == [
        (0, False), (1, True), (1, False), (2, True), (2, False),
    ]  # fmt: skip
    assert lines[0]["eval/pass_rate"] == 0.5


def test_held_out_is_told(stage: Stage) -> None:
    """Messages say where the run is, what was measured, and what the cycle took."""
    stage.go(cycles=1)
    took = stage.diary.messages.pop(3)
    assert re.fullmatch(
        r"Cycle 1 took \d+\.\d s: \d+\.\d s generating, 1\.5 s training; "
        r"judging lengthened it by \d+\.\d s",
        took,
    )
    assert stage.diary.messages == [
        "held-out baseline: compile_rate 0.500, pass_rate 0.500, hidden_pass_rate 0.500",
        "Cycle 1 of 1",
        "Cycle 1: training on 2 answers at 5.00e-05",
        "held-out after cycle 1: compile_rate 0.500, pass_rate 0.500, hidden_pass_rate 0.500",
    ]


def test_again_does_nothing(stage: Stage) -> None:
    """The same command again skips every cycle and changes no byte."""
    stage.go()
    before = tree(stage.run.path)
    stage.log.clear()
    stage.go()
    assert stage.log == []
    assert stage.diary.messages == [
        "Cycle 1 already complete, skipping...",
        "Cycle 2 already complete, skipping...",
    ]
    assert tree(stage.run.path) == before


def test_more_cycles_later(stage: Stage, tmp_path: Path) -> None:
    """One cycle and then another end where two at once do."""
    stage.go(cycles=1)
    stage.go(cycles=2)
    assert stage.log == WHOLE
    assert "Cycle 1 already complete, skipping..." in stage.diary.messages
    at_once = Stage(tmp_path / "other")
    at_once.go(cycles=2)
    assert _timeless(stage.run.read_statistics()) == _timeless(at_once.run.read_statistics())


def test_without_held_out_prompts(stage: Stage) -> None:
    """Nothing is measured, and nothing pretends to be."""
    stage.go(heldout=False)
    assert [line for line in stage.log if "heldout" in line] == []
    assert not stage.run.eval_path(0).exists()
    assert all("heldout" not in record for record in stage.run.read_statistics())
    assert [record["cycle"] for record in stage.run.read_statistics()] == [1, 2]


def test_nothing_worth_training(tmp_path: Path) -> None:
    """When no answer is good enough the run stops, says why, trains nothing and keeps all."""
    stage = Stage(tmp_path, {"*": ["fail a", "warn b"]})
    with pytest.raises(CheckFailed, match="cycle 1: 0 of 12 answers") as caught:
        stage.go()
    assert "reward_threshold = 0.5" in str(caught.value)
    assert "--fork DIR" in str(caught.value)
    assert caught.value.exit_code == 1
    assert stage.learner.requests == []
    assert not stage.run.checkpoint_path(1).exists()
    assert len(list(read_records(stage.run.verified_path(1)))) == 12
    stage.log.clear()
    with pytest.raises(CheckFailed):
        stage.go()
    assert stage.log == []


@pytest.mark.parametrize(("least", "enough"), [(2, True), (3, False)])
def test_min_samples(stage: Stage, least: int, enough: bool) -> None:
    """Fewer kept answers than asked for stop the run; they are never filled up with failures."""
    if enough:
        stage.go(min_samples=least)
        assert [len(examples) for examples in stage.learner.examples] == [2, 2]
    else:
        with pytest.raises(CheckFailed, match=r"min_samples asks for 3\. Nothing was trained"):
            stage.go(min_samples=least)
        assert stage.learner.requests == []


def test_fault_stops_before_training(stage: Stage) -> None:
    """An answer that cannot be judged stops the cycle; mended, only that answer is judged."""

    def broken(sample: Sample) -> None:
        if sample.id == "t2#2":
            raise VerifierFault("g++ is gone")

    stage.judging = broken
    with pytest.raises(VerifierFault, match="t2#2: g\\+\\+ is gone"):
        stage.go(cycles=1)
    assert stage.learner.requests == []
    judged: list[str] = []
    stage.judging = lambda sample: judged.append(sample.id)
    stage.go(cycles=1)
    assert judged == ["t2#2"]
    assert stage.log == WHOLE[:4]


ADAPTIVE = AdaptiveSettings(wave=2, enough=2)  # t1 and t2 have two at once, t3 never


def test_adaptive_budget(stage: Stage) -> None:
    """Prompts with enough accepted answers get no more; what that saved is in the record."""
    stage.go(cycles=1, adaptive=ADAPTIVE)
    _, record = stage.run.read_statistics()
    ids = [r["id"] for r in read_records(stage.run.verified_path(1))]
    assert sorted(ids) == ["t1#0", "t1#1", "t2#0", "t2#1", "t3#0", "t3#1", "t3#2", "t3#3"]
    assert (record["total_samples"], record["samples_saved"]) == (8, 4)
    assert record["tokens_saved"] == 2 * 7.5 + 2 * 9
    assert record["prompt_ends"] == {"enough": 2, "solved": 0, "hopeless": 0, "spent": 1}
    assert [line for line in stage.log if "train" in line] == [
        "generate train from start-model"
    ] * 2
    assert stage.diary.messages[1:5] == [
        "Cycle 1 of 1",
        "cycle 1: 6 answers to 3 prompts",
        "cycle 1: 2 answers to 1 prompts",
        "Cycle 1: training on 2 answers at 5.00e-05",
    ]
    assert stage.metrics()[1]["samples_saved"] == 4
    # held-out figures are means over prompts, and have the same answers for each
    assert len(list(read_records(stage.run.eval_path(0)))) == 4


def test_fixed_budget_has_no_savings(stage: Stage) -> None:
    """What was not asked for is not reported."""
    stage.go(cycles=1)
    assert not stage.run.read_statistics()[1].keys() & {"samples_saved", "tokens_saved"}


class _Nth:
    """A hook that kills at its ``nth`` call, once."""

    def __init__(self, nth: int) -> None:
        self._left = nth

    def __call__(self, _: object) -> None:
        self._left -= 1
        if self._left == 0:
            raise _Killed


@pytest.mark.parametrize(
    ("place", "nth"),
    [
        ("before_sample", 1),
        ("before_sample", 4),
        ("before_sample", 6),
        ("before_sample", 16),
        ("before_sample", 17),
        ("before_sample", 25),
        ("before_sample", 33),
        ("judging", 1),
        ("judging", 9),
        ("judging", 15),
        ("before_fit", 1),
        ("before_fit", 2),
        ("after_fit", 1),
        ("after_fit", 2),
    ],
)
@pytest.mark.parametrize("adaptive", [None, ADAPTIVE])
def test_killed_anywhere_ends_alike(
    tmp_path: Path, place: str, nth: int, adaptive: AdaptiveSettings | None
) -> None:
    """Whatever stage a kill strikes in: same journals, same kept set, same checkpoints."""
    calm, struck = Stage(tmp_path / "calm"), Stage(tmp_path / "struck")
    calm.go(adaptive=adaptive)
    setattr(struck, place, _Nth(nth))
    try:
        struck.go(adaptive=adaptive)
    except _Killed:
        struck.go(adaptive=adaptive)
    else:
        # with fewer answers the last passages of a place are never reached
        assert adaptive is not None
        assert nth > 24
    assert struck.learner.examples == calm.learner.examples
    for cycle in (1, 2):
        for path in (RunDir.samples_path, RunDir.verified_path, RunDir.eval_path):
            found, wanted = (
                {r["id"]: r for r in read_records(path(one.run, cycle))} for one in (struck, calm)
            )
            assert found == wanted
        assert tree(struck.run.checkpoint_path(cycle)) == tree(calm.run.checkpoint_path(cycle))
    assert tree(struck.run.path).keys() == tree(calm.run.path).keys()


@pytest.mark.parametrize(("place", "nth"), [("before_sample", 9), ("before_fit", 2)])
def test_statistics_after_a_kill(tmp_path: Path, place: str, nth: int) -> None:
    """After a kill before a checkpoint only times differ from an undisturbed run."""
    calm, struck = Stage(tmp_path / "calm"), Stage(tmp_path / "struck")
    calm.go()
    setattr(struck, place, _Nth(nth))
    with pytest.raises(_Killed):
        struck.go()
    struck.go()
    assert _timeless(struck.run.read_statistics()) == _timeless(calm.run.read_statistics())
    assert _timeless(struck.metrics()) == _timeless(calm.metrics())


def test_kill_between_checkpoint_and_record(tmp_path: Path) -> None:
    """A checkpoint without its record gets it later, without a second training."""
    calm, struck = Stage(tmp_path / "calm"), Stage(tmp_path / "struck")
    calm.go()
    struck.after_fit = _Nth(1)
    with pytest.raises(_Killed):
        struck.go()
    assert struck.run.checkpoint_path(1).is_dir()
    struck.go()
    assert [request.output.name for request in struck.learner.requests] == [
        "cycle_1_final",
        "cycle_2_final",
    ]
    assert struck.run.read_statistics()[1].keys() >= CONTRACT - {"training_seconds"}
    (found, wanted) = (_timeless(one.run.read_statistics())[1] for one in (struck, calm))
    assert found == {name: wanted[name] for name in found}
