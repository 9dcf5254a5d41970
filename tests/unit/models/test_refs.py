"""What `--model` takes, and every way in which it names nothing that can be had."""

import http.server
import json
import shutil
import socket
import threading
import time

import pytest

from halo_forge.core.errors import ModelFault, UserError
from halo_forge.models import refs


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A function that points the hub client at an address, online and with an empty cache."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))

    def use(endpoint):
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "ENDPOINT", endpoint)

    return use


@pytest.fixture
def hub_that_says(hub):
    """A function that starts a hub which answers everything with one status and error code."""
    servers = []

    def start(status, code):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(status)
                self.send_header("X-Error-Code", code)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        hub(f"http://127.0.0.1:{server.server_address[1]}")

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def adapter(folder, base):
    """Make the folder of an adapter as far as its name goes."""
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": base}))
    return folder


def test_folder(tmp_path):
    """A folder is itself, given as text or as a path."""
    assert refs.resolve(str(tmp_path)) == refs.resolve(tmp_path) == tmp_path


def test_cycle_stands_for_cycle_final(tmp_path):
    """`cycle_5` means `cycle_5_final` when only that exists, and else itself."""
    (tmp_path / "cycle_5_final").mkdir()
    assert refs.resolve(tmp_path / "cycle_5") == tmp_path / "cycle_5_final"
    (tmp_path / "cycle_5").mkdir()
    assert refs.resolve(tmp_path / "cycle_5") == tmp_path / "cycle_5"
    assert refs.resolve_cycle(tmp_path / "cycle_6") == tmp_path / "cycle_6"
    assert refs.resolve_cycle(tmp_path / "cycle") == tmp_path / "cycle"


def test_missing_folder(tmp_path):
    """A path that does not exist is named, with the nearest neighbour."""
    (tmp_path / "final_model").mkdir()
    with pytest.raises(UserError, match=r"final_modl does not exist\. Did you mean 'final_model'"):
        refs.resolve(str(tmp_path / "final_modl"))


def test_file(tmp_path):
    """A file is not a model's folder."""
    (tmp_path / "m.gguf").write_bytes(b"GGUF")
    with pytest.raises(UserError, match="is a file; name the folder"):
        refs.resolve(tmp_path / "m.gguf")


def test_forgotten_prefix():
    """The bare name of a built-in model is answered with its reference."""
    with pytest.raises(UserError, match="Did you mean builtin:smollm2-135m"):
        refs.resolve("smollm2-135m")


@pytest.mark.parametrize("text", ["a b", "../nowhere", "a/b/c", "-x/y", "https://host/x"])
def test_nothing_like_a_name(text):
    """What can be neither a folder nor a hub id never reaches the network."""
    with pytest.raises(UserError):
        refs.resolve(text)


def test_empty_is_refused():
    """An empty reference does not mean the working directory."""
    with pytest.raises(UserError, match="empty"):
        refs.resolve("")


def test_hub_offline(hub, monkeypatch):
    """With HF_HUB_OFFLINE the line names the variable."""
    from huggingface_hub import constants

    hub("http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ModelFault, match=r"'no/such'.*HF_HUB_OFFLINE forbids") as caught:
        refs.resolve("no/such")
    assert "\n" not in str(caught.value)


def test_hub_without_network(hub):
    """A refused connection fails at once, in one line."""
    hub("http://127.0.0.1:9")
    before = time.monotonic()
    with pytest.raises(ModelFault, match=r"could not be asked: .*refused.*local folder") as caught:
        refs.resolve("no/such")
    assert time.monotonic() - before < 10
    assert "\n" not in str(caught.value)


def test_hub_that_never_answers(hub, monkeypatch):
    """A network that swallows everything is given up after a while."""
    assert refs._HUB_SECONDS < 15
    monkeypatch.setattr(refs, "_HUB_SECONDS", 0.5)
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(16)
        hub(f"http://127.0.0.1:{deaf.getsockname()[1]}")
        before = time.monotonic()
        with pytest.raises(ModelFault, match="could not be asked"):
            refs.resolve("no/such")
        assert time.monotonic() - before < 10


@pytest.mark.parametrize(
    ("status", "code", "kind", "message"),
    [
        (404, "RepoNotFound", UserError, "neither a folder here nor a model on the hub"),
        (403, "GatedRepo", ModelFault, "is gated: accept its terms at https://huggingface.co/a/b"),
        (500, "", ModelFault, "could not be asked"),
    ],
)
def test_hub_refuses(hub_that_says, status, code, kind, message):
    """What the hub answers becomes one line that says who has to do what."""
    hub_that_says(status, code)
    with pytest.raises(kind, match=message) as caught:
        refs.resolve("a/b")
    assert "\n" not in str(caught.value)


def test_hub_cache_is_used_without_network(hub, tmp_path):
    """A model in the hub's cache loads without a network."""
    commit = "0" * 40
    repo = tmp_path / "hub" / "models--a--b"
    (repo / "snapshots" / commit).mkdir(parents=True)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(commit)
    (repo / "snapshots" / commit / "config.json").write_text("{}")
    hub("http://127.0.0.1:9")
    assert refs.resolve("a/b") == repo / "snapshots" / commit


def test_base_of_an_adapter(tmp_path):
    """Adapters lead to the whole model under them, over relative paths and several steps."""
    whole = tmp_path / "whole"
    whole.mkdir()
    first = adapter(tmp_path / "sft" / "final", "../../whole")
    second = adapter(tmp_path / "raft" / "cycle_1_final", "../../sft/final")
    assert refs.resolve(refs.base_ref(first)).resolve() == whole
    assert refs.resolve(refs.base_ref(second)).resolve() == whole
    assert refs.base_ref(adapter(tmp_path / "c", "builtin:smollm2-135m")) == "builtin:smollm2-135m"
    assert refs.base_ref("org/name") == "org/name"


def test_base_that_is_demanded(tmp_path):
    """An adapter on another base is refused; a whole model is its own, however it is spelled."""
    whole, other = tmp_path / "whole", tmp_path / "other"
    whole.mkdir()
    other.mkdir()
    first = adapter(tmp_path / "a", "../whole")
    refs.require_base(first, str(whole))
    refs.require_base(whole, str(tmp_path / "a" / ".." / "whole"))
    for ref in (first, whole):
        with pytest.raises(UserError, match=rf"belong to the base model .*whole, not to {other}"):
            refs.require_base(ref, str(other))
    with pytest.raises(UserError, match=r"no folder|does not exist"):
        refs.require_base(first, str(tmp_path / "missing"))


def test_tree_that_moved(tmp_path):
    """A relative base still holds after the whole tree has been moved."""
    (tmp_path / "old" / "whole").mkdir(parents=True)
    adapter(tmp_path / "old" / "run" / "a", "../../whole")
    shutil.move(tmp_path / "old", tmp_path / "new")
    base = refs.base_ref(tmp_path / "new" / "run" / "a")
    assert refs.resolve(base).resolve() == tmp_path / "new" / "whole"


def test_base_in_a_circle(tmp_path):
    """Two adapters that name each other are noticed."""
    adapter(tmp_path / "a", "../b")
    adapter(tmp_path / "b", "../a")
    with pytest.raises(ModelFault, match="leads back to itself"):
        refs.base_ref(tmp_path / "a")


@pytest.mark.parametrize("base", [None, "", 3])
def test_adapter_without_base(tmp_path, base):
    """An adapter that does not name its base is refused, with the key that lacks."""
    with pytest.raises(ModelFault, match="base_model_name_or_path"):
        refs.adapter_base(adapter(tmp_path / "a", base))
