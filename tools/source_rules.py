"""The house rules that a linter does not know, as functions from a tree to its violations.

Each takes the root of a tree and returns lines `file:line: what is wrong`. `RULES` lists them all;
`python -m tools.check` runs them, and tests/architecture plants a violation of each.
"""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

__all__ = ["RULES", "Rule"]

Rule = Callable[[Path], list[str]]

PACKAGE = "halo_forge"
MAX_LINES = 400
DOORS = {
    f"{PACKAGE}/cli.py",
    f"{PACKAGE}/rlvr/verifiers/batch.py",
    f"{PACKAGE}/models/stage_process.py",
    # Inside the sandbox, where whatever a program or a test raises is an answer.
    f"{PACKAGE}/rlvr/verifiers/exam/candidate.py",
    f"{PACKAGE}/rlvr/verifiers/exam/standin.py",
    f"{PACKAGE}/rlvr/verifiers/exam/report.py",
    f"{PACKAGE}/rlvr/verifiers/exam/styles.py",
    f"{PACKAGE}/rlvr/verifiers/exam/together.py",
    f"{PACKAGE}/sandbox/nursery.py",
}
"""Where any exception becomes a message or a recorded fault; nowhere else."""
STARTERS = (
    f"{PACKAGE}/sandbox/",  # runs foreign code
    f"{PACKAGE}/models/builtin.py",  # asks pip for a wheel
    f"{PACKAGE}/utils/hardware.py",  # asks the driver's own tool
)
SPEAKERS = (
    f"{PACKAGE}/commands/",
    f"{PACKAGE}/cli.py",
    f"{PACKAGE}/tracking/console.py",  # the progress of a run
)
_SPEECH = {"print", "click.echo", "click.secho"}


def modules(root: Path, *folders: str) -> Iterator[tuple[str, ast.Module]]:
    """Yield each Python file under ``folders`` as its path from ``root`` and its syntax tree."""
    for folder in folders:
        for path in sorted((root / folder).rglob("*.py")):
            yield path.relative_to(root).as_posix(), ast.parse(path.read_text("utf-8"))


def length(root: Path) -> list[str]:
    """A module has at most 400 lines."""
    found = []
    for folder in (PACKAGE, "tools", "bench", "examples"):
        for path in sorted((root / folder).rglob("*.py")):
            lines = len(path.read_text("utf-8").splitlines())
            if lines > MAX_LINES:
                name = path.relative_to(root).as_posix()
                found.append(f"{name}:{MAX_LINES + 1}: {lines} lines; at most {MAX_LINES}")
    return found


def exports(root: Path) -> list[str]:
    """`__all__` of a module lists what it defines for others: no more, no less."""
    found = []
    for name, tree in modules(root, PACKAGE):
        if Path(name).stem == "__main__":
            continue
        line, listed = _listed(tree)
        defined = _defined(tree)
        if name.endswith("__init__.py"):
            defined |= _imported(tree, f"{PACKAGE}.")
            if "__getattr__" in _bound(tree):  # a lazy package: a test imports the names
                defined |= listed or set()
            if not defined:
                continue
        if listed is None:
            found.append(f"{name}:1: no __all__")
            continue
        found += [f"{name}:{line}: {one} is public, but not in __all__" for one in defined - listed]
        found += [
            f"{name}:{line}: __all__ names {one}, unknown here"
            for one in listed - defined - _imported(tree)
        ]
    return sorted(found)


def _bound(tree: ast.Module) -> dict[str, ast.stmt]:
    """Return the names bound at the top level, imports aside, with the statements."""
    bound: dict[str, ast.stmt] = {}
    for statement in tree.body:
        match statement:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                bound[statement.name] = statement
            case ast.Assign():
                for target in statement.targets:
                    for node in ast.walk(target):
                        if isinstance(node, ast.Name):
                            bound[node.id] = statement
            case ast.AnnAssign(target=ast.Name(id=name)):
                bound[name] = statement
            case _:
                pass
    return bound


def _defined(tree: ast.Module) -> set[str]:
    bound = _bound(tree)
    return {
        name
        for name, statement in bound.items()
        if not name.startswith("_")
        and not _registers(statement, set(bound))
        and not _is_type_variable(statement)
    }


def _registers(statement: ast.stmt, siblings: set[str]) -> bool:
    """Tell whether a function only hangs itself on a command group of this module."""
    return isinstance(statement, ast.FunctionDef) and any(
        isinstance(part, ast.Attribute)
        and part.attr in {"command", "group"}
        and isinstance(part.value, ast.Name)
        and part.value.id in siblings
        for decorator in statement.decorator_list
        for part in ast.walk(decorator)
    )


def _is_type_variable(statement: ast.stmt) -> bool:
    value = statement.value if isinstance(statement, ast.Assign) else None
    return isinstance(value, ast.Call) and _callee(value) in {"TypeVar", "ParamSpec"}


def _imported(tree: ast.Module, package: str = "") -> set[str]:
    """Return the names imported anywhere from modules whose name begins with ``package``."""
    return {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(package)
        for alias in node.names
    }


def _listed(tree: ast.Module) -> tuple[int, set[str] | None]:
    statement = _bound(tree).get("__all__")
    if not isinstance(statement, ast.Assign | ast.AnnAssign) or statement.value is None:
        return 1, None
    return statement.lineno, set(ast.literal_eval(statement.value))


def flag_defaults(root: Path) -> list[str]:
    """A flag takes its default from a configuration field; only None and False are literal."""
    return [
        f"{name}:{call.lineno}: a flag with a default of its own; take it from halo_forge.config"
        for name, tree in modules(root, f"{PACKAGE}/commands")
        for call in _calls(tree)
        if "option" in _callee(call).lower()
        for keyword in call.keywords
        if keyword.arg == "default" and _is_own_literal(keyword.value)
    ]


def _is_own_literal(node: ast.expr) -> bool:
    try:
        value = ast.literal_eval(node)
    except ValueError:
        return False
    return value is not None and value is not False


def _calls(tree: ast.Module) -> list[ast.Call]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.Call)]


def _callee(call: ast.Call) -> str:
    match call.func:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case _:
            return ""


def entry_points(root: Path) -> list[str]:
    """Every entry point names something that exists."""
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    tables = {"scripts": project.get("scripts", {}), **project.get("entry-points", {})}
    found = []
    for table, points in tables.items():
        for point, target in points.items():
            module, _, attribute = target.partition(":")
            path = root / (module.replace(".", "/") + ".py")
            if not path.exists():
                found.append(f"pyproject.toml:1: {table} {point}: no module {module}")
            elif attribute not in _bound(ast.parse(path.read_text("utf-8"))):
                found.append(f"pyproject.toml:1: {table} {point}: {module} has no {attribute}")
    return found


def broad_excepts(root: Path) -> list[str]:
    """Catching everything is for two doors, or to clean up and raise again."""
    return [
        f"{name}:{handler.lineno}: catches everything; name the errors, or raise again"
        for name, tree in modules(root, PACKAGE)
        if name not in DOORS
        for handler in ast.walk(tree)
        if isinstance(handler, ast.ExceptHandler) and _is_broad(handler)
    ]


def _is_broad(handler: ast.ExceptHandler) -> bool:
    last = handler.body[-1]
    if isinstance(last, ast.Raise) and last.exc is None:
        return False
    caught = ast.walk(handler.type) if handler.type else [ast.Name("BaseException")]
    return any(
        isinstance(node, ast.Name) and node.id in {"Exception", "BaseException"} for node in caught
    )


def prints(root: Path) -> list[str]:
    """Only the commands, and the progress of a run, speak to the terminal."""
    return [
        f"{name}:{call.lineno}: {ast.unparse(call.func)}() outside the rooms that speak"
        for name, tree in modules(root, PACKAGE)
        if not name.startswith(SPEAKERS)
        for call in _calls(tree)
        if ast.unparse(call.func) in _SPEECH
    ]


def processes(root: Path) -> list[str]:
    """Only the sandbox, pip and the driver's tool are started as processes."""
    return [
        f"{name}:{node.lineno}: imports subprocess; run programs through halo_forge.sandbox"
        for name, tree in modules(root, PACKAGE)
        if not name.startswith(STARTERS)
        for node in ast.walk(tree)
        if (isinstance(node, ast.Import) and any(one.name == "subprocess" for one in node.names))
        or (isinstance(node, ast.ImportFrom) and node.module == "subprocess")
    ]


RULES: tuple[Rule, ...] = (
    length,
    exports,
    flag_defaults,
    entry_points,
    broad_excepts,
    prints,
    processes,
)
