"""What the source of tests says of itself: how they are written, their names, what they call.

Pure functions of the parsed source, by which nothing is run.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator

__all__ = [
    "free_names",
    "holds_assert",
    "imported",
    "is_case",
    "one_process_reason",
    "skippable",
    "style_of",
    "test_names",
]

_APART = frozenset({
    "asyncio", "concurrent", "dataclasses", "dis", "inspect", "mock", "multiprocessing", "pickle",
    "threading", "weakref",
})  # fmt: skip
"""Modules that do to a function or class what only works in its own process."""

_FIXTURES = frozenset({"event_loop", "mocker", "monkeypatch"})

_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)


def style_of(tree: ast.Module) -> str:
    """Return how tests are written: asserts, check, functions, unittest or pytest."""
    functions = [one for one in tree.body if isinstance(one, ast.FunctionDef)]
    if any(is_case(one) for one in tree.body):
        return "unittest"
    if "pytest" in imported(tree) or any(_needs_fixture(one) for one in _test_functions(tree)):
        return "pytest"
    if any(one.name == "check" and len(one.args.args) == 1 for one in functions):
        return "check"
    return "functions" if _test_functions(tree) else "asserts"


def is_case(node: ast.stmt) -> bool:
    """Tell whether a statement defines a test case of unittest."""
    return isinstance(node, ast.ClassDef) and any(
        ast.unparse(base).rpartition(".")[2].endswith("TestCase") for base in node.bases
    )


def _needs_fixture(function: ast.FunctionDef) -> bool:
    args = function.args
    wanted = [one.arg for one in (*args.posonlyargs, *args.args, *args.kwonlyargs)]
    return bool([one for one in wanted if one != "self"] or function.decorator_list)


def _test_functions(tree: ast.Module) -> list[ast.FunctionDef]:
    found = [one for one in tree.body if isinstance(one, ast.FunctionDef)]
    for group in tree.body:
        if isinstance(group, ast.ClassDef) and group.name.startswith("Test"):
            found += [one for one in group.body if isinstance(one, ast.FunctionDef)]
    return [one for one in found if one.name.startswith("test")]


def test_names(tree: ast.Module, style: str) -> list[str]:
    """Return the names of all tests, in order; those of pytest without their parameters."""
    if style == "check":
        return ["check"]
    if style == "asserts":
        return [f"line {node.lineno}" for node in tree.body if holds_assert(node)]
    return [
        f"{group}{function.name}"
        for group, body in _groups(tree)
        for function in body
        if isinstance(function, ast.FunctionDef) and function.name.startswith("test")
    ]


def skippable(tree: ast.Module) -> set[str]:
    """Return the names of tests whose source speaks of skipping; no others can skip themselves."""
    marked = any(
        isinstance(node, ast.Assign) and "skip" in ast.unparse(node).lower() for node in tree.body
    )
    found = set()
    for group, body in _groups(tree):
        owner = next((one for one in tree.body if getattr(one, "body", None) is body), None)
        around = marked or any(
            "skip" in ast.unparse(one).lower() for one in getattr(owner, "decorator_list", [])
        )
        found |= {
            f"{group}{one.name}"
            for one in body
            if isinstance(one, ast.FunctionDef) and (around or "skip" in ast.unparse(one).lower())
        }
    return found


def _groups(tree: ast.Module) -> Iterator[tuple[str, list[ast.stmt]]]:
    yield "", tree.body
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and (node.name.startswith("Test") or is_case(node)):
            yield f"{node.name}.", node.body


def holds_assert(node: ast.stmt) -> bool:
    """Tell whether running a statement asserts something."""
    if isinstance(node, _SCOPES):
        return False
    return any(isinstance(inner, ast.Assert) for inner in ast.walk(node))


def imported(tree: ast.Module) -> set[str]:
    """Return the top-level names of all modules that are imported."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.add(node.module.partition(".")[0])
    return found


def free_names(tree: ast.Module) -> set[str]:
    """Return the names that are read somewhere and bound nowhere in the tests."""
    read: set[str] = set()
    bound: set[str] = set(dir(builtins))
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Load()):
                read.add(name)
            case ast.Name(id=name) | ast.arg(arg=name):
                bound.add(name)
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                bound.add(name)
            case ast.alias(name=name, asname=other):
                bound.add(other or name.partition(".")[0])
            case ast.ExceptHandler(name=str(name)):
                bound.add(name)
            case _:
                pass
    return read - bound


def one_process_reason(tree: ast.Module, modules: set[str]) -> str:
    """Return why tests can only run in one process with the program, or "".

    Args:
        tree: The tests.
        modules: Names of modules by which they mean the program.
    """
    program = free_names(tree) | _names_from(tree, modules)
    for node in ast.walk(tree):
        reason = _reason(node, program)
        if reason:
            return f"line {getattr(node, 'lineno', 1)}: {reason}"
    return ""


def _names_from(tree: ast.Module, modules: set[str]) -> set[str]:
    """Return the names under which the program, or a part of it, is imported."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            parts = [(one.name, one.asname or one.name) for one in node.names]
            names |= {name.partition(".")[0] for module, name in parts if module in modules}
        elif isinstance(node, ast.ImportFrom) and node.module in modules:
            names |= {one.asname or one.name for one in node.names}
    return names


def _reason(node: ast.AST, program: set[str]) -> str:
    match node:
        case ast.Call(func=ast.Name(id="isinstance" | "issubclass"), args=[_, kind]):
            return "isinstance with a class of the program" if _mentions(kind, program) else ""
        case ast.Compare(left=ast.Call(func=ast.Name(id="type")), comparators=[kind]):
            return "type() compared with a class of the program" if _is_bare(kind, program) else ""
        case ast.ClassDef(bases=bases):
            mine = any(_mentions(base, program) for base in bases)
            return "a subclass of a class of the program" if mine else ""
        case ast.With(items=items):
            calls = [one.context_expr for one in items if isinstance(one.context_expr, ast.Call)]
            mine = any(_is_bare(call.func, program) for call in calls)
            return "a context manager of the program" if mine else ""
        case ast.Assign(targets=[ast.Attribute(value=ast.Name(id=name))]) if name in program:
            return "an assignment to a name of the program"
        case _:
            return _reason_of_kind(node)


def _reason_of_kind(node: ast.AST) -> str:
    match node:
        case ast.AsyncFunctionDef() | ast.Await():
            return "asynchronous tests"
        case ast.FunctionDef(args=args):
            wanted = {one.arg for one in args.args} & _FIXTURES
            return f"the fixture {min(wanted)}" if wanted else ""
        case ast.Import(names=names):
            roots = {one.name.partition(".")[0] for one in names} & _APART
            roots |= {one.name for one in names if one.name == "unittest.mock"}
            return f"the module {min(roots)}" if roots else ""
        case ast.ImportFrom(module=str(module), names=names):
            mock = module == "unittest.mock" or (
                module == "unittest" and any(one.name == "mock" for one in names)
            )
            apart = mock or module.partition(".")[0] in _APART
            return f"the module {module}" if apart else ""
        case _:
            return ""


def _mentions(node: ast.AST, names: set[str]) -> bool:
    return any(isinstance(one, ast.Name) and one.id in names for one in ast.walk(node))


def _is_bare(node: ast.AST, names: set[str]) -> bool:
    """Tell whether an expression is a name of the program, or an attribute of one."""
    while isinstance(node, ast.Attribute):
        node = node.value
    return isinstance(node, ast.Name) and node.id in names
