"""The first layers of a model as a model folder of its own, without copying a weight."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from halo_forge.models.refs import base_ref, resolve
from halo_forge.models.weights import read_json

__all__ = ["first_layers"]

_CONFIG = "config.json"


@contextmanager
def first_layers(ref: str | Path, layers: int) -> Iterator[Path]:
    """Yield a folder that loads as the model called ``ref`` with its first ``layers`` layers.

    Weights and tokenizer are links; what the other layers need is not read from the disk. It speaks
    no sense, and takes the time and memory that its layers take.

    Args:
        ref: A model; of an adapter the model below it.
        layers: At least 1, at most what the model has.
    """
    folder = resolve(base_ref(ref))
    config = read_json(folder / _CONFIG)
    text = config.get("text_config", config)
    text["num_hidden_layers"] = layers
    if "layer_types" in text:
        text["layer_types"] = text["layer_types"][:layers]
    with tempfile.TemporaryDirectory(prefix="halo-forge-") as name:
        for path in folder.iterdir():
            if path.name != _CONFIG:
                Path(name, path.name).symlink_to(path.resolve())
        Path(name, _CONFIG).write_text(json.dumps(config), encoding="utf-8")
        yield Path(name)
