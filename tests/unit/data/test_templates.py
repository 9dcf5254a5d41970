"""The forms of chats are those that the families' own templates make."""

from pathlib import Path

import pytest

from halo_forge.core.types import Message
from halo_forge.data.templates import TEMPLATES
from tests.needs import package

_USER, _ANSWER = Message("user", "Add 1 and 2."), Message("assistant", "It is\n3.")
_CHATS = [
    [_USER, _ANSWER],
    [Message("system", "Be brief."), _USER, _ANSWER],
    [_USER, _ANSWER, Message("user", "And 4?"), Message("assistant", "7")],
]
_TEMPLATES = {"qwen": "qwen2_5.jinja", "llama": "llama3.jinja"}


@pytest.mark.parametrize("chat", _CHATS)
@pytest.mark.parametrize("name", _TEMPLATES)
def test_as_the_family_writes_it(name, chat):
    """The text is that of the template which TRL ships for the family."""
    trl = package("trl")
    jinja2 = package("jinja2")
    source = Path(trl.__file__).parent / "chat_templates" / _TEMPLATES[name]
    template = jinja2.Environment(trim_blocks=True, lstrip_blocks=True).from_string(
        source.read_text("utf-8")
    )
    turns = [{"role": turn.role, "content": turn.content} for turn in chat]
    text = template.render(
        messages=turns, add_generation_prompt=False, bos_token="<|begin_of_text|>"
    )
    assert TEMPLATES[name](chat) == text


@pytest.mark.parametrize("name", TEMPLATES)
def test_every_turn_has_its_end(name):
    """The answer ends with the token that ends a turn, so that ending is learned."""
    end = "<|eot_id|>" if name == "llama" else "<|im_end|>\n"
    text = TEMPLATES[name](_CHATS[0])
    assert text.endswith("3." + end)
    assert text.count(end.strip()) == (3 if name == "qwen" else 2)


@pytest.mark.model
def test_the_built_in_model_writes_chatml():
    """Its own template and ours make the same of a chat with a system message."""
    from halo_forge.models.chat import transcript
    from halo_forge.models.load import load_tokenizer

    tokenizer = load_tokenizer("builtin:smollm2-135m")
    assert transcript(tokenizer, _CHATS[1]) == TEMPLATES["chatml"](_CHATS[1])
