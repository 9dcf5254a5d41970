"""Another algorithm on the answers of a run that is there, on a tiny model with real gradients."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from halo_forge.config.load import load_config
from halo_forge.config.raft import RaftConfig
from halo_forge.core.errors import CheckFailed, StoreFault, UserError
from halo_forge.core.types import VerifyResult
from halo_forge.engines.decoder import DecoderEngine
from halo_forge.report.records import read_run
from halo_forge.report.tables import cycles_grid
from halo_forge.rlvr.raft_trainer import RAFTTrainer
from halo_forge.rlvr.replay import Source
from halo_forge.rlvr.verifiers.base import Verifier
from halo_forge.sft import learner
from halo_forge.store.records import read_records
from halo_forge.store.run_dir import RunDir
from tests.fakes import Diary, plug_in, tree

ADAPTER = "adapter_model.safetensors"


class ByLength(Verifier):
    """Passes answers of an even length, which half of a random model's answers have."""

    def verify(self, code: str) -> VerifyResult:
        """Judge an answer."""
        even = len(code) % 2 == 0
        return VerifyResult(even, float(even))

    def fingerprint(self) -> str:
        """Return its name."""
        return "by length"


class Bench:
    """A run on a tiny model, and replays of it.

    Attributes:
        asked: (label, prompt ids) of each pass of the engine.
    """

    def __init__(self, folder: Path, model: Path) -> None:
        self.folder = folder
        self.model = model
        self.asked: list[tuple[str, set[str]]] = []
        self.diary = Diary()
        for name, words in (("train", "abcd"), ("heldout", "xy")):
            lines = [json.dumps({"id": w, "prompt": f"Say {w}."}) + "\n" for w in words]
            (folder / f"{name}.jsonl").write_text("".join(lines))

    def config(self, output: str, **changes: Any) -> RaftConfig:
        """Return the settings, with some dotted keys changed."""
        values: dict[str, Any] = {
            "model": {"name": str(self.model)},
            "output_dir": str(self.folder / output),
            "prompts": str(self.folder / "train.jsonl"),
            "eval_prompts": str(self.folder / "heldout.jsonl"),
            "raft": {"num_cycles": 2, "samples_per_prompt": 8},
            "generation": {"max_new_tokens": 200, "temperature": 1.5},
            "training": {"learning_rate": 1e-2, "gradient_accumulation_steps": 2},
            "evaluation": {"samples_per_prompt": 1},
            "lora": {"r": 2},
            "hardware": {"device": "cpu", "bf16": False},
            "verifier": {"type": "by_length"},
            "report_to": [],
        }
        for key, value in changes.items():
            section, _, name = key.rpartition(".")
            (values.setdefault(section, {}) if section else values)[name] = value
        return RaftConfig.model_validate(values)

    def train(self, config: RaftConfig) -> list[dict[str, Any]]:
        """Do what is owed of a run."""
        self.diary, self.asked = Diary(), []
        return RAFTTrainer(config, observer=self.diary).train()

    def replay(self, output: str, **changes: Any) -> list[dict[str, Any]]:
        """Replay the run."""
        source = {"replay": str(self.folder / "run")}
        return self.train(self.config(output, **{**source, **changes}))

    def run(self, name: str = "run") -> RunDir:
        """Return a run directory."""
        return RunDir(self.folder / name)


@pytest.fixture(scope="module")
def bench(tmp_path_factory, tiny_model_dir):
    """A finished run of two cycles."""
    with pytest.MonkeyPatch.context() as patch:
        plug_in(patch, "verifiers", "by_length", ByLength)
        made = Bench(tmp_path_factory.mktemp("replay"), tiny_model_dir)
        generate = DecoderEngine.generate

        def noting(engine, requests, seed):
            requests = list(requests)
            made.asked.append((engine._spec.label, {one.prompt.id for one in requests}))
            return generate(engine, requests, seed)

        patch.setattr(DecoderEngine, "generate", noting)
        made.train(made.config("run"))
        yield made


def test_the_same_algorithm_gives_the_same_adapter(bench):
    """Replaying raft on its own answers ends its first cycle, and its second, with its adapters."""
    records = bench.replay("raft")
    assert bench.asked == [("cycle_1", {"x", "y"}), ("cycle_2", {"x", "y"})]
    for cycle in (1, 2):
        ours, other = (bench.run(n).checkpoint_path(cycle) / ADAPTER for n in ("raft", "run"))
        assert ours.read_bytes() == other.read_bytes()
    for record, other in zip(records, bench.run().read_statistics(), strict=True):
        assert record["heldout"] == other["heldout"]
        assert record.get("kept") == other.get("kept")


@pytest.fixture(scope="module")
def ratio(bench):
    """A replay by raft++, by what it wrote and said."""
    records = bench.replay("ratio", **{"raft.algorithm": "raft++", "training.epochs": 3})
    return records, list(bench.diary.messages)


def test_another_algorithm_trains_otherwise(bench, ratio):
    """Other adapters from the same answers; the record says what was done, and whose they are."""
    (_, one, two), said = ratio
    old = bench.run().read_statistics()
    for record, before in zip((one, two), old[1:], strict=True):
        assert record["algorithm"] == "raft++"
        assert record["answers_of"] == str(bench.folder / "run")
        assert record["generation_seconds"] == 0
        assert record["total_samples"] == before["total_samples"] == 32
        assert record["entropy"] == before["entropy"]
        assert 0 <= record["clip_fraction"] <= 1
    assert (one["off_policy"], two["off_policy"]) == (False, True)
    assert any("cycle 1 are those of" in line and "off-policy" not in line for line in said)
    assert any("cycle 2 are those of" in line and "off-policy" in line for line in said)
    ours, other = (bench.run(n).checkpoint_path(1) / ADAPTER for n in ("ratio", "run"))
    assert ours.read_bytes() != other.read_bytes()


def test_what_the_decoder_stored_is_what_the_learner_finds(ratio):
    """On-policy, at temperature 1.5, log-likelihoods agree with the stored ones to rounding."""
    (_, one, two), _ = ratio
    assert one["behaviour_gap"] < 1e-4
    assert two["behaviour_gap"] > 1e-3  # the other run's policy gave these


def test_the_directory_is_a_run(bench, ratio):
    """`runs show` reads it, its answers are in it, and its configuration replays again."""
    found = read_run(bench.folder / "ratio")
    assert (found.done, found.planned, found.owed) == (2, 2, 0)
    assert len(cycles_grid(found.cycles).rows) == 3
    assert "replay.content" in found.info["guarded"]
    run = bench.run("ratio")
    for cycle in (1, 2):
        assert len(list(read_records(run.verified_path(cycle)))) == 32
    config = load_config(RaftConfig, [run.config_path], {}).value
    assert config.replay == str(bench.folder / "run")
    card = run.card_path(2).read_text("utf-8")
    assert "given in another run" in card
    assert "- prompts: file train.jsonl\n- held out: file heldout.jsonl\n" in card
    before = {path: value for path, value in tree(run.path).items() if path.startswith("cycle")}
    bench.train(config)
    assert bench.asked == []
    after = {path: value for path, value in tree(run.path).items() if path.startswith("cycle")}
    assert after == before


def test_an_interrupted_replay_goes_on(bench, ratio, monkeypatch):
    """Killed in the second cycle's training, the same command ends as an undisturbed one."""
    changes = {"raft.algorithm": "raft++", "training.epochs": 3}
    fit = learner.TrlLearner.fit

    def dying(self, examples, request, observer):
        if request.output.name.startswith("cycle_2"):
            raise KeyboardInterrupt
        return fit(self, examples, request, observer)

    monkeypatch.setattr(learner.TrlLearner, "fit", dying)
    with pytest.raises(KeyboardInterrupt):
        bench.replay("killed", **changes)
    monkeypatch.setattr(learner.TrlLearner, "fit", fit)
    bench.replay("killed", **changes)
    for cycle in (1, 2):
        ours, other = (bench.run(n).checkpoint_path(cycle) / ADAPTER for n in ("killed", "ratio"))
        assert ours.read_bytes() == other.read_bytes()


def test_reinforce_rej_uses_bad_answers(bench):
    """The record tells how many; without held-out prompts nothing is generated at all."""
    changes = {"raft.algorithm": "reinforce-rej", "raft.num_cycles": 1, "eval_prompts": None}
    (record,) = bench.replay("rej", **changes)
    assert bench.asked == []
    assert record["kept_bad"] > 0
    assert any("answers and against" in line for line in bench.diary.messages)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"raft.samples_per_prompt": 4}, "raft.samples_per_prompt: 8 there, 4 here"),
        ({"generation.temperature": 1.0}, "generation.temperature: 1.5 there, 1.0 here"),
        ({"raft.num_cycles": 3}, "2 cycles are complete, 3 are to be replayed"),
        ({"output_dir": "run"}, "is the run itself; choose another --output"),
        ({"replay": "nowhere"}, "nowhere is not a run directory"),
    ],
)
def test_what_cannot_be_replayed(bench, changes, said):
    """Other answers than there are, cycles that are not there, the run itself, no run."""
    paths = {"output_dir", "replay"}
    changes = {k: str(bench.folder / v) if k in paths else v for k, v in changes.items()}
    with pytest.raises(UserError, match=said):
        bench.replay("refused", **changes)
    assert not (bench.folder / "refused").exists()


def test_another_verifier_gave_no_verdicts(bench):
    """Its settings are those of the run; the compiler, for held-out answers, may be another."""
    config = bench.config("new", **{"raft.num_cycles": 1})
    source = Source(bench.run(), {"verifier.type": "gcc", "verifier.fingerprint": "g++ 13"})
    source.check(config, {"verifier.type": "gcc", "verifier.fingerprint": "g++ 14"})
    with pytest.raises(UserError, match=r"verifier\.type: 'gcc' there, 'execution' here"):
        source.check(config, {"verifier.type": "execution", "verifier.fingerprint": "g++ 13"})


def test_other_answers_under_the_same_name_are_refused(bench, tmp_path):
    """A replay belongs to the answers of its run; those that are missing are not made up."""
    source = RunDir(tmp_path / "run")
    shutil.copytree(bench.folder / "run", source.path)
    changes = {"replay": str(source.path), "raft.num_cycles": 1, "raft.min_samples": 999}
    with pytest.raises(CheckFailed, match="min_samples asks for 999"):
        bench.replay("pinned", **changes)
    journal = source.verified_path(1)
    journal.write_bytes(b"".join(journal.read_bytes().splitlines(keepends=True)[:-1]))
    with pytest.raises(UserError, match=r"\n  replay\.content: "):
        bench.replay("pinned", **changes)
    source.samples_path(1).unlink()
    with pytest.raises(StoreFault, match="answers are missing from its journals"):
        bench.replay("short", **changes)
