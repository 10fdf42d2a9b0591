"""MoRSD end to end with small models: teachers, scores, selections and students, what they share, and what a user is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cotexp.config.command_line import check_command_line
from cotexp.inference.local import LocalEngine
from cotexp.jobs import pipeline, planning
from cotexp.jobs.pipeline import Result
from cotexp.records import Rationale
from cotexp.report.compression_texts import mode_labels
from cotexp.settings.root import Settings
from cotexp.stages import rationales
from cotexp.stages.scores import row_id
from cotexp.store.ledger_files import complete_lines
from cotexp.store.stored_files import read_json

SMALL = [
    *("experiment=none", "model=tiny_student", "teacher=tiny", "selection=morsd", "compression=none", "tracking=none"),
    *("task.num_train=8", "task.num_validation=4", "task.num_test=4", "teacher.num_samples=2", "teacher.temperature=1.0"),
    *("teacher.max_new_tokens=160", "trainer.tuning=full", "trainer.max_epochs=1", "trainer.batch_size=8", "trainer.num_validations=1"),
    *("trainer.max_length=512", "evaluation.max_new_tokens=160", "evaluation.latency=false", "selection.diversity=null", "selection.k=1"),
]


def settings_of(outputs: Path, *overrides: str) -> Settings:
    return check_command_line([*SMALL, f"paths.outputs={outputs}", *overrides], multirun=False)[0]


def run(outputs: Path, *overrides: str) -> Result:
    return pipeline.run(pipeline.prepare(settings_of(outputs, *overrides)))


def rows(outputs: Path, stage: str) -> list[dict[str, Any]]:
    return [row for path in sorted((outputs / "store" / stage).glob("*/rows-*.jsonl")) for row in complete_lines(path)]


@pytest.fixture
def generated(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Ids of every text that any local model writes."""
    written: list[str] = []
    generate = LocalEngine.generate

    def counting(self: LocalEngine, requests: Any, sampling: Any, on_output: Any) -> None:
        written.extend(each.id for each in requests)
        generate(self, requests, sampling, on_output)

    monkeypatch.setattr(LocalEngine, "generate", counting)
    return written


@pytest.mark.slow
def test_a_pool_of_four_is_the_head_of_a_pool_of_eight(tmp_path: Path, generated: list[str]) -> None:
    pools = {}
    few = ("task.num_train=3", "task.num_validation=1", "teacher.temperature=1.6")
    for count in (4, 8):
        context = pipeline.prepare(settings_of(tmp_path / "outputs", f"teacher.num_samples={count}", *few))
        pools[count] = {each.id: each.text for each in rationales.make(context)}
    assert len(pools[4]) == 4 * 4
    assert {name: text for name, text in pools[8].items() if int(name.rsplit("/", 1)[1]) < 4} == pools[4]
    assert len(generated) == len(set(generated)) == 4 * 8, "the larger pool writes what the smaller one lacks"
    assert len({text for name, text in pools[8].items() if name.startswith(next(iter(pools[8])).rsplit("/", 1)[0])}) > 1
    alone = pipeline.prepare(settings_of(tmp_path / "alone", "teacher.num_samples=8", "teacher.batch_size=5", *few))
    assert {each.id: each.text for each in rationales.make(alone)} == pools[8], "whatever the batches"


@pytest.mark.slow
def test_students_share_the_teachers_texts_and_count_them_their_own_way(tmp_path: Path, generated: list[str], random_model: Path) -> None:
    small = rationales.make(pipeline.prepare(settings_of(tmp_path / "outputs")))
    num_written = len(generated)
    other = rationales.make(pipeline.prepare(settings_of(tmp_path / "outputs", "model=hf", f"model.path={random_model}")))
    assert len(generated) == num_written == 12 * 2
    assert [each.text for each in small] == [each.text for each in other]
    assert len(list((tmp_path / "outputs" / "store" / "texts").glob("*/spec.json"))) == 1
    assert len(list((tmp_path / "outputs" / "store" / "rationales").glob("*/spec.json"))) == 2
    assert {each.source for each in small} == {"tiny"}


@pytest.mark.slow
def test_a_sweep_over_selections_scores_and_writes_once(tmp_path: Path, generated: list[str]) -> None:
    outputs = tmp_path / "outputs"
    first = run(outputs)
    scores, texts = rows(outputs, "scores"), rows(outputs, "texts")
    assert len(texts) == 12 * 2
    assert 8 < len(scores) <= 8 + 8 * 2
    num_answers = len(generated)
    folders = {first.folder}
    for chosen in ("highest_rd", "lowest_perplexity", "random", "shortest"):
        result = run(outputs, f"selection={chosen}", "selection.k=1", "selection.diversity=null")
        folders.add(result.folder)
        assert result.computed
    assert len(folders) == 5
    assert rows(outputs, "scores") == scores
    assert rows(outputs, "texts") == texts
    assert len(generated) <= num_answers + 4 * 4, "each further arm answers the test questions alone, and the base model's answers are shared"
    assert not run(outputs).computed, "the same command again is finished already"


@pytest.mark.slow
def test_every_filter_is_reported_in_total_and_for_each_question(tmp_path: Path) -> None:
    result = run(tmp_path / "outputs", "teacher.temperature=1.6", "teacher.num_samples=4", "selection.diversity=0.9")
    outcomes = [json.loads(line) for line in (result.folder / "selection.jsonl").read_text().splitlines()]
    assert len(outcomes) == 8
    steps = ("written", "usable", "accurate", "diverse", "ordered")
    for step in steps:
        assert result.metrics[f"selection/num_{step}"] == sum(each[f"num_{step}"] for each in outcomes)
    assert result.metrics["selection/num_written"] == 32
    assert result.metrics["selection/num_dropped_accurate"] + result.metrics["selection/num_dropped_usable"] > 0, "this temperature makes mistakes"
    assert result.metrics["selection/num_questions_without"] == sum(not each["kept"] for each in outcomes)
    assert result.metrics["training/num_examples"] == result.metrics["selection/num_kept"] == sum(len(each["kept"]) for each in outcomes)


@pytest.mark.slow
def test_what_is_kept_follows_from_stored_grades_and_scores(tmp_path: Path) -> None:
    """The lowest of all correct, read from the ledgers alone."""
    outputs = tmp_path / "outputs"
    result = run(outputs, "teacher.num_samples=4", "teacher.temperature=1.3")
    stages = read_json(result.folder / "stages.json")
    correct = {row["id"] for row in rows(outputs, "grades") if row["strict"]}
    texts = {row["id"]: row for row in rows(outputs, "rationales")}
    assert stages["scores/stories"]["path"].startswith("store/scores/")
    ratio = {row["id"]: row.get("answer_nll_plain", 0.0) for row in rows(outputs, "scores")}
    for outcome in (json.loads(line) for line in (result.folder / "selection.jsonl").read_text().splitlines()):
        own = [each for each in texts if texts[each]["question_id"] == outcome["question_id"]]
        usable = [each for each in own if each in correct and texts[each]["closing"] and texts[each]["finish_reason"] == "stop"]
        nll = {each: ratio[row_id(Rationale.from_row({**texts[each], "answer": None, "correct": True}))] for each in usable}
        assert outcome["kept"] == ([min(usable, key=lambda each: (nll[each], texts[each]["sample"]))] if usable else [])


@pytest.mark.slow
def test_both_slots_make_compressed_distillation_in_one_command(tmp_path: Path) -> None:
    result = run(tmp_path / "outputs", "compression=macc", "compressor=tiny", "compressor.max_new_tokens=160", "compression.max_rounds=2")
    assert {"eval/base/accuracy", "eval/full/accuracy", "eval/compress/accuracy", "selection/num_kept"} <= result.metrics.keys()
    kept = {name for line in (result.folder / "selection.jsonl").read_text().splitlines() for name in json.loads(line)["kept"]}
    compressed = [json.loads(line) for line in (result.folder / "compressed.jsonl").read_text().splitlines()]
    chosen = {each["rationale_id"] for each in compressed}
    assert kept <= chosen
    assert len(chosen - kept) == len(compressed) - len(kept) <= 4, "besides them only the validation questions' rationales"
    stages = list(read_json(result.folder / "stages.json"))
    order = [stages.index(f"{each}/stories") for each in ("texts", "rationales", "grades/rationales", "scores", "rounds")]
    assert order == sorted(order)
    assert result.metrics["training/num_examples"] == 2 * len(kept)


@pytest.mark.slow
def test_a_plan_counts_texts_scores_and_rounds_before_and_after(tmp_path: Path) -> None:
    given = ["compression=macc", "compressor=tiny", "compressor.max_new_tokens=160", "compression.max_rounds=1"]
    settings = settings_of(tmp_path / "outputs", *given)
    before = {each.name: each for each in planning.plan(pipeline.make_context(settings, plan=True))}
    assert (before["texts/stories"].num_missing, before["rationales/stories"].num_missing) == (24, 24)
    assert before["scores/stories"].num_missing == 8 + 16
    assert not (tmp_path / "outputs").exists()
    run(tmp_path / "outputs", *given)
    after = planning.plan(pipeline.make_context(settings_of(tmp_path / "outputs", *given), plan=True))
    assert {each.name: each.num_missing for each in after} == dict.fromkeys(before, 0)


def recorded(folder: Path, questions: list[Any], num_wrong: int) -> str:
    lines = []
    for number, each in enumerate(questions):
        stated = "99" if number < num_wrong else each.answer
        lines += [json.dumps({"question": each.text, "text": f"We count to {stated}, step by step. The answer is {stated}.", "source": "someone"})]
        lines += [json.dumps({"question": each.text, "text": f"All together that makes {each.answer} in the end. The answer is {each.answer}."})]
    path = folder / "rationales.jsonl"
    path.write_text("\n".join(lines))
    return str(path)


@pytest.mark.slow
def test_recorded_rationales_are_graded_scored_selected_and_learnt(tmp_path: Path) -> None:
    sets = pipeline.make_context(settings_of(tmp_path / "outputs"), plan=True).questions
    path = recorded(tmp_path, [*sets.train, *sets.validation], num_wrong=3)
    given = ["teacher=recorded", f"teacher.files=[{path}]"]
    plain = [each for each in SMALL if not each.startswith("teacher")]
    settings = check_command_line([*plain, *given, f"paths.outputs={tmp_path / 'outputs'}"], multirun=False)[0]
    result = pipeline.run(pipeline.prepare(settings))
    assert (result.metrics["rationales/num_written"], result.metrics["rationales/num_correct"]) == (24, 21)
    assert result.metrics["rationales/num_unmatched"] == 0
    assert (result.metrics["selection/num_dropped_accurate"], result.metrics["selection/num_kept"]) == (3, 8)
    assert {row["source"] for row in rows(tmp_path / "outputs", "rationales")} == {"someone", "rationales"}
    Path(path).write_text(Path(path).read_text().replace("We count to", "We now count to"))
    assert pipeline.run(pipeline.prepare(settings)).folder != result.folder, "other rationales make another run"


@pytest.mark.slow
def test_budgets_train_every_selection_on_the_same_number(tmp_path: Path) -> None:
    counts = {}
    for chosen in ("random", "morsd", "longest"):
        given = [f"selection={chosen}", "selection.k=2", "selection.diversity=null", "teacher.num_samples=3", "selection.max_rationales=9"]
        counts[chosen] = run(tmp_path / "outputs", *given).metrics["training/num_examples"]
    assert counts == {"random": 9, "morsd": 9, "longest": 9}


@pytest.mark.slow
def test_answers_and_rationales_are_two_tasks_of_one_student_chosen_by_ranks_that_are_stored_once(tmp_path: Path) -> None:
    given = ["selection=lowest_rank_surprisal", "selection.k=1", "selection.diversity=null", "compression=step_by_step"]
    settings = settings_of(tmp_path / "outputs", *given)
    before = {each.name: each.num_missing for each in planning.plan(pipeline.make_context(settings, plan=True))}
    assert (before["scores/stories"], before["ranks/stories"]) == (8 + 16, 16), "at most"
    result = run(tmp_path / "outputs", *given)
    ranked, scored = ({row["id"]: row for row in rows(tmp_path / "outputs", stage)} for stage in ("ranks", "scores"))
    assert {name: row["num_tokens"] for name, row in ranked.items()} == {name: row["num_tokens"] for name, row in scored.items() if "/" in name}
    kept = int(result.metrics["selection/num_kept"])
    assert result.metrics["training/num_examples"] == 2 * kept
    assert {"eval/base/accuracy", "eval/full/accuracy", "eval/compress/accuracy"} <= result.metrics.keys()
    assert not any(name.startswith("compression/") for name in result.metrics), "no chain becomes shorter"
    asked = {mode: label for mode, label in mode_labels(read_json(result.folder / "settings.json")).items() if mode in ("full", "compress")}
    assert asked == {"full": "fine-tuned, asked: “Explain the answer.”", "compress": "fine-tuned, asked: “Give only the answer.”"}
    after = planning.plan(pipeline.make_context(settings, plan=True))
    assert {each.name: each.num_missing for each in after} == dict.fromkeys(before, 0)
    again = run(tmp_path / "outputs", *given, "mixture.full_loss_ratio=0.2")
    assert again.folder != result.folder
    assert {row["id"]: row for row in rows(tmp_path / "outputs", "ranks")} == ranked


@pytest.mark.slow
def test_an_encoder_decoder_student_learns_answers_alone(tmp_path: Path, encoder_decoders: dict[str, Path]) -> None:
    given = ["model=hf", f"model.path={encoder_decoders['flan']}", "evaluation.max_new_tokens=8", "compression=answer_only"]
    result = run(tmp_path / "outputs", *given)
    assert result.metrics["training/num_examples"] == result.metrics["selection/num_kept"] > 0
    assert {name.split("/")[1] for name in result.metrics if name.startswith("eval/")} & {"base", "full", "compress"} == {"base", "compress"}
    other = run(tmp_path / "outputs", *given, "scoring.answer=plain")
    assert other.folder != result.folder, "another form of the answer is another training"


@pytest.mark.slow
@pytest.mark.parametrize("tuning", ["full", "lora"])
def test_an_encoder_decoder_student_goes_all_the_way(tmp_path: Path, encoder_decoders: dict[str, Path], tuning: str) -> None:
    folder = encoder_decoders["flan"]
    given = ["model=hf", f"model.path={folder}", f"trainer.tuning={tuning}", "evaluation.max_new_tokens=8"]
    result = run(tmp_path / "outputs", *given, "compression=truncate")
    assert {"eval/base/accuracy", "eval/full/accuracy", "eval/compress/accuracy"} <= result.metrics.keys()
    assert result.metrics["selection/num_kept"] > 0
    assert len(rows(tmp_path / "outputs", "scores")) > 8
    assert not run(tmp_path / "outputs", *given, "compression=truncate").computed
