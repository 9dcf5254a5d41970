"""Models that see in the learner and in the loop: the same pictures, loss on answers alone."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from halo_forge.benchmark.runner import run_benchmark
from halo_forge.config.benchmark import BenchmarkConfig
from halo_forge.config.raft import RaftConfig
from halo_forge.config.sections import HardwareSettings, ImageSettings, LoraSettings
from halo_forge.config.sft import DataSettings, SFTConfig, SftTrainingSettings
from halo_forge.core.errors import UserError
from halo_forge.core.types import Message, TrainingExample
from halo_forge.data.conversations import TrainingRecord
from halo_forge.data.grouping import split_off
from halo_forge.data.prompts import write_prompts
from halo_forge.engines.decoder import DecoderEngine
from halo_forge.models import load
from halo_forge.models.adapter import encode_prompt, open_adapter
from halo_forge.models.pictures import open_pictures
from halo_forge.rlvr.raft_trainer import RAFTTrainer
from halo_forge.sft import learner
from halo_forge.sft.base import FitRequest
from halo_forge.sft.encoding import encode
from halo_forge.sft.trainer import SFTTrainer
from halo_forge.tracking.base import NullObserver
from tests.tiny_vlm import KINDS

SETTINGS = ImageSettings()
CPU = HardwareSettings(device="cpu", bf16=False)
SMALL = LoraSettings(r=4, dropout=0.0)


def examples(policy, prompts):
    """Return an example for each prompt, with an answer of its own length."""
    adapter = open_adapter(policy)
    found = []
    for at, prompt in enumerate(prompts):
        ids = encode_prompt(adapter, prompt, SETTINGS)
        answer = [*range(40 + at, 42 + at + at % 3), adapter.tokenizer.eos_token_id]
        found.append(TrainingExample(prompt.id, [*ids, *answer], len(ids), images=prompt.images))
    return found


def fit(policy, output, given, *, lora=SMALL, rate=1e-3, **training):
    """Train one phase."""
    how = {"batch_size": 2, "gradient_accumulation_steps": 2, "epochs": 1, **training}
    request = FitRequest(
        policy=str(policy),
        output=output,
        learning_rate=rate,
        seed=3,
        training=SftTrainingSettings(**how),
        lora=lora,
        hardware=CPU,
        trust_remote_code=False,
        meta={},
    )
    return learner.TrlLearner().fit(given, request, NullObserver())


@torch.no_grad()
def reference_loss(policy, given):
    """Return the mean negative log-likelihood of the answers' tokens, example by example."""
    adapter = open_adapter(policy)
    model = load.load_model(policy, dtype=torch.float32).eval()
    losses = []
    for one in given:
        ids = torch.tensor([list(one.input_ids)])
        shown = {}
        if one.images:
            shown = {**adapter.look(open_pictures(one.images, SETTINGS, "x")), **adapter.roles(ids)}
        logits = model(input_ids=ids, **shown).logits[0, :-1].float()
        told = torch.log_softmax(logits, -1).gather(1, ids[0, 1:, None])[:, 0]
        losses += (-told[one.completion_start - 1 :]).tolist()
    return sum(losses) / len(losses)


@pytest.mark.parametrize("kind", KINDS)
def test_first_loss_is_that_of_the_answers(kind, tiny_vlm, shown, tmp_path):
    """One step over padded batches of pictures: the mean over the answers' tokens, and no other."""
    given = examples(tiny_vlm(kind), shown)
    report = fit(tiny_vlm(kind), tmp_path / "out", given)
    assert report.losses == pytest.approx([reference_loss(tiny_vlm(kind), given)], abs=5e-5)
    assert report.tokens == sum(one.loss_tokens for one in given)
    blind = [replace(one, images=tuple(reversed(one.images))) for one in given]
    if kind == "llava":  # the check sees which picture is where
        assert abs(reference_loss(tiny_vlm(kind), blind) - report.losses[0]) > 1e-4


@pytest.mark.parametrize("kind", ["llava", "qwen2_5_vl"])
def test_adapters_leave_the_eyes_alone(kind, tiny_vlm, shown, tmp_path):
    """LoRA is on the layers that speak; without it every weight learns, the vision tower's too."""
    given = examples(tiny_vlm(kind), shown)
    fit(tiny_vlm(kind), tmp_path / "lora", given)
    names = load_file(tmp_path / "lora" / "adapter_model.safetensors")
    assert names
    assert all("language_model" in name for name in names)
    open_adapter(tmp_path / "lora")
    load.load_model(tmp_path / "lora", dtype=torch.float32, merge=True)
    fit(tiny_vlm(kind), tmp_path / "whole", given, lora=LoraSettings(enabled=False))
    before = load_file(tiny_vlm(kind) / "model.safetensors")
    after = load_file(tmp_path / "whole" / "model.safetensors")
    assert before.keys() == after.keys()
    eyes = [name for name in after if "vision" in name or "visual" in name]
    assert sum(not torch.equal(before[name], after[name]) for name in eyes) > len(eyes) / 2


def test_packing_is_refused(tiny_vlm, shown, tmp_path):
    """Where it is demanded; `auto` pads."""
    given = examples(tiny_vlm("llava"), shown)
    with pytest.raises(UserError, match=r"training\.packing is on, and examples that show images"):
        fit(tiny_vlm("llava"), tmp_path / "out", given, packing="on")


@pytest.mark.parametrize("kind", KINDS)
def test_records_become_what_is_asked(kind, tiny_vlm, shown):
    """A record's question has the tokens of the prompt, and its answers alone carry loss."""
    adapter = open_adapter(tiny_vlm(kind))
    more = (Message("assistant", "red"), Message("user", "sure?"), Message("assistant", "yes"))
    records = [
        TrainingRecord(at, (*prompt.messages, *more), images=prompt.images)
        for at, prompt in enumerate(shown)
    ]
    found = encode(records, adapter, DataSettings(), NullObserver(), SETTINGS).examples
    assert len(found) == len(shown)
    for one, prompt in zip(found, shown, strict=True):
        asked = encode_prompt(adapter, prompt, SETTINGS)
        assert list(one.input_ids[: len(asked)]) == asked
        assert one.completion_start == len(asked)
        learned = [token for token in one.labels if token != -100]
        assert adapter.tokenizer.decode(learned) == "red<|im_end|>yes<|im_end|>"
        assert one.images == prompt.images


def test_a_long_record_is_never_cut_in_a_picture(tiny_vlm, shown):
    """What does not hold the whole question is left out, even where records may be cut."""
    record = TrainingRecord(
        1, (*shown[0].messages, Message("assistant", "red")), images=shown[0].images
    )
    settings = DataSettings(max_seq_length=20, long_records="cut")
    adapter = open_adapter(tiny_vlm("llava"))
    done = encode([record], adapter, settings, NullObserver(), SETTINGS)
    assert (done.examples, done.dropped) == ([], 1)


@pytest.fixture
def settings(tiny_vlm, shown, tmp_path):
    """A run of two cycles in which every answer is right, its prompts in a file."""
    write_prompts(tmp_path / "prompts.jsonl", shown)
    return {
        "model": {"name": str(tiny_vlm("llava"))},
        "prompts": str(tmp_path / "prompts.jsonl"),
        "raft": {"num_cycles": 2, "samples_per_prompt": 4, "reward_threshold": 0},
        "generation": {"max_new_tokens": 6, "temperature": 1.0, "stop": ["e", "i", "o", "a"]},
        "training": {"batch_size": 2, "gradient_accumulation_steps": 1, "learning_rate": 1e-3},
        "lora": {"r": 4, "dropout": 0},
        "hardware": {"device": "cpu", "bf16": False},
        "verifier": {"type": "tests.exact:ExactVerifier"},
        "report_to": [],
    }


def test_the_loop_goes_on_after_an_interruption(settings, tmp_path, monkeypatch):
    """Stopped in generating and in training it ends with the weights of a run left alone."""

    def train(name):
        config = RaftConfig.model_validate({**settings, "output_dir": str(tmp_path / name)})
        return RAFTTrainer(config).train()

    train("alone")

    def few(self, requests, seed, _plain=DecoderEngine.generate):
        for number, sample in enumerate(_plain(self, requests, seed)):
            if number == 5:
                raise KeyboardInterrupt
            yield sample

    def none(*args, **kwargs):
        raise KeyboardInterrupt

    for owner, name, replacement in (
        (DecoderEngine, "generate", few),
        (learner, "save_checkpoint", none),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, replacement)
            with pytest.raises(KeyboardInterrupt):
                train("stopped")
    records = train("stopped")
    assert [record["cycle"] for record in records] == [1, 2]
    for cycle in (1, 2):
        weights = f"cycle_{cycle}_final/adapter_model.safetensors"
        alone, stopped = (load_file(tmp_path / name / weights) for name in ("alone", "stopped"))
        assert all(torch.equal(alone[name], stopped[name]) for name in alone)
    changed = load_file(tmp_path / "alone" / "cycle_2_final" / "adapter_model.safetensors")
    assert any(part.abs().sum() > 0 for name, part in changed.items() if "lora_B" in name)

    config = BenchmarkConfig.model_validate(
        {
            "model": {"name": str(tmp_path / "alone" / "cycle_2")},
            "output_dir": str(tmp_path / "measured"),
            "samples": 2,
            **{key: settings[key] for key in ("prompts", "generation", "hardware", "verifier")},
        }
    )
    assert run_benchmark(config, NullObserver()).prompts == 4


def test_another_picture_under_the_same_name_is_another_run(settings, tmp_path, shown):
    """A run is not gone on with when what its prompts show has changed."""
    copied = tmp_path / "copied.png"
    copied.write_bytes(Path(shown[0].images[0]).read_bytes())
    write_prompts(tmp_path / "prompts.jsonl", [replace(shown[0], images=(str(copied),))])
    settings["raft"]["num_cycles"] = 1
    config = RaftConfig.model_validate({**settings, "output_dir": str(tmp_path / "run")})
    RAFTTrainer(config).train()
    copied.write_bytes(Path(shown[2].images[0]).read_bytes())
    with pytest.raises(UserError, match=r"prompts\.content"):
        RAFTTrainer(config).train()


@pytest.fixture
def fine_tune(tiny_vlm, pictures, tmp_path):
    """Fine-tune on two pictures of different answers to one question."""
    lines = [
        {"prompt": "which", "completion": word, "image": image}
        for word, image in zip(("red", "blue"), pictures, strict=True)
    ]
    data = tmp_path / "data.jsonl"
    data.write_text("".join(json.dumps(line) + "\n" for line in lines * 8))

    def run(name, lora, kind="llava"):
        training = {"epochs": 6, "batch_size": 8, "gradient_accumulation_steps": 1}
        config = SFTConfig.model_validate(
            {
                "model": {"name": str(tiny_vlm(kind))},
                "data": {"train_file": str(data), "validation_split": 0},
                "output_dir": str(tmp_path / name),
                "training": {**training, "learning_rate": 5e-3, "save_steps": 3},
                "lora": lora,
                "hardware": {"device": "cpu", "bf16": False},
                "report_to": [],
            }
        )
        return SFTTrainer(config).train()

    return run


def test_fine_tuning_learns_which_picture_it_is(fine_tune):
    """The words are the same, the answers are not: only who sees can learn them."""
    figures = fine_tune("run", {"enabled": False})
    assert figures["losses"][-1] < 0.2 < 1.5 < figures["losses"][0]


@pytest.mark.parametrize("lora", [{"enabled": False}, {"r": 4, "dropout": 0}])
@pytest.mark.parametrize("kind", ["llava", "qwen2_vl"])
def test_fine_tuning_goes_on(kind, lora, fine_tune, tmp_path, monkeypatch):
    """Killed between two states it ends with the weights of a run left alone, vision tower too."""
    fine_tune("alone", lora, kind)
    steps = []

    def pulled(self, *args, _plain=learner.CompletionTrainer.training_step, **kwargs):
        steps.append(1)
        if len(steps) == 8:
            raise KeyboardInterrupt
        return _plain(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(learner.CompletionTrainer, "training_step", pulled)
        with pytest.raises(KeyboardInterrupt):
            fine_tune("stopped", lora, kind)
    figures = fine_tune("stopped", lora, kind)
    assert figures["steps"] == 12
    (file,) = (tmp_path / "alone" / "final_model").glob("*model.safetensors")
    alone, stopped = (
        load_file(tmp_path / name / "final_model" / file.name) for name in ("alone", "stopped")
    )
    assert all(torch.equal(alone[name], stopped[name]) for name in alone)


def test_records_of_one_picture_are_held_out_together(pictures):
    """Other questions about a picture that is trained on would not show what was learned."""
    a, b = pictures
    chats = [(Message("user", f"{word}?"), Message("assistant", "yes")) for word in "pqrs"]
    records = [TrainingRecord(i, chat, images=((a, b)[i % 2],)) for i, chat in enumerate(chats)]
    rest, over = split_off([record.related for record in records], 0.5, 0)
    assert {frozenset(rest), frozenset(over)} == {frozenset({0, 2}), frozenset({1, 3})}


def test_words_that_look_like_a_picture_are_left_out(tiny_vlm, shown):
    """An answer with a picture's mark would ask for pixels that are not there."""
    mark = (Message("user", "which"), Message("assistant", "it is <image>"))
    records = [TrainingRecord(1, mark), TrainingRecord(2, mark, images=shown[0].images)]
    adapter = open_adapter(tiny_vlm("llava"))
    done = encode(records, adapter, DataSettings(), NullObserver(), SETTINGS)
    assert (done.examples, done.forged) == ([], 2)
