"""What an exam needs to know of its tests: worked out once for all answers to the same prompt."""

from __future__ import annotations

import ast
import marshal
import types
from collections.abc import Callable
from dataclasses import dataclass

from halo_forge.rlvr.verifiers.exam.reading import (
    free_names,
    holds_assert,
    imported,
    one_process_reason,
    style_of,
    test_names,
)

__all__ = ["MODULE", "Outline"]

MODULE = "tests"
"""Name of the tests as a module."""


@dataclass(frozen=True)
class Outline:
    """Tests, read and compiled.

    Attributes:
        style: How they are written; see `reading.style_of`.
        names: Names of all tests, in order; those of pytest without their parameters.
        modules: Modules by which they mean the program.
        free: Names that they read and do not bind.
        apart: Why they can only run in one process with the program, or "".
        parts: What is to be executed, each with the name of the test that it is, or "".
    """

    style: str
    names: list[str]
    modules: list[str]
    free: list[str]
    apart: str
    parts: list[tuple[str, types.CodeType]]

    @classmethod
    def of(cls, source: str, is_installed: Callable[[str], bool]) -> Outline:
        """Read and compile tests.

        Args:
            source: The tests.
            is_installed: Tells whether there is a module of that name where the tests run: what
                they import and is not there, is the program.

        Raises:
            SyntaxError: If they are no Python.
            ValueError: If they contain NUL characters.
        """
        tree = ast.parse(source)
        style = style_of(tree)
        modules = {one for one in imported(tree) if one == "solution" or not is_installed(one)}
        apart = one_process_reason(tree, modules)
        parts = _statements(tree) if style == "asserts" else [("", _compiled(tree))]
        names = test_names(tree, style)
        return cls(style, names, sorted(modules), sorted(free_names(tree)), apart, parts)

    def packed(self) -> bytes:
        """Return it for `unpacked`, by an interpreter of the same version."""
        return marshal.dumps(tuple(vars(self).values()))

    @classmethod
    def unpacked(cls, data: bytes) -> Outline:
        """Invert `packed`: trust the other side, which compiled what is to be executed."""
        return cls(*marshal.loads(data))  # noqa: S302 - from our own side of the sandbox


def _statements(tree: ast.Module) -> list[tuple[str, types.CodeType]]:
    return [
        (f"line {node.lineno}" if holds_assert(node) else "", _compiled(ast.Module([node], [])))
        for node in tree.body
    ]


def _compiled(tree: ast.Module) -> types.CodeType:
    return compile(tree, f"{MODULE}.py", "exec", dont_inherit=True)
