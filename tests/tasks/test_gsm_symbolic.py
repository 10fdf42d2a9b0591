"""GSM-Symbolic through reasoning-gym."""

from __future__ import annotations

import sys

import pytest

from cotexp.settings.base import ConfigError
from cotexp.tasks import GsmSymbolicTask, load_questions
from cotexp.tasks.answers import extract
from cotexp.tasks.gsm_symbolic import generate
from cotexp.tasks.task import split_of

NEEDED = "reasoning_gym"
REASON = "needs the extra 'symbolic' (reasoning-gym)"


def test_a_missing_package_is_named_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, NEEDED, None)
    with pytest.raises(ConfigError, match=r"task=gsm_symbolic needs the package reasoning-gym .*; pip install 'cotexp\[symbolic\]'"):
        generate("train", count=1, seed=0)


def test_every_text_belongs_to_one_split() -> None:
    counts = {"train": 0, "validation": 0, "test": 0}
    for number in range(2000):
        counts[split_of(f"text {number}")] += 1
    assert counts["train"] > 1500
    assert min(counts["validation"], counts["test"]) > 140


def test_splits_share_no_question_whatever_the_seed() -> None:
    pytest.importorskip(NEEDED, reason=REASON)
    texts = {split: {each.text for seed in range(2) for each in generate(split, count=60, seed=seed)} for split in ("train", "test")}
    assert not texts["train"] & texts["test"]
    assert min(map(len, texts.values())) > 100, "seeds give different questions"


def test_the_first_questions_do_not_depend_on_the_count() -> None:
    pytest.importorskip(NEEDED, reason=REASON)
    many = generate("test", count=120, seed=3)
    assert generate("test", count=30, seed=3) == many[:30]
    assert len({each.id for each in many}) == 120


def test_worked_solutions_state_the_gold_answer() -> None:
    pytest.importorskip(NEEDED, reason=REASON)
    for each in generate("train", count=300, seed=0):
        assert "Do not include units" not in each.text
        assert "####" not in each.references[0]
        assert extract(each.references[0], "decimal").text == each.answer


def test_the_task_loads_with_all_three_splits() -> None:
    pytest.importorskip(NEEDED, reason=REASON)
    sets = load_questions(GsmSymbolicTask(num_train=30, num_validation=5, num_test=10, few_shot=2))
    assert [len(each) for each in (sets.shots, sets.train, sets.validation, sets.test)] == [2, 30, 5, 10]
    assert not {each.id for each in sets.shots} & {each.id for each in sets.train}
