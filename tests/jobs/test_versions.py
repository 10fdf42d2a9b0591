"""What a stage stores depends on its code: a change of that code must raise the stage's version, or be declared harmless."""

from __future__ import annotations

import ast
import hashlib
import inspect
import json
import os
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from cotexp.inference import api, engine, llmlingua, local, scoring, vllm
from cotexp.jobs import compressed_set, engines, evaluation, grades, rationales, scores, served, specs, stages
from cotexp.jobs import pruning as importances
from cotexp.methods import compression, condition, difficulty, mixture, output_budget, pruning, reasoning, selection
from cotexp.models import encoding, gguf, loading, scratch, tokenizer
from cotexp.tasks import answers, choices, equivalence, grading, prompts, recorded, stories
from cotexp.training import data, fit, modules

RECORDED = Path(__file__).with_name("stage_sources.json")

ENGINES = [engines.load_engine, engines.load_local, engines._load_vllm, engines._held, engines.load_encoder, engine, local, vllm]
TEXTS = [*ENGINES, prompts, encoding, tokenizer, loading]
SPLIT = [answers, choices]
SOURCES: dict[str, list[Any]] = {
    "model": [engines.make_model, engines._tokenizer_texts, scratch, gguf, prompts, stories],
    "texts": [rationales._teachers, rationales._generate, served.texts, api, *TEXTS],
    "rewrites": [served.texts, stages._one_round, stages._rewriting, compression.rewrite_prompt, engine, api],
    "rationales": [
        *(rationales.write_rationales, rationales._rationales_of, rationales._own, rationales._teachers, rationales._references),
        *(rationales._recorded, rationales._known, rationales._generate, rationales._row, recorded),
        *(*SPLIT, stories, *TEXTS),
    ],
    "scores": [scores, difficulty, scoring, *SPLIT, engines.load_local, engines._held, specs.scoring_model, prompts, encoding, tokenizer, loading],
    "rounds": [
        stages.write_rounds,
        stages._rounds_of,
        stages._one_round,
        stages._rewriting,
        compression.rewrite_prompt,
        grading.is_kept,
        grading.normalised,
        *SPLIT,
        *TEXTS,
    ],
    "importances": [
        *(importances._importances, importances._by_surprisal, importances._text, importances._by_classifier, pruning.importances_of_words),
        reasoning.before_answer_part,
        *(llmlingua, scoring, engines.load_local, engines._held, specs.scoring_model, prompts, encoding, tokenizer, loading),
    ],
    "perplexity": [
        *(compressed_set._Text, compressed_set._reader, reasoning.before_answer_part),
        *(scoring, engines.load_local, engines._held, specs.scoring_model, prompts, encoding, tokenizer, loading),
    ],
    "checkpoint": [
        *(importances.prune, importances._pruned, pruning),
        *(stages.select, stages.compress, stages.make_examples, stages.train, selection, compression, mixture, data, modules, fit, loading),
        *(condition, encoding, tokenizer, prompts),
    ],
    "predictions": [
        *(
            evaluation.write_answers,
            evaluation._answers,
            evaluation._asked,
            evaluation._request,
            evaluation._cut,
            evaluation._row,
            evaluation._engine,
        ),
        *(condition, output_budget, *SPLIT, *TEXTS),
    ],
    "grades": [grades.grade, grades.answered, rationales._to_grade, grading, answers, choices, equivalence],
    "latency": [evaluation.measure_latency, evaluation._request, evaluation._engine, condition, local, vllm],
    "merged": [engines._whole, loading],
}
"""Stage -> functions and modules that decide its rows. Readers of questions need no entry: an id is a hash of what its question says."""


def fingerprint(stage: str) -> str:
    """Hash of the syntax trees of a stage's sources: comments, docstrings and layout do not count."""
    total = hashlib.sha256()
    for each in SOURCES[stage]:
        source = Path(str(each.__file__)).read_text() if isinstance(each, ModuleType) else inspect.getsource(each)
        tree = ast.parse(source)
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
                node.body = node.body[1:] or [ast.Pass()]
        total.update(ast.dump(tree).encode())
    return total.hexdigest()[:16]


def test_every_stage_has_a_version_and_sources() -> None:
    assert set(specs.VERSIONS) == set(SOURCES)


@pytest.mark.parametrize("stage", sorted(SOURCES))
def test_what_labels_texts_stands_there_with_all_that_it_imports(stage: str) -> None:
    """A module that a labelling one comes to import must not decide rows unseen."""
    listed = {each.__name__ for each in SOURCES[stage] if isinstance(each, ModuleType)}
    for module in (each for each in (answers, choices, equivalence, grading) if each.__name__ in listed):
        imported = {name for node in ast.walk(ast.parse(inspect.getsource(module))) for name in tasks_modules(node)}
        assert imported <= listed, module.__name__


def tasks_modules(node: ast.AST) -> list[str]:
    """Modules of cotexp.tasks that an import statement names."""
    if isinstance(node, ast.ImportFrom) and node.module == "cotexp.tasks":
        return [f"cotexp.tasks.{each.name}" for each in node.names]
    if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("cotexp.tasks."):
        return [str(node.module)]
    return [each.name for each in node.names if each.name.startswith("cotexp.tasks.")] if isinstance(node, ast.Import) else []


@pytest.mark.parametrize("stage", sorted(SOURCES))
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
