"""No module of the package imports itself by way of others: not at its top, inside a function, or under TYPE_CHECKING."""

from __future__ import annotations

import ast
import re
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def name_of(path: Path) -> str:
    """`cotexp.jobs` for cotexp/jobs/__init__.py."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports_of(source: str, name: str, *, is_package: bool, modules: set[str]) -> set[str]:
    """The modules among `modules` that a source imports anywhere; `from a import b` means a.b where that is a module, else a. So does a text
    "module:Class", as registries list classes, and what is mapped to import_module."""
    package = name.split(".") if is_package else name.split(".")[:-1]
    imported = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            imported |= {each.name for each in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = ".".join([*package[: len(package) - node.level + 1], *filter(None, [node.module])]) if node.level else str(node.module)
            imported |= {full if (full := f"{base}.{each.name}") in modules else base for each in node.names}
        elif isinstance(node, ast.Constant) and re.fullmatch(r"[.\w]+:\w+", str(node.value)):
            imported.add(str(node.value).partition(":")[0])
        elif isinstance(node, ast.Call) and any(getattr(each, "id", "") == "import_module" for each in node.args):
            imported |= {str(each.value) for each in ast.walk(node) if isinstance(each, ast.Constant)}
    return imported & modules - {name}


def test_a_cycle_is_seen_in_every_form() -> None:
    modules = {"cotexp.a", "cotexp.b", "cotexp.c"}
    sources = {
        "cotexp.a": "def f():\n    from cotexp import b",
        "cotexp.b": "if TYPE_CHECKING:\n    from .c import name",
        "cotexp.c": "REGISTRY = {'a': 'cotexp.a:Class'}",
    }
    imports = {name: imports_of(source, name, is_package=False, modules=modules) for name, source in sources.items()}
    with pytest.raises(CycleError) as caught:
        TopologicalSorter(imports).prepare()
    assert set(caught.value.args[1]) == modules
    TopologicalSorter({**imports, "cotexp.c": set()}).prepare()


def test_no_modules_import_each_other() -> None:
    paths = {name_of(path): path for path in sorted((ROOT / "cotexp").rglob("*.py"))}
    imports = {
        name: imports_of(path.read_text(encoding="utf-8"), name, is_package=path.name == "__init__.py", modules=set(paths))
        for name, path in paths.items()
    }
    assert len(imports) > 100
    TopologicalSorter(imports).prepare()  # a CycleError names the modules of a cycle
