"""Topics: YAML files that say which tasks are asked for; four are shipped, to copy and change."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from halo_forge.config.generate import TopicConfig
from halo_forge.config.load import load_config
from halo_forge.core.errors import ConfigError, UserError
from halo_forge.utils.text import did_you_mean

__all__ = ["load_topic", "shipped_topics", "topic_text"]

_SUFFIXES = (".yaml", ".yml")


def shipped_topics() -> list[str]:
    """Return the names of the topics that come with halo-forge."""
    return sorted(path.stem for path in _folder().glob("*.yaml"))


def load_topic(source: str) -> TopicConfig:
    """Read a shipped topic by its name, or a topic of one's own from a YAML file.

    Raises:
        ConfigError: With every problem of the file as ``file:line: key: reason``.
        UserError: If there is no such topic.
    """
    path = Path(source)
    if path.suffix not in _SUFFIXES:
        path = _shipped(source)
    topic = load_config(TopicConfig, [path], {}).value
    if topic.missing:
        raise ConfigError([f"{source}: {key}: is required" for key in topic.missing])
    return topic


def topic_text(name: str) -> str:
    """Return the YAML text of a shipped topic, comments included, to be copied.

    Raises:
        UserError: If there is no such topic.
    """
    return _shipped(name).read_text("utf-8")


def _folder() -> Path:
    return Path(str(files("halo_forge.data") / "topics"))


def _shipped(name: str) -> Path:
    known = shipped_topics()
    if name not in known:
        raise UserError(
            f"no topic {name!r}.{did_you_mean(name, known)} Shipped: {', '.join(known)}. "
            "A topic of your own is a file that ends in .yaml."
        )
    return _folder() / f"{name}.yaml"
