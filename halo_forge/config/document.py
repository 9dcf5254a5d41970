"""YAML files in, with the line of every setting; YAML text out.

The node graph is read rather than ruamel's objects: it keeps the line of each key, sees every
duplicate, and builds nothing but numbers, truth values, text, lists and mappings.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MantissaNoDotYAML1_1Warning, MarkedYAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError
from ruamel.yaml.representer import SafeRepresenter

from halo_forge.core.errors import ConfigError

__all__ = ["Document", "Entry", "parse_value", "read_yaml", "to_yaml"]

_TAG = "tag:yaml.org,2002:"
_TEXT_TAGS = frozenset({f"{_TAG}str", f"{_TAG}timestamp"})
_PLAIN_TAGS = frozenset({f"{_TAG}{name}" for name in ("null", "bool", "int", "float")})
_CLEARER = {
    "found character '\\t' that cannot start any token": "a tab; YAML is indented with spaces",
    "but found another document": "a second document (---); one file holds one configuration",
    "mapping values are not allowed here": (
        "a ':' that does not fit here; check the indentation, and quote text that contains ': '"
    ),
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One setting of a file: where it is, what it says, and the line of each part of its path."""

    path: tuple[str, ...]
    value: Any
    lines: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Document:
    """What a file says, in file order, and what in it could not be understood."""

    entries: tuple[Entry, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def keys(self) -> frozenset[str]:
        """The top-level keys."""
        return frozenset(entry.path[0] for entry in self.entries)


def read_yaml(path: Path) -> Document:
    """Read a YAML file; nested mappings become paths.

    A file that cannot be read, is not UTF-8 or not YAML, repeats a key, or does not hold a
    mapping gives problems, each with the file and its line.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        return Document(problems=(f"{path}:{line}: not UTF-8 text; save the file as UTF-8",))
    except OSError as error:
        return Document(problems=(f"{path}: {error.strerror or error}",))
    builder = _Builder(str(path))
    try:
        entries = tuple(builder.document(text))
    except RecursionError:
        return Document(problems=(f"{path}: nested too deeply, or an alias contains itself",))
    return Document(entries, tuple(builder.problems))


def parse_value(text: str, name: str) -> Any:
    """Read ``text`` as one YAML value, as `--set KEY=VALUE` needs it; ``name`` is for messages.

    Raises:
        ConfigError: If ``text`` is not YAML.
    """
    builder = _Builder(name)
    node = builder.compose(text)
    value: Any = None if node is None else builder.value(node)
    if builder.problems:
        raise ConfigError(builder.problems)
    return value


def to_yaml(values: dict[str, Any]) -> str:
    """Return ``values`` as YAML text that `read_yaml` reads back, keys in their order."""
    yaml = YAML(typ="safe", pure=True)
    yaml.Representer = _Representer
    yaml.default_flow_style = False
    # ruamel annotates it by its first value, None.
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    out = io.StringIO()
    yaml.dump(values, out)
    return out.getvalue()


class _Representer(SafeRepresenter):
    """Writes text so that every character of it comes back."""

    def represent_text(self, text: str) -> ScalarNode:
        """Quote what YAML takes for a line break, which other styles turn into a space."""
        style = '"' if any(char in text for char in "\x85\u2028\u2029\ufeff") else None
        node: ScalarNode = self.represent_scalar(f"{_TAG}str", text, style=style)
        return node


_Representer.add_representer(str, _Representer.represent_text)


class _Builder:
    """Turns the nodes of one text into values, collecting what is wrong with them."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.problems: list[str] = []
        self._yaml = YAML(typ="safe", pure=True)

    def compose(self, text: str) -> Node | None:
        """Parse ``text``; a syntax error becomes a problem and no node."""
        try:
            node: Node | None = self._yaml.compose(text)
        except MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else 1
            problem = str(error.problem)
            clearer = _CLEARER.get(problem)
            context = f"{error.context}: " if error.context and not clearer else ""
            self.problems.append(f"{self.name}:{line}: {context}{clearer or problem}")
            return None
        except ReaderError as error:
            line = text.count("\n", 0, error.position) + 1
            code = ord(text[error.position])
            self.problems.append(f"{self.name}:{line}: character U+{code:04X} is not allowed")
            return None
        return node

    def document(self, text: str) -> Iterator[Entry]:
        """Yield the settings of a whole text; an empty text has none."""
        node = self.compose(text)
        if node is None or (isinstance(node, ScalarNode) and node.tag == f"{_TAG}null"):
            return
        if isinstance(node, MappingNode):
            yield from self._entries(node, (), ())
        else:
            self._note(node, "a configuration is a mapping of keys to values at the top level")

    def value(self, node: Node) -> Any:
        """Return the plain value of a node."""
        if isinstance(node, MappingNode):
            return {name: self.value(child) for name, child, _ in self._items(node)}
        if isinstance(node, SequenceNode):
            return [self.value(child) for child in node.value]
        if node.tag in _TEXT_TAGS:
            return node.value
        if node.tag not in _PLAIN_TAGS:
            self._note(node, f"tag {str(node.tag).removeprefix(_TAG)!r} is not supported")
            return None
        try:
            with warnings.catch_warnings():
                # A file may declare YAML 1.1; 5e-5 is a number there too.
                warnings.simplefilter("ignore", MantissaNoDotYAML1_1Warning)
                return self._yaml.constructor.construct_object(node, deep=True)
        except ValueError as error:
            self._note(node, f"not a value of its type: {error}")
            return None

    def _entries(
        self, node: MappingNode, above: tuple[str, ...], above_lines: tuple[int, ...]
    ) -> Iterator[Entry]:
        for name, child, line in self._items(node):
            path, lines = (*above, name), (*above_lines, line)
            if isinstance(child, MappingNode) and child.value:
                yield from self._entries(child, path, lines)
                continue
            known = len(self.problems)
            value = self.value(child)
            if len(self.problems) == known:
                yield Entry(path, value, lines)

    def _items(self, node: MappingNode) -> Iterator[tuple[str, Node, int]]:
        """Yield name, value node and line of each key, merged (`<<`) mappings last."""
        seen: dict[str, int] = {}
        merged: list[Node] = []
        for key, child in node.value:
            line = key.start_mark.line + 1
            if key.tag == f"{_TAG}merge":
                merged += child.value if isinstance(child, SequenceNode) else [child]
            elif not isinstance(key, ScalarNode):
                self._note(key, "a key must be a plain name")
            elif key.value in seen:
                self._note(
                    key, f"key {key.value!r} is given twice, first on line {seen[key.value]}"
                )
            else:
                seen[key.value] = line
                yield key.value, child, line
        for source in merged:
            if not isinstance(source, MappingNode):
                self._note(source, "'<<' merges mappings only")
                continue
            for name, child, line in self._items(source):
                if name not in seen:
                    seen[name] = line
                    yield name, child, line

    def _note(self, node: Node, text: str) -> None:
        self.problems.append(f"{self.name}:{node.start_mark.line + 1}: {text}")
