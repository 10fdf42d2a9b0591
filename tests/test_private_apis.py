"""Every name that the package takes from another library without a promise that it stays: where, and why no public name would do."""

from __future__ import annotations

import ast
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import pytorch_lightning as pl
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins

ROOT = Path(__file__).resolve().parent.parent
FILES = [ROOT / "run.py", *sorted((ROOT / "cotexp").rglob("*.py"))]


class Private(NamedTuple):
    """A private name as the source has it, the only file that uses it, where the library defines it, and the reason."""

    name: str
    file: str
    defined: str
    reason: str


_GRAMMAR = "Hydra's public parser gives values, not how they were typed: 1.10 is lost in 1.1"
_LAUNCHERS = "plugins put their schemas beside our files of the same names; a public ConfigStore only adds"
_MEMORY = "what a model remembers between two steps has another name in each architecture, and `generate` tells no row's end"
_FAST_PARSER = "the library cannot be told to try ANTLR's fast mode first, which halves the time of a parse"

PRIVATE = [
    Private(
        "_internal",
        "cotexp/config/command_line.py",
        "hydra._internal.utils:get_args_parser",
        "Hydra's options, read before Hydra runs, have no public parser",
    ),
    Private(
        "_utils",
        "cotexp/config/spelling.py",
        "omegaconf._utils:get_yaml_loader",
        "OmegaConf.load applies its rules for YAML, and loses how texts were typed",
    ),
    Private("_metadata", "cotexp/config/overrides.py", "omegaconf.base:ContainerMetadata", "the type of a mapping's values has no public getter"),
    Private(
        "_supports_attention_backend", "cotexp/inference/scoring.py", "transformers:PreTrainedModel._supports_attention_backend", "no public question"
    ),
    Private("_attn_implementation", "cotexp/inference/scoring.py", "transformers:PreTrainedConfig._attn_implementation", "no public getter"),
    Private("_attn_implementation", "cotexp/models/loading.py", "transformers:PreTrainedConfig._attn_implementation", "no public getter"),
    Private("_prepare_cache_for_generation", "cotexp/inference/decoding.py", "transformers:GenerationMixin._prepare_cache_for_generation", _MEMORY),
    Private(
        "_update_model_kwargs_for_generation",
        "cotexp/inference/decoding.py",
        "transformers:GenerationMixin._update_model_kwargs_for_generation",
        _MEMORY,
    ),
    Private("_Latex2Sympy", "cotexp/tasks/comparison_worker.py", "latex2sympy2_extended.latex2sympy2:_Latex2Sympy.create_parser", _FAST_PARSER),
    Private("_interp", "cotexp/tasks/comparison_worker.py", "antlr4.Recognizer:Recognizer", _FAST_PARSER),
    Private("_tied_weights_keys", "cotexp/models/adapters.py", "transformers:PreTrainedModel._tied_weights_keys", "peft reads this very name"),
    Private("_log_artifact", "cotexp/tracking/wandb_run.py", "wandb.sdk.wandb_run:Run._log_artifact", "`use_artifact` refuses offline runs"),
    Private(
        "_lazy_init_hp_params_optimizer_state",
        "cotexp/training/zero.py",
        "deepspeed.runtime.zero.stage_1_and_2:DeepSpeedZeroOptimizer._lazy_init_hp_params_optimizer_state",
        "a parameter's part of the optimiser's state can be set by public functions only after the first step",
    ),
    Private(
        "_signal_connector",
        "cotexp/training/fit.py",
        "pytorch_lightning.trainer.connectors.signal_connector:_SignalConnector.register_signal_handlers",
        "Lightning has no switch for its signal handlers; put ours back from a callback, and a signal before that moment would be lost",
    ),
]
"""Names that begin with an underscore."""

UNDOCUMENTED = [
    Private("OverrideLexer", "cotexp/config/spelling.py", "hydra.grammar.gen.OverrideLexer:OverrideLexer", _GRAMMAR),
    Private("OverrideParser", "cotexp/config/spelling.py", "hydra.grammar.gen.OverrideParser:OverrideParser", _GRAMMAR),
    Private("HydraErrorListener", "cotexp/config/spelling.py", "hydra.core.override_parser.overrides_visitor:HydraErrorListener", _GRAMMAR),
    Private(
        "load_config", "cotexp/config/spelling.py", "hydra.plugins.config_source:ConfigSource.load_config", "Hydra keeps its own reader of a scheme"
    ),
    Private("class_name_to_class", "cotexp/config/plugins.py", "hydra.core.plugins:Plugins", "Hydra accepts classes of hydra_plugins alone"),
    Private("repo", "cotexp/config/launchers.py", "hydra.core.config_store:ConfigStore", _LAUNCHERS),
]
"""Names without one that no documentation tells of."""

OF_NAMED_TUPLES = {"_replace", "_asdict", "_fields", "_make"}
DOCUMENTED = {"os._exit"}


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.endswith("__") and name != "_"


def defined_names(trees: list[ast.Module]) -> set[str]:
    """Private names that the package itself defines: functions, classes, variables, and attributes of `self`."""
    names = set()
    for node in (node for tree in trees for node in ast.walk(tree)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and isinstance(node.value, ast.Name) and node.value.id == "self":
            names.add(node.attr)
    return set(filter(is_private, names))


def private_names(tree: ast.Module, defined: set[str]) -> Iterator[str]:
    """Private names of other libraries that a file imports, reads as attributes, or asks for by text."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (part for each in node.names for part in each.name.split(".") if is_private(part))
        elif isinstance(node, ast.ImportFrom):
            is_own = node.level > 0 or (node.module or "").split(".")[0] == "cotexp"
            parts = [*(node.module or "").split("."), *(each.name for each in node.names)]
            yield from (part for part in parts if is_private(part) and not is_own)
        elif isinstance(node, ast.Attribute) and is_private(node.attr):
            if node.attr not in defined | OF_NAMED_TUPLES and ast.unparse(node) not in DOCUMENTED:
                yield node.attr
        elif isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("getattr", "hasattr", "setattr", "delattr") and len(node.args) > 1:
            asked = node.args[1]
            if isinstance(asked, ast.Constant) and is_private(str(asked.value)) and asked.value not in defined:
                yield str(asked.value)


def uses_in(sources: dict[str, str]) -> set[tuple[str, str]]:
    """(name, file) of every private name of another library in the given sources."""
    trees = {file: ast.parse(source) for file, source in sources.items()}
    defined = defined_names(list(trees.values()))
    return {(name, file) for file, tree in trees.items() for name in private_names(tree, defined)}


@pytest.mark.slow
def test_every_private_name_of_another_library_is_listed_and_every_listed_one_is_used() -> None:
    assert uses_in({str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in FILES}) == {(each.name, each.file) for each in PRIVATE}


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("import torch._dynamo", "_dynamo"),
        ("from hydra._internal import utils", "_internal"),
        ("from yaml import _yaml", "_yaml"),
        ("trainer._loop.run()", "_loop"),
        ("model.config._name = 1", "_name"),
        ("class A(B):\n    def f(self): return self._of_b", "_of_b"),
        ("class A(B):\n    def f(self): return super()._f_of_b()", "_f_of_b"),
        ("getattr(model, '_hidden', None)", "_hidden"),
        ("hasattr(tensor, '_mapping')", "_mapping"),
        ("setattr(model, '_hidden', 1)", "_hidden"),
    ],
)
def test_a_private_name_is_seen_in_every_form(line: str, name: str) -> None:
    assert uses_in({"file.py": line}) == {(name, "file.py")}


@pytest.mark.parametrize(
    "line",
    [
        "class A:\n    def f(self): self._own = 1; return self._own",
        "def _own(): ...\n_own()",
        "import os\nos._exit(1)",
        "row._replace(a=1)",
        "from __future__ import annotations\n_ = model.__class__",
        "from cotexp.models import _own",
    ],
)
def test_names_of_the_package_itself_and_documented_ones_are_not_private(line: str) -> None:
    assert uses_in({"file.py": line}) == set()


@pytest.mark.parametrize("private", [*PRIVATE, *UNDOCUMENTED], ids=lambda each: each.defined)
def test_a_listed_name_is_where_its_library_had_it(private: Private) -> None:
    if private.defined.startswith("deepspeed."):
        pytest.importorskip("deepspeed", reason="pip install 'cotexp[deepspeed]'")
    assert callable(value := pkgutil.resolve_name(private.defined)) or value in (None, False) or isinstance(value, property)


@pytest.mark.slow
@pytest.mark.parametrize("private", UNDOCUMENTED, ids=lambda each: each.name)
def test_an_undocumented_name_is_used_in_its_file_alone(private: Private) -> None:
    names = {
        str(path.relative_to(ROOT))
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if private.name == (node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", None))
    }
    assert names == {private.file}


def test_attributes_that_libraries_give_their_objects_are_there() -> None:
    assert "hydra._internal.core_plugins.basic_sweeper.BasicSweeper" in Plugins.instance().class_name_to_class
    assert "launcher" in ConfigStore.instance().repo["hydra"]
    trainer = pl.Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False)
    assert callable(trainer._signal_connector.register_signal_handlers)
