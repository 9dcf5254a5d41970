"""The model card of a fine-tuned model, and what any card of ours begins with."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from halo_forge.config.load import dump_yaml
from halo_forge.config.sft import SFTConfig
from halo_forge.data import public_datasets
from halo_forge.data.builtin import PREFIX
from halo_forge.models.load import sees
from halo_forge.models.refs import base_ref, resolve
from halo_forge.sft.base import FitReport
from halo_forge.store.growing import read_manifest

__all__ = ["base_licence", "card_head", "file_origin", "model_name", "write_card"]

_LICENCE = re.compile(r"^license(?:_name)?:\s*[\"']?([\w.+-]+)", re.MULTILINE)
_HEAD = 4096
_NOTED = ("dataset", "source", "revision", "split", "licence", "lines", "sha256")
_HEAD_TEXT = """\
---
base_model: {base}
library_name: {library}
pipeline_tag: {task}
{licence_line}tags:
- halo-forge
- {tag}
---

# {title} {base}

{kind} trained by `halo-forge {tag} train`. Licence of the base model: {licence}. What this
model may be used for depends on that and on the data.
"""
_CARD = """\

## Data

{data}

## Result

{steps} optimiser steps, mean training loss {loss:.4f}{validation}.

## Settings

~~~~yaml
{settings}~~~~
"""


def card_head(start: str, title: str, tag: str, *, adapters: bool) -> str:
    """Return how a card begins: what hubs read, and from which model under which licence.

    Args:
        start: Reference of the model that training began with.
        title: What was done to it.
        tag: Which command did it, such as ``sft``.
        adapters: Adapters were trained, not all weights.
    """
    licence = base_licence(start)
    return _HEAD_TEXT.format(
        base=model_name(base_ref(start)),
        library="peft" if adapters else "transformers",
        task=_task(resolve(base_ref(start))),
        licence_line=f"license: {licence}\n" if licence else "",
        tag=tag,
        title=title,
        kind="An adapter" if adapters else "All weights,",
        licence=licence or "not stated in its files; see where it comes from",
    )


def write_card(config: SFTConfig, data: Mapping[str, Mapping[str, Any]], report: FitReport) -> str:
    """Return the card.

    Args:
        config: Settings of the run.
        data: Figures of each part of the data, by its name.
        report: What training did.
    """
    head = card_head(config.model.name, "Fine-tuned", "sft", adapters=config.lora.enabled)
    return head + _CARD.format(
        data="\n".join(_data_lines(config, data)),
        steps=report.steps,
        loss=report.loss,
        validation=_validation(report),
        settings=dump_yaml(_shown(config)),
    )


def _shown(config: SFTConfig) -> SFTConfig:
    """Return the settings without the folders of this machine: a card goes where the model goes."""
    data = config.data
    files = {
        name: Path(value).name
        for name in ("train_file", "validation_file", "source")
        if (value := getattr(data, name)) is not None and not value.startswith(PREFIX)
    }
    return config.model_copy(
        update={
            "data": data.model_copy(update=files),
            "model": config.model.model_copy(update={"name": model_name(config.model.name)}),
            "output_dir": Path(config.output_dir).name,
        }
    )


def model_name(ref: str) -> str:
    """Return what a model is called: of a local folder only its last part."""
    return Path(ref).name if Path(ref).exists() else ref


def _task(base: Path) -> str:
    """Return the hub's word for what a model does."""
    known = (base / "config.json").is_file()
    return "image-text-to-text" if known and sees(base) else "text-generation"


def base_licence(ref: str) -> str | None:
    """Return the licence that the base model's own card states, if it does."""
    card = resolve(base_ref(ref)) / "README.md"
    if not card.is_file():
        return None
    found = _LICENCE.search(card.read_text(encoding="utf-8", errors="replace")[:_HEAD])
    return found[1] if found else None


def _data_lines(config: SFTConfig, data: Mapping[str, Mapping[str, Any]]) -> list[str]:
    lines = []
    for name, figures in data.items():
        counted = ", ".join(f"{key} {value}" for key, value in figures.items())
        lines.append(f"- {name}: {counted}")
    lines += [f"- {key}: {value}" for key, value in _origin(config).items()]
    return lines


def _origin(config: SFTConfig) -> dict[str, Any]:
    """Return where the data is from and what its licence is, as far as that was noted."""
    data = config.data
    if data.dataset is not None:
        known = data.dataset in public_datasets.names()
        licence = public_datasets.get(data.dataset).licence if known else "see the hub"
        return {"dataset": data.dataset, "licence": licence}
    return file_origin(data.train_file or "")


def file_origin(file: str) -> dict[str, Any]:
    """Return a data file's name, and what its manifest says of its source and licence."""
    manifest = (read_manifest(Path(file)) if file else None) or {}
    noted = {key: manifest[key] for key in _NOTED if manifest.get(key) is not None}
    if Path(str(noted.get("source", ""))).is_absolute():
        noted["source"] = Path(noted["source"]).name  # a folder of this machine
    return {"file": Path(file).name} | noted


def _validation(report: FitReport) -> str:
    if not report.eval_losses:
        return ""
    scored = ", ".join(f"{loss:.4f}" for _, loss in report.eval_losses)
    return f"; validation loss by epoch {scored}; kept: the weights after step {report.best_step}"
