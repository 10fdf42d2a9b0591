"""All of the package that a function's result can come from: its own source and, by the names used there, what it reaches.

Read from syntax trees; nothing is run. A name counts wherever it stands: a class that is only an annotation is reached too, since its
methods are called on such a value; a method is reached with its class, and what a module does on import with anything in it.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Collection, Iterable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent.parent
ON_IMPORT = "<on import>"


class Module(NamedTuple):
    """What a module defines at its top, each name with all statements that bind it, and what its imports call how."""

    definitions: dict[str, list[ast.stmt]]
    imported: dict[str, str]


def closure(roots: Iterable[str], left_out: Collection[str]) -> dict[str, str]:
    """Full name of every definition that the roots reach -> its syntax tree without docstrings, as text.

    What an entry of `left_out` matches (`*` stands for anything) is not reached, nor what only that would reach.
    """
    found: dict[str, str] = {}
    waiting = list(roots)
    while waiting:
        name = waiting.pop()
        module, _, own = name.rpartition(".")
        if name in found or any(fnmatchcase(name, each) for each in left_out):
            continue
        found[name], names = _definition(module, own)
        waiting += names
        if ON_IMPORT in read(module).definitions:
            waiting.append(f"{module}.{ON_IMPORT}")
    return found


@functools.cache
def _definition(module: str, own: str) -> tuple[str, list[str]]:
    """The text of a definition without docstrings, and the full names of what it uses."""
    statements = read(module).definitions[own]
    text = "\n".join(ast.dump(_without_docstrings(each)) for each in statements)
    return text, [each for statement in statements for each in _names_in(statement, module)]


@functools.cache
def read(module: str) -> Module:
    tree = ast.parse(path_of(module).read_text(encoding="utf-8"))
    definitions: dict[str, list[ast.stmt]] = {}
    for statement in tree.body:
        for name in _bound(statement):
            definitions.setdefault(name, []).append(statement)
    return Module(definitions, _imports(tree.body, module))


def path_of(module: str) -> Path:
    path = ROOT.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def is_module(name: str) -> bool:
    return name.split(".")[0] == "cotexp" and path_of(name).is_file()


def _bound(statement: ast.stmt) -> list[str]:
    """The names that a statement at a module's top defines; ON_IMPORT where it does something else than define, import or document."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [statement.name]
    if isinstance(statement, ast.Assign | ast.AnnAssign):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        names = [node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)]
        return names or [ON_IMPORT]
    if isinstance(statement, ast.Import | ast.ImportFrom) or _is_text(statement) or _is_for_types(statement):
        return []
    return [ON_IMPORT]


def _is_text(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _is_for_types(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.If) and isinstance(statement.test, ast.Name) and statement.test.id == "TYPE_CHECKING"


def _imports(statements: Iterable[ast.AST], module: str) -> dict[str, str]:
    """Name -> what of the package it is imported from."""
    found = {}
    for node in (node for statement in statements for node in ast.walk(statement)):
        if isinstance(node, ast.Import):
            found |= {each.asname or each.name.split(".")[0]: each.name if each.asname else each.name.split(".")[0] for each in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module}: a relative import"
            found |= {each.asname or each.name: f"{node.module}.{each.name}" for each in node.names}
    return {name: target for name, target in found.items() if target.split(".")[0] == "cotexp"}


def _names_in(statement: ast.stmt, module: str) -> Iterator[str]:
    """Full names of the package's definitions that a statement of `module` uses."""
    imported = {**read(module).imported, **_imports([statement], module)}
    for node in ast.walk(statement):
        if isinstance(node, ast.Attribute) and (dotted := _dotted(node)):
            first, *rest = dotted
            yield from _resolved([imported[first], *rest] if first in imported else [])
        elif isinstance(node, ast.Constant) and ":" in str(node.value):  # as a registry lists a class
            yield from _resolved([str(node.value).replace(":", ".")])
        elif isinstance(node, ast.Name):
            if node.id in imported:
                yield from _resolved([imported[node.id]])
            elif node.id in read(module).definitions:
                yield f"{module}.{node.id}"


def _dotted(node: ast.Attribute) -> list[str]:
    """`a.b.c` as its parts; nothing where it does not begin with a name."""
    parts: list[str] = []
    current: ast.expr = node
    while isinstance(current, ast.Attribute):
        parts.append(current.attr)
        current = current.value
    return [*([current.id] if isinstance(current, ast.Name) else []), *reversed(parts)] if isinstance(current, ast.Name) else []


def _resolved(parts: list[str]) -> Iterator[str]:
    """The definition that a dotted name of the package stands for, followed to where it is made."""
    names = ".".join(parts).split(".") if parts else []
    for length in range(len(names), 0, -1):
        module, own = ".".join(names[:length]), names[length] if length < len(names) else ""
        if is_module(module):
            if own in read(module).definitions:
                yield f"{module}.{own}"
            elif own in read(module).imported:
                yield from _resolved([read(module).imported[own], *names[length + 1 :]])
            return


def _without_docstrings(tree: ast.stmt) -> ast.stmt:
    """A copy; comments and layout are not in a tree anyway."""
    copy = ast.parse(ast.unparse(tree)).body[0]
    for node in ast.walk(copy):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return copy
