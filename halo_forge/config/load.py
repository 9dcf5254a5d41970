"""A configuration out of files and flags, with the source of every value.

Flags over the nested keys of files over their top-level twins over defaults; of several files
the later one wins. Every problem of all of them is reported at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files as resources
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from halo_forge.config.base import Section
from halo_forge.config.benchmark import BenchmarkConfig
from halo_forge.config.document import Document, read_yaml, to_yaml
from halo_forge.config.fields import fields_of, plain_type, sections_of
from halo_forge.config.generate import GenerateConfig
from halo_forge.config.problems import explain, shown
from halo_forge.config.raft import RaftConfig
from halo_forge.config.sft import SFTConfig
from halo_forge.config.study import StudyConfig
from halo_forge.core.errors import ConfigError, UserError

__all__ = [
    "CONFIG_TYPES",
    "Resolved",
    "detect_type",
    "dump_yaml",
    "load_config",
    "located",
    "preset",
]

CONFIG_TYPES: Mapping[str, type[Section]] = {
    "raft": RaftConfig,
    "sft": SFTConfig,
    "benchmark": BenchmarkConfig,
    "generate": GenerateConfig,
    "study": StudyConfig,
}
_PRESET = "builtin:"

ConfigT = TypeVar("ConfigT", bound=Section)
_Path = tuple[str, ...]
_Placed = tuple[int, int, str]


@dataclass(frozen=True, slots=True)
class Resolved(Generic[ConfigT]):
    """A valid configuration and where each of its values comes from.

    Attributes:
        value: The configuration.
        sources: For each dotted key ``default``, ``FILE:LINE``, ``FILE:LINE (as TWIN)`` or the
            name of the flag.
    """

    value: ConfigT
    sources: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Setting:
    """A value given by the user, and how to speak of it.

    Attributes:
        value: What was given.
        spelled: The key or flag as it was written.
        layer: Which file, from 0; flags come after all files.
        file: The file's name, or None for a flag.
        lines: Line of each part of the nested key.
    """

    value: Any
    spelled: str
    layer: int
    file: str | None = None
    lines: tuple[int, ...] = ()

    @property
    def source(self) -> str:
        """``FILE:LINE`` or the flag."""
        return f"{self.file}:{self.lines[-1]}" if self.file else self.spelled

    def where(self, depth: int) -> tuple[int, int, str]:
        """Return what orders a message, and its head; ``depth`` is the part of the key meant."""
        if self.file is None:
            return self.layer, 0, self.spelled
        parts = self.spelled.split(".")[:depth]
        line = self.lines[: len(parts)][-1]
        return self.layer, line, f"{self.file}:{line}: {'.'.join(parts)}"


def load_config(
    model: type[ConfigT],
    files: Sequence[Path],
    flags: Mapping[str, Any],
    names: Mapping[str, str] | None = None,
) -> Resolved[ConfigT]:
    """Fold ``flags`` over ``files`` over the defaults of ``model``.

    Args:
        model: The configuration model.
        files: YAML files from left to right, or ``builtin:NAME`` for one that is shipped.
        flags: Values given on the command line by dotted key (or twin).
        names: How the command line spells a key of ``flags``, for messages.

    Raises:
        ConfigError: With every problem of every file and flag.
    """
    settings: dict[_Path, _Setting] = {}
    unread: list[str] = []
    misplaced: list[_Placed] = []
    for index, file in enumerate(files):
        document = read_yaml(located(file))
        unread += document.problems
        layer = _file_layer(model, document, str(file), index)
        misplaced += _scalar_sections(model, layer)
        _overlay(settings, layer)
    layer = _flag_layer(model, flags, names or {}, len(files))
    misplaced += _scalar_sections(model, layer)
    _overlay(settings, layer)
    try:
        value = model.model_validate(_nest(settings))
        found: list[ErrorDetails] = []
    except ValidationError as error:
        value, found = model(), error.errors(include_url=False)
    placed = {*misplaced, *_numbers_wanted(model, settings), *_explained(model, settings, found)}
    problems = unread + [text for _, _, text in sorted(placed)]
    if problems:
        raise ConfigError(problems)
    sources = dict.fromkeys(fields_of(model), "default")
    sources |= {".".join(path): setting.source for path, setting in settings.items()}
    return Resolved(value, sources)


def preset(name: str) -> Path:
    """Return the file of a configuration that is shipped with the package.

    Raises:
        UserError: If there is none of that name.
    """
    folder = Path(str(resources("halo_forge.config") / "presets"))
    found = {path.stem: path for path in sorted(folder.glob("*.yaml"))}
    if name not in found:
        raise UserError(f"no built-in configuration {name!r}; there are: {', '.join(found)}")
    return found[name]


def detect_type(mapping: Mapping[str, Any]) -> str:
    """Return the kind of configuration whose top-level keys fit ``mapping`` best.

    A kind that has all keys of another one and more is meant only where one of the others is there.

    Raises:
        UserError: If no kind fits better than the others.
    """
    scores = {
        kind: len(mapping.keys() & (model.model_fields.keys() | model.TWINS.keys()))
        for kind, model in CONFIG_TYPES.items()
    }
    highest = [kind for kind, score in scores.items() if score == max(scores.values())]
    wider = {CONFIG_TYPES[kind] for kind in highest}
    best = [kind for kind in highest if not wider & set(CONFIG_TYPES[kind].__mro__[1:])]
    if len(best) > 1:
        raise UserError(
            "the keys fit more than one kind of configuration; "
            f"say which with --type {' or --type '.join(best)}"
        )
    return best[0]


def dump_yaml(config: Section) -> str:
    """Return the whole configuration as YAML that `load_config` reads back to an equal one."""
    return to_yaml(config.model_dump(mode="json"))


def located(file: Path) -> Path:
    """Return ``file``, or the shipped file that ``builtin:NAME`` stands for.

    Raises:
        UserError: If there is no built-in configuration of that name.
    """
    name = str(file)
    return preset(name.removeprefix(_PRESET)) if name.startswith(_PRESET) else file


def _file_layer(
    model: type[Section], document: Document, name: str, index: int
) -> dict[_Path, _Setting]:
    """Return the settings of one file; a twin fills its key unless the nested key is there."""
    nested: dict[_Path, _Setting] = {}
    twins: dict[_Path, _Setting] = {}
    for entry in document.entries:
        key = ".".join(entry.path)
        setting = _Setting(entry.value, key, index, name, entry.lines)
        if key in model.TWINS:
            twins[tuple(model.TWINS[key].split("."))] = setting
        elif entry.value not in (None, {}) or key not in sections_of(model):
            # A section whose every key is commented out says nothing.
            nested[entry.path] = setting
    return twins | nested


def _flag_layer(
    model: type[Section], flags: Mapping[str, Any], names: Mapping[str, str], index: int
) -> dict[_Path, _Setting]:
    settings = {key: _Setting(value, names.get(key, key), index) for key, value in flags.items()}
    twins = {model.TWINS[key]: settings.pop(key) for key in flags if key in model.TWINS}
    return {tuple(key.split(".")): setting for key, setting in (twins | settings).items()}


def _overlay(settings: dict[_Path, _Setting], layer: Mapping[_Path, _Setting]) -> None:
    """Put ``layer`` on top; a value hides what lies under or above it in the tree."""
    for path in layer:
        for old in [old for old in settings if _nested(old, path) or _nested(path, old)]:
            del settings[old]
    settings |= layer


def _nested(one: _Path, other: _Path) -> bool:
    """Tell whether ``one`` is ``other`` or lies within it."""
    return one[: len(other)] == other


def _nest(settings: Mapping[_Path, _Setting]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for path, setting in settings.items():
        branch = tree
        for name in path[:-1]:
            branch = branch.setdefault(name, {})
        branch[path[-1]] = setting.value
    return tree


def _scalar_sections(model: type[Section], layer: dict[_Path, _Setting]) -> list[_Placed]:
    """Take out of ``layer`` what stands where a section belongs, so that nothing can hide it."""
    problems = []
    for path in [path for path in layer if ".".join(path) in sections_of(model)]:
        setting = layer.pop(path)
        rank, line, head = setting.where(len(path))
        error = {"type": "model_type", "input": setting.value}
        problems.append((rank, line, f"{head}: {explain(model, '.'.join(path), error)}"))
    return problems


def _numbers_wanted(model: type[Section], settings: Mapping[_Path, _Setting]) -> Iterator[_Placed]:
    """Refuse truth values for numbers: Python counts true as 1, the writer meant something else."""
    for path, setting in settings.items():
        if _is_truth_for_number(model, path, setting):
            rank, line, head = setting.where(len(path))
            yield rank, line, f"{head}: must be a number, got {shown(setting.value)}"


def _is_truth_for_number(model: type[Section], path: _Path, setting: _Setting) -> bool:
    info = fields_of(model).get(".".join(path))
    wanted = info is not None and plain_type(info) in (int, float)
    return wanted and isinstance(setting.value, bool)


def _explained(
    model: type[Section], settings: Mapping[_Path, _Setting], found: list[ErrorDetails]
) -> Iterator[_Placed]:
    """Put what pydantic found into words, each with its place."""
    for error in found:
        loc = tuple(str(part) for part in error["loc"])
        path = next((path for path in settings if _nested(path, loc) or _nested(loc, path)), None)
        if not loc or path is None:
            # A rule over several settings: no single line is to blame.
            yield len(settings), 0, explain(model, ".".join(loc), error)
        elif not _is_truth_for_number(model, path, settings[path]):
            key = loc[: len(path)]
            rank, line, head = settings[path].where(len(key))
            yield rank, line, f"{head}: {explain(model, '.'.join(key), error)}"
