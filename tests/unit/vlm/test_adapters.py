"""Models that see in the decoder: pictures reach the model, once, and its figures are right."""

import dataclasses
import json

import pytest
import torch
from PIL import Image

from halo_forge.config.sections import GenerationSettings, HardwareSettings, ImageSettings
from halo_forge.core.errors import UserError
from halo_forge.core.types import Message, Prompt
from halo_forge.engines.base import EngineSpec, Request
from halo_forge.engines.decoder import DecoderEngine
from halo_forge.models import load
from halo_forge.models.adapter import TextAdapter, encode_prompt, open_adapter
from halo_forge.models.pictures import open_pictures
from halo_forge.vlm.adapters import ImageTextAdapter, LlavaAdapter, QwenVLAdapter
from tests.tiny_vlm import KINDS, picture

SETTINGS = ImageSettings()


def engine(policy, **generation):
    """Open the decoder on the CPU in float32."""
    how = {"temperature": 0.9, "max_new_tokens": 24, "batch_size": 8, **generation}
    return DecoderEngine(
        EngineSpec(
            policy=str(policy),
            generation=GenerationSettings(**how),
            hardware=HardwareSettings(device="cpu", bf16=False),
        )
    )


def decode(policy, prompts, samples=3, **generation):
    """Return the samples by id."""
    requests = [Request(prompt, tuple(range(samples))) for prompt in prompts]
    with engine(policy, **generation) as opened:
        return {sample.id: sample for sample in opened.generate(requests, 1)}


@torch.no_grad()
def forced(policy, sample, temperature=0.9, images=None):
    """Return the log-probabilities of one pass over prompt, pictures and answer."""
    adapter = open_adapter(policy)
    model = load.load_model(policy, dtype=torch.float32).eval()
    ids = torch.tensor([sample.prompt_ids + sample.token_ids])
    names = sample.prompt.images if images is None else images
    given = {}
    if names:
        seen = adapter.look(open_pictures(names, SETTINGS, "x"))
        given = {**seen, **adapter.roles(ids)}
    logits = model(input_ids=ids, **given).logits[0].float()
    logits[:, list(adapter.silent)] = -torch.inf
    logits = logits[:, : len(adapter.tokenizer)]
    said = torch.log_softmax(logits / temperature, -1)[len(sample.prompt_ids) - 1 : -1]
    return said.gather(1, torch.tensor(sample.token_ids)[:, None])[:, 0]


@pytest.mark.parametrize("kind", KINDS)
def test_log_probabilities_equal_a_full_forward(kind, tiny_vlm, shown):
    """Stored figures are those of one pass over prompt, pictures and answer: for each adapter."""
    policy = tiny_vlm(kind)
    found = decode(policy, shown)
    for sample in found.values():
        error = (forced(policy, sample) - torch.tensor(sample.logprobs)).abs()
        assert error.max() < 3e-5, sample.id
    # the check can tell one picture from another: LLaVA's have the same number of tokens
    one = found["one#0"]
    if kind in ("llava", "gemma3"):
        other = forced(policy, one, images=shown[2].images)
        assert (other - torch.tensor(one.logprobs)).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("kind", "adapter"),
    [
        ("llava", LlavaAdapter),
        ("qwen2_vl", QwenVLAdapter),
        ("qwen2_5_vl", QwenVLAdapter),
        ("gemma3", ImageTextAdapter),
    ],
)
def test_picked_by_the_models_type(kind, adapter, tiny_vlm, tiny_model_dir):
    """The configuration's model type names the adapter; a type without one gets the generic."""
    opened = open_adapter(tiny_vlm(kind))
    assert type(opened) is adapter
    assert opened.silent
    assert isinstance(open_adapter(tiny_model_dir), TextAdapter)


@pytest.mark.parametrize("kind", KINDS)
def test_saved_and_opened_again(kind, tiny_vlm, shown, tmp_path):
    """What a checkpoint gets beside its weights makes the same inputs."""
    first = open_adapter(tiny_vlm(kind))
    for name in ("config.json",):
        (tmp_path / name).write_bytes((tiny_vlm(kind) / name).read_bytes())
    first.save_pretrained(tmp_path)
    again = open_adapter(tmp_path)
    for prompt in shown:
        assert encode_prompt(again, prompt, SETTINGS) == encode_prompt(first, prompt, SETTINGS)
    opened = open_pictures(shown[1].images, SETTINGS, "x")
    for name, part in first.look(opened).items():
        assert torch.equal(part, again.look(opened)[name])


@pytest.mark.parametrize("kind", ["llava", "qwen2_vl"])
def test_one_look_a_prompt(kind, tiny_vlm, shown):
    """The vision tower runs once for all samples of a prompt, whatever the number of batches."""
    with engine(tiny_vlm(kind), max_new_tokens=6) as opened:
        inner = opened._model.model
        tower = inner.vision_tower if kind == "llava" else inner.visual
        calls = []
        tower.register_forward_hook(lambda *_: calls.append(1))
        requests = [Request(prompt, tuple(range(20))) for prompt in shown]
        assert len(list(opened.generate(requests, 1))) == 80
    assert len(calls) == 3


@pytest.mark.parametrize("kind", ["llava", "qwen2_vl"])
def test_a_sample_is_nobody_elses_business(kind, tiny_vlm, shown):
    """Alone and among others, with pictures and without, a sample is the same to the last bit."""
    together = decode(tiny_vlm(kind), shown, 12, batch_size=16)
    for prompt in shown:
        alone = decode(tiny_vlm(kind), [prompt], 12, batch_size=8)
        for name, sample in alone.items():
            assert sample.token_ids == together[name].token_ids
            assert sample.logprobs == together[name].logprobs


def test_a_picture_token_is_never_drawn(tiny_vlm, shown):
    """Not even by a model that wants nothing else."""
    policy = tiny_vlm("llava")
    with engine(policy) as opened:
        mark = opened._tokenizer.convert_tokens_to_ids("<image>")
        head = opened._model.get_output_embeddings()
        head.register_forward_hook(
            lambda _, __, logits: logits.index_fill(-1, torch.tensor([mark]), 1e4)
        )
        samples = list(opened.generate([Request(shown[0], (0, 1)), Request(shown[3], (0,))], 1))
    assert len(samples) == 3
    assert all(mark not in sample.token_ids for sample in samples)


def test_prompts_with_pictures_are_never_cut(tiny_vlm, shown):
    """What does not fit into the context is refused, with the way out."""
    with pytest.raises(UserError, match=r"prompt two: .* positions, the model has 1024"):
        decode(tiny_vlm("llava"), shown, max_new_tokens=1000)


def test_words_that_look_like_a_picture(tiny_vlm, shown):
    """A user who writes the mark of pictures gets an error, not another user's picture's place."""
    for image in ((), shown[0].images):
        forged = Prompt("forged", (Message("user", "what is <image> here"),), images=image)
        with pytest.raises(UserError, match=r"prompt forged has \d images and \d places"):
            encode_prompt(open_adapter(tiny_vlm("llava")), forged, SETTINGS)


def test_a_model_of_text_is_shown_a_picture(tiny_model_dir, shown):
    """The text alone would be another task."""
    with pytest.raises(UserError, match=r"prompt one shows an image, and .* model of text"):
        decode(tiny_model_dir, shown[:1])


def test_a_broken_picture_stops_before_anything_is_drawn(tiny_vlm, shown, tmp_path):
    """It names the prompt."""
    broken = tmp_path / "broken.png"
    broken.write_bytes(picture(tmp_path / "whole.png").read_bytes()[:500])
    bad = dataclasses.replace(shown[0], id="bad", images=(str(broken),))
    with pytest.raises(UserError, match=r"prompt bad: image .*broken\.png"):
        decode(tiny_vlm("llava"), [*shown, bad])


def test_old_llava_processors_say_less(tiny_vlm, shown, tmp_path):
    """Patch size and strategy come from the model where the processor's file lacks them."""
    source = tiny_vlm("llava")
    for file in source.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    path = tmp_path / "processor_config.json"
    config = json.loads(path.read_text())
    for key in ("patch_size", "vision_feature_select_strategy", "num_additional_image_tokens"):
        config.pop(key)
    path.write_text(json.dumps(config))
    for prompt in shown:
        assert encode_prompt(open_adapter(tmp_path), prompt, SETTINGS) == encode_prompt(
            open_adapter(source), prompt, SETTINGS
        )


def test_larger_pictures_have_more_tokens(tiny_vlm):
    """Qwen's follow the size up to the budget of pixels."""
    adapter = open_adapter(tiny_vlm("qwen2_vl"))
    counts = []
    for side in (16, 32, 64, 640):
        image = [Image.new("RGB", (side, side), "red")]
        text = "<|vision_start|><|image_pad|><|vision_end|>"
        counts.append(len(adapter.encode(text, image, "prompt p")) - 2)
    assert counts == [1, 4, 16, 16]
