"""Model folders told by their files: whole, cut short, or only pickles."""

import json

import pytest

from halo_forge.core.errors import ModelFault
from halo_forge.models import weights


def safetensors(path, values=b"12345678", name="w"):
    """Write a file by the format's definition."""
    row = {"dtype": "U8", "shape": [len(values)], "data_offsets": [0, len(values)]}
    header = json.dumps({"__metadata__": {"format": "pt"}, name: row}).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(len(header).to_bytes(8, "little") + header + values)
    return path


def test_one_file(tmp_path):
    """A model in one file."""
    path = safetensors(tmp_path / "model.safetensors")
    assert weights.weight_files(tmp_path) == [path]


def test_shards(tmp_path):
    """A model in several files, named by its index; a missing one is named."""
    index = {"weight_map": {"a": "m-1.safetensors", "b": "m-2.safetensors", "c": "m-1.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    first = safetensors(tmp_path / "m-1.safetensors")
    with pytest.raises(ModelFault, match=r"m-2\.safetensors is missing"):
        weights.weight_files(tmp_path)
    second = safetensors(tmp_path / "m-2.safetensors")
    assert weights.weight_files(tmp_path) == [first, second]


@pytest.mark.parametrize("keep", [0, 5, 20, -1])
def test_cut_short(tmp_path, keep):
    """A file that was cut anywhere is told as damaged, without loading it."""
    path = safetensors(tmp_path / "model.safetensors")
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ModelFault, match="is damaged"):
        weights.weight_files(tmp_path)


@pytest.mark.parametrize("header", [b"not json", b"[1, 2]", b'{"w": 1}', b'{"w": {}}'])
def test_no_safetensors(tmp_path, header):
    """A file with a senseless header is told as damaged."""
    data = len(header).to_bytes(8, "little") + header
    (tmp_path / "model.safetensors").write_bytes(data)
    with pytest.raises(ModelFault, match="no safetensors header"):
        weights.weight_files(tmp_path)


def test_only_a_pickle(tmp_path):
    """A pickle is never loaded; the way to convert it is told."""
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(ModelFault, match=r"pytorch_model\.bin only.*pickle.*save_pretrained"):
        weights.weight_files(tmp_path)


def test_only_gguf(tmp_path):
    """A folder of GGUF files is told from an incomplete one."""
    (tmp_path / "q4.gguf").write_bytes(b"GGUF")
    with pytest.raises(ModelFault, match="GGUF is for inference"):
        weights.weight_files(tmp_path)


def test_json_that_is_none(tmp_path):
    """A file that is missing, cut or of another shape is named."""
    path = tmp_path / "config.json"
    with pytest.raises(ModelFault, match="is missing"):
        weights.read_json(path)
    path.write_text('{"a": ')
    with pytest.raises(ModelFault, match="cannot be read"):
        weights.read_json(path)
    path.write_text("[]")
    with pytest.raises(ModelFault, match="holds list, expected a JSON object"):
        weights.read_json(path)


def test_fingerprint_follows_content(tmp_path):
    """Weights and settings change the digest; who wrote the files, and where they lie, do not."""

    def digest(name, values=b"12345678", config=None):
        folder = tmp_path / name
        safetensors(folder / "model.safetensors", values)
        (folder / "config.json").write_text(json.dumps({"layers": 2} | (config or {})))
        return weights.fingerprint(folder)

    same = digest("a")
    assert digest("b") == same
    assert digest("c", config={"transformers_version": "9"}) == same
    assert digest("d", values=b"12345679") != same
    assert digest("e", config={"layers": 3}) != same


def test_fingerprint_sees_both_ends(tmp_path):
    """Of a large file the first and the last MiB count."""
    middle = bytes(3 << 20)
    digests = set()
    for name, values in (("a", middle), ("b", b"\1" + middle[1:]), ("c", middle[1:] + b"\1")):
        safetensors(tmp_path / name / "model.safetensors", values)
        digests.add(weights.fingerprint(tmp_path / name))
    assert len(digests) == 3


def test_fingerprint_reads_adapters_whole(tmp_path):
    """Of an adapter every byte counts."""
    digests = set()
    for name, byte in (("a", 0), ("b", 1)):
        values = bytes(1 << 21) + bytes([byte]) + bytes(1 << 21)
        safetensors(tmp_path / name / "adapter_model.safetensors", values)
        (tmp_path / name / "adapter_config.json").write_text('{"r": 16}')
        digests.add(weights.fingerprint(tmp_path / name))
    assert len(digests) == 2


def test_full_disk_gets_its_type_back():
    """A full disk that safetensors tells in words is an OSError again; all else stays."""
    import errno

    from safetensors import SafetensorError

    text = "Error while serializing: I/O error: No space left on device (os error 28)"
    with pytest.raises(OSError) as caught, weights.full_disk_as_os_error():  # noqa: PT011
        raise SafetensorError(text)
    assert caught.value.errno == errno.ENOSPC
    with pytest.raises(SafetensorError), weights.full_disk_as_os_error():
        raise SafetensorError("other")
