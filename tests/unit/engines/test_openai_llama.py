"""The engine `openai` against llama.cpp, a real server process with the built-in model."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from halo_forge.config.sections import GenerationSettings, HardwareSettings
from halo_forge.config.server import ServerSettings
from halo_forge.core.errors import ModelFault, UserError
from halo_forge.core.types import Message, Prompt, Sample
from halo_forge.engines.base import EngineSpec, Request
from halo_forge.engines.openai_server import OpenAIEngine
from halo_forge.store.records import read_records
from tests.llama_server import start_llama

pytestmark = [pytest.mark.timeout(900)]

MODEL = "smollm2"
PROMPT = Prompt("p", (Message("user", "Write one sentence about rivers."),))
Start = Callable[[], tuple[str, subprocess.Popen[str]]]


@pytest.fixture(scope="module")
def start() -> Iterator[Start]:
    """Start a server and wait for its address; all are ended with the module."""
    started: list[subprocess.Popen[str]] = []

    def run() -> tuple[str, subprocess.Popen[str]]:
        url, process = start_llama()
        started.append(process)
        return url, process

    yield run
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def url(start: Start) -> str:
    """A server that stays."""
    return start()[0]


def ask(
    url: str,
    count: int,
    tokens: int = 24,
    seed: int = 3,
    *,
    extensions: bool = True,
    **generation: float,
) -> list[Sample]:
    """Ask for samples of one prompt; return them by index."""
    settings = GenerationSettings(
        engine="openai",
        max_new_tokens=tokens,
        server=ServerSettings(base_url=url, concurrency=2, retries=1, extensions=extensions),
        **generation,
    )
    with OpenAIEngine(EngineSpec(MODEL, settings, HardwareSettings(), label=MODEL)) as engine:
        found = list(engine.generate([Request(PROMPT, tuple(range(count)))], seed))
    return sorted(found, key=lambda sample: sample.index)


def test_samples(url: str) -> None:
    """Answers differ from index to index, are cut where asked, and are counted."""
    samples = ask(url, 4, temperature=1.0)
    assert len({sample.completion for sample in samples}) >= 3
    assert {s.length for s in samples if s.finish_reason == "length"} <= {24}
    (short,) = ask(url, 1, tokens=5)
    assert (short.finish_reason, short.length) == ("length", 5)
    (whole,) = ask(url, 1, tokens=150, temperature=0.0)
    assert (whole.finish_reason, whole.token_ids) == ("stop", ())
    assert 5 < whole.length < 150
    assert whole.completion.strip()


def test_seeds_reach_the_server(url: str) -> None:
    """Alone on the server the same seed gives the same sample, another seed another."""
    first, again, other = (ask(url, 1, seed=seed, temperature=1.0)[0] for seed in (3, 3, 4))
    assert first.completion == again.completion
    assert first.completion != other.completion


def test_the_servers_own_defaults_are_switched_off(url: str) -> None:
    """Left alone llama.cpp draws from few tokens; at this temperature that shows in the words."""
    ours, its = (
        ask(url, 1, tokens=60, temperature=3.0, extensions=extensions)[0].completion
        for extensions in (True, False)
    )
    assert len(re.findall("[a-z][A-Z]", ours)) > len(re.findall("[a-z][A-Z]", its))


def test_an_unknown_model(url: str) -> None:
    """The server is asked for its models before anything is sampled."""
    settings = GenerationSettings(engine="openai", server=ServerSettings(base_url=url))
    with (
        pytest.raises(UserError, match=rf"has no model 'qwen'\..* It has: {MODEL}"),
        OpenAIEngine(EngineSpec("qwen", settings, HardwareSettings())),
    ):
        pass


def test_a_prompt_beyond_the_context(url: str) -> None:
    """The server's own words say what does not fit."""
    long = Prompt("long", (Message("user", "word " * 6000),))
    settings = GenerationSettings(engine="openai", server=ServerSettings(base_url=url, retries=0))
    with (
        OpenAIEngine(EngineSpec(MODEL, settings, HardwareSettings())) as engine,
        pytest.raises(UserError, match=r"refuses the request \(400\)\. It says: .*context"),
    ):
        list(engine.generate([Request(long, (0,))], 1))


def test_a_server_that_is_killed(start: Start) -> None:
    """What was answered before came through; then it is a fault."""
    url, process = start()
    settings = GenerationSettings(
        engine="openai",
        max_new_tokens=60,
        server=ServerSettings(base_url=url, concurrency=2, retries=1),
    )
    found: list[Sample] = []

    def note(samples: Iterator[Sample]) -> None:
        for sample in samples:
            found.append(sample)
            process.kill()

    with (
        OpenAIEngine(EngineSpec(MODEL, settings, HardwareSettings())) as engine,
        pytest.raises(ModelFault, match=r"cannot be reached or broke off .* tried 2 times"),
    ):
        note(engine.generate([Request(PROMPT, tuple(range(50)))], 1))
    assert 1 <= len(found) < 50


def test_benchmark_run(url: str, tmp_path: Path) -> None:
    """The command measures the served model, resumes it, and stores no secret."""
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text(
        json.dumps({"id": "hi", "prompt": "Print hi in Python.", "expected_output": "hi"}) + "\n"
    )
    command = [
        *(sys.executable, "-m", "halo_forge", "benchmark", "run", "--engine", "openai"),
        *("--base-url", url, "--model", MODEL, "--prompts", str(prompts)),
        *("--samples", "3", "--k", "1", "--max-new-tokens", "40", "--verifier", "python"),
        *("--output", str(tmp_path / "out"), "--api-key-env", "THE_KEY", "--json"),
    ]
    told = []
    for _ in range(2):
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "THE_KEY": "sk-secret"},
        )
        assert done.returncode == 0, done.stderr
        told.append(json.loads(done.stdout))
    result, again = told
    assert (result["model"], result["prompts"], result["samples_per_prompt"]) == (MODEL, 1, 3)
    assert again == result, "something was done a second time"
    records = list(read_records(tmp_path / "out" / "samples.jsonl"))
    assert sorted(record["id"] for record in records) == ["hi#0", "hi#1", "hi#2"]
    assert all(0 < record["token_count"] <= 40 for record in records)
    for path in (tmp_path / "out").rglob("*"):
        assert path.is_dir() or b"sk-secret" not in path.read_bytes()
