"""Rules that keep the documents true: commands exist, links resolve, the tree is all there."""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
from markdown_it import MarkdownIt
from markdown_it.token import Token

from halo_forge.cli import root as command_line
from tools.source_rules import Rule

__all__ = ["RULES", "leaves"]

_SHELL = {"", "bash", "console", "sh", "shell"}
_VALUE = (str, int, list, tuple)  # what is not given has another type, or is None
_COMMAND = re.compile(r"(?:^|&& |\$ )(halo-forge(?: [^|&;>\n]*)?)")


def documents(root: Path) -> Iterator[tuple[str, list[Token]]]:
    """Yield each Markdown document as its path from ``root`` and its tokens."""
    markdown = MarkdownIt().enable("table")
    for path in sorted([*root.glob("*.md"), *root.glob("docs/**/*.md")]):
        yield path.relative_to(root).as_posix(), markdown.parse(path.read_text("utf-8"))


def commands(root: Path) -> list[str]:
    """Every `halo-forge ...` in a document or at the head of a configuration can be typed."""
    return [
        f"{where}: {line}: {problem}"
        for where, line, whole in _command_lines(root)
        if (problem := _problem(line, whole=whole))
    ]


def _command_lines(root: Path) -> Iterator[tuple[str, str, bool]]:
    """Yield place and text of each command, and whether it stands whole or is only named."""
    for name, tokens in documents(root):
        line = 1
        for token in tokens:
            line = token.map[0] + 1 if token.map else line
            block = token.type == "fence" and token.info.strip() in _SHELL
            inline = [one.content for one in token.children or () if one.type == "code_inline"]
            for text in token.content.replace("\\\n", " ").splitlines() if block else inline:
                for hit in _COMMAND.findall(text):
                    yield f"{name}:{line}", hit.strip(), block
    for path in sorted((root / "configs").rglob("*.y*ml")):
        first = path.read_text("utf-8").partition("\n")[0]
        for hit in _COMMAND.findall(first.removeprefix("# ")):
            yield f"{path.relative_to(root).as_posix()}:1", hit.strip(), True


def help_examples(_root: Path) -> list[str]:
    """Every `halo-forge ...` in the help of a command can be typed."""
    return [
        f"{name} --help: {line.strip()}: {problem}"
        for name, command in _walk("halo-forge", command_line)
        for line in (command.help or "").splitlines()
        for hit in _COMMAND.findall(line.strip())
        if (problem := _problem(hit, whole=True))
    ]


def leaves() -> Iterator[tuple[str, click.Command]]:
    """Yield full name and command of everything that can be typed, groups aside."""
    for name, command in _walk("halo-forge", command_line):
        if not isinstance(command, click.Group):
            yield name, command


def _walk(name: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    yield name, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for child in command.list_commands(context):
            found = command.get_command(context, child)
            if found is not None:
                yield from _walk(f"{name} {child}", found)


def _problem(line: str, *, whole: bool) -> str | None:
    """Return why the command line would be refused. Of the values, only choices are looked at."""
    words = [word for word in shlex.split(line, comments=True)[1:] if word != "..."]
    command: click.Command = command_line
    context = click.Context(command, info_name="halo-forge")
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        name = words.pop(0)
        child = command.get_command(context, name)
        if child is None:
            return f"no command {name!r}"
        command, context = child, click.Context(child, info_name=name, parent=context)
    try:
        values, _, _ = command.make_parser(context).parse_args(words)
        given = [each for each in command.params if isinstance(values.get(each.name or ""), _VALUE)]
        for parameter in given:
            if isinstance(parameter.type, click.Choice):
                parameter.type_cast_value(context, values[parameter.name or ""])
    except click.UsageError as error:
        return error.format_message()
    if whole and not values.keys() & {"help", "version"}:
        missing = [each.name for each in command.params if each.required and each not in given]
        return f"{missing[0]} is missing" if missing else None
    return None


def links(root: Path) -> list[str]:
    """A relative link leads to a file, and its `#anchor` to a heading."""
    return [
        f"{name}: {target} leads nowhere"
        for name, tokens in documents(root)
        for token in tokens
        for child in token.children or ()
        for target in [str(child.attrGet("href") or child.attrGet("src") or "")]
        if target and not re.match(r"[a-z]+:", target) and not _leads(root, name, target)
    ]


def _leads(root: Path, document: str, target: str) -> bool:
    path, _, anchor = target.partition("#")
    file = (root / document).parent / path if path else root / document
    if not file.exists():
        return False
    return not anchor or file.suffix != ".md" or anchor in _anchors(file)


def _anchors(file: Path) -> set[str]:
    """Return the anchors of a document's headings, as GitHub makes them."""
    tokens = MarkdownIt().parse(file.read_text("utf-8"))
    titles = [
        after.content for token, after in itertools.pairwise(tokens) if token.type == "heading_open"
    ]
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def two_commands(root: Path) -> list[str]:
    """The first code block of the README is the two commands that a newcomer needs."""
    tokens = MarkdownIt().parse((root / "README.md").read_text("utf-8"))
    blocks = [token.content for token in tokens if token.type == "fence" and token.info == "bash"]
    words = [line.partition("#")[0].split() for line in (blocks or [""])[0].splitlines()]
    if words != [["make", "demo"], ["make", "test"]]:
        return ["README.md:1: the first shell block is not 'make demo' and 'make test'"]
    return []


def tree(root: Path) -> list[str]:
    """README and architecture name every package, and no package that is not there."""
    packages = {path.parent.name for path in (root / "halo_forge").glob("*/__init__.py")}
    found = []
    for name in ("docs/ARCHITECTURE.md",):
        text = (root / name).read_text("utf-8")
        named = set(re.findall(r"^ {2}(\w+)/ ", text, re.MULTILINE))
        found += [f"{name}: the tree lacks {one}/" for one in sorted(packages - named)]
        found += [f"{name}: there is no package {one}/" for one in sorted(named - packages)]
    return found


RULES: tuple[Rule, ...] = (commands, help_examples, links, two_commands, tree)
