"""A student of rationales that think before they answer: both parts are compressed, trained on and counted apart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cotexp.config.command_line import check_command_line
from cotexp.jobs import pipeline, planning
from cotexp.methods.reasoning import Parts
from cotexp.report import compression_examples
from cotexp.settings.root import Settings
from cotexp.stages import checkpoint
from cotexp.store.ledger_files import complete_lines
from cotexp.tasks import QuestionSets, load_questions

SMALL = [
    *("experiment=none", "model=tiny_student", "selection=all", "compression=macc", "compressor=tiny", "tracking=none"),
    *("task.num_train=6", "task.num_validation=2", "task.num_test=2", "compressor.max_new_tokens=160", "compression.max_rounds=2"),
    *("trainer.tuning=full", "trainer.max_epochs=1", "trainer.batch_size=4", "trainer.num_validations=1", "trainer.max_length=1024"),
    *("evaluation.max_new_tokens=64", "evaluation.latency=false"),
]


def settings_of(tmp_path: Path, file: Path) -> Settings:
    overrides = [*SMALL, "teacher=recorded", f"teacher.files=[{file}]", f"paths.outputs={tmp_path / 'outputs'}"]
    return check_command_line(overrides, multirun=False)[0]


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """What a reasoning model might have written: verbose thinking, then a shorter solution, then the answer."""
    path = tmp_path / "rationales.jsonl"
    settings = settings_of(tmp_path, path)
    sets: QuestionSets = load_questions(settings.task)
    with path.open("w") as file:
        for each in [*sets.train, *sets.validation]:
            thinking = each.references[0].rsplit("\n", 1)[0]
            chain, closing = each.references[4].rsplit("\n", 1)
            text = f"<think>\n{thinking}\n</think>\n\n{chain}\n{closing}"
            file.write(json.dumps({"question": each.text, "text": text}) + "\n")
    return path


def rows(outputs: Path, stage: str) -> list[dict[str, Any]]:
    return [row for path in sorted((outputs / "store" / stage).glob("*/rows-*.jsonl")) for row in complete_lines(path)]


@pytest.mark.slow
def test_thinking_and_answer_part_are_compressed_apart_and_learnt_together(tmp_path: Path, recorded: Path) -> None:
    context = pipeline.prepare(settings_of(tmp_path, recorded))
    result = pipeline.run(context)
    rationales = {row["id"]: row for row in rows(tmp_path / "outputs", "rationales")}
    assert len(rationales) == 8
    for row in rationales.values():
        parts = Parts.of(row["cot"])
        assert 0 < row["num_thinking_tokens"] < row["num_cot_tokens"] < row["num_tokens"]
        assert "think" not in parts.thinking + parts.chain
    written = {row["rationale_id"]: row for row in rows(tmp_path / "outputs", "rounds")}
    assert set(written) == {name for each in rationales for name in (each, f"{each}/thinking")}, "each part has rounds of its own"
    lines = {each["rationale_id"]: each for each in map(json.loads, (result.folder / "compressed.jsonl").read_text().splitlines())}
    assert set(lines) == set(written)
    for name, row in rationales.items():
        thinking = lines[f"{name}/thinking"]
        assert thinking["round_num_tokens"][0] == thinking["num_tokens_original"] == row["num_thinking_tokens"]
        assert lines[name]["num_tokens_original"] == row["num_cot_tokens"] - row["num_thinking_tokens"]
    assert 0 < result.metrics["compression/compression_ratio_thinking"] <= 1
    assert 0 < result.metrics["compression/compression_ratio_answer"] <= 1
    assert {each.texts[0] for each in compression_examples.pick(result.folder, 16)} == {
        text for row in rationales.values() for text in (Parts.of(row["cot"]).thinking, Parts.of(row["cot"]).chain)
    }
    assert all(each.num_missing == 0 for each in planning.plan(pipeline.make_context(settings_of(tmp_path, recorded), plan=True)))


@pytest.mark.slow
def test_the_student_is_trained_on_both_parts_with_their_marks(tmp_path: Path, recorded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []
    make = checkpoint.make_examples
    monkeypatch.setattr(checkpoint, "make_examples", lambda *arguments: made.append(make(*arguments)) or made[0])
    result = pipeline.run(pipeline.prepare(settings_of(tmp_path, recorded)))
    lines = {each["rationale_id"]: each for each in map(json.loads, (result.folder / "compressed.jsonl").read_text().splitlines())}
    short = {each.id.removesuffix("/compress"): each.completion for each in made[0].train if each.form == "compress"}
    assert len(short) == 6
    for name, completion in short.items():
        parts = Parts.of(completion)
        assert parts.thinking == lines[f"{name}/thinking"]["text"].strip()
        assert parts.chain.startswith(lines[name]["text"].strip())
        assert completion.startswith("<think>\n")
        assert "\n</think>\n\n" in completion
