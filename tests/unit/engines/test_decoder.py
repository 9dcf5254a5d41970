"""The decoder on small random models: what a sample is, and that it is nobody else's business."""

import shutil
import weakref

import pytest
import torch
from transformers import GenerationConfig

from halo_forge.core.errors import ModelFault, UserError
from halo_forge.core.types import Message, Prompt
from halo_forge.engines.base import Engine, Request, request_seed
from halo_forge.engines.decoder import DecoderEngine
from halo_forge.models import chat, load

SMALL = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "initializer_range": 0.2,
}


def requests(prompts, samples: int) -> list[Request]:
    """Ask for the first ``samples`` answers to every prompt."""
    return [Request(prompt, tuple(range(samples))) for prompt in prompts]


def same(one, other) -> bool:
    """Tell whether two samples are the same to the last bit."""
    return one.token_ids == other.token_ids and one.logprobs == other.logprobs


def test_it_is_an_engine(lively_dir, make_spec):
    """The decoder keeps the protocol of engines."""
    assert isinstance(DecoderEngine(make_spec(lively_dir)), Engine)


def test_greedy_equals_generate(lively_dir, prompts, decode, greedy):
    """With temperature 0, prompts of different lengths in one batch answer as `generate` does."""
    found = decode(lively_dir, requests(prompts, 1), temperature=0, max_new_tokens=48)
    lengths = {len(sample.prompt_ids) for sample in found.values()}
    assert len(lengths) == 3
    for sample in found.values():
        assert list(sample.token_ids) == greedy(lively_dir, sample.prompt_ids, 48)
        assert len(set(sample.token_ids)) > 15  # an answer that says something
    assert len({sample.token_ids for sample in found.values()}) == 3


@pytest.mark.parametrize(
    ("folder", "temperature", "bound"),
    [
        ("tiny_model_dir", 0.7, 1e-5),
        # its figures are as large as 15, where a float32 step is 1e-6
        ("lively_dir", 0, 2e-5),
        ("lively_dir", 0.7, 2e-5),
        ("lively_dir", 1.5, 2e-5),
    ],
)
def test_log_probabilities_equal_a_full_forward(
    folder, temperature, bound, request, prompts, decode, forced_error
):
    """Stored figures are those of one pass over prompt and answer, the temperature applied."""
    policy = request.getfixturevalue(folder)
    found = decode(
        policy, requests(prompts, 4), temperature=temperature, max_new_tokens=48, batch_size=8
    )
    error = forced_error(policy, found.values(), temperature)
    assert len(error) > 300
    assert error.max() < bound
    assert error.mean() < 2e-6
    if temperature not in (0, 1):  # the check can tell temperatures apart
        assert forced_error(policy, found.values(), 1.0).max() > 1e-3


ARCHITECTURES = {
    "Qwen2": {**SMALL, "num_key_value_heads": 2},
    "Qwen3": {**SMALL, "num_key_value_heads": 2, "head_dim": 16},
    "Gemma": {**SMALL, "num_key_value_heads": 1, "head_dim": 16, "initializer_range": 0.15},
    "GPTNeoX": SMALL,
    "Phi": SMALL,
    "GPT2": {"n_embd": 64, "n_layer": 2, "n_head": 4, "initializer_range": 0.1},
    "OPT": {
        "hidden_size": 64,
        "ffn_dim": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "word_embed_proj_dim": 64,
        "init_std": 0.2,
    },
    # looks back 512 positions in some layers, and the samples fit into them
    "Gemma3Text": {
        **SMALL,
        "num_key_value_heads": 1,
        "head_dim": 16,
        "sliding_window": 512,
        "layer_types": ["sliding_attention", "full_attention"],
        "initializer_range": 0.05,
    },
    "Mistral": {**SMALL, "num_key_value_heads": 2, "sliding_window": 512},
}


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_other_architectures(kind, make_model, prompts, decode, forced_error, greedy):
    """Other positions, norms, scales and head layouts come out right as well."""
    policy = make_model(kind, **ARCHITECTURES[kind])
    found = decode(policy, requests(prompts, 3), temperature=0.9, max_new_tokens=24, batch_size=8)
    error = forced_error(policy, found.values(), 0.9)
    assert len(error) > 100
    assert error.max() < 2e-5
    for sample in decode(policy, requests(prompts, 1), temperature=0, max_new_tokens=16).values():
        assert list(sample.token_ids) == greedy(policy, sample.prompt_ids, 16)


def test_adapter_is_folded_in(adapter_dir, lively_dir, prompts, decode, forced_error):
    """Decoding with the adapter merged gives the figures of the model with the adapter on top."""
    found = decode(adapter_dir, requests(prompts, 3), temperature=0.8, max_new_tokens=40)
    assert forced_error(adapter_dir, found.values(), 0.8).max() < 5e-5
    assert forced_error(lively_dir, found.values(), 0.8).max() > 0.5


def test_no_adapter_is_left_to_compute(adapter_dir, make_spec):
    """What decodes is a plain model: an adapter beside it would cost two products a layer."""
    with DecoderEngine(make_spec(adapter_dir)) as engine:
        names = [name for name, _ in engine._model.named_modules()]
    assert names
    assert not any("lora" in name for name in names)


@pytest.fixture(scope="module")
def undisturbed(lively_dir, prompts, decode):
    """24 samples decoded in one batch of 24 rows."""
    return decode(lively_dir, requests(prompts, 8), max_new_tokens=40, batch_size=24)


@pytest.mark.parametrize("batch_size", [1, 8, 16])
def test_batch_size_changes_nothing(lively_dir, prompts, decode, undisturbed, batch_size):
    """A sample is the same to the last bit however many rows are decoded together."""
    found = decode(lively_dir, requests(prompts, 8), max_new_tokens=40, batch_size=batch_size)
    assert all(same(found[key], undisturbed[key]) for key in undisturbed)


def test_order_changes_nothing(lively_dir, prompts, decode, undisturbed):
    """A sample is the same whatever comes before it."""
    owed = [Request(p, tuple(reversed(range(8)))) for p in reversed(prompts)]
    found = decode(lively_dir, owed, max_new_tokens=40, batch_size=8)
    assert all(same(found[key], undisturbed[key]) for key in undisturbed)


def test_neighbours_change_nothing(lively_dir, prompts, decode, undisturbed):
    """A sample is the same alone, and beside others that are ten times as long."""
    text = "read numbers, sort them, and print every second one; " * 25
    giant = Prompt("giant", (Message("user", text),))
    alone = decode(lively_dir, [Request(prompts[0], (5,))], max_new_tokens=40, batch_size=8)
    crowd = [Request(giant, (0, 1, 2)), Request(prompts[0], (5,)), Request(giant, ())]
    beside = decode(lively_dir, crowd, max_new_tokens=40, batch_size=8)
    assert len(beside["giant#0"].prompt_ids) > 800
    assert same(alone["short#5"], undisturbed["short#5"])
    assert same(beside["short#5"], undisturbed["short#5"])


def test_owed_indices_change_nothing(lively_dir, prompts, decode, undisturbed):
    """A sample is the same when an interrupted run asks only for some of its siblings."""
    owed = [Request(prompts[2], (1, 6)), Request(prompts[0], (7,)), Request(prompts[1], (0, 3, 4))]
    found = decode(lively_dir, owed, max_new_tokens=40, batch_size=8)
    assert len(found) == 6
    assert all(same(sample, undisturbed[key]) for key, sample in found.items())


def test_a_sample_is_a_function_of_its_seed(lively_dir, prompts, decode, undisturbed):
    """Another seed, another index and another prompt give other answers."""
    other = decode(lively_dir, requests(prompts, 8), seed=2, max_new_tokens=40, batch_size=24)
    assert not any(other[key].token_ids == undisturbed[key].token_ids for key in undisturbed)
    assert len({sample.token_ids for sample in undisturbed.values()}) == 24
    seeds = {request_seed(s, p, i) for s in (1, 2) for p in prompts for i in (0, 1)}
    assert len(seeds) == 12


def test_samples_are_complete(lively_dir, prompts, undisturbed):
    """A sample carries its prompt's tokens, a figure for each token, text and policy."""
    tokenizer = load.load_tokenizer(lively_dir)
    for sample in undisturbed.values():
        prompt = next(p for p in prompts if p.id == sample.prompt.id)
        assert list(sample.prompt_ids) == chat.render(tokenizer, prompt.messages)
        assert len(sample.logprobs) == len(sample.token_ids) > 0
        assert all(figure <= 0 for figure in sample.logprobs)
        said = sample.token_ids[: -1 if sample.finish_reason == "stop" else None]
        assert sample.completion == tokenizer.decode(said, skip_special_tokens=True)
        assert sample.policy == "here"


@pytest.mark.parametrize(("prompts_", "samples", "batch"), [(3, 3, 8), (5, 7, 8), (9, 1, 8)])
def test_nothing_is_lost_when_all_rows_end_at_once(
    tiny_model_dir, decode, prompts_, samples, batch
):
    """Samples that wait while every row reaches its last token in the same step still come."""
    prompts = [Prompt(f"p{i}", (Message("user", "say"),)) for i in range(prompts_)]
    found = decode(tiny_model_dir, requests(prompts, samples), max_new_tokens=5, batch_size=batch)
    assert sum(len(s.token_ids) == 5 for s in found.values()) > 0.9 * len(found)


def _widths(engine: DecoderEngine) -> list[int]:
    """Note the number of positions of each call that reaches the model."""
    widths: list[int] = []

    def note(module, args, kwargs):
        widths.append(kwargs["input_ids"].shape[1])

    engine._model.register_forward_pre_hook(note, with_kwargs=True)
    return widths


def test_one_prefill_a_prompt(lively_dir, prompts, make_spec):
    """A prompt is read once, however many samples and batches it is answered in."""
    with DecoderEngine(make_spec(lively_dir, max_new_tokens=12, batch_size=8)) as engine:
        widths = _widths(engine)
        samples = list(engine.generate(requests(prompts, 20), 1))
    expected = {sample.prompt.id: len(sample.prompt_ids) for sample in samples}
    assert len(samples) == 60
    assert [width for width in widths if width > 1] == list(expected.values())
    steps = widths.count(1)
    assert 60 * 11 / 8 / 2 < steps < 60 * 11 / 8 * 2  # rows are refilled, not decoded one by one


def test_samples_come_as_they_finish(lively_dir, prompts, make_spec):
    """The first sample is handed out before the last is begun."""
    with DecoderEngine(make_spec(lively_dir, max_new_tokens=8, batch_size=8)) as engine:
        widths = _widths(engine)
        stream = engine.generate(requests(prompts, 16), 1)
        next(stream)
        assert len([width for width in widths if width > 1]) == 1
        stream.close()


def test_an_answer_ends_at_an_end_token(tiny_model_dir, prompts, decode):
    """An answer that ended by itself holds its end token, last and once; a cut one holds none."""
    found = decode(
        tiny_model_dir, requests(prompts, 16), max_new_tokens=120, temperature=1.0, batch_size=16
    )
    model = load.load_model(tiny_model_dir, dtype=torch.float32)
    tokenizer = load.load_tokenizer(tiny_model_dir)
    stops = set(chat.stop_ids(tokenizer, model.generation_config))
    reasons = [sample.finish_reason for sample in found.values()]
    assert reasons.count("stop") >= 5
    assert reasons.count("length") >= 5
    for sample in found.values():
        if sample.finish_reason == "stop":
            assert sample.token_ids[-1] in stops
            assert not stops & set(sample.token_ids[:-1])
            assert tokenizer.eos_token not in sample.completion
        else:
            assert len(sample.token_ids) == 120
            assert not stops & set(sample.token_ids)


def test_several_end_tokens(tiny_model_dir, tmp_path, prompts, decode):
    """Every end token of the model's settings ends an answer, at the first token too."""
    folder = shutil.copytree(tiny_model_dir, tmp_path / "model")
    GenerationConfig(eos_token_id=list(range(2, 302, 2))).save_pretrained(folder)
    found = decode(folder, requests(prompts, 16), max_new_tokens=6, batch_size=8)
    lengths = {len(s.token_ids) for s in found.values() if s.finish_reason == "stop"}
    assert {1, 2} <= lengths
    for sample in found.values():
        assert not any(token % 2 == 0 and token > 0 for token in sample.token_ids[:-1])
        assert (sample.token_ids[-1] % 2 == 0) == (sample.finish_reason == "stop")


@pytest.mark.parametrize("limit", [1, 2])
def test_shortest_answers(lively_dir, prompts, decode, limit):
    """A limit of one or two tokens is kept to the token."""
    found = decode(lively_dir, requests(prompts, 9), max_new_tokens=limit, batch_size=8)
    assert {len(sample.token_ids) for sample in found.values()} <= set(range(1, limit + 1))


def test_nothing_owed(lively_dir, prompts, make_spec):
    """Without owed samples nothing is computed."""
    with DecoderEngine(make_spec(lively_dir)) as engine:
        widths = _widths(engine)
        assert list(engine.generate([], 1)) == []
        assert list(engine.generate([Request(prompts[0], ())], 1)) == []
    assert widths == []


def test_too_long_for_the_context(lively_dir, prompts, decode):
    """A prompt that does not fit is named before anything is generated."""
    text = "a long story " * 600
    giant = Prompt("giant", (Message("user", text),))
    with pytest.raises(UserError, match=r"prompt giant: \d+ tokens and max_new_tokens = 32 need"):
        decode(lively_dir, requests([prompts[0], giant], 1), max_new_tokens=32)


def test_exactly_the_context(make_model, prompts, decode, forced_error):
    """The last position of the context can be used, and one more is refused."""
    policy = make_model("Llama", **SMALL, num_key_value_heads=2, max_position_embeddings=100)
    tokens = len(chat.render(load.load_tokenizer(policy), prompts[1].messages))
    owed = [Request(prompts[1], tuple(range(8)))]
    found = decode(policy, owed, max_new_tokens=100 - tokens, temperature=0.9)
    assert any(sample.finish_reason == "length" for sample in found.values())
    assert forced_error(policy, found.values(), 0.9).max() < 2e-5
    with pytest.raises(UserError, match="need 101 positions, the model has 100"):
        decode(policy, owed, max_new_tokens=101 - tokens)


SLIDING = {
    "Mistral": {**SMALL, "num_key_value_heads": 2, "sliding_window": 32},
    "Qwen2": {
        **SMALL,
        "num_key_value_heads": 2,
        "use_sliding_window": True,
        "sliding_window": 32,
        "max_window_layers": 1,
    },
    "Gemma3Text": {
        **SMALL,
        "num_key_value_heads": 1,
        "head_dim": 16,
        "sliding_window": 32,
        "layer_types": ["sliding_attention", "full_attention"],
    },
}


@pytest.mark.parametrize("kind", SLIDING)
def test_sliding_windows_that_are_too_short(kind, make_model, prompts, decode):
    """A model that looks back less far than a sample may be long is refused with the reason."""
    policy = make_model(kind, **SLIDING[kind])
    with pytest.raises(ModelFault, match="looks back 32 positions and prompt long may need"):
        decode(policy, requests(prompts, 1), max_new_tokens=24)


FOREIGN = {
    "Bloom": ({"hidden_size": 64, "n_layer": 2, "n_head": 4}, "attention interface"),
    "GPTJ": ({"n_embd": 64, "n_layer": 2, "n_head": 4, "rotary_dim": 8}, "attention interface"),
    "Mamba": ({"hidden_size": 64, "num_hidden_layers": 2}, "attention"),
    "Gemma2": ({**SMALL, "num_key_value_heads": 1, "head_dim": 16}, "softcap"),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_architectures_it_cannot_decode(kind, make_model, prompts, decode):
    """A model whose attention is computed elsewhere is refused, never decoded wrongly."""
    settings, reason = FOREIGN[kind]
    policy = make_model(kind, **settings)
    with pytest.raises(ModelFault, match=reason):
        decode(policy, requests(prompts, 1), max_new_tokens=8)


def test_leaving_frees_the_model(lively_dir, prompts, make_spec):
    """After the block the weights are gone, though the engine itself is still held."""
    with DecoderEngine(make_spec(lively_dir, max_new_tokens=8)) as engine:
        assert len(list(engine.generate(requests(prompts, 2), 1))) == 6
        model = weakref.ref(engine._model)
        assert model() is not None
    assert engine is not None
    assert model() is None


def test_an_error_frees_the_model(lively_dir, prompts, make_spec):
    """An interrupt in the middle of generation frees the weights as well."""
    engine = DecoderEngine(make_spec(lively_dir, max_new_tokens=8))
    with pytest.raises(KeyboardInterrupt), engine:  # noqa: PT012
        stream = engine.generate(requests(prompts, 2), 1)
        next(stream)
        model = weakref.ref(engine._model)
        stream.close()
        raise KeyboardInterrupt
    assert model() is None
