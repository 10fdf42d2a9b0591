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

from cotexp.jobs import specs

RECORDED = Path(__file__).with_name("stage_sources.json")

ROOTS: dict[str, tuple[str, ...]] = {
    "model": ("engines.make_model",),
    "texts": ("rationales._teachers", "served.texts"),
    "rewrites": ("served.texts",),
    "rationales": ("rationales.write_rationales", "rationales._teachers"),
    "scores": ("stages.score",),
    "rounds": ("stages.write_rounds",),
    "importances": ("pruning._importances",),
    "perplexity": ("compressed_set.measure",),
    "checkpoint": ("training_set.make", "stages.make_examples", "stages.train"),
    "predictions": ("evaluation.write_answers",),
    "grades": ("grades.grade", "grades.answered", "rationales._to_grade"),
    "latency": ("latency.measure",),
    "merged": ("engines._whole",),
}
"""Stage -> the functions of cotexp.jobs that write it. All that they reach decides its rows, but for what LEFT_OUT names and for other
stages' functions: what those write enters by its own version."""

LEFT_OUT = {
    "cotexp.sections.*": "checks settings",
    "cotexp.settings.*": "settings, whose values stand in the keys",
    "cotexp.tasks.task.*": "settings, whose values stand in the keys",
    "cotexp.model_settings.*": "settings, whose values stand in the keys",
    "cotexp.compression_settings.*": "settings, whose values stand in the keys",
    "cotexp.jobs.specs.VERSIONS": "the versions themselves",
    "cotexp.jobs.specs._spec": "makes keys",
    "cotexp.jobs.specs.spec_*": "makes keys",
    "cotexp.jobs.specs.Context": "what is handed on",
    "cotexp.jobs.store.*": "keeps rows, whatever they are",
    "cotexp.jobs.stored_files.*": "keeps rows, whatever they are",
    "cotexp.jobs.ledger_files.*": "keeps rows, whatever they are",
    "cotexp.jobs.disk.*": "keeps rows, whatever they are",
    "cotexp.durable.*": "keeps rows, whatever they are",
    "cotexp.credentials.*": "keeps secrets out of files",
    "cotexp.models.memory.*": "bounds memory",
    "cotexp.jobs.status.*": "tells what is going on",
    "cotexp.jobs.progress.*": "tells what is going on",
    "cotexp.jobs.crew.*": "starts processes that write the same rows",
    "cotexp.jobs.workers.*": "starts processes that call training.fit.fit, which is named here",
    "cotexp.stopping.*": "ends a run",
    "cotexp.inference.throttle.*": "decides when a server is asked",
    "cotexp.tasks.benchmarks.*": "reads questions: an id is a hash of what its question says",
    "cotexp.tasks.sources.*": "reads questions: an id is a hash of what its question says",
    "cotexp.tasks.rows.*": "reads questions: an id is a hash of what its question says",
    "cotexp.jobs.training_set._rationale_metrics": "counts",
    "cotexp.jobs.training_set._round_metrics": "counts",
    "cotexp.jobs.compressed_set.lines": "writes lines for reports",
    "cotexp.jobs.compressed_set.metrics": "counts",
    "cotexp.jobs.served.metrics": "counts",
    "cotexp.methods.statistics.*": "counts",
}
"""What decides no row, as a pattern, and why."""


def reached(stage: str) -> dict[str, str]:
    """Full name -> source of every definition that decides the stage's rows."""
    own = {f"cotexp.jobs.{each}" for each in ROOTS[stage]}
    others = {f"cotexp.jobs.{each}" for roots in ROOTS.values() for each in roots} - own
    beside = ["cotexp.training.fit.fit"] if stage == "checkpoint" else []
    return closure([*sorted(own), *beside], [*LEFT_OUT, *others])


def fingerprint(stage: str) -> str:
    """Hash of all that decides a stage's rows: comments, docstrings, layout and the order of definitions do not count."""
    return hashlib.sha256(json.dumps(reached(stage), sort_keys=True).encode()).hexdigest()[:16]


def writers() -> Iterator[tuple[str, str]]:
    """(stage, full name of a function of cotexp.jobs that names its spec and fills or builds it)."""
    for path in sorted((ROOT / "cotexp" / "jobs").glob("*.py")):
        for function in (each for each in ast.parse(path.read_text()).body if isinstance(each, ast.FunctionDef)):
            nodes = list(ast.walk(function))
            if any(isinstance(each, ast.Attribute) and each.attr in ("fill", "artifact") for each in nodes):
                named = {each.id for each in nodes if isinstance(each, ast.Name)} | {each.attr for each in nodes if isinstance(each, ast.Attribute)}
                yield from ((stage, f"cotexp.jobs.{path.stem}.{function.name}") for stage in specs.VERSIONS if f"spec_{stage}" in named)


def test_every_stage_has_a_version_and_functions() -> None:
    assert set(specs.VERSIONS) == set(ROOTS)


def test_whatever_writes_a_stage_is_reached_from_its_functions() -> None:
    found = list(writers())
    assert len(found) >= 10
    assert [(stage, name) for stage, name in found if name not in reached(stage)] == []


@pytest.mark.parametrize(
    ("stage", "name"),
    [
        ("rounds", "methods.compression.outcome_of"),
        ("rounds", "methods.compression._REFUSAL"),
        ("rounds", "methods.reasoning.without_thinking"),
        ("rounds", "tasks.grading.is_kept"),
        ("rewrites", "inference.api.ApiEngine"),
        ("rationales", "methods.reasoning.lengths"),
        ("predictions", "methods.reasoning.lengths"),
        ("predictions", "inference.local.LocalEngine"),
        ("predictions", "inference.vllm.VllmEngine"),
        ("checkpoint", "methods.reasoning.chains"),
        ("checkpoint", "methods.reasoning.joined"),
        ("checkpoint", "methods.selection.select"),
        ("checkpoint", "training.resumable.restore"),
        ("checkpoint", "training.sharding.shard"),
        ("checkpoint", "training.modules.supervised_loss"),
        ("checkpoint", "models.adapters.add_lora"),
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
    everything = closure([f"cotexp.jobs.{each}" for roots in ROOTS.values() for each in roots] + ["cotexp.training.fit.fit"], [])
    assert [pattern for pattern in LEFT_OUT if not any(fnmatchcase(name, pattern) for name in everything)] == []


@pytest.mark.parametrize("stage", sorted(ROOTS))
def test_code_of_a_stage_changes_only_with_its_version(stage: str) -> None:
    recorded = json.loads(RECORDED.read_text()) if RECORDED.is_file() else {}
    now = {"version": specs.VERSIONS[stage], "source": fingerprint(stage)}
    if os.environ.get("COTEXP_RECORD") == "1":
        RECORDED.write_text(json.dumps({**recorded, stage: now}, indent=2, sort_keys=True) + "\n")
        return
    assert recorded.get(stage) == now, (
        f"the code behind stage '{stage}' changed: raise VERSIONS['{stage}'] in cotexp/jobs/specs.py if stored results would differ; "
        "then, or if they would not, record it with COTEXP_RECORD=1 pytest tests/jobs/test_versions.py"
    )
