"""Lengths in tokens: what training would see, not what a file shows."""

import pytest

from halo_forge.core.types import Message
from halo_forge.models.chat import render
from halo_forge.models.lengths import TokenCounter
from halo_forge.models.load import load_tokenizer


@pytest.fixture(scope="module")
def tokenizer(tiny_model_dir):
    """The tokenizer itself."""
    return load_tokenizer(tiny_model_dir)


def test_chats_and_texts(tiny_model_dir, tokenizer):
    """A chat is its prompt, its answer and an end; a question has no end; a text is itself."""
    asked = (Message("system", "Be brief."), Message("user", "Why?"))
    chat = (*asked, Message("assistant", "Because it is so."))
    prompt = len(render(tokenizer, asked))
    answer = len(tokenizer("Because it is so.", add_special_tokens=False)["input_ids"])
    plain = len(tokenizer("Just so.")["input_ids"])
    counts = TokenCounter(str(tiny_model_dir)).count(
        [(chat, None), (asked, None), ((), "Just so.")]
    )
    assert counts == [prompt + answer + 1, prompt, plain + 1]


def test_nothing_has_no_length(tiny_model_dir):
    """No records, no counts."""
    assert TokenCounter(str(tiny_model_dir)).count([]) == []
