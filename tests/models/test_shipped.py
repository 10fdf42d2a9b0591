"""The models that come with the package: small, made by one command, and the compressor elastic."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from cotexp.commands.model_card import MARK
from cotexp.compressions.rewriting import DEFAULT_REWRITE_PROMPT
from cotexp.inference.engine import Request
from cotexp.inference.local import LocalEngine
from cotexp.models import identity, loading
from cotexp.settings.models import PretrainedModel
from cotexp.settings.sampling import Sampling
from cotexp.tasks.stories import Difficulty, generate

ROOT = Path(__file__).resolve().parent.parent.parent
MODELS = sorted(path for path in identity.SHIPPED.iterdir() if path.is_dir())
EQUATION = re.compile(r"\d+ [-+*] \d+ = \d+")


def test_the_shipped_models_are_small_and_one_command_makes_them_again() -> None:
    assert sum(path.stat().st_size for folder in MODELS for path in folder.iterdir()) < 5_000_000
    makefile = (ROOT / "Makefile").read_text()
    for folder in MODELS:
        card = (folder / "README.md").read_text()
        assert MARK in card
        assert f"python run.py experiment={folder.name}" in card
        assert f"run.py experiment={folder.name} trainer=ddp\n\t$(BIN)/cotexp export {folder.name} cotexp/models/shipped/{folder.name} " in makefile


def rewritten(pairs: list[tuple[str, str, str]]) -> list[str]:
    """What the shipped compressor makes of each (question, solution, answer), sampled as in the method."""
    settings = PretrainedModel(path="shipped:tiny_compressor", device="cpu")
    engine = LocalEngine(loading.load(identity.find(settings).folder, settings))
    prompts = [DEFAULT_REWRITE_PROMPT.format(question=question, rationale=text, answer=answer) for question, text, answer in pairs]
    texts = {}
    requests = [Request(str(number), prompt) for number, prompt in enumerate(prompts)]
    engine.generate(requests, Sampling(temperature=0.7, max_new_tokens=192), lambda output: texts.update({output.id: output.text}))
    return [texts[str(number)] for number in range(len(pairs))]


@pytest.mark.slow
def test_the_shipped_compressor_writes_longer_where_nothing_is_redundant_or_a_step_is_missing_and_shorter_elsewhere() -> None:
    difficulty = Difficulty(min_operations=2, max_operations=4, max_value=60, max_operand=9)
    questions = generate("test", count=40, seed=9, difficulty=difficulty, elastic=True)
    cases = []
    for question in questions:
        shrinking = [before for before, after in question.rewrites if len(after) < len(before)]
        growing = [before for before, after in question.rewrites if len(after) > len(before)]
        cases.append((question, random.Random(question.id).choice(shrinking), *growing))
    columns = list(zip(*cases, strict=True))[1:]
    for texts, grows, least, least_whole in zip(columns, (False, True, True), (0.9, 0.95, 0.8), (0.8, 0.8, 0.6), strict=True):
        rewrites = rewritten([(question.text, text, question.answer) for question, text in zip(questions, texts, strict=True)])
        longer = [len(after.split()) > len(before.split()) for before, after in zip(texts, rewrites, strict=True)]
        assert longer.count(grows) >= least * len(longer), (grows, longer)
        whole = [EQUATION.findall(after) == EQUATION.findall(question.references[0]) for question, after in zip(questions, rewrites, strict=True)]
        assert sum(whole) >= least_whole * len(whole), (grows, whole)
