"""What decides whether a fine-tuned model is read from the store."""

from __future__ import annotations

from pathlib import Path

from cotexp.config import command_line
from cotexp.jobs import pipeline
from cotexp.stages import checkpoint


def key(model: Path, outputs: Path, *chosen: str) -> str:
    sizes = ["task.num_train=3", "task.num_validation=1", "task.num_test=2", "tracking=none", f"model.path={model}", f"paths.outputs={outputs}"]
    return checkpoint.spec(pipeline.make_context(command_line.check_command_line([*sizes, *chosen], multirun=False)[0])).key


def test_other_pairs_that_teach_a_compressor_make_another_model_only_where_they_are_trained_on(random_model: Path, tmp_path: Path) -> None:
    given = ("experiment=tiny_compressor", "mixture.rewrite_ratio=1")
    assert key(random_model, tmp_path, *given, "task.rewrites=elastic") != key(random_model, tmp_path, *given, "task.rewrites=levels")
    without = ("experiment=tiny_compressor", "mixture.rewrite_ratio=0")
    assert key(random_model, tmp_path, *without, "task.rewrites=elastic") == key(random_model, tmp_path, *without, "task.rewrites=levels")
