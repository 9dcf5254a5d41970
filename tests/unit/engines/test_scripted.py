"""Answers from a file: who gets which, and what a wrong file says."""

import pytest

from halo_forge.config.sections import GenerationSettings, HardwareSettings
from halo_forge.core.errors import UserError
from halo_forge.core.types import Message, Prompt
from halo_forge.engines.base import Engine, EngineSpec, Request
from halo_forge.engines.scripted import ScriptedEngine
from halo_forge.models import chat, load

GOOD = '{"prompt_id": "a", "completions": ["one", "two"]}\n{"prompt_id": "*", "completions": ["x"]}'


def prompt(name: str) -> Prompt:
    """A prompt of that id."""
    return Prompt(name, (Message("user", "say"),))


def open_script(tmp_path, text: str, policy: str = "") -> ScriptedEngine:
    """An engine that reads ``text``."""
    path = tmp_path / "answers.jsonl"
    path.write_text(text, encoding="utf-8")
    generation = GenerationSettings(engine="scripted", script=str(path))
    return ScriptedEngine(EngineSpec(policy, generation, HardwareSettings(), label="script"))


def test_answers_by_id_and_for_everyone(tmp_path) -> None:
    """A prompt's own answers go round; all others get those of ``*``."""
    owed = [Request(prompt("b"), (0,)), Request(prompt("a"), (0, 1, 4, 7))]
    engine = open_script(tmp_path, GOOD)
    assert isinstance(engine, Engine)
    with engine:
        found = {s.id: s for s in engine.generate(owed, 1)}
    assert {key: s.completion for key, s in found.items()} == {
        "b#0": "x",
        "a#0": "one",
        "a#1": "two",
        "a#4": "one",
        "a#7": "two",
    }
    assert found["a#0"].token_ids == tuple(b"one")
    assert found["a#0"].prompt_ids == tuple(b"say")
    assert all(len(s.logprobs) == len(s.token_ids) for s in found.values())
    assert {s.policy for s in found.values()} == {"script"}
    assert {s.finish_reason for s in found.values()} == {"stop"}


def test_tokens_of_a_model(tmp_path, tiny_model_dir) -> None:
    """With a model, tokens are its own, and an answer ends with its end token."""
    tokenizer = load.load_tokenizer(tiny_model_dir)
    with open_script(tmp_path, GOOD, str(tiny_model_dir)) as engine:
        (sample,) = engine.generate([Request(prompt("a"), (1,))], 1)
    assert sample.token_ids[-1] == tokenizer.eos_token_id
    assert tokenizer.eos_token_id not in sample.token_ids[:-1]
    assert tokenizer.decode(sample.token_ids[:-1]) == "two"
    assert list(sample.prompt_ids) == chat.render(tokenizer, prompt("a").messages)


def test_no_answer(tmp_path) -> None:
    """A prompt without an answer is named."""
    with (
        open_script(tmp_path, GOOD.splitlines()[0]) as engine,
        pytest.raises(UserError, match=r"answers\.jsonl: no completions for prompt 'c' and none"),
    ):
        list(engine.generate([Request(prompt("c"), (0,))], 1))


@pytest.mark.parametrize(
    "line",
    [
        '{"prompt_id": "b"}',
        '{"completions": ["x"]}',
        '{"prompt_id": 3, "completions": ["x"]}',
        '{"prompt_id": "b", "completions": 7}',
        '{"prompt_id": "b", "completions": "x"}',
        '{"prompt_id": "b", "completions": ["x", null]}',
        '{"prompt_id": "b", "completions": []}',
    ],
)
def test_a_wrong_line(tmp_path, line: str) -> None:
    """A line that is not understood is named by file and line, with what is expected."""
    with pytest.raises(UserError, match=r'answers\.jsonl:3: expected \{"prompt_id"') as caught:
        open_script(tmp_path, f"{GOOD}\n{line}\n")
    assert str(caught.value).endswith(f"got {line}")


@pytest.mark.parametrize("line", ["not json", '["b", ["x"]]', '{"prompt_id": "b", "compl'])
def test_a_line_that_is_no_object(tmp_path, line: str) -> None:
    """Broken JSON is named by file and line as well."""
    with pytest.raises(UserError, match=r"answers\.jsonl:3: "):
        open_script(tmp_path, f"{GOOD}\n{line}\n")


def test_text_with_unusual_line_ends(tmp_path) -> None:
    """Only a newline ends a line; a separator of paragraphs belongs to the answer."""
    text = '{"prompt_id": "*", "completions": ["one\u2028two"]}\n\n'
    with open_script(tmp_path, text) as engine:
        (sample,) = engine.generate([Request(prompt("a"), (0,))], 1)
    assert sample.completion == "one\u2028two"


def test_no_script(tmp_path) -> None:
    """A missing setting and a missing file are the user's to mend."""
    spec = EngineSpec("", GenerationSettings(engine="scripted"), HardwareSettings())
    with pytest.raises(UserError, match=r"needs generation\.script"):
        ScriptedEngine(spec)
    gone = GenerationSettings(engine="scripted", script=str(tmp_path / "gone.jsonl"))
    with pytest.raises(UserError, match=r"gone\.jsonl: cannot be read: No such file"):
        ScriptedEngine(EngineSpec("", gone, HardwareSettings()))
