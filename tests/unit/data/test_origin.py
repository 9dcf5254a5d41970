"""Where files lie: folders like the hub's, files, and a hub that answers on the loopback."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar
from urllib.parse import unquote

import pytest

from halo_forge.core.errors import UserError
from halo_forge.data.origin import from_path, matching, split_patterns
from halo_forge.data.public_datasets import items, select
from tests.needs import package

_CARD = """---
license: mit
configs:
- config_name: big
  data_files:
  - split: train
    path: big/part-*
- config_name: small
  default: true
  data_files:
  - split: train
    path: [small/a.jsonl, small/b.jsonl]
  - split: test
    path: small/t.jsonl
---
# A card
"""


@pytest.fixture
def folder(tmp_path):
    """A repository with a card, two configurations and two splits."""
    for name in ("big/part-0", "big/part-1", "small/a", "small/b", "small/t"):
        path = tmp_path / f"{name}.jsonl"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({"prompt": name, "completion": "x"}) + "\n")
    (tmp_path / "README.md").write_text(_CARD)
    return tmp_path


def _read(folder, **choice):
    selection = select("owner/name", source=folder, **choice)
    return [item.prompt.text for item in items(selection)]


def test_the_card_decides(folder):
    """Configurations and splits are those of the card, the marked one first."""
    assert _read(folder) == ["small/a", "small/b"]
    assert _read(folder, split="test") == ["small/t"]
    assert _read(folder, config="big") == ["big/part-0", "big/part-1"]
    assert select("owner/name", source=folder).origin.licence == "mit"
    with pytest.raises(UserError, match=r"has no split 'dev'.* There are train, test"):
        _read(folder, split="dev")
    with pytest.raises(UserError, match=r"no configuration 'smal'\. Did you mean 'small'"):
        _read(folder, config="smal")


@pytest.mark.parametrize(
    ("paths", "split", "found"),
    [
        (["a.jsonl", "b.csv", "README.md"], "train", ["a.jsonl", "b.csv"]),
        (["a.jsonl"], "test", []),
        (["data/train-0.parquet", "data/test-0.parquet"], "train", ["data/train-0.parquet"]),
        (["data/train-0.parquet", "extra.jsonl"], "test", []),
        (["trained.jsonl", "test.jsonl"], "train", []),
    ],
)
def test_without_a_card(paths, split, found):
    """The split's name in the path decides; a repository without such names is all training."""
    assert split_patterns(paths, {}, None, split) == found


def test_nothing_there(folder, tmp_path):
    """What is missing is named, and what is there instead."""
    with pytest.raises(UserError, match=r"none of mbpp\.jsonl, full/train-.*There: big/part-0"):
        select("mbpp", source=folder)
    with pytest.raises(UserError, match="no such file or folder"):
        select("mbpp", source=tmp_path / "gone")
    assert from_path(folder / "small" / "a.jsonl", lambda *_: []).names == ("a.jsonl",)


def test_matching_keeps_the_order_of_patterns():
    """Patterns in their order, names sorted within one, each once."""
    paths = ["b1", "a2", "a1", "x/c"]
    assert matching(paths, ["b*", "a*", "*1", "c"]) == ("b1", "a1", "a2")
    assert matching(paths, ["c"], anywhere=True) == ("x/c",)


def test_a_repository_that_moved_its_files(tmp_path):
    """The files of a registered data set are where its card says, when not where they were."""
    row = {"question": "How many?", "answer": "#### 1"}
    path = tmp_path / "elsewhere" / "rows.jsonl"
    path.parent.mkdir()
    path.write_text(json.dumps(row) + "\n")
    card = {"configs": [{"config_name": "main", "data_files": "elsewhere/*"}]}
    (tmp_path / "README.md").write_text(f"---\n{json.dumps(card)}\n---\n")
    assert select("gsm8k", source=tmp_path).origin.names == ("elsewhere/rows.jsonl",)


class _Hub(BaseHTTPRequestHandler):
    """As much of the hub as a client needs to list and fetch one data set."""

    files: ClassVar[dict[str, bytes]]
    card: ClassVar[dict[str, str]]
    asked: ClassVar[list[str]]
    commit = "c" * 40

    def do_HEAD(self):
        self._answer(body=False)

    def do_GET(self):
        self._answer(body=True)

    def _answer(self, *, body):
        path = unquote(self.path.partition("?")[0])
        self.asked.append(path)
        if path.startswith("/api/datasets/owner/name"):
            siblings = [{"rfilename": name} for name in self.files]
            data = json.dumps({
                "id": "owner/name", "sha": self.commit, "siblings": siblings,
                "cardData": self.card, "tags": [], "downloads": 0, "likes": 0, "private": False,
            }).encode()  # fmt: skip
        elif path.startswith("/datasets/owner/name/resolve/"):
            data = self.files[path.split("/", 6)[6]]
        else:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("ETag", f'"{hashlib.sha1(data).hexdigest()}"')
        self.send_header("X-Repo-Commit", self.commit)
        self.end_headers()
        if body:
            self.wfile.write(data)

    def log_message(self, *_):
        pass


@pytest.fixture
def hub():
    """A hub, or a mirror of it, with one data set of three files."""
    rows = [b'{"ask": "Q%d", "say": "A%d"}\n' % (n, n) for n in range(3)]
    files = {f"data/train-{n}.jsonl": row for n, row in enumerate(rows)}
    kind = type("Hub", (_Hub,), {"files": files, "asked": [], "card": {"license": "mit"}})
    server = ThreadingHTTPServer(("127.0.0.1", 0), kind)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", kind
    server.shutdown()
    server.server_close()


def _prepare(address, home, output, *more):
    env = os.environ | {"HF_HOME": str(home), "XDG_CACHE_HOME": str(home)}
    env |= {"HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_XET": "1"}
    env |= {"HF_HUB_OFFLINE": "1"} if address is None else {"HF_HUB_OFFLINE": "0"}
    env |= {} if address is None else {"HF_ENDPOINT": address}
    argv = [sys.executable, "-m", "halo_forge", "data", "prepare", "-d", "owner/name",
            "--prompt-field", "ask", "--response-field", "say", "-o", str(output), "--json",
            "-q", *more]  # fmt: skip
    return subprocess.run(argv, env=env, capture_output=True, text=True, timeout=300, check=False)


def test_hub_and_mirror(hub, tmp_path):
    """Files come when their turn comes, into the cache, and are there when the hub is not."""
    package("huggingface_hub")
    address, kind = hub
    home = tmp_path / "home"
    first = _prepare(address, home, tmp_path / "one.jsonl", "--max-samples", "1")
    assert first.returncode == 0, first.stderr
    fetched = {path for path in kind.asked if path.endswith(".jsonl")}
    assert {path.rpartition("/")[2] for path in fetched} == {"train-0.jsonl"}
    manifest = json.loads(first.stdout)
    assert (manifest["revision"], manifest["licence"]) == (kind.commit, "mit")
    # A cache that holds a part of the data set is not taken for the whole.
    part = _prepare(None, home, tmp_path / "part.jsonl")
    assert part.returncode == 3
    assert "data/train-1.jsonl of data set 'owner/name' is not in the hub's cache" in part.stderr
    assert not (tmp_path / "part.jsonl").exists()
    whole = _prepare(address, home, tmp_path / "all.jsonl")
    assert json.loads(whole.stdout)["lines"] == 3
    cached = _prepare(None, home, tmp_path / "cached.jsonl")
    assert cached.returncode == 0, cached.stderr
    assert json.loads(cached.stdout)["sha256"] == json.loads(whole.stdout)["sha256"]


def test_nobody_there(tmp_path):
    """Without hub and cache the message says what to do."""
    package("huggingface_hub")
    nothing = _prepare(None, tmp_path / "empty", tmp_path / "none.jsonl")
    assert nothing.returncode == 3
    assert "the hub could not be asked" in nothing.stderr
    assert "--source" in nothing.stderr
    assert not (tmp_path / "none.jsonl").exists()
