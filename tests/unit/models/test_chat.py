"""Messages to tokens and back."""

import logging

import pytest

from halo_forge.core.errors import ModelFault
from halo_forge.core.types import Message
from halo_forge.models import chat, load

SYSTEM, USER = Message("system", "Be brief."), Message("user", "Say hello.")
REFUSING = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
DROPPING = REFUSING.replace("{{ raise_exception('no system role') }}", "").replace(
    "{% for m in messages %}", "{% for m in messages if m['role'] != 'system' %}"
)


@pytest.fixture
def tokenizer(tiny_model_dir):
    """The tiny model's tokenizer, with a ChatML template."""
    return load.load_tokenizer(tiny_model_dir)


def test_render(tokenizer):
    """The template's own text, opened for the answer, as a flat list of ids."""
    ids = chat.render(tokenizer, [SYSTEM, USER])
    assert type(ids) is list
    assert {type(i) for i in ids} == {int}
    assert tokenizer.decode(ids) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nSay hello.<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    assert ids[0] == tokenizer.convert_tokens_to_ids("<|im_start|>")


@pytest.mark.parametrize("template", [REFUSING, DROPPING])
def test_template_without_a_system_role(tokenizer, template):
    """Where a system message is refused or dropped, it goes to the head of the user's."""
    tokenizer.chat_template = template
    text = chat.render_text(tokenizer, [SYSTEM, USER])
    assert text == ("<|im_start|>user\nBe brief.\n\nSay hello.<|im_end|>\n<|im_start|>assistant\n")
    assert "Be brief" not in chat.render_text(tokenizer, [USER])


def test_template_that_refuses_everything(tokenizer):
    """What no arrangement satisfies is one line with the template's words."""
    tokenizer.chat_template = "{{ raise_exception('never') }}"
    with pytest.raises(ModelFault, match=r"refuses the messages \(user\): never"):
        chat.render(tokenizer, [USER])


def test_no_template(tokenizer, caplog):
    """Without a template the plain form is used, with one warning a model."""
    tokenizer.chat_template = None
    tokenizer.name_or_path = "model-without-template"
    with caplog.at_level(logging.WARNING):
        ids = chat.render(tokenizer, [SYSTEM, USER, Message("assistant", "Hello."), USER])
        chat.render(tokenizer, [USER])
    assert chat.decode(tokenizer, ids) == (
        "Be brief.\n\nUser: Say hello.\n\nAssistant: Hello.\n\nUser: Say hello.\n\nAssistant:"
    )
    assert caplog.text.count("has no chat template") == 1


def test_stop_ids_from_everywhere(tokenizer):
    """Generation settings, tokenizer and template each may know an end that the others lack."""
    from transformers import GenerationConfig

    turn_end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    text_end = tokenizer.convert_tokens_to_ids("<|endoftext|>")
    tokenizer.eos_token = "<|endoftext|>"
    assert chat.stop_ids(tokenizer, None) == tuple(sorted({turn_end, text_end}))
    assert 7 in chat.stop_ids(tokenizer, GenerationConfig(eos_token_id=[7, text_end]))
    assert 8 in chat.stop_ids(tokenizer, GenerationConfig(eos_token_id=8))
    tokenizer.chat_template = None
    assert chat.stop_ids(tokenizer, None) == (text_end,)


def test_plain_text_after_a_turn_is_no_stop(tokenizer):
    """A template that goes on with ordinary text gives no stop token."""
    tokenizer.chat_template = "{% for m in messages %}{{ m['content'] }} end{% endfor %}"
    assert chat.stop_ids(tokenizer, None) == (tokenizer.eos_token_id,)


def test_decode(tokenizer):
    """Special tokens vanish; spaces before punctuation and line ends stay."""
    text = "if (x) {\n  return 1 , 2 ;\n}  "
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert chat.decode(tokenizer, [*ids, tokenizer.eos_token_id]) == text
    assert chat.decode(tokenizer, ()) == ""
