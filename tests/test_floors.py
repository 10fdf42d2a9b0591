"""A file imports only from its own floor and the floors below, and every large library has one home."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "cotexp"
FILES = sorted(PACKAGE.rglob("*.py"))

FLOORS: dict[str, int] = {
    "durable": 0,
    "ownership": 0,
    "signals": 0,
    "credentials": 0,
    "visible": 0,
    "invocation": 0,
    "notebook": 0,
    "version": 0,
    "progress": 0,
    "settings": 0,
    "extensions": 0,
    "extras": 0,
    "records": 0,
    "tasks": 1,
    "methods": 1,
    "selections": 1,
    "teachers": 1,
    "compressors": 1,
    "compressions": 1,
    "models": 2,
    "inference": 2,
    "training": 2,
    "store": 3,
    "devices": 3,
    "jobs": 3,
    "stages": 3,
    "flow": 3,
    "config": 4,
    "tracking": 4,
    "report": 4,
    "commands": 4,
    "interface": 4,
    "__main__": 4,
}
"""First part of a module's name below `cotexp` -> its floor. The package's own __init__, which names what users call, stands outside."""

HOMES: dict[str, tuple[str, ...]] = {
    "hydra": ("cotexp/config/",),
    "omegaconf": ("cotexp/commands/run.py", "cotexp/config/"),
    "wandb": ("cotexp/tracking/",),
    "mlflow": ("cotexp/tracking/",),
    "pytorch_lightning": ("cotexp/training/",),
    "lightning": ("cotexp/training/",),
    "datasets": ("cotexp/tasks/hub.py", "cotexp/tasks/sources.py"),
    "reasoning_gym": ("cotexp/tasks/gsm_symbolic.py",),
    "math_verify": ("cotexp/tasks/comparison_worker.py",),
    "sympy": ("cotexp/tasks/equality.py", "cotexp/tasks/intervals.py", "cotexp/tasks/values.py"),
    "llmlingua": ("cotexp/inference/llmlingua.py",),
    "pyarrow": ("cotexp/tasks/rows.py",),
    "deepspeed": ("cotexp/training/zero.py",),
    "vllm": ("cotexp/inference/vllm_copies.py",),
    "openai": ("cotexp/inference/api_service.py", "cotexp/inference/api_batch.py"),
    "optuna": ("cotexp/commands/search.py",),
    "tenacity": ("cotexp/inference/api_refusals.py", "cotexp/inference/api_batch.py"),
    "IPython": ("cotexp/notebook.py",),
    "pandas": ("cotexp/report/frames.py", "cotexp/interface.py"),
    "rich": (
        "cotexp/notebook.py",
        "cotexp/progress.py",
        "cotexp/report/terminal.py",
        "cotexp/commands/questions.py",
        "cotexp/commands/encode.py",
    ),
}
"""Library -> the only files, or folders ending in /, that may import it."""

CLASS_TEXT = r"cotexp[.\w]+:\w+"
"""A text that names a class of the package."""

LONGEST_FILE_LINES = 300
LONGEST_FUNCTION_LINES = 40


@functools.cache
def imports_of(path: Path) -> frozenset[str]:
    return frozenset(_imports_of(path))


def _imports_of(path: Path) -> Iterator[str]:
    """Full dotted names of everything that a file imports, inside functions and by name as well; relative ones are made absolute. A text
    "module:Class" counts, as registries list classes, and what is mapped to import_module."""
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (base, node.module) if part)
            yield from (f"{module}.{each.name}" for each in node.names)
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) in ("import_module", "__import__"):
            assert node.args, f"{path}: an import by name without a name"
            assert isinstance(node.args[0], ast.Constant), f"{path}, line {node.lineno}: an import whose name cannot be read here"
            yield str(node.args[0].value)
        elif isinstance(node, ast.Constant) and re.fullmatch(CLASS_TEXT, str(node.value)):
            yield str(node.value).partition(":")[0]
        elif isinstance(node, ast.Call) and any(getattr(each, "id", "") == "import_module" for each in node.args):
            yield from (str(each.value) for each in ast.walk(node) if isinstance(each, ast.Constant))


def room_of(path: Path) -> str:
    """`jobs` for cotexp/jobs/pipeline.py, `flow` for cotexp/flow.py."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_every_file_of_the_package_has_a_floor() -> None:
    assert len(FILES) > 20
    without = [name_of(each) for each in FILES if room_of(each) not in FLOORS and each != PACKAGE / "__init__.py"]
    assert without == []


def test_every_floor_holds_a_file() -> None:
    assert set(FLOORS) - {room_of(each) for each in FILES} == set()


def test_the_reader_of_imports_sees_every_kind_of_import() -> None:
    found = set(imports_of(PACKAGE / "config" / "command_line.py"))
    assert {"hydra.initialize_config_dir", "cotexp.settings.root.Settings", "dataclasses", "hydra._internal.utils.get_args_parser"} <= found
    assert "cotexp.compressions.macc" in set(imports_of(PACKAGE / "compressions" / "__init__.py"))
    assert "cotexp.stages.scores" in set(imports_of(PACKAGE / "flow.py"))


@pytest.mark.parametrize("path", [each for each in FILES if each != PACKAGE / "__init__.py"], ids=name_of)
def test_a_file_imports_only_its_own_floor_and_lower_ones(path: Path) -> None:
    own = FLOORS[room_of(path)]
    rooms = {name.split(".")[1] for name in imports_of(path) if name.startswith("cotexp.")}
    assert rooms <= FLOORS.keys(), "an import of something that is no module of the package"
    assert {room for room in rooms if FLOORS[room] > own} == set()


def test_the_packages_own_init_imports_the_functions_for_users_alone() -> None:
    assert {name.rpartition(".")[0] for name in imports_of(PACKAGE / "__init__.py")} == {"cotexp.interface", "cotexp.version"}


@pytest.mark.parametrize("library", HOMES)
def test_a_large_library_is_imported_only_in_its_home(library: str) -> None:
    users = [name_of(path) for path in [ROOT / "run.py", *FILES] if any(name.split(".")[0] == library for name in imports_of(path))]
    strangers = [user for user in users if not any(user == home or (home.endswith("/") and user.startswith(home)) for home in HOMES[library])]
    assert strangers == []


def test_floors_zero_and_one_import_no_torch() -> None:
    heavy = {"torch", "transformers", "peft", "accelerate", "safetensors", "pytorch_lightning"}
    low = [each for each in FILES if FLOORS.get(room_of(each), 9) <= 1]
    assert len(low) >= 5
    found = {name_of(path): names for path in low if (names := heavy & {name.split(".")[0] for name in imports_of(path)})}
    assert found == {}


def test_no_file_is_a_drawer_for_everything() -> None:
    assert [name_of(each) for each in FILES if each.stem in ("utils", "util", "common", "helpers", "misc")] == []


def test_no_file_is_too_long() -> None:
    lengths = {name_of(each): len(each.read_text(encoding="utf-8").splitlines()) for each in FILES}
    assert {name: length for name, length in lengths.items() if length > LONGEST_FILE_LINES} == {}


def test_no_function_is_too_long() -> None:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    functions = [(path, node) for path in FILES for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, kinds)]
    lengths = {f"{name_of(path)}:{node.name}": (node.end_lineno or 0) - node.lineno + 1 for path, node in functions}
    assert len(lengths) > 1000
    assert {name: length for name, length in lengths.items() if length > LONGEST_FUNCTION_LINES} == {}


ASKED = re.compile(
    r"\b(teacher|compressor|compression)\.name (==|!=|in\b|not in\b)|\.engine (==|!=)|isinstance\([\w.]+\.(teacher|compressor|compression),"
)
"""A question for the name or class of what a registry holds."""


def test_only_traits_are_asked_of_teachers_compressors_compressions_and_engines() -> None:
    assert ASKED.search('if settings.teacher.name == "self":')
    assert ASKED.search('if model.engine == "vllm":')
    assert ASKED.search("if isinstance(settings.compressor, ApiCompressor):")
    assert [name_of(path) for path in FILES if ASKED.search(path.read_text(encoding="utf-8"))] == []
