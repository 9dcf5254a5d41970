"""The engine `openai` against a server that misbehaves in every way it can think of."""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, wait
from typing import Any

import pytest
from pydantic import ValidationError

from halo_forge.config.sections import GenerationSettings, HardwareSettings
from halo_forge.config.server import ServerSettings
from halo_forge.core.errors import ModelFault, UserError
from halo_forge.core.types import Message, Prompt, Sample
from halo_forge.engines.base import Engine, EngineSpec, Request, request_seed
from halo_forge.engines.chat_server import ChatServer, Question
from halo_forge.engines.openai_server import OpenAIEngine
from tests.misbehaving import MODEL, Handler, Misbehaving, completion, misbehaving, refusal
from tests.needs import package

package("openai")

SECRET = "sk-very-secret-123"
PROMPT = Prompt("p", (Message("system", "Be brief."), Message("user", "Say it.")))


@pytest.fixture
def server() -> Iterator[Misbehaving]:
    """A server on loopback."""
    with misbehaving() as made:
        yield made


def spec_of(url: str | None, model: str = MODEL, **settings: Any) -> EngineSpec:
    """How the engine is opened; a second of patience, and one retry."""
    chosen = ServerSettings(**{"base_url": url, "retries": 1, "timeout": 30, **settings})
    generation = GenerationSettings(
        engine="openai", temperature=0.5, max_new_tokens=77, server=chosen
    )
    return EngineSpec(model, generation, HardwareSettings(), label="served")


def ask(server: Misbehaving, count: int = 1, **settings: Any) -> list[Sample]:
    """Ask for ``count`` samples of one prompt; return them by index."""
    with OpenAIEngine(spec_of(server.url, **settings)) as engine:
        found = list(engine.generate([Request(PROMPT, tuple(range(count)))], seed=9))
    return sorted(found, key=lambda sample: sample.index)


def test_a_sample(server: Misbehaving) -> None:
    """What is asked is what the settings say; what comes back is a sample without token ids."""
    server.script = [completion("print(1)", "stop", 5)]
    (sample,) = ask(server)
    assert isinstance(OpenAIEngine(spec_of(server.url)), Engine)
    assert sample == Sample(PROMPT, 0, "print(1)", policy="served", token_count=5)
    assert (sample.length, sample.token_ids, sample.logprobs) == (5, (), ())
    assert server.asked == [
        {
            "path": "/v1/chat/completions",
            "model": MODEL,
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "Say it."},
            ],
            "temperature": 0.5,
            "top_p": 1.0,
            "max_tokens": 77,
            "top_k": -1,
            "min_p": 0.0,
            "repetition_penalty": 1.0,
            "repeat_penalty": 1.0,
            "repeat_last_n": 65536,
            "seed": request_seed(9, PROMPT, 0) & 0x7FFFFFFF,
        }
    ]


def test_a_seed_for_each_sample(server: Misbehaving) -> None:
    """Each sample is a request of its own with a seed of its own, the same in every attempt."""
    ask(server, 6)
    first = sorted(one["seed"] for one in server.asked)
    server.asked.clear()
    ask(server, 6)
    assert sorted(one["seed"] for one in server.asked) == first
    assert len(set(first)) == 6
    assert all(0 <= seed < 2**31 for seed in first)


def test_other_names_for_other_servers(server: Misbehaving) -> None:
    """OpenAI's newer models name the limit otherwise; some servers take no seed, or less."""
    ask(server, token_limit="max_completion_tokens", send_seed=False, extensions=False)
    (asked,) = server.asked
    assert asked["max_completion_tokens"] == 77
    assert asked.keys() == {
        *("path", "model", "messages", "temperature", "top_p", "max_completion_tokens")
    }


def test_the_law_of_sampling(server: Misbehaving) -> None:
    """Every setting reaches the server, under the names of llama.cpp and of vLLM."""
    law = {"top_p": 0.9, "top_k": 7, "min_p": 0.1, "repetition_penalty": 1.2, "stop": ("END", "##")}
    chosen = spec_of(server.url).generation.server
    generation = GenerationSettings(engine="openai", server=chosen, **law)
    with OpenAIEngine(EngineSpec(MODEL, generation, HardwareSettings())) as engine:
        list(engine.generate([Request(PROMPT, (0,))], 1))
    (asked,) = server.asked
    assert {name: asked[name] for name in law} == law | {"stop": ["END", "##"]}
    assert (asked["repeat_penalty"], asked["repeat_last_n"]) == (1.2, 65536)


@pytest.mark.parametrize("name", ["top_k", "min_p", "repetition_penalty"])
def test_a_setting_that_would_not_be_sent(name: str) -> None:
    """With extensions off, what needs them is refused by name."""
    server = ServerSettings(base_url="http://127.0.0.1:1/v1", extensions=False)
    value = {"top_k": 5, "min_p": 0.5, "repetition_penalty": 1.5}[name]
    generation = GenerationSettings(engine="openai", server=server, **{name: value})
    with pytest.raises(UserError, match=rf"generation\.{name} is not OpenAI's"):
        OpenAIEngine(EngineSpec(MODEL, generation, HardwareSettings()))


@pytest.mark.parametrize(
    ("reason", "mapped"), [("stop", "stop"), ("length", "length"), ("content_filter", "length")]
)
def test_finish_reasons(server: Misbehaving, reason: str, mapped: str) -> None:
    """Only an answer that the model ended itself counts as ended."""
    server.script = [completion("x", reason)]
    assert ask(server)[0].finish_reason == mapped


@pytest.mark.parametrize("text", ["", None])
def test_a_model_that_says_nothing(server: Misbehaving, text: str | None) -> None:
    """An empty text with a finish reason is the model's answer, and is judged as such."""
    server.script = [completion(text, "stop", 1)]
    (sample,) = ask(server)
    assert (sample.completion, sample.finish_reason, sample.length) == ("", "stop", 1)
    assert len(server.asked) == 1


def test_an_answer_without_usage(server: Misbehaving) -> None:
    """A server that counts no tokens is believed otherwise."""
    answer = json.loads(completion("x"))
    del answer["usage"]
    server.script = [json.dumps(answer).encode()]
    assert ask(server)[0].length == 0


MALFORMED = {
    "empty": b"",
    "no JSON": b"<html>busy</html>",
    "truncated JSON": completion()[:40],
    "no choices": b'{"choices": []}',
    "an error as a success": refusal("upstream died"),
    "null": b"null",
    "a list": b"[1]",
    "no message": b'{"choices": [{"finish_reason": "stop"}]}',
    "no finish reason": completion("x", None),
    "foreign finish reason": completion("x", "tool_calls"),
    "content that is no text": b'{"choices": [{"finish_reason": "stop", "message": '
    b'{"content": [1]}}]}',
    "tokens that are no number": b'{"choices": [{"finish_reason": "stop", "message": '
    b'{"content": "x"}}], "usage": {"completion_tokens": "many"}}',
    "usage that is a list": b'{"choices": [{"finish_reason": "stop", "message": '
    b'{"content": "x"}}], "usage": [3]}',
}


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED)
def test_malformed_answers(server: Misbehaving, body: bytes) -> None:
    """They are asked for again, and are a fault when they stay so; never the model's answer."""
    server.script = [body]
    assert ask(server)[0].completion == "hello"
    server.script = [body, body]
    with pytest.raises(ModelFault, match=r"prompt p could not be read in 2 attempts") as caught:
        ask(server)
    assert "the same command goes on" in str(caught.value)
    assert "\n" not in str(caught.value)


def _close(handler: Handler) -> None:
    handler.hang_up()


def _half(handler: Handler) -> None:
    handler.break_off()


TROUBLE: dict[str, tuple[Any, str]] = {
    "429": ((429, refusal("slow down")), r"status 429, tried 2 times\. .*slow down"),
    "500": ((500, refusal("oops")), r"status 500, tried 2 times\. .*oops"),
    "503": ((503, b"loading"), r"status 503, tried 2 times\. It says: loading"),
    "hangs up": (_close, r"cannot be reached or broke off \(.+\), tried 2 times"),
    "breaks off": (_half, r"cannot be reached or broke off \(.+\), tried 2 times"),
}


@pytest.mark.parametrize(("step", "said"), TROUBLE.values(), ids=TROUBLE)
def test_trouble_that_passes(server: Misbehaving, step: Any, said: str) -> None:
    """One bad moment costs a retry."""
    server.script = [step]
    assert ask(server)[0].completion == "hello"
    assert len(server.asked) == 2
    assert server.asked[0] == server.asked[1]


@pytest.mark.parametrize(("step", "said"), TROUBLE.values(), ids=TROUBLE)
def test_trouble_that_stays(server: Misbehaving, step: Any, said: str) -> None:
    """After the retries it is a fault that says where, what and how often."""
    server.script = [step] * 2
    with pytest.raises(ModelFault, match=said) as caught:
        ask(server)
    assert str(caught.value).startswith(f"{server.url}: ")
    assert "the same command goes on" in str(caught.value)
    assert len(server.asked) == 2


def test_retry_after(server: Misbehaving) -> None:
    """The server says when it wants to be asked again, and is obeyed."""
    server.script = [lambda handler: handler.reply(429, refusal("busy"), Retry_After="2")]
    ask(server)
    assert server.times[1] - server.times[0] >= 1.9


def test_waits_grow(server: Misbehaving) -> None:
    """Without Retry-After each wait is longer than the one before."""
    server.script = [(500, b"x")] * 3
    ask(server, retries=3)
    waits = [after - before for before, after in zip(server.times, server.times[1:], strict=False)]
    assert waits[0] < waits[1] < waits[2]


def test_a_timeout(server: Misbehaving) -> None:
    """A server that does not answer in time is a fault, and is named with the setting."""
    release = threading.Event()
    server.script = [lambda handler: release.wait(60)]
    with pytest.raises(ModelFault, match=r"no answer within 0\.3 s, tried once\. Raise generation"):
        ask(server, timeout=0.3, retries=0)
    release.set()


REFUSALS: dict[str, tuple[int, str]] = {
    "400": (400, r"refuses the request \(400\)\. It says: .*no good.*extensions=false"),
    "401": (401, r"refuses \(401\) a request without a key; .*--api-key-env"),
    "402": (402, r"refuses the request \(402\)\. It says: .*no good"),
    "403": (403, r"refuses \(403\) a request without a key"),
    "404": (404, r"/chat/completions is not there \(404\), or there is no model 'the-model'"),
}


@pytest.mark.parametrize(("status", "said"), REFUSALS.values(), ids=REFUSALS)
def test_refusals(server: Misbehaving, status: int, said: str) -> None:
    """What waiting does not mend is not tried again, and is the user's."""
    server.script = [(status, refusal("no good"))]
    with pytest.raises(UserError, match=said):
        ask(server)
    assert len(server.asked) == 1


def test_a_server_that_dies_in_the_middle(server: Misbehaving) -> None:
    """What was answered, and what was under way, comes; then the fault; nothing more is asked."""
    slow = threading.Event()

    def late(handler: Handler) -> None:
        slow.wait(10)
        handler.reply(200, completion("late"))

    def dead(handler: Handler) -> None:
        slow.set()
        handler.hang_up()

    server.script = [completion("early"), late, dead, dead]
    found: list[Sample] = []

    def note(samples: Iterator[Sample]) -> None:
        for sample in samples:
            found.append(sample)
            if sample.completion != "early":
                server.script = [dead] * 100

    with OpenAIEngine(spec_of(server.url, concurrency=2)) as engine:
        with pytest.raises(ModelFault, match="cannot be reached or broke off"):
            note(engine.generate([Request(PROMPT, tuple(range(40)))], 1))
        server.script = []  # the engine is as good as before
        rest = [i for i in range(40) if i not in {s.index for s in found}]
        again = list(engine.generate([Request(PROMPT, tuple(rest))], 1))
    assert {"early", "late"} <= {sample.completion for sample in found}
    assert len(found) + len(again) == 40
    assert len(found) < 40


def test_concurrency(server: Misbehaving) -> None:
    """As many requests as asked for are under way at once, and never more."""
    gate = threading.Barrier(3, timeout=60)

    def together(handler: Handler) -> None:
        gate.wait()
        handler.reply(200, completion())

    server.script = [together] * 12
    assert len(ask(server, 12, concurrency=3)) == 12
    assert server.busiest == 3


def test_answers_go_before_questions(server: Misbehaving, monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that is there does not lie while the next question is waited for."""
    futures: list[Future[Any]] = []
    answered: list[int] = []
    seen: list[list[int]] = []

    def questions() -> Iterator[Question[int]]:
        for number in range(3):
            if number == 1:
                wait(futures)
            seen.append(list(answered))
            yield Question(number, "q", {"messages": []})

    chosen = ServerSettings(base_url=server.url, retries=0, timeout=30, concurrency=3)
    with ChatServer(chosen, MODEL) as asked:
        begin = asked._portal.start_task_soon

        def noted(*args: Any) -> Any:
            futures.append(begin(*args))
            return futures[-1]

        monkeypatch.setattr(asked._portal, "start_task_soon", noted)
        for tag, _ in asked.replies(questions()):
            answered.append(tag)
    assert sorted(answered) == [0, 1, 2]
    assert 0 in seen[2]


def test_stopping_does_not_wait_for_answers(server: Misbehaving) -> None:
    """A caller that stops in the middle drops the requests under way."""
    release = threading.Event()
    server.script = [completion("first"), *[lambda handler: release.wait(60)] * 3]
    started = time.monotonic()
    with OpenAIEngine(spec_of(server.url, concurrency=2)) as engine:
        samples = engine.generate([Request(PROMPT, tuple(range(9)))], 1)
        assert next(samples).completion == "first"
        samples.close()
    assert time.monotonic() - started < 30
    release.set()


def test_an_interrupt_while_a_request_is_sent(
    server: Misbehaving, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C may come when a request is under way and not yet noted; it is dropped all the same."""
    release, reached = threading.Event(), threading.Event()

    def stuck(handler: Handler) -> None:
        reached.set()
        release.wait(60)

    server.script = [stuck]
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        _interrupted(server, monkeypatch, reached)
    assert time.monotonic() - started < 30
    release.set()


def _interrupted(
    server: Misbehaving, monkeypatch: pytest.MonkeyPatch, reached: threading.Event
) -> None:
    with OpenAIEngine(spec_of(server.url)) as engine:
        portal = engine._server._portal
        begin = portal.start_task_soon

        def interrupted(*args: Any) -> None:
            begin(*args)
            reached.wait(60)
            raise KeyboardInterrupt

        monkeypatch.setattr(portal, "start_task_soon", interrupted)
        list(engine.generate([Request(PROMPT, (0,))], 1))


def test_nothing_owed(server: Misbehaving) -> None:
    """No request, no sample."""
    with OpenAIEngine(spec_of(server.url)) as engine:
        assert list(engine.generate([], 1)) == []
        assert list(engine.generate([Request(PROMPT, ())], 1)) == []
    assert server.asked == []


def test_an_unknown_model(server: Misbehaving) -> None:
    """The server's models are listed, the nearest first."""
    with (
        pytest.raises(
            UserError,
            match=rf"{server.url} has no model 'the-modl'\. Did you mean 'the-model'\? "
            r"It has: the-model, another\. Name one with --model",
        ),
        OpenAIEngine(spec_of(server.url, "the-modl")),
    ):
        pass


def test_a_server_that_lists_no_models(server: Misbehaving) -> None:
    """It is asked nevertheless."""
    server.models = None
    assert ask(server)[0].completion == "hello"


@pytest.mark.parametrize("body", [b"<html>welcome</html>", b"[]", b'{"data": [{}]}', b""])
def test_something_else_at_the_address(server: Misbehaving, body: bytes) -> None:
    """A page is no server."""
    server.models = lambda handler: handler.reply(200, body)
    with pytest.raises(UserError, match="does not answer like an OpenAI-compatible server"):
        ask(server)


def test_a_refused_connection() -> None:
    """Where nobody listens, that is said at once."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
        with (
            pytest.raises(ModelFault, match=r"cannot be reached .* Check that the server runs"),
            OpenAIEngine(spec_of(url, retries=0)),
        ):
            pass


def test_a_host_that_does_not_exist() -> None:
    """A name that leads nowhere is said to do so."""
    with (
        pytest.raises(ModelFault, match="cannot be reached"),
        OpenAIEngine(spec_of("http://nowhere.invalid/v1", retries=0)),
    ):
        pass


def test_the_key_is_sent_and_never_shown(
    server: Misbehaving, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes from the environment; a server that repeats it does not get it into a message."""
    monkeypatch.setenv("SERVER_KEY", SECRET)
    server.script = [(401, refusal(f"Incorrect API key provided: {SECRET}"))]
    with pytest.raises(UserError, match=r"refuses \(401\) the key in SERVER_KEY") as caught:
        ask(server, api_key_env="SERVER_KEY")
    assert SECRET not in str(caught.value)
    assert "***" in str(caught.value)
    assert {one["authorization"] for one in server.headers} == {f"Bearer {SECRET}"}


def test_a_key_that_is_no_secret(server: Misbehaving, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reply loses a secret that it repeats, and not every "test" because that is the key."""
    for key, kept in (("test", True), (SECRET, False)):
        monkeypatch.setenv("SERVER_KEY", key)
        server.script = [completion(f"a {key} b")]
        text = ask(server, api_key_env="SERVER_KEY")[0].completion
        assert text == (f"a {key} b" if kept else "a *** b")


def test_no_key_is_sent_unasked(server: Misbehaving, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key for another service does not go to whatever server is named."""
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    ask(server)
    assert SECRET not in json.dumps(server.headers)


def test_a_key_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable is named before anything is asked."""
    monkeypatch.delenv("SERVER_KEY", raising=False)
    with pytest.raises(UserError, match="environment variable SERVER_KEY is not set"):
        OpenAIEngine(spec_of("http://127.0.0.1:1/v1", api_key_env="SERVER_KEY"))


@pytest.mark.parametrize("strange", ["\u201c", "\u00e9", "\x07", "\n"])
def test_a_key_that_cannot_be_sent(monkeypatch: pytest.MonkeyPatch, strange: str) -> None:
    """A quotation mark or a line end that was copied along is said; the key is not."""
    monkeypatch.setenv("SERVER_KEY", f"{SECRET}{strange}x")
    with pytest.raises(UserError, match="variable SERVER_KEY holds characters") as caught:
        OpenAIEngine(spec_of("http://127.0.0.1:1/v1", api_key_env="SERVER_KEY"))
    assert SECRET not in str(caught.value)


def test_no_address() -> None:
    """The setting and its flag are named; an address that would not be asked is refused, too."""
    with pytest.raises(ValidationError, match=r"generation\.server\.base_url \(--base-url\)"):
        GenerationSettings(engine="openai")
    server = ServerSettings(base_url="http://127.0.0.1:1/v1")
    with pytest.raises(ValidationError, match=r"\(--engine openai\)"):
        GenerationSettings(server=server)


def test_not_for_training() -> None:
    """Answers without token ids are refused before they are asked for."""
    spec = spec_of("http://127.0.0.1:1/v1")
    training = EngineSpec(MODEL, spec.generation, spec.hardware, for_training=True)
    with pytest.raises(UserError, match=r"carry no token ids.* cannot be trained on"):
        OpenAIEngine(training)


def test_the_package_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra that brings it is named."""
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(UserError, match=r"pip install 'halo-forge\[openai\]'"):
        OpenAIEngine(spec_of("http://127.0.0.1:1/v1"))


@pytest.mark.parametrize(
    "url",
    [
        "127.0.0.1:8080/v1",
        "ftp://host/v1",
        "http://",
        "http://host:99999/v1",
        "http://user:word@host/v1",
        "https://host/v1?key=abc",
    ],
)
def test_addresses_that_are_refused(url: str) -> None:
    """No address, or one with a secret that would be stored."""
    with pytest.raises(ValueError, match=r"address|[Pp]ort"):
        ServerSettings(base_url=url)


def test_many_models_are_cut_short(server: Misbehaving) -> None:
    """A server with hundreds of models does not fill the screen."""
    server.models = [f"m{i}" for i in range(300)]
    with pytest.raises(UserError, match=r"m19 and 280 more"):
        ask(server)
