"""The texts of the errors that halo-forge raises, as they stand in the code."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from halo_forge.core import errors
from tools.source_rules import modules

__all__ = ["messages"]

_TITLES = {
    2: "The input is wrong",
    1: "A check said no",
    3: "Our fault or the machine's",
}
"""Exit codes in the order in which a reader meets them."""
_HEAD = """\
# Error messages

Written by `python -m tools.reference` from the places that raise them; do not edit. A message
says what happened, where, and how to mend it; `{...}` stands for names and figures. Those of
settings are [told with file and line](../TROUBLESHOOTING.md#a-setting-is-refused). What to do
about the common ones is in [TROUBLESHOOTING](../TROUBLESHOOTING.md).
"""
_NO_TEXT = re.compile(r"^[\W\d_]*$")


def messages(root: Path) -> str:
    """Return the page of all messages, by exit code and room."""
    codes = {
        name: kind.exit_code
        for name in errors.__all__
        if issubclass(kind := getattr(errors, name), errors.HaloForgeError)
    }
    found: dict[int, dict[str, list[str]]] = {}
    for module, tree in modules(root, "halo_forge"):
        room = module.split("/")[1].removesuffix(".py")
        for name, text in _raised(tree):
            if name in codes:
                found.setdefault(codes[name], {}).setdefault(room, []).append(text)
    return "\n".join(_lines(found))


def _lines(found: dict[int, dict[str, list[str]]]) -> Iterator[str]:
    yield _HEAD
    for code, title in _TITLES.items():
        yield f"## Exit code {code}: {title[0].lower()}{title[1:]}\n"
        for room, texts in sorted(found.get(code, {}).items()):
            yield f"**{room}**\n"
            yield from (f"- {_shown(text)}" for text in dict.fromkeys(texts))
            yield ""


def _shown(text: str) -> str:
    """Return a message as inline code, whatever quotes it holds."""
    one_line = " ".join(text.split())
    fence = "``" if "`" in one_line else "`"
    space = " " if "`" in one_line else ""
    return f"{fence}{space}{one_line}{space}{fence}"


def _raised(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield name and text of each error that a module raises with a text of its own.

    A text that a function of the module makes is looked for in what that function returns.
    """
    made = {node.name: node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and node.exc.args):
            continue
        if isinstance(node.exc.func, ast.Name):
            for text in _texts(node.exc.args[0], made):
                if not _NO_TEXT.match(_bare(text)):
                    yield node.exc.func.id, text


def _texts(node: ast.expr, made: dict[str, ast.FunctionDef]) -> list[str]:
    match node:
        case ast.Call(func=ast.Name(id=name)) if name in made:
            returns = [one for one in ast.walk(made[name]) if isinstance(one, ast.Return)]
            return [_text(one.value) for one in returns if one.value is not None]
        case _:
            return [_text(node)]


def _bare(text: str) -> str:
    return text.replace("{...}", "")


def _text(node: ast.expr) -> str:
    """Return what is known of a text before the program runs; the rest is `{...}`."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(_text(part) for part in parts)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _text(left) + _text(right)
        case ast.Call(
            func=ast.Attribute(value=ast.Constant(value=str(comma)), attr="join"),
            args=[ast.List(elts=parts)],
        ):
            return comma.join(map(_text, parts))
        case _:
            return "{...}"
