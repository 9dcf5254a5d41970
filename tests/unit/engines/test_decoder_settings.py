"""The decoder's settings and bad input: laws, stop strings, short memory, odd models."""

import logging
import math
import shutil

import pytest
import torch
from transformers import (
    LogitsProcessorList,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from halo_forge.core.errors import ModelFault, UserError
from halo_forge.core.types import Message, Prompt
from halo_forge.engines import admission
from halo_forge.engines import decoder as decoder_module
from halo_forge.engines.base import Request
from halo_forge.engines.decoder import DecoderEngine
from halo_forge.models import chat, load
from tests.unit.engines.test_decoder import SMALL, requests, same


def test_log_probabilities_are_those_of_the_law(lively_dir, prompts, decode):
    """Stored figures are those of transformers' processors, penalty and truncation included."""
    law = {"temperature": 0.9, "top_k": 30, "top_p": 0.8, "min_p": 0.01, "repetition_penalty": 1.3}
    found = decode(lively_dir, requests(prompts, 4), max_new_tokens=24, batch_size=8, **law)
    model = load.load_model(lively_dir, dtype=torch.float32)
    processors = LogitsProcessorList(
        [
            RepetitionPenaltyLogitsProcessor(1.3),
            TemperatureLogitsWarper(0.9),
            TopKLogitsWarper(30),
            TopPLogitsWarper(0.8),
            MinPLogitsWarper(0.01),
        ]
    )
    checked = 0
    for sample in found.values():
        whole = torch.tensor([sample.prompt_ids + sample.token_ids])
        with torch.inference_mode():
            logits = model(input_ids=whole).logits[0].float()
        for i, (token, figure) in enumerate(zip(sample.token_ids, sample.logprobs, strict=True)):
            end = len(sample.prompt_ids) + i
            scores = processors(whole[:, :end], logits[end - 1 : end])
            assert abs(float(torch.log_softmax(scores, -1)[0, token]) - figure) < 1e-4
            checked += 1
    assert checked > 200


@pytest.mark.parametrize("law", [{"top_p": 0.6}, {"repetition_penalty": 1.5}, {"top_k": 5}])
def test_a_law_keeps_samples_apart(law, lively_dir, prompts, decode):
    """With a truncated or history-dependent law too a sample is the same in any batch."""
    owed = requests(prompts, 8)
    whole = decode(lively_dir, owed, max_new_tokens=30, batch_size=24, **law)
    apart = decode(lively_dir, owed, max_new_tokens=30, batch_size=8, **law)
    plain = decode(lively_dir, owed, max_new_tokens=30, batch_size=8)
    assert all(same(apart[key], whole[key]) for key in whole)
    assert not all(same(plain[key], whole[key]) for key in whole)


def test_stop_strings(lively_dir, prompts, decode):
    """An answer ends with the token that completes a stop string, and its text before it."""
    free = decode(lively_dir, requests(prompts, 4), max_new_tokens=60, batch_size=8)
    stop = max((s.completion[12:15] for s in free.values()), key=len)
    ended = decode(
        lively_dir, requests(prompts, 4), max_new_tokens=60, batch_size=8, stop=(stop, "never said")
    )
    hit = [key for key, sample in free.items() if stop in sample.completion]
    assert hit
    tokenizer = load.load_tokenizer(lively_dir)
    for key, sample in ended.items():
        assert sample.token_ids == free[key].token_ids[: len(sample.token_ids)]
        if key in hit:
            assert sample.finish_reason == "stop"
            assert sample.completion == free[key].completion.partition(stop)[0]
            assert stop in chat.decode(tokenizer, sample.token_ids)
            assert stop not in chat.decode(tokenizer, sample.token_ids[:-1])
        else:
            assert same(sample, free[key])


def test_short_memory_makes_a_smaller_batch(lively_dir, prompts, decode, caplog, monkeypatch):
    """With room for eight rows only, the same samples come out, and it is said."""
    owed = requests(prompts, 8)
    whole = decode(lively_dir, owed, max_new_tokens=30, batch_size=24)
    # a position takes 2 layers x 2 heads x 16 numbers x 4 bytes, for keys and for values
    monkeypatch.setattr(admission, "room", lambda *_: 12 * 512 * 130)
    few = decode(lively_dir, owed, max_new_tokens=30, batch_size=24)
    assert "are decoded together" in caplog.text
    assert all(same(few[key], whole[key]) for key in whole)
    monkeypatch.setattr(admission, "room", lambda *_: 1000)
    with pytest.raises(ModelFault, match=r"Lower generation\.max_new_tokens"):
        decode(lively_dir, owed, max_new_tokens=30, batch_size=24)


@pytest.mark.parametrize("where", ["forward", "prefill"])
def test_an_allocation_that_fails(where, lively_dir, prompts, decode, caplog, monkeypatch):
    """Work goes on with fewer rows, and every sample comes once, as it would have been."""
    owed = requests(prompts, 8)
    whole = decode(lively_dir, owed, max_new_tokens=30, batch_size=24)
    plain, calls = getattr(DecoderEngine, where), []

    def fail(self, *args):
        calls.append(args)
        if len(calls) in (3, 9):
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate much")
        return plain(self, *args)

    monkeypatch.setattr(DecoderEngine, where, fail)
    found = decode(lively_dir, owed, max_new_tokens=30, batch_size=24)
    assert "not enough memory for 24 answers at once" in caplog.text
    assert all(same(found[key], whole[key]) for key in whole)


def test_an_allocation_that_always_fails(lively_dir, prompts, decode, monkeypatch):
    """With the fewest rows failing too, the error says what to do."""

    def fail(self, *args):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried 99 bytes")

    monkeypatch.setattr(DecoderEngine, "forward", fail)
    with pytest.raises(ModelFault, match="not enough memory for 8 answers at once"):
        decode(lively_dir, requests(prompts, 8), max_new_tokens=30, batch_size=24)


def test_another_error_is_not_taken_for_memory(lively_dir, prompts, decode, monkeypatch):
    """A bug stays a bug."""

    def fail(self, *args):
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(DecoderEngine, "forward", fail)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        decode(lively_dir, requests(prompts, 1), max_new_tokens=4)


def test_rows_are_put_in_order(lively_dir, prompts, decode, monkeypatch):
    """Rows of many lengths are sorted as they grow, and that changes no sample."""
    giant = Prompt("giant", (Message("user", "read numbers and sort them; " * 40),))
    owed = [*requests([giant], 3), *requests(prompts, 24)]
    orders = []
    plain = decoder_module.RowCache.reorder

    def note(self, order):
        orders.append(order)
        plain(self, order)

    monkeypatch.setattr(decoder_module.RowCache, "reorder", note)
    found = decode(lively_dir, owed, max_new_tokens=150, batch_size=32)
    assert orders
    some = decode(lively_dir, requests(prompts, 2), max_new_tokens=150, batch_size=8)
    assert all(same(found[key], some[key]) for key in some)


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("temperature", [0, 0.7])
def test_logits_that_are_not_numbers(lively_dir, tmp_path, prompts, decode, value, temperature):
    """Damaged weights stop generation with prompt, place and remedy."""
    model = load.load_model(lively_dir, dtype=torch.float32)
    with torch.no_grad():
        model.lm_head.weight[7] = value
    model.save_pretrained(tmp_path)
    load.load_tokenizer(lively_dir).save_pretrained(tmp_path)
    with pytest.raises(ModelFault, match=r"prompt long, sample 0: after 0 tokens .* not numbers"):
        decode(tmp_path, requests(prompts, 1), max_new_tokens=4, temperature=temperature)


def test_a_vocabulary_beyond_the_tokenizer(make_model, prompts, decode, caplog):
    """Rows of padding in the vocabulary are never drawn, and that is said."""
    caplog.set_level(logging.INFO)
    usual = make_model("Llama", **SMALL, num_key_value_heads=2)
    model = load.load_model(usual, dtype=torch.float32)
    known = len(load.load_tokenizer(usual))
    model.resize_token_embeddings(known + 61)
    with torch.no_grad():
        model.lm_head.weight[known:] = 10 * model.lm_head.weight[:61]
    model.save_pretrained(usual)
    found = decode(usual, requests(prompts, 8), max_new_tokens=20, temperature=1.5)
    assert f"the model has {known + 61} tokens, its tokenizer {known}" in caplog.text
    assert max(token for s in found.values() for token in s.token_ids) < known


def test_a_tokenizer_of_another_model(make_model, prompts, decode):
    """A prompt whose tokens the model does not have is refused by name."""
    small = make_model("Llama", **{**SMALL, "num_key_value_heads": 2})
    model = load.load_model(small, dtype=torch.float32)
    model.resize_token_embeddings(20)
    model.save_pretrained(small)
    with pytest.raises(ModelFault, match=r"prompt short: .* gives token \d+, the model has 20"):
        decode(small, requests(prompts, 1), max_new_tokens=4)


def test_no_end_and_no_padding_token(lively_dir, tmp_path, prompts, decode, caplog):
    """Without an end token answers are cut at the limit, and that is said; nothing is padded."""
    folder = shutil.copytree(lively_dir, tmp_path / "model")
    tokenizer = load.load_tokenizer(lively_dir)
    tokenizer.eos_token = tokenizer.pad_token = None
    tokenizer.chat_template = None
    tokenizer.save_pretrained(folder)
    (folder / "chat_template.jinja").unlink(missing_ok=True)
    config = load.load_model(lively_dir, dtype=torch.float32).generation_config
    config.eos_token_id = config.pad_token_id = None
    config.save_pretrained(folder)
    found = decode(folder, requests(prompts, 3), max_new_tokens=12)
    assert "has no end token" in caplog.text
    assert "has no chat template" in caplog.text
    assert {s.finish_reason for s in found.values()} == {"length"}


def test_a_context_smaller_than_the_answer(make_model, prompts, decode):
    """The error names the largest answer that fits, or says that none does."""
    policy = make_model("Llama", **SMALL, num_key_value_heads=2, max_position_embeddings=60)
    tokens = len(chat.render(load.load_tokenizer(policy), prompts[0].messages))
    with pytest.raises(UserError, match=f"max_new_tokens to {60 - tokens} or shorten"):
        decode(policy, [Request(prompts[0], (0,))], max_new_tokens=100)
    with pytest.raises(UserError, match="Shorten the prompt: nothing is cut off"):
        decode(policy, [Request(prompts[2], (0,))], max_new_tokens=100)
