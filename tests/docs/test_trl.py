"""docs/howto/trl.md runs with the installed TRL: the reward function, and one step of GRPO."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "trl.md"
MODULE, CALL, TRAINING = [
    token.content for token in MarkdownIt().parse(PAGE.read_text("utf-8")) if token.info == "python"
]


@pytest.fixture(autouse=True)
def _module(tmp_path, monkeypatch) -> None:
    """Write the first snippet to the file that it names, where imports find it."""
    first = MODULE.splitlines()[0]
    (tmp_path / first.removeprefix("# file: ")).write_text(MODULE, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    yield
    sys.modules.pop("rewards").verifier.cleanup()


def test_rewards() -> None:
    """The right program gets 1, the wrong one 0; what cannot be judged gets no reward at all."""
    exec(compile(CALL, str(PAGE), "exec"), {"__name__": "docs"})
    rewards = sys.modules["rewards"]
    chat = [[{"role": "assistant", "content": "def f():\n    return 1"}]]
    assert rewards.tests_passed(chat, ["f"], ["def test():\n    assert f() == 1"]) == [1.0]
    assert rewards.tests_passed(chat, ["f"], [None]) == [None]


def test_one_step(tiny_model_dir, monkeypatch) -> None:
    """The trainer of the page takes its step on a tiny model, with our rewards in its log."""
    source = TRAINING.replace("Qwen/Qwen2.5-Coder-0.5B-Instruct", str(tiny_model_dir))
    source = source.replace("max_completion_length=256", "max_completion_length=8, use_cpu=True")
    source = source.replace("max_steps=1", "max_steps=1, bf16=False, disable_tqdm=True")
    names: dict = {"__name__": "docs"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec(compile(source, str(PAGE), "exec"), names)
    (step, *_) = names["trainer"].state.log_history
    assert step["rewards/tests_passed/mean"] == 0.0
    assert step["completions/max_length"] <= 8
