"""What decides whether a fine-tuned model is read from the store."""

from __future__ import annotations

from pathlib import Path

import pytest
from sample_records import rationale

from cotexp.config import command_line
from cotexp.jobs import pipeline
from cotexp.stages import checkpoint
from cotexp.stages.context import Context


def context_of(model: Path, outputs: Path, *chosen: str) -> Context:
    sizes = ["task.num_train=3", "task.num_validation=1", "task.num_test=2", "tracking=none", f"model.path={model}", f"paths.outputs={outputs}"]
    return pipeline.make_context(command_line.check_command_line([*sizes, *chosen], multirun=False)[0])


def key(model: Path, outputs: Path, *chosen: str) -> str:
    return checkpoint.spec(context_of(model, outputs, *chosen)).key


def test_other_pairs_that_teach_a_compressor_make_another_model_only_where_they_are_trained_on(random_model: Path, tmp_path: Path) -> None:
    given = ("experiment=tiny_compressor", "mixture.rewrite_ratio=1")
    assert key(random_model, tmp_path, *given, "task.rewrites=elastic") != key(random_model, tmp_path, *given, "task.rewrites=levels")
    without = ("experiment=tiny_compressor", "mixture.rewrite_ratio=0")
    assert key(random_model, tmp_path, *without, "task.rewrites=elastic") == key(random_model, tmp_path, *without, "task.rewrites=levels")


@pytest.mark.parametrize(
    ("given", "not_read"),
    [
        (["trainer.tuning=full"], ["trainer.lora.rank=4", "trainer.lora.dropout=0.1"]),
        (["trainer.max_steps=5"], ["trainer.max_epochs=1"]),
        (["trainer.max_tokens=5000"], ["trainer.max_epochs=1"]),
    ],
)
def test_a_setting_that_is_not_read_makes_no_other_model(given: list[str], not_read: list[str], random_model: Path, tmp_path: Path) -> None:
    own = ("experiment=none", "compression=none")
    assert key(random_model, tmp_path, *own, *given, *not_read) == key(random_model, tmp_path, *own, *given)
    assert key(random_model, tmp_path, *own, "trainer.tuning=lora", *not_read) != key(random_model, tmp_path, *own, "trainer.tuning=lora")


def test_selections_that_keep_the_same_rationales_train_on_the_same_examples_in_the_same_order(random_model: Path, tmp_path: Path) -> None:
    context = context_of(random_model, tmp_path, "experiment=none", "compression=none")
    ranked = [rationale(each.id, sample) for each in reversed(context.training_questions) for sample in (2, 0, 1)]
    found = checkpoint.make_examples(context, ranked, [])
    assert [each.id for each in found.train] == [f"{each.id}/{sample}/full" for each in context.questions.train for sample in range(3)]
    assert found == checkpoint.make_examples(context, ranked[::-1], [])
