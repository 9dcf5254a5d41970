"""Sending a checkpoint: what goes, what never goes, and a hub on the loopback that takes it."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from halo_forge.core.errors import ModelFault, UserError
from halo_forge.models.publish import pack, send
from tests.needs import package

CARD = "---\nbase_model: builtin:smollm2-135m\nlicense: apache-2.0\n---\n\n# RAFT on it\n"
ORIGIN = "HuggingFaceTB/SmolLM2-135M-Instruct"
COMMIT = "c" * 40
TOKEN = "hf_" + "s" * 34
SCRATCH = ("optimizer.pt", "optimizer.safetensors", "trainer_state.json", "halo_forge.json")
SCRATCH += (".env", "notes.txt", "training_args.bin", "cycle_1_samples.jsonl", "modeling.py")


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    """A checkpoint with an adapter, its card, and much that must stay here."""
    numpy = package("safetensors.numpy")
    np = package("numpy")
    folder = tmp_path / "cycle_3_final"
    (folder / "checkpoint-7").mkdir(parents=True)
    numpy.save_file({"a": np.zeros(9, np.float32)}, folder / "adapter_model.safetensors")
    config = {"base_model_name_or_path": "builtin:smollm2-135m", "r": 4}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    (folder / "tokenizer.json").write_text('{"model": {"vocab": {"/usr/lib": 0}}}')
    (folder / "README.md").write_text(CARD)
    for name in SCRATCH:
        (folder / name).write_text(f"secret {folder}")
    (folder / "checkpoint-7" / "adapter_model.safetensors").write_text("scratch")
    return folder


def test_known_files_only(adapter: Path) -> None:
    """What is not known to belong to a model stays, and is named."""
    parcel = pack(adapter.with_name("cycle_3"))
    sent = {"README.md", "adapter_config.json", "adapter_model.safetensors", "tokenizer.json"}
    assert set(parcel.files) == sent
    assert set(parcel.left) == {*SCRATCH, "checkpoint-7/"}
    assert (parcel.base, parcel.licence) == (ORIGIN, "apache-2.0")
    config, card = parcel.files["adapter_config.json"], parcel.files["README.md"]
    assert isinstance(config, bytes)
    assert json.loads(config) == {"base_model_name_or_path": ORIGIN, "r": 4}
    assert card == CARD.replace("builtin:smollm2-135m", ORIGIN).encode()
    assert (adapter / "README.md").read_text() == CARD


@pytest.mark.parametrize(
    ("card", "message"),
    [
        (None, r"README\.md is missing: a model goes to a hub with its card"),
        ("# no head\nlicense: mit\n", "does not state the licence of the base model"),
        (CARD.replace("license: apache-2.0\n", ""), "does not state the licence"),
        (CARD.replace("apache-2.0", "unknown"), "does not state the licence"),
        (CARD.replace("license: apache-2.0", "license: other"), "does not state the licence"),
        (CARD.replace("builtin:smollm2-135m", "step_320"), "'step_320'.*--base-model OWNER/NAME"),
        (CARD.replace("base_model: builtin:smollm2-135m\n", ""), "base model ''"),
        (CARD + "data: /home/" + "ann/rows.jsonl\n", r"README\.md:7 names a place .*'/home/ann"),
        (CARD + "from ../../sft/final_model\n", r"README\.md:7 names a place"),
        (CARD + "from C:\\Users\\ann\n", r"README\.md:7 names a place"),
    ],
)
def test_refused(adapter: Path, card: str | None, message: str) -> None:
    """Without card, licence, or a base that others have; and with a place of this machine."""
    (adapter / "README.md").unlink()
    if card is not None:
        (adapter / "README.md").write_text(card)
    with pytest.raises(UserError, match=message):
        pack(adapter)


def test_what_is_no_place(adapter: Path) -> None:
    """Addresses, fractions and marks of templates are not taken for folders."""
    text = "at https://a.test/b/c, me/x, 3/4, and/or </tool> arXiv:1/2\nlicense_name: open-1\n"
    (adapter / "README.md").write_text(CARD + text)
    assert "license_name" in pack(adapter).files["README.md"].decode()  # type: ignore[union-attr]
    named = CARD.replace("license: apache-2.0", "license: other\nlicense_name: open-1")
    (adapter / "README.md").write_text(named.replace("builtin:smollm2-135m", "step_320"))
    parcel = pack(adapter, "me/base")
    assert (parcel.base, parcel.licence) == ("me/base", "open-1")


def test_not_a_model(adapter: Path) -> None:
    """No folder, no weights, half of a stack of adapters."""
    with pytest.raises(UserError, match="there is no folder"):
        pack(adapter / "none")
    upper = adapter / "upper"
    upper.mkdir()
    for name in ("README.md", "adapter_model.safetensors"):
        (upper / name).write_bytes((adapter / name).read_bytes())
    (upper / "adapter_config.json").write_text('{"base_model_name_or_path": ".."}')
    with pytest.raises(UserError, match="is an adapter on the adapter"):
        pack(upper)
    (adapter / "adapter_model.safetensors").unlink()
    with pytest.raises(ModelFault, match="is a pickle"):
        pack(adapter)
    with pytest.raises(UserError, match="is no repository"):
        send(parcel=None, repo="name", public=False)  # type: ignore[arg-type]


class _Hub(BaseHTTPRequestHandler):
    """As much of a hub as a client needs to make a repository and commit to it."""

    repos: ClassVar[dict[str, str]]
    files: ClassVar[dict[str, bytes]]
    blobs: ClassVar[dict[str, bytes]]
    tokens: ClassVar[set[str]]

    def do_GET(self) -> None:
        repo = self.path.removeprefix("/api/models/").partition("?")[0]
        private = self.repos.get(repo) == "private"
        if not self._lets_in() or repo not in self.repos:
            self._answer({"error": "Repository not found"}, 404)
            return
        self._answer({"id": repo, "private": private, "siblings": [], "tags": []})

    def do_PUT(self) -> None:
        self.blobs[self.path.rpartition("/")[2]] = self._body()
        self._answer({})

    def do_POST(self) -> None:
        body = self._body()
        if not self._lets_in():
            self._answer({"error": "Invalid username or password."}, 401)
            return
        path = self.path.partition("?")[0]
        if path == "/api/repos/create":
            self._create(json.loads(body))
        elif path == "/api/validate-yaml":
            self._answer({"errors": [], "warnings": []})
        elif "/preupload/" in path:
            modes = [
                {
                    "path": file["path"],
                    "uploadMode": "lfs" if file["path"].endswith(".safetensors") else "regular",
                    "shouldIgnore": False,
                }
                for file in json.loads(body)["files"]
            ]
            self._answer({"files": modes})
        elif path.endswith("/info/lfs/objects/batch"):
            self._batch(json.loads(body)["objects"])
        else:
            self._commit([json.loads(line) for line in body.splitlines()])

    def _create(self, wanted: dict[str, str]) -> None:
        repo = f"{wanted['organization']}/{wanted['name']}"
        known = repo in self.repos
        self.repos.setdefault(repo, wanted["visibility"])
        self._answer({"url": f"http://{self.headers['Host']}/{repo}"}, 409 if known else 200)

    def _batch(self, objects: list[dict[str, Any]]) -> None:
        at = f"http://{self.headers['Host']}/blobs"
        told = [
            one | {"actions": {"upload": {"href": f"{at}/{one['oid']}", "header": {}}}}
            for one in objects
        ]
        self._answer({"transfer": "basic", "objects": told})

    def _commit(self, lines: list[dict[str, Any]]) -> None:
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                self.files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                self.files[value["path"]] = self.blobs[value["oid"]]
        url = f"http://{self.headers['Host']}/me/x/commit/{COMMIT}"
        self._answer({"commitUrl": url, "commitOid": COMMIT})

    def _lets_in(self) -> bool:
        return self.headers["Authorization"] == f"Bearer {TOKEN}"

    def _body(self) -> bytes:
        self.tokens.add(str(self.headers["Authorization"]))
        return self.rfile.read(int(self.headers["Content-Length"]))

    def _answer(self, document: Any, status: int = 200) -> None:
        data = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub() -> Iterator[tuple[str, type[_Hub]]]:
    """An empty hub."""
    parts: dict[str, Any] = {"repos": {}, "files": {}, "blobs": {}, "tokens": set()}
    kind = type("Hub", (_Hub,), parts)
    server = ThreadingHTTPServer(("127.0.0.1", 0), kind)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", kind
    server.shutdown()
    server.server_close()


def _push(
    address: str, folder: Path, *more: str, token: str | None = TOKEN
) -> subprocess.CompletedProcess[str]:
    package("huggingface_hub")
    env = os.environ | {"HF_HOME": str(folder.parent / "home"), "HF_ENDPOINT": address}
    env |= {"HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_TELEMETRY": "1"}
    env.pop("HF_TOKEN", None)
    env |= {} if token is None else {"HF_TOKEN": token}
    done = subprocess.run(
        [sys.executable, "-m", "halo_forge", "model", "push", str(folder), "me/x", *more],
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert TOKEN not in done.stdout + done.stderr
    return done


def test_nothing_leaves_without_the_flag(hub: tuple[str, type[_Hub]], adapter: Path) -> None:
    """It is shown what would go; the hub is not even asked."""
    address, kind = hub
    shown = _push(address, adapter)
    assert shown.returncode == 0, shown.stderr
    for text in ("adapter_model.safetensors", "optimizer.pt", "apache-2.0", "Nothing was sent"):
        assert text in shown.stdout
    assert not kind.tokens | set(kind.repos)


def test_sent(hub: tuple[str, type[_Hub]], adapter: Path) -> None:
    """What arrives is what was shown, byte for byte, in a private repository."""
    address, kind = hub
    done = _push(address, adapter, "--yes", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["sent"] == f"{address}/me/x/commit/{COMMIT}"
    assert kind.repos == {"me/x": "private"}
    assert {name: len(data) for name, data in kind.files.items()} == told["files"]
    weights = (adapter / "adapter_model.safetensors").read_bytes()
    assert kind.files["adapter_model.safetensors"] == weights
    assert set(kind.blobs) == {hashlib.sha256(weights).hexdigest()}
    assert not [data for data in kind.files.values() if str(adapter.parent).encode() in data]
    again = _push(address, adapter, "--yes", "--quiet")
    assert (again.returncode, again.stdout) == (0, f"{told['sent']}\n")


def test_a_public_repository_takes_the_flag(hub: tuple[str, type[_Hub]], adapter: Path) -> None:
    """Private is promised: a repository that is public already gets nothing unasked."""
    address, kind = hub
    kind.repos["me/x"] = "public"
    refused = _push(address, adapter, "--yes")
    assert refused.returncode == 2
    assert "me/x is public already: give --public" in refused.stderr
    assert not kind.files
    assert not kind.blobs
    assert _push(address, adapter, "--yes", "--public").returncode == 0
    assert kind.files


def test_not_let_in(hub: tuple[str, type[_Hub]], adapter: Path) -> None:
    """Without a token, with one that may not write, and with nobody there."""
    address, kind = hub
    none = _push(address, adapter, "--yes", token=None)
    assert (none.returncode, "no token for the hub" in none.stderr) == (2, True)
    wrong = _push(address, adapter, "--yes", token="hf_" + "w" * 34)
    assert (wrong.returncode, "does not let this token write" in wrong.stderr) == (2, True)
    gone = _push("http://127.0.0.1:9", adapter, "--yes")
    assert (gone.returncode, "sending to me/x broke off" in gone.stderr) == (3, True)
    assert not kind.files
