"""A server on loopback that speaks OpenAI's protocol, and misbehaves as its script says."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MODEL = "the-model"


def completion(text: str | None = "hello", reason: str | None = "stop", tokens: int = 3) -> bytes:
    """A server's answer as it should be."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}}
    return json.dumps(
        {
            "object": "chat.completion",
            "choices": [{**choice, "finish_reason": reason}],
            "usage": {"completion_tokens": tokens},
        }
    ).encode()


def refusal(message: str) -> bytes:
    """An error as OpenAI words it."""
    return json.dumps({"error": {"message": message, "type": "invalid_request_error"}}).encode()


class Misbehaving(ThreadingHTTPServer):
    """Answers each request by the next of ``script``, and well when that has run out.

    A step is an answer's body, a pair of status and body with headers after it, or a function that
    does with the connection what it likes.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.script: list[Any] = []
        self.models: Any = [MODEL, "another"]
        self.asked: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.times: list[float] = []
        self.busiest = self.busy = 0
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        """Address up to the version."""
        return f"http://127.0.0.1:{self.server_port}/v1"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Keep quiet about clients that hang up."""


class Handler(BaseHTTPRequestHandler):
    server: Misbehaving

    def log_message(self, *_: Any) -> None:
        """Keep quiet."""

    def do_GET(self) -> None:
        """List the models."""
        self.server.headers.append(dict(self.headers))
        models = self.server.models
        if self.path != "/v1/models" or models is None:
            self.reply(404, b'{"detail": "Not Found"}')
        elif isinstance(models, list):
            self.reply(200, json.dumps({"data": [{"id": name} for name in models]}).encode())
        else:
            models(self)

    def do_POST(self) -> None:
        """Do what the script says."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        server = self.server
        with server.lock:
            server.headers.append(dict(self.headers))
            server.asked.append({"path": self.path, **body})
            server.times.append(time.monotonic())
            server.busy += 1
            server.busiest = max(server.busiest, server.busy)
            step = server.script.pop(0) if server.script else completion()
        try:
            if callable(step):
                step(self)
            elif isinstance(step, tuple):
                self.reply(*step)
            else:
                self.reply(200, step)
        finally:
            with server.lock:
                server.busy -= 1

    def reply(self, status: int, body: bytes, **headers: str) -> None:
        """Send a whole answer."""
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def hang_up(self) -> None:
        """Close the connection without a word."""
        self.connection.shutdown(socket.SHUT_RDWR)

    def break_off(self) -> None:
        """Promise more than is sent."""
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", "4000")
        self.end_headers()
        self.wfile.write(completion()[:30])
        self.wfile.flush()
        self.connection.shutdown(socket.SHUT_RDWR)


@contextmanager
def misbehaving() -> Iterator[Misbehaving]:
    """Run a server until the ``with`` block ends."""
    with Misbehaving() as made:
        thread = threading.Thread(target=made.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield made
        made.shutdown()
        thread.join()
