"""Anthropic's protocol by Anthropic's package, against a server that speaks it on loopback."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from halo_forge.cli import main
from halo_forge.config.server import ServerSettings
from halo_forge.core.errors import ModelFault, UserError
from halo_forge.engines.chat_server import Question, Reply
from halo_forge.engines.messages_server import MessagesServer
from tests.generated_items import good
from tests.misbehaving import Misbehaving, misbehaving
from tests.needs import package

package("anthropic")

SECRET = "sk-ant-secret-123"


@pytest.fixture
def server() -> Iterator[Misbehaving]:
    """A server on loopback."""
    with misbehaving() as made:
        made.script = [message("hello")]
        yield made


def message(text: str | None, reason: str = "end_turn", **usage: int) -> bytes:
    """An answer as the Messages API gives it; a thinking block stands before the text."""
    blocks: list[dict[str, Any]] = [{"type": "thinking", "thinking": "hm", "signature": "x"}]
    if text is not None:
        blocks.append({"type": "text", "text": text})
    return json.dumps(
        {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": "claude",
            "content": blocks,
            "stop_reason": reason,
            "stop_sequence": None,
            "usage": {"input_tokens": 11, "output_tokens": 5, **usage},
        }
    ).encode()


def refusal(kind: str, text: str) -> bytes:
    """An error as Anthropic words it."""
    return json.dumps({"type": "error", "error": {"type": kind, "message": text}}).encode()


def ask(server: Misbehaving, **settings: Any) -> Reply:
    """Put one question."""
    chosen = ServerSettings(base_url=address(server), **{"retries": 1, "timeout": 30, **settings})
    parameters = {"messages": [{"role": "user", "content": "Hi."}], "max_tokens": 9}
    with MessagesServer(chosen, "claude") as client:
        ((tag, reply),) = client.replies([Question(1, "question 1", parameters)])
    assert tag == 1
    return reply


def address(server: Misbehaving) -> str:
    """The package adds the version itself."""
    return server.url.removesuffix("/v1")


def test_a_reply(server: Misbehaving, monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts are joined, tokens are counted, and no key is sent that was not named."""
    for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"):
        monkeypatch.setenv(name, SECRET)
    assert ask(server) == Reply("hello", "stop", 11, 5)
    assert server.asked == [
        {
            "path": "/v1/messages",
            "model": "claude",
            "max_tokens": 9,
            "messages": [{"role": "user", "content": "Hi."}],
        }
    ]
    assert SECRET not in json.dumps(server.headers)


@pytest.mark.parametrize(
    ("text", "reason", "wanted"),
    [
        ("a", "max_tokens", Reply("a", "length", 11, 5)),
        ("a", "refusal", Reply("a", "length", 11, 5)),
        (None, "end_turn", Reply("", "stop", 11, 5)),
    ],
)
def test_ends(server: Misbehaving, text: str | None, reason: str, wanted: Reply) -> None:
    """Only an answer that the model ended itself counts as ended."""
    server.script = [message(text, reason)]
    assert ask(server) == wanted


@pytest.mark.parametrize(
    "step",
    [
        (429, refusal("rate_limit_error", "slow down")),
        (529, refusal("overloaded_error", "busy")),
        (500, b"oops"),
        b"",
        message("x")[:50],
        b'{"content": 3, "stop_reason": "end_turn"}',
        message("x", "tool_use"),
    ],
)
def test_trouble_passes_or_is_a_fault(server: Misbehaving, step: Any) -> None:
    """One bad moment costs a retry, two are a fault."""
    server.script = [step, message("hello")]
    assert ask(server).text == "hello"
    server.script = [step] * 2
    with pytest.raises(ModelFault, match=r"tried 2 times|in 2 attempts"):
        ask(server)


def test_refusals(server: Misbehaving, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong key and an unknown model are the user's; the key is not shown."""
    monkeypatch.setenv("THE_KEY", SECRET)
    server.script = [(401, refusal("authentication_error", f"invalid x-api-key {SECRET}"))]
    with pytest.raises(UserError, match=r"refuses \(401\) the key in THE_KEY") as caught:
        ask(server, api_key_env="THE_KEY")
    assert SECRET not in str(caught.value)
    sent = {name.lower(): value for name, value in server.headers[-1].items()}
    assert sent["authorization"] == f"Bearer {SECRET}"
    server.script = [(404, refusal("not_found_error", "model: claude"))]
    with pytest.raises(UserError, match=r"/v1/messages is not there \(404\), or there is no model"):
        ask(server)


def test_generate(
    server: Misbehaving, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    """A whole run: asked by schema, judged, written, and the key in no file and no log."""
    caplog.set_level("DEBUG")
    monkeypatch.setenv("ANTHROPIC_API_KEY", SECRET)
    server.script = [message(json.dumps(good("python_testing")), output_tokens=700)]
    flags = [
        *("data", "generate", "-t", "python_testing", "-b", "anthropic", "-m", "claude", "-q"),
        *("--base-url", address(server), "--api-key-env", "ANTHROPIC_API_KEY"),
        *("-o", str(tmp_path), "--max-requests", "1"),
    ]
    assert main(flags) == 0
    (asked,) = server.asked
    assert asked["output_config"]["format"]["type"] == "json_schema"
    assert asked["output_config"]["format"]["schema"]["required"][0] == "statement"
    assert asked["system"].startswith("You write programming tasks")
    folder = tmp_path / "python_testing"
    assert len((folder / "training.jsonl").read_text().splitlines()) == 1
    assert json.loads((folder / "manifest.json").read_text())["tokens_written"] == 700
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not [path for path in files if SECRET.encode() in path.read_bytes()]
    assert caplog.text
    assert SECRET not in caplog.text
