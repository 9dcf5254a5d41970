"""What test code says about the function that it tests: names, heads, single asserts.

Pure functions on parsed source; nothing is executed.
"""

from __future__ import annotations

import ast
import builtins
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

__all__ = ["Calls", "TestSource", "calls_of", "heads_of", "missing_imports", "read_tests"]

_LETTERS = "abcdefghijklmnopqrstuvw"
_BUILT_IN = frozenset(dir(builtins))


@dataclass(frozen=True, slots=True)
class TestSource:
    """Test code, taken apart.

    Attributes:
        before: Imports and other statements that the asserts need.
        asserts: The asserts, one source text each.
    """

    __test__ = False  # pytest: not a test class

    before: tuple[str, ...]
    asserts: tuple[str, ...]

    def source(self, asserts: Sequence[str] | None = None) -> str:
        """Return the code again, with all asserts or those given."""
        return "\n".join([*self.before, *(self.asserts if asserts is None else asserts)]) + "\n"


@dataclass(frozen=True, slots=True)
class Calls:
    """What tests call that they do not define.

    Attributes:
        entry_point: The function that they test.
        helpers: Further names that the answer has to define.
        arguments: For each name, how its first call names its arguments.
    """

    entry_point: str
    helpers: tuple[str, ...] = ()
    arguments: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def read_tests(code: str) -> TestSource:
    """Take test code apart: a list of asserts, or one function without arguments around them.

    Raises:
        SyntaxError: If it is no Python.
        ValueError: If it holds no assert.
    """
    body = ast.parse(code).body
    if len(body) == 1 and isinstance(body[0], ast.FunctionDef) and not body[0].args.args:
        body = body[0].body
    asserts = [ast.unparse(node) for node in body if isinstance(node, ast.Assert)]
    if not asserts:
        raise ValueError("the tests hold no assert")
    before = [ast.unparse(node) for node in body if not isinstance(node, ast.Assert)]
    return TestSource(tuple(before), tuple(asserts))


def calls_of(code: str, solution: str | None = None) -> Calls:
    """Find what tests call.

    The function tested is the outermost call in the first assert that is neither built in nor
    imported nor defined by the tests (if all are built in, the outermost of those); where a
    solution is known, the first such one that it defines as a function.

    Raises:
        SyntaxError: If the tests are no Python.
        ValueError: If they call nothing of the answer's.
    """
    tree = ast.parse(code)
    bound = _bound(tree)
    calls: dict[str, tuple[str, ...]] = {}
    for node in _outermost_first(tree):
        if isinstance(node.func, ast.Name) and node.func.id not in bound:
            calls.setdefault(node.func.id, _argument_names(node))
    # A task may ask for a function that has the name of a built-in one.
    found = {name: args for name, args in calls.items() if name not in _BUILT_IN} or calls
    names = list(found)
    functions = [name for name in names if name in _functions(solution)] if solution else names
    if not names:
        raise ValueError("the tests call no function of the answer")
    entry = (functions or names)[0]
    return Calls(entry, tuple(name for name in names if name != entry), found)


def missing_imports(code: str) -> list[str]:
    """Return imports for modules of the standard library that tests use and do not import.

    Copies of data sets lose the line ``import math`` that stood beside the tests.
    """
    tree = ast.parse(code)
    bound = _bound(tree)
    used = {
        node.value.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    }
    return [f"import {name}" for name in sorted(used - bound) if name in sys.stdlib_module_names]


def heads_of(calls: Calls, solution: str | None = None) -> dict[str, str]:
    """Return for each name called how it is written: ``f(a, b)``.

    The arguments have the names of the solution, where there is one.
    """
    known = _signatures(solution) if solution else {}
    names = (calls.entry_point, *calls.helpers)
    return {name: known.get(name) or _call(name, calls.arguments.get(name, ())) for name in names}


def _call(name: str, arguments: Sequence[str]) -> str:
    return f"{name}({', '.join(arguments)})"


def _outermost_first(tree: ast.Module) -> Iterator[ast.Call]:
    """Yield calls, those of earlier statements first, and outer ones before what is in them."""
    asserts = [node for node in ast.walk(tree) if isinstance(node, ast.Assert)]
    for statement in asserts or tree.body:
        for node in ast.walk(statement):  # breadth first
            if isinstance(node, ast.Call):
                yield node


def _argument_names(call: ast.Call) -> tuple[str, ...]:
    positional = [_LETTERS[at % len(_LETTERS)] for at, _ in enumerate(call.args)]
    return (*positional, *(keyword.arg for keyword in call.keywords if keyword.arg))


def _bound(tree: ast.Module) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                names.add(name)
            case ast.alias(name=name, asname=other):
                names.add(other or name.partition(".")[0])
            case ast.Name(id=name, ctx=ast.Store()) | ast.arg(arg=name):
                names.add(name)
            case _:
                pass
    return names


def _functions(solution: str) -> set[str]:
    return {node.name for node in _definitions(solution) if isinstance(node, ast.FunctionDef)}


def _definitions(solution: str) -> list[ast.FunctionDef | ast.ClassDef]:
    """Return the top-level definitions of a solution; none when it is no Python."""
    try:
        body = ast.parse(solution).body
    except (SyntaxError, ValueError):
        return []
    return [node for node in body if isinstance(node, ast.FunctionDef | ast.ClassDef)]


def _signatures(solution: str) -> dict[str, str]:
    found = {}
    for node in _definitions(solution):
        if isinstance(node, ast.FunctionDef):
            found[node.name] = f"{node.name}({_parameters(node.args)}){_returns(node)}"
            continue
        starts = [one for one in node.body if getattr(one, "name", "") == "__init__"]
        if starts and isinstance(starts[0], ast.FunctionDef):
            found[node.name] = f"{node.name}({_parameters(starts[0].args, skip=1)})"
    return found


def _parameters(arguments: ast.arguments, skip: int = 0) -> str:
    text = ast.unparse(arguments)
    return text.partition(", ")[2] if skip else text


def _returns(node: ast.FunctionDef) -> str:
    return f" -> {ast.unparse(node.returns)}" if node.returns is not None else ""
