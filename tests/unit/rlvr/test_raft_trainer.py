"""From settings to a run directory, and the guard around it."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from halo_forge.config.load import load_config
from halo_forge.config.profiles import PROFILES
from halo_forge.config.raft import RaftConfig
from halo_forge.core.errors import UserError, VerifierFault
from halo_forge.core.identity import content_id
from halo_forge.core.types import Prompt
from halo_forge.data.prompts import load_prompts
from halo_forge.engines.base import EngineSpec
from halo_forge.rlvr import raft_trainer
from halo_forge.rlvr.material import read_material
from halo_forge.rlvr.raft_trainer import RAFTTrainer
from halo_forge.store.records import read_records
from halo_forge.store.run_dir import RunDir
from tests.fakes import (
    Diary,
    FakeLearner,
    FakeVerifier,
    Offline,
    plug_in,
    tree,
    write_script,
)

_EVERY_ATTEMPT = ("run.json", "logs/")
"""What an attempt writes even when nothing is owed: that it took place."""


class _NoCompiler(FakeVerifier):
    """A verifier that cannot start here."""

    def start(self, prompts: Sequence[Prompt] = ()) -> None:
        """Say so."""
        raise VerifierFault("no compiler: install g++")


class Workshop:
    """A model, prompts, a learner, and settings that use them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.output = folder / "run"
        self.learner = FakeLearner()
        self.opened: list[EngineSpec] = []
        self.diary = Diary()
        self.model = folder / "model"
        self.model.mkdir()
        (self.model / "weights").write_text("base")
        self.write("train.jsonl", "sum the numbers", "reverse the line")
        self.write("heldout.jsonl", "count the words", "print the last line")
        script = {"*": ["pass a", "compile b", "fail c"]}
        write_script(folder / "script.jsonl", script)

    def write(self, name: str, *texts: str) -> Path:
        """Write a prompts file."""
        path = self.folder / name
        path.write_text("".join(json.dumps({"prompt": text}) + "\n" for text in texts))
        return path

    def config(self, **changes: Any) -> RaftConfig:
        """Return the settings, with some dotted keys changed."""
        values: dict[str, Any] = {
            "model": {"name": str(self.model)},
            "output_dir": str(self.output),
            "prompts": str(self.folder / "train.jsonl"),
            "eval_prompts": str(self.folder / "heldout.jsonl"),
            "raft": {"num_cycles": 2, "samples_per_prompt": 3},
            "generation": {"engine": "offline", "script": str(self.folder / "script.jsonl")},
            "verifier": {"type": "fake"},
            "report_to": [],
        }
        for key, value in changes.items():
            section, _, name = key.rpartition(".")
            (values.setdefault(section, {}) if section else values)[name] = value
        return RaftConfig.model_validate(values)

    def train(self, fork: Path | None = None, **changes: Any) -> list[dict[str, Any]]:
        """Train, as one call of the command does."""
        self.diary = Diary()
        trainer = RAFTTrainer(self.config(**changes), observer=self.diary, fork=fork)
        return trainer.train()

    def lasting(self, run: Path | None = None) -> dict[str, str]:
        """Return the files that an attempt with nothing to do must not change."""
        files = tree(run or self.output)
        return {name: value for name, value in files.items() if not name.startswith(_EVERY_ATTEMPT)}


def _model_digest(ref: str | Path) -> str:
    if not Path(ref).is_dir():
        raise UserError(f"model {str(ref)!r} does not exist")
    return content_id(tree(Path(ref)))


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workshop:
    """A workshop whose learner and digests of models need no torch."""
    made = Workshop(tmp_path)
    checkpoint = ModuleType("halo_forge.models.checkpoint")
    checkpoint.model_digest = _model_digest  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, checkpoint.__name__, checkpoint)
    monkeypatch.setattr(raft_trainer, "_learner", lambda keeper: made.learner)
    plug_in(monkeypatch, "verifiers", "fake", FakeVerifier)
    plug_in(monkeypatch, "verifiers", "no_compiler", _NoCompiler)
    plug_in(monkeypatch, "engines", "offline", Offline)
    real = Offline.__enter__

    def noting(self: Offline) -> Offline:
        made.opened.append(self.spec)
        return real(self)

    monkeypatch.setattr(Offline, "__enter__", noting)
    return made


def test_run_directory_is_complete(shop: Workshop) -> None:
    """Everything the contract names is there, and the records are what is returned."""
    records = shop.train()
    run = RunDir(shop.output)
    assert records == run.read_statistics()
    assert [record["cycle"] for record in records] == [0, 1, 2]
    for cycle in (1, 2):
        assert run.checkpoint_path(cycle).is_dir()
        assert run.samples_path(cycle).is_file()
        assert run.verified_path(cycle).is_file()
        assert run.eval_path(cycle).is_file()
    assert load_prompts(run.prompts_path) == load_prompts(shop.folder / "train.jsonl")
    assert load_prompts(run.eval_prompts_path) == load_prompts(shop.folder / "heldout.jsonl")
    assert load_config(RaftConfig, [run.config_path], {}).value == shop.config()
    assert len(run.metrics_path.read_text().splitlines()) == 5
    assert (run.logs_path / "attempt_1" / "halo_forge.log").is_file()


def test_what_the_machine_was_is_noted(shop: Workshop) -> None:
    """`run.json` holds what is guarded, and for each attempt versions, machine and command."""
    shop.train()
    info = RunDir(shop.output).read_info()
    assert info is not None
    assert info["guarded"].keys() >= {
        "seed",
        "raft.samples_per_prompt",
        "generation.temperature",
        "model.content",
        "prompts.content",
        "eval_prompts.content",
        "verifier.fingerprint",
    }
    (attempt,) = info["attempts"]
    assert attempt.keys() == {"started", "command", "libraries", "machine", "profile"}
    assert attempt["profile"]["name"] in PROFILES
    assert attempt["libraries"].keys() >= {"halo-forge", "torch", "transformers", "peft"}


def test_every_checkpoint_has_its_card(shop: Workshop) -> None:
    """Base, licence, data, verifier, run, and the rates up to its own cycle; no folder of ours."""
    (shop.model / "README.md").write_text("---\nlicense: mit\n---\n")
    manifest = {"dataset": "mbpp", "licence": "CC-BY-4.0", "rows": 2}
    (shop.folder / "train.jsonl.manifest.json").write_text(json.dumps(manifest))
    shop.train()
    run = RunDir(shop.output)
    first, second = (run.card_path(cycle).read_text("utf-8") for cycle in (1, 2))
    for said in (
        "base_model: model\n",
        "license: mit\n",
        "- raft\n",
        "- prompts: file train.jsonl, dataset mbpp, licence CC-BY-4.0\n",
        "- held out: file heldout.jsonl\n",
        "Cycle 2 of reward-ranked",
        "| | before | cycle 1 | cycle 2 |",
        "2 held-out tasks, 8 answers, 95 % intervals",
        "It does not say that the program is right on other inputs",
    ):
        assert said in second
    assert "| passes every test | 50.0% [" in second
    assert "| | before | cycle 1 |\n" in first
    assert str(shop.folder) not in second


def test_a_lost_card_is_written_again(shop: Workshop) -> None:
    """A kill after the checkpoint leaves it without one; the next attempt owes it."""
    shop.train(eval_prompts=None)
    card = RunDir(shop.output).card_path(1)
    text = card.read_text("utf-8")
    assert "No held-out tasks were measured." in text
    card.unlink()
    shop.train(eval_prompts=None)
    assert card.read_text("utf-8") == text


def test_what_a_benchmark_has_is_not_trained_on(shop: Workshop) -> None:
    """A prompt that holds its task is left out, and the run says so; or it does not start."""
    told = "reverse the line and print it once more with a full stop at its end"
    shop.write("train.jsonl", "sum the numbers", told)
    bench = shop.write("bench.jsonl", told.upper())
    removing = {"against": [str(bench)]}
    with pytest.raises(UserError, match="1 of 2 records hold tasks of a benchmark"):
        shop.train(decontaminate={**removing, "action": "refuse"})
    assert not shop.output.exists()
    shop.train(decontaminate=removing)
    run = RunDir(shop.output)
    assert [prompt.text for prompt in load_prompts(run.prompts_path)] == ["sum the numbers"]
    info = run.read_info()
    assert info is not None
    facts = info["attempts"][0]["decontamination"]
    assert (facts["checked"], facts["overlapping"], facts["action"]) == (2, 1, "remove")
    assert facts["first"][0]["source"] == str(bench)
    with pytest.raises(UserError, match=r"prompts\.content"):
        shop.train()
    bench.write_text(json.dumps({"prompt": "sum the numbers, please, all of them"}) + "\n")
    with pytest.raises(UserError, match=r"prompts\.content"):
        shop.train(decontaminate=removing)


def test_again_does_nothing(shop: Workshop) -> None:
    """The same command again opens no engine, trains nothing and changes no file of the result."""
    first = shop.train()
    before = shop.lasting()
    shop.opened.clear()
    fits = len(shop.learner.requests)
    assert shop.train() == first
    assert shop.opened == []
    assert len(shop.learner.requests) == fits
    assert shop.lasting() == before
    assert shop.diary.messages == [
        "Cycle 1 already complete, skipping...",
        "Cycle 2 already complete, skipping...",
    ]
    info = RunDir(shop.output).read_info()
    assert info is not None
    assert len(info["attempts"]) == 2


def test_policies_and_labels(shop: Workshop) -> None:
    """Each engine gets the policy of its cycle and the label that goes into its samples."""
    shop.train()
    start, one, two = (
        str(shop.model),
        *(str(RunDir(shop.output).checkpoint_path(n)) for n in (1, 2)),
    )
    assert [(spec.policy, spec.label) for spec in shop.opened] == [
        (start, "start"),
        (start, "start"),
        (one, "cycle_1"),
        (one, "cycle_1"),
        (two, "cycle_2"),
    ]


def test_a_server_is_not_trained_from(shop: Workshop) -> None:
    """Every engine is told that its samples are trained on; one that cannot serve that refuses."""
    shop.train()
    assert {spec.for_training for spec in shop.opened} == {True}
    fresh = shop.folder / "fresh"
    server = {"engine": "openai", "server": {"base_url": "http://127.0.0.1:1/v1"}}
    with pytest.raises(UserError, match=r"engine 'openai': .* cannot be trained on"):
        shop.train(generation=server, output_dir=str(fresh))
    assert not fresh.exists()


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"seed": 5}, "seed: 0 then, 5 now"),
        ({"raft.samples_per_prompt": 4}, "raft.samples_per_prompt: 3 then, 4 now"),
        ({"raft.reward_threshold": 0.7}, "raft.reward_threshold: 0.5 then, 0.7 now"),
        ({"generation.temperature": 0.2}, "generation.temperature: 0.7 then, 0.2 now"),
        ({"training.learning_rate": 3e-4}, "training.learning_rate: 5e-05 then, 0.0003 now"),
        ({"lora.r": 8}, "lora.r: 16 then, 8 now"),
        ({"verifier.options": {"bonus": 0.1}}, "verifier.fingerprint: 'fake bonus=0' then"),
        ({"system_prompt": "Be brief."}, "system_prompt: None then, 'Be brief.' now"),
    ],
)
def test_other_settings_are_refused_by_name(
    shop: Workshop, changes: dict[str, Any], key: str
) -> None:
    """A run directory is not continued with other settings: each is named, nothing changes."""
    shop.train(**{"raft.num_cycles": 1})
    before = tree(shop.output)
    with pytest.raises(UserError, match="made with other settings") as caught:
        shop.train(**changes)
    assert f"  {key}" in str(caught.value)
    assert tree(shop.output) == before


def _other_prompts(shop: Workshop) -> None:
    shop.write("train.jsonl", "sum the numbers", "reverse the words")


def _other_heldout(shop: Workshop) -> None:
    shop.write("heldout.jsonl", "count the lines")


def _other_weights(shop: Workshop) -> None:
    (shop.model / "weights").write_text("tuned")


@pytest.mark.parametrize(
    ("change", "key"),
    [
        (_other_prompts, "prompts.content"),
        (_other_heldout, "eval_prompts.content"),
        (_other_weights, "model.content"),
    ],
)
def test_other_content_under_the_same_name_is_refused(
    shop: Workshop, change: Callable[[Workshop], None], key: str
) -> None:
    """Files and models are compared by what they hold."""
    shop.train(**{"raft.num_cycles": 1})
    change(shop)
    with pytest.raises(UserError, match=f"\n  {key}: ") as caught:
        shop.train()
    assert str(caught.value).count(" then, ") == 1


def test_same_content_under_another_name_goes_on(shop: Workshop) -> None:
    """Moved files, and settings that cannot change a result, do not stop a run."""
    shop.train(**{"raft.num_cycles": 1})
    moved = shop.folder / "moved"
    moved.mkdir()
    shop.model.rename(moved / "model")
    (shop.folder / "train.jsonl").rename(moved / "prompts.jsonl")
    records = shop.train(
        **{
            "model.name": str(moved / "model"),
            "prompts": str(moved / "prompts.jsonl"),
            "verifier.max_workers": 1,
            "raft.num_cycles": 3,
        }
    )
    assert [record["cycle"] for record in records] == [0, 1, 2, 3]
    assert shop.diary.messages.count("Cycle 1 already complete, skipping...") == 1
    assert len(shop.learner.requests) == 3


def test_fork_starts_from_the_last_complete_checkpoint(shop: Workshop) -> None:
    """A fork with other settings goes on from cycle 2 in its own directory; the old one stays."""
    shop.train()
    RunDir(shop.output).samples_path(3).write_text("")  # a third cycle was begun, not completed
    before = tree(shop.output)
    fork = shop.folder / "fork"
    records = shop.train(fork, **{"raft.reward_threshold": 0.7, "raft.num_cycles": 1})
    assert [record["cycle"] for record in records] == [0, 1]
    request = shop.learner.requests[-1]
    assert request.policy == str(RunDir(shop.output).checkpoint_path(2))
    assert request.output == RunDir(fork).checkpoint_path(1)
    assert tree(shop.output) == before

    result = shop.lasting(fork)
    shop.train(fork, **{"raft.reward_threshold": 0.7, "raft.num_cycles": 1})
    assert shop.lasting(fork) == result


def test_fork_of_a_run_without_checkpoint(shop: Workshop) -> None:
    """When no cycle is complete the fork starts where the run did."""
    write_script(shop.folder / "script.jsonl", {"nobody": ["pass"]})
    with pytest.raises(UserError, match="no completions"):
        shop.train()
    write_script(shop.folder / "script.jsonl", {"*": ["pass a"]})
    shop.train(shop.folder / "fork")
    assert shop.learner.requests[0].policy == str(shop.model)


def test_fork_needs_a_run_and_another_place(shop: Workshop) -> None:
    """Forking from nothing, or into the run itself, is refused before anything is made."""
    with pytest.raises(UserError, match=r"--fork: .*run is not a run directory"):
        shop.train(shop.folder / "fork")
    shop.train(**{"raft.num_cycles": 1})
    with pytest.raises(UserError, match="is the run itself; choose another"):
        shop.train(shop.output / ".." / "run")
    assert not (shop.folder / "fork").exists()


def test_checkpoint_instead_of_the_model(shop: Workshop) -> None:
    """`sft_checkpoint` is where training starts, when it is given."""
    tuned = shop.folder / "tuned"
    tuned.mkdir()
    (tuned / "weights").write_text("sft")
    shop.train(sft_checkpoint=str(tuned))
    assert shop.learner.requests[0].policy == str(tuned)


def test_held_out_prompts_that_are_trained_on_are_refused(shop: Workshop) -> None:
    """A prompt in both files is named; nothing is made."""
    shop.write("heldout.jsonl", "count the words", "reverse the line")
    with pytest.raises(UserError, match="1 held-out prompts are also trained on") as caught:
        shop.train()
    leaked = load_prompts(shop.folder / "heldout.jsonl")[1]
    assert repr(leaked.id) in str(caught.value)
    assert not shop.output.exists()


def test_the_same_question_about_another_text_is_another_task(shop: Workshop) -> None:
    """What stands before the question belongs to it; a system message that all share does not."""

    def write(name: str, *chats: tuple[str, ...]) -> None:
        keys = ("system", "prompt")
        rows = [dict(zip(keys[-len(chat) :], chat, strict=True)) for chat in chats]
        (shop.folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))

    write("train.jsonl", ("Text A.", "Sum up."), ("Text B.", "Sum up."))
    write("heldout.jsonl", ("Text C.", "Sum up."), ("Text D.", "Sum up."))
    read_material(shop.config())
    write("heldout.jsonl", ("Text A.", "Sum up."), ("Text D.", "Sum up."))
    with pytest.raises(UserError, match="1 held-out prompts are also trained on"):
        read_material(shop.config())
    write("train.jsonl", ("Be brief.", "one"), ("Be brief.", "two"))
    write("heldout.jsonl", ("two",), ("three",))
    with pytest.raises(UserError, match="1 held-out prompts are also trained on"):
        read_material(shop.config())


def test_without_held_out_prompts(shop: Workshop) -> None:
    """A run without them has no held-out rate."""
    records = shop.train(eval_prompts=None)
    assert all("heldout" not in record for record in records)


def test_missing_compiler_is_found_before_anything_else(shop: Workshop) -> None:
    """What the verifier lacks stops the run at once: no directory, no engine."""
    with pytest.raises(VerifierFault, match="install g"):
        shop.train(**{"verifier.type": "no_compiler"})
    assert not shop.output.exists()
    assert shop.opened == []


def test_second_process_is_refused(shop: Workshop) -> None:
    """While the directory is taken nothing of it is touched."""
    with RunDir(shop.output).lock():
        before = tree(shop.output)
        with pytest.raises(UserError, match="another halo-forge process"):
            shop.train()
        assert tree(shop.output) == before
    assert shop.train(**{"raft.num_cycles": 1})


def test_log_file_is_let_go(shop: Workshop) -> None:
    """Each attempt logs to its own file and leaves no handler behind, error or not."""
    handlers = list(logging.getLogger("halo_forge").handlers)
    shop.train(**{"raft.num_cycles": 1})
    with pytest.raises(UserError, match="unknown engine 'offlin'"):
        shop.train(**{"raft.num_cycles": 2, "generation.engine": "offlin"}, fork=shop.folder / "f")
    assert logging.getLogger("halo_forge").handlers == handlers


def test_wrong_layers_and_missing_script_leave_no_run_directory(
    shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What learner and engine need is tried before anything is written."""

    def refuse(*_: Any, **__: Any) -> None:
        raise UserError("no linear layer called qkv_proj")

    with pytest.raises(UserError, match=r"needs generation\.script"):
        shop.train(**{"generation.script": None})
    assert not shop.output.exists()
    monkeypatch.setattr(shop.learner, "check", refuse)
    with pytest.raises(UserError, match="qkv_proj"):
        shop.train()
    assert not shop.output.exists()


def test_unknown_tracker_is_said(shop: Workshop) -> None:
    """A tracker that is not registered is named with those that are."""
    with pytest.raises(UserError, match="unknown tracker 'tensorbord'") as caught:
        shop.train(report_to=["tensorbord"])
    assert "Did you mean 'tensorboard'?" in str(caught.value)


def test_hidden_tests_are_scored_for_training_answers_too(shop: Workshop) -> None:
    """They are in the verdicts, and change neither rewards nor what is kept."""
    shop.train(**{"raft.num_cycles": 1})
    with_hidden = list(read_records(RunDir(shop.output).verified_path(1)))
    assert all(record["metadata"]["hidden_total"] == 1 for record in with_hidden)
    shop.output = shop.folder / "without"
    shop.train(**{"raft.num_cycles": 1, "evaluation": {"hidden_tests": False}})
    without = list(read_records(RunDir(shop.output).verified_path(1)))
    assert not any(record["metadata"] for record in without)
    assert shop.learner.examples[0] == shop.learner.examples[1]


def test_a_twin_lends_its_first_answers(shop: Workshop) -> None:
    """Only to a run that differs from it in the control; everything else is compared."""
    shop.train(**{"raft.num_cycles": 1})
    for name, seed, lent in (("control", 0, True), ("other", 1, False)):
        shop.opened.clear()
        changes = {"raft.control": "unverified", "raft.num_cycles": 1, "seed": seed}
        config = shop.config(**changes, output_dir=str(shop.folder / name))
        RAFTTrainer(config, observer=shop.diary, twin=shop.output).train()
        spoken = [spec.label for spec in shop.opened]
        assert spoken == (["cycle_1"] if lent else ["start", "start", "cycle_1"])


def test_earlier_runs_are_guarded(shop: Workshop) -> None:
    """A historical curriculum depends on their journals, so these are compared by content."""
    shop.train(**{"raft.num_cycles": 1})
    earlier, shop.output = shop.output, shop.folder / "next"
    curriculum = {"kind": "historical", "history": (str(earlier),)}
    shop.train(**{"raft.num_cycles": 1}, curriculum=curriculum)
    journal = RunDir(earlier).verified_path(1)
    journal.write_text(journal.read_text().replace('"success":true', '"success":false'))
    with pytest.raises(UserError, match=r"curriculum\.history"):
        shop.train(**{"raft.num_cycles": 1}, curriculum=curriculum)
    shop.write("train.jsonl", "asked nowhere before")
    with pytest.raises(UserError, match="none of the 1 training prompts was asked in"):
        shop.train(shop.folder / "other", curriculum=curriculum)
    with pytest.raises(ValueError, match="historical orders the prompts by earlier runs'"):
        shop.config(curriculum={"kind": "historical"})
