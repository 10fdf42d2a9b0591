"""What a stage stores depends on its code: a change of that code must raise the stage's version, or be declared harmless."""

from __future__ import annotations

import ast
import hashlib
import json
import os
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from source_closure import ROOT, closure

from cotexp import flow
from cotexp.compressions import COMPRESSIONS

RECORDED = Path(__file__).with_name("stage_sources.json")

MODULES = {name: stage.__name__ for name, stage in flow.STAGES.items()}
BESIDE: dict[str, list[str]] = {
    "rounds": [f"{each.__module__}.{each.__name__}" for each in COMPRESSIONS.values() if each.asks_compressor],
    "budgets": ["cotexp.compressions.tale_ep.TaleEp"],
    "grades": ["cotexp.stages.grades.answered", "cotexp.stages.rationales._to_grade"],
    "checkpoint": [
        *(f"{each.__name__}.add" for each in flow.BEFORE_TRAINING if hasattr(each, "add")),
        *("cotexp.stages.checkpoint.make_examples", "cotexp.training.fit.fit"),
        *(f"{each.__module__}.{each.__name__}" for each in COMPRESSIONS.values()),
    ],
}
"""Stage -> what decides its rows besides the function `make` of its file: what runs in another process or is chosen by a setting."""
ROOTS = {name: [f"{module}.{'make' if hasattr(flow.STAGES[name], 'make') else 'add'}", *BESIDE.get(name, [])] for name, module in MODULES.items()}
"""Stage -> functions. All that they reach decides its rows, but for what LEFT_OUT names and for other stages' functions: what those write
enters by its own version."""

LEFT_OUT = {
    "cotexp.settings.*": "settings, whose values stand in the keys",
    "cotexp.tasks.task.*": "settings, whose values stand in the keys",
    "cotexp.stages.*.spec": "makes keys",
    "cotexp.stages.context.ledgers": "makes keys",
    "cotexp.stages.context.Context": "what is handed on",
    "cotexp.stages.context.Look": "counts",
    "cotexp.store.*": "keeps rows, whatever they are",
    "cotexp.store.stored_files.*": "keeps rows, whatever they are",
    "cotexp.store.ledger_files.*": "keeps rows, whatever they are",
    "cotexp.store.disk.*": "keeps rows, whatever they are",
    "cotexp.durable.*": "keeps rows, whatever they are",
    "cotexp.credentials.*": "keeps secrets out of files",
    "cotexp.models.shape_caches.*": "bounds memory",
    "cotexp.progress.*": "tells what is going on",
    "cotexp.devices.training_workers.*": "starts processes that call training.fit.fit, which is named here",
    "cotexp.signals.*": "ends a run",
    "cotexp.inference.throttle.*": "decides when a server is asked",
    "cotexp.tasks.benchmarks.*": "reads questions: an id is a hash of what its question says",
    "cotexp.tasks.sources.*": "reads questions: an id is a hash of what its question says",
    "cotexp.tasks.rows.*": "reads questions: an id is a hash of what its question says",
}
"""What decides no row, as a pattern, and why."""


def reached(stage: str) -> dict[str, str]:
    """Full name -> source of every definition that decides the stage's rows."""
    others = {root for name, roots in ROOTS.items() if name != stage for root in roots} - set(ROOTS[stage])
    return closure(sorted(ROOTS[stage]), [*LEFT_OUT, *sorted(others)])


def fingerprint(stage: str) -> str:
    """Hash of all that decides a stage's rows: comments, docstrings, layout and the order of definitions do not count."""
    return hashlib.sha256(json.dumps(reached(stage), sort_keys=True).encode()).hexdigest()[:16]


def writers() -> Iterator[tuple[str, str]]:
    """(stage, full name) of every function in a stage's file that writes rows or a folder."""
    for name, module in MODULES.items():
        for function in (each for each in ast.parse((ROOT / f"{module.replace('.', '/')}.py").read_text()).body if isinstance(each, ast.FunctionDef)):
            if any(isinstance(each, ast.Attribute) and each.attr in ("rows", "fill", "artifact") for each in ast.walk(function)):
                yield name, f"{module}.{function.name}"


def test_every_file_of_a_stage_is_in_the_flow_and_names_version_and_inputs() -> None:
    files = {path.stem for path in (ROOT / "cotexp" / "stages").glob("*.py")} - {
        "__init__",
        "context",
        "training_set",
        "evaluation",
        "selecting",
        "compressing",
    }
    assert {module.rpartition(".")[2] for module in MODULES.values()} == files
    kinds = {*flow.STAGES, "dataset", "selection"}
    assert all(stage.VERSION > 0 and set(stage.READS) <= kinds for stage in flow.STAGES.values())
    assert kinds - set(flow.ARTIFACTS) == {"budgets", "grades", "latency", "merged"}, "these go with others, or are no artifacts of W&B"


def test_whatever_writes_a_stage_is_reached_from_its_functions() -> None:
    found = list(writers())
    elsewhere = {
        "rewrites": "cotexp.jobs.api_texts.texts",
        **dict.fromkeys(("perplexity", "answer_perplexity"), "cotexp.jobs.round_texts.likelihoods"),
    }
    assert {stage for stage, _ in found} == set(MODULES) - set(elsewhere)
    assert [(stage, name) for stage, name in elsewhere.items() if name not in reached(stage)] == []
    assert [(stage, name) for stage, name in found if name not in reached(stage)] == []


@pytest.mark.parametrize(
    ("stage", "name"),
    [
        ("rounds", "methods.rounds.outcome_of"),
        ("rounds", "methods.rounds._REFUSAL"),
        ("rounds", "methods.reasoning.without_thinking"),
        ("rounds", "tasks.grading.is_kept"),
        ("rewrites", "inference.api.ApiEngine"),
        ("rationales", "methods.reasoning.lengths"),
        ("predictions", "methods.reasoning.lengths"),
        ("budgets", "compressions.tale_ep.TaleEp"),
        ("predictions", "inference.local.LocalEngine"),
        ("predictions", "inference.vllm.VllmEngine"),
        ("checkpoint", "methods.reasoning.chains"),
        ("checkpoint", "methods.reasoning.joined"),
        ("checkpoint", "methods.selection.select"),
        ("checkpoint", "training.resumable.restore"),
        ("checkpoint", "training.sharding.shard"),
        ("checkpoint", "training.modules.supervised_loss"),
        ("checkpoint", "models.adapters.add_lora"),
        ("checkpoint", "methods.mixture.label_examples"),
        ("checkpoint", "methods.difficulty.label"),
        ("checkpoint", "training.data.token_weights"),
        ("ranks", "inference.scoring.Scorer"),
        ("ranks", "models.head.ranks"),
        ("rounds", "compressions.tale.Tale"),
        ("answer_perplexity", "methods.difficulty.answer_text"),
        ("answer_perplexity", "inference.scoring.Scorer"),
        ("scores", "inference.scoring.Scorer"),
        ("scores", "methods.difficulty.masked"),
        ("grades", "tasks.judge.Judge"),
        ("importances", "inference.llmlingua.Classifier"),
        ("texts", "models.tokenizer.frame"),
        ("model", "models.scratch.make"),
    ],
)
def test_what_decides_rows_is_found_by_itself(stage: str, name: str) -> None:
    assert f"cotexp.{name}" in reached(stage)


def test_every_exception_stands_for_something_that_would_be_reached() -> None:
    """One that matches nothing any more would leave out what is given its name later."""
    everything = closure([root for roots in ROOTS.values() for root in roots], [])
    assert [pattern for pattern in LEFT_OUT if not any(fnmatchcase(name, pattern) for name in everything)] == []


@pytest.mark.parametrize("stage", sorted(ROOTS))
def test_code_of_a_stage_changes_only_with_its_version(stage: str) -> None:
    recorded = json.loads(RECORDED.read_text()) if RECORDED.is_file() else {}
    now = {"version": flow.STAGES[stage].VERSION, "source": fingerprint(stage)}
    if os.environ.get("COTEXP_RECORD") == "1":
        RECORDED.write_text(json.dumps({**recorded, stage: now}, indent=2, sort_keys=True) + "\n")
        return
    assert recorded.get(stage) == now, (
        f"the code behind stage '{stage}' changed: raise VERSION in {MODULES[stage]} if stored results would differ; "
        "then, or if they would not, record it with COTEXP_RECORD=1 pytest tests/stages/test_versions.py"
    )
