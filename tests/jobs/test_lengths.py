"""Lengths of texts and of their chains of thought have one source: the text, by the target model's tokenizer."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest

from cotexp.inference.engine import Output, Request
from cotexp.inference.local import LocalEngine
from cotexp.models import loading
from cotexp.settings.models import PretrainedModel
from cotexp.settings.sampling import Sampling
from cotexp.stages import predictions, rationales
from cotexp.tasks import QuestionSets


@pytest.mark.parametrize("seed", [0, 1])
def test_a_chain_that_is_the_whole_text_is_never_longer_than_the_text_however_it_was_generated(
    seed: int, random_model: Path, small_questions: QuestionSets
) -> None:
    """Random weights write ids that their own text would not be encoded as, some with a space first, which no chain begins with."""
    loaded = loading.load(random_model, PretrainedModel(path=str(random_model), device="cpu"))
    questions, count = {f"{each.id}/0": each for each in small_questions.train}, loaded.encoder.count
    outputs: list[Output] = []
    requests = [Request(name, each.text) for name, each in questions.items()]
    LocalEngine(loaded).generate(requests, Sampling(max_new_tokens=24, temperature=1.0, seed=seed), outputs.append)
    spelled_otherwise = space_first = 0
    for each in outputs:
        question, text = questions[each.id], each.text
        answer, rationale = predictions._row(each, question, count), rationales._row(asdict(each), "self", question, count)
        assert answer["num_tokens"] == rationale["num_tokens"] == count(text.lstrip())
        assert answer["num_cot_tokens"] == rationale["num_cot_tokens"]
        if text.strip() == rationale["cot"].strip():
            assert rationale["num_cot_tokens"] == count(text.strip()) <= answer["num_tokens"]
            spelled_otherwise += each.num_tokens != answer["num_tokens"]
            space_first += text.startswith(" ")
    assert spelled_otherwise > 20
    assert space_first > 0
