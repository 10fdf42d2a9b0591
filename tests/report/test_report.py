from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from cotexp import report
from cotexp.inference.engines import ENGINES
from cotexp.report import compression_examples, run_table
from cotexp.report.compression_texts import mode_labels
from cotexp.report.disclosures import disclosures
from cotexp.report.markdown import table_lines

METRICS = {
    "eval/base/accuracy": 0.97,
    "eval/base/accuracy_low": 0.95,
    "eval/base/accuracy_high": 0.982,
    "eval/base/num_questions": 500,
    "eval/base/num_tokens": 84.25,
    "eval/compress/accuracy": 0.95,
    "eval/compress/accuracy_low": 0.93,
    "eval/compress/accuracy_high": 0.966,
    "eval/compress/num_questions": 500,
    "eval/compress/num_tokens": 27.5,
    "eval/compress/num_unparsable": 3,
    "eval/compress/num_truncated": 2,
    "eval/compress/compression_ratio": 0.2512,
    "eval/compress/latency_seconds_batch1": 0.1234,
    "training/num_steps": 10,
    "training/num_examples": 20,
    "training/num_supervised_tokens": 300,
    "training/best_step": 8,
}


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    """A finished run of three chains: a rebound in round 2, the limit in round 2, a failed round 1 (of another task)."""
    folder = tmp_path / "runs" / "name" / "key"
    names = (
        "checkpoint",
        "rationales/stories",
        "rationales/own",
        "grades/rationales/stories",
        "grades/rationales/own",
        "rounds/stories",
        "rounds/own",
    )
    stages = {each: {"key": each.split("/")[-1], "path": f"store/{each.split('/')[0]}/{each.split('/')[-1]}"} for each in names}
    for each in stages.values():
        (tmp_path / each["path"]).mkdir(parents=True)
    folder.mkdir(parents=True)
    chains = [("a", [10, 6, 8], 1, "rebound"), ("b", [12, 7, 7], 2, "limit"), ("c", [9, 0], 0, "failed")]
    (folder / "stages.json").write_text(json.dumps(stages))
    (folder / "settings.json").write_text(json.dumps({"name": "name"}))
    (folder / "metrics.json").write_text(json.dumps(METRICS))
    compressed = [
        {"rationale_id": f"{name}/0", "num_rounds_run": len(lengths) - 1, "kept_round": kept, "stop_reason": reason, "round_num_tokens": lengths}
        for name, lengths, kept, reason in chains
    ]
    (folder / "compressed.jsonl").write_text("".join(json.dumps(each) + "\n" for each in compressed))
    rationale = {"sample": 0, "closing": "", "num_tokens": 1, "num_cot_tokens": 1, "finish_reason": "stop", "written": 0}
    rationales = [{**rationale, "id": f"{name}/0", "question_id": name, "cot": f"chain {name}"} for name, *_ in chains]
    one = {"tokenizer": "", "prompt_hash": "", "previous_text_hash": "", "finish_reason": "stop", "outcome": "ok", "answer_kept": True, "written": 0}
    rounds = [
        {**one, "id": f"{name}/0/{n}", "rationale_id": f"{name}/0", "round": n, "text": f"<script>{name}{n}</script>", "num_tokens": lengths[n]}
        for name, lengths, *_ in chains
        for n in range(1, len(lengths))
    ]
    grades = [{"id": each["id"], "extracted": "5", "extracted_by": "statement", "strict": True, "lenient": True, "written": 0} for each in rationales]
    for stage, rows in (("rationales", rationales), ("rounds", rounds), ("grades", grades)):
        for task, chains_of_task in (("stories", "ab"), ("own", "c")):
            lines = [json.dumps(each) + "\n" for each in rows if each["id"][0] in chains_of_task]
            (tmp_path / "store" / stage / task / "rows-w.jsonl").write_text("".join(lines))
    curve = [{"step": n, "train/loss": 1 / n, "train/loss_full": 1 / n, "validation/loss_full": 2 / n} for n in (1, 2, 3)]
    (tmp_path / "store" / "checkpoint" / "checkpoint" / "curve.jsonl").write_text("".join(json.dumps(each) + "\n" for each in curve))
    return folder


def test_the_table_shows_interval_tokens_ratio_and_what_was_not_measured() -> None:
    lines = list(table_lines(run_table.table(METRICS, {})))
    assert lines[2] == "| base, full chain of thought | 97.0% (95.0% to 98.2%) | 84.2 | 1 | not measured | not measured |  |"
    assert lines[3] == "| fine-tuned, with `<compress>` | 95.0% (93.0% to 96.6%) | 27.5 | 0.25 | 0.123 | not measured |  |"
    assert len(lines) == 4


def test_the_notes_tell_tokens_flops_and_hours_of_the_fine_tuning_if_it_stored_them() -> None:
    stored = {"training/num_tokens_seen": 22_716, "training/flops": 1.107e11, "training/core_hours": 0.00266}
    assert run_table.notes(METRICS | stored, {})[-1].endswith(
        "validation loss. All steps: 22,716 tokens with prompts, 1.11e+11 FLOPs, 0.00266 core-hours."
    )
    assert run_table.notes(METRICS, {})[-1].endswith("kept by validation loss."), "an earlier version"


def test_the_notes_count_examples_that_are_too_long_by_form() -> None:
    stored = {
        "training/num_too_long": 20,
        "training/num_too_long_full": 19,
        "training/num_too_long_compress": 1,
        "training/num_validation_too_long": 7,
    }
    note = run_table.notes(METRICS | stored, {})[-1]
    assert note.endswith(
        "Left out since they are longer than trainer.max_length or the model's context: 20 (19 full, 1 compress) and 7 of validation."
    )
    assert "Left out" not in run_table.notes(METRICS | {"training/num_too_long": 0, "training/num_validation_too_long": 0}, {})[-1]


def test_a_note_says_which_questions_were_timed_if_there_are_several_tasks() -> None:
    of_tasks = {f"eval/compress/{task}/accuracy": 0.5 for task in ("svamp", "stories")} | {"eval/latency_batch_size": 8}
    settings = {"evaluation": {"latency_questions": 32}}
    (note,) = [each for each in run_table.notes(METRICS | of_tasks, settings) if each.startswith("Seconds are those")]
    assert note == "Seconds are those of the first 32 test questions in the order of the tasks (svamp, stories), not of all tasks."
    assert not [each for each in run_table.notes(METRICS, settings) if each.startswith("Seconds are those")]


def test_answers_that_one_rule_could_not_compare_are_not_said_to_be_wrong() -> None:
    found = run_table.notes(METRICS | {"eval/compress/num_timed_out": 4}, {})
    assert any(each.endswith("4 answers took too long to compare under some rule, and count as wrong under that rule.") for each in found)


def test_the_notes_count_what_could_not_be_read() -> None:
    assert any("3 answers could not be read, 2 were cut off" in each for each in run_table.notes(METRICS, {}))


@pytest.mark.slow
@pytest.mark.parametrize("tasks", [(), ("stories", "own"), ("stories", "compress")])
def test_the_training_curve_is_drawn_by_form_and_where_there_are_several_by_task(finished: Path, tasks: tuple[str, ...]) -> None:
    path = finished.parents[2] / "store" / "checkpoint" / "checkpoint" / "curve.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    more = {f"{phase}/loss/{task}": 1.0 for phase in ("train", "validation") for task in tasks}
    path.write_text("".join(json.dumps({**row, **more}) + "\n" for row in rows))
    report.write(finished)
    svg = finished / "figures" / "training_curve_per_task.svg"
    assert svg.exists() == bool(tasks)
    for task in tasks:
        assert f"{task}, validation" in svg.read_text()
    by_form = (finished / "figures" / "training_curve.svg").read_text()
    assert "full form, validation" in by_form
    assert not any(f"{task}, validation" in by_form for task in tasks)


@pytest.mark.slow
def test_a_report_holds_table_figures_and_examples(finished: Path) -> None:
    report.write(finished)
    text = (finished / "results.md").read_text()
    assert text.startswith("# name, run key\n")
    for name in ("tokens_per_round.png", "stop_rounds.png", "training_curve.png"):
        assert f"figures/{name}" in text
        assert (finished / "figures" / name).read_bytes().startswith(b"\x89PNG")
    assert report.is_written(finished)


def test_an_example_with_a_rebound_comes_first_and_its_rejected_round_is_marked(finished: Path) -> None:
    first, *others = compression_examples.pick(finished)
    assert (first.question_id, first.kept_round, first.stop_reason, first.num_tokens) == ("a", 1, "rebound", [10, 6, 8])
    assert first.answer == "5", "the answer comes from the grade, not from the rationale"
    assert [each.question_id for each in others] == ["b", "c"], "chains of every task"
    text = compression_examples.markdown([first])
    assert "Round 1, 6 tokens (kept):" in text
    assert "Round 2, 8 tokens (rejected):" in text
    assert "\n    <script>a1</script>\n" in text, "model text stands in a code block"


def several_tasks() -> dict[str, float]:
    """Metrics of one mode over two tasks: 8 answers, and 6 of one task and 2 of the other."""
    values = {"accuracy_low": 0.1, "accuracy_high": 0.9, "num_tokens": 10.0, "num_cot_tokens": 8.0, "num_samples": 1}
    metrics = {f"eval/full/{name}": value for name, value in {**values, "accuracy": 0.5, "num_questions": 8, "latency_seconds_batch1": 0.2}.items()}
    for task, accuracy, count in (("stories", 2 / 3, 6), ("own", 0.0, 2)):
        metrics |= {f"eval/full/{task}/{name}": value for name, value in {**values, "accuracy": accuracy, "num_questions": count}.items()}
    return metrics


def test_with_several_tasks_each_has_its_row_below_the_pooled_one() -> None:
    table = list(run_table.rows(several_tasks(), {}))
    assert [(row[0], row[1].split(" ")[0]) for row in table] == [
        ("fine-tuned, without `<compress>`", "50.0%"),
        ("stories: fine-tuned, without `<compress>`", "66.7%"),
        ("own: fine-tuned, without `<compress>`", "0.0%"),
    ]
    assert [row[4] for row in table] == ["0.200", "", ""], "latency is measured over all tasks together"
    assert {len(row) for row in table} == {len(run_table.COLUMNS)}


def test_with_one_task_its_row_is_not_repeated() -> None:
    one = {name: value for name, value in several_tasks().items() if not name.startswith("eval/full/own/")}
    assert [row[0] for row in run_table.rows(one, {})] == ["fine-tuned, without `<compress>`"]


def notes_with(**more: float) -> str:
    training = {name: value for name, value in METRICS.items() if name.startswith("training/")}
    return "\n".join(run_table.notes({**training, **several_tasks(), **{name.replace("__", "/"): value for name, value in more.items()}}, {}))


def test_the_notes_say_how_many_answers_an_accuracy_is_the_mean_of() -> None:
    assert "avg@" not in notes_with()
    assert "Accuracy is avg@4: the mean over questions" in notes_with(eval__full__num_samples=4)


def test_the_notes_count_the_questions_that_were_left_out_for_overlap() -> None:
    assert "left out because their text" not in notes_with(questions__num_dropped_overlap=0)
    assert "3 training and validation questions were left out because their text is also in the test" in notes_with(questions__num_dropped_overlap=3)


def compressed_note(rounds: float = 0, **counts: float) -> str:
    names = (
        "num_rationales",
        "num_rebounds",
        "num_limits",
        "num_fixed_points",
        "num_failed",
        "num_other_stops",
        "num_rounds_mean",
        "compression_ratio",
    )
    found = dict.fromkeys(names, 0.0) | counts
    return notes_with(rounds__num_chains_without=rounds, **{f"compression__{name}": value for name, value in found.items()})


def test_the_reasons_for_which_rounds_ended_add_up_to_the_chains_and_what_is_left_out_stands_apart() -> None:
    """An earlier version counted chains without recorded rounds as failed."""
    kept = {"num_rationales": 8, "num_rebounds": 7, "num_failed": 1}
    assert "failed 1, other 0.\n" in compressed_note(**kept)
    text = compressed_note(**kept | {"num_failed": 4, "num_dropped": 23, "num_unrecorded": 20})
    assert "8 chains" in text
    assert (
        "rebound 7, round limit 0, fixed point 0, failed 1, other 0. Left out besides: 3 after a failed round and 20 without recorded rounds." in text
    )
    earlier = compressed_note(num_rationales=8, num_rebounds=8, num_failed=24, num_dropped=24)
    assert "failed 0, other 0. Left out besides: 24 after a failed round." in earlier
    earlier = compressed_note(num_rationales=8, num_rebounds=8, num_failed=24, num_dropped=24, rounds=24)
    assert "failed 0, other 0. Left out besides: 24 without recorded rounds." in earlier


def test_the_notes_name_the_rules_that_label_otherwise_with_their_accuracy() -> None:
    assert "rule labels" not in notes_with(eval__full__num_flips_lenient=0)
    text = notes_with(eval__full__num_flips_lenient=2, eval__full__accuracy_lenient=0.75, eval__full__num_flips_math_verify=1)
    assert "the lenient rule labels 2 answers differently (accuracy 75.0%)." in text
    assert "the math_verify rule labels 1 answers differently." in text


@pytest.mark.parametrize(("low", "p_value", "verdict"), [(0.01, 0.01, "beyond noise"), (-0.01, 0.01, "within noise"), (0.01, 0.05, "within noise")])
def test_the_notes_judge_a_difference_by_interval_and_p_value(low: float, p_value: float, verdict: str) -> None:
    name = "eval__full__delta_accuracy_vs_base"
    text = notes_with(**{name: 0.05, f"{name}_low": low, f"{name}_high": 0.09, f"{name}_p_value": p_value})
    assert f"+5.0 points ({low * 100:+.1f} to +9.0, p = {p_value:.2g}): {verdict}." in text


def test_the_notes_correct_the_p_values_of_several_modes_for_their_number() -> None:
    """The second smallest of three, 0.03, becomes 0.06, which is no longer beyond noise; the smallest, 0.01, becomes 0.03."""
    found = {}
    for mode, p_value in (("truncate", 0.5), ("full", 0.03), ("compress", 0.01)):
        name = f"eval__{mode}__delta_accuracy_vs_base"
        found |= {name: 0.05, f"{name}_low": 0.01, f"{name}_high": 0.09, f"{name}_p_value": p_value}
    text = notes_with(**found)
    assert "p = 0.03, 0.06 by Holm for 3 comparisons): within noise." in text
    assert "p = 0.01, 0.03 by Holm for 3 comparisons): beyond noise." in text
    assert "One seed: the intervals hold the variance of the questions" in text


def test_a_score_on_a_part_of_a_benchmark_is_told_as_one() -> None:
    metrics = {**METRICS, "questions/gsm8k/test/num_rows": 879.0, "questions/gsm8k/test/num_rows_official": 1319.0}
    said = "gsm8k: the test file has 879 rows, the official one has 1,319; its score is not one on the whole benchmark"
    assert any(said in each for each in run_table.notes(metrics, {}))
    assert not any("officially" in each for each in run_table.notes(METRICS, {}))


def test_what_the_papers_do_not_say_of_training_stands_under_every_table_of_trained_models() -> None:
    lora = {"trainer": {"warmup_ratio": 0.1, "tuning": "lora", "lora": {"target_modules": "all-linear"}}}
    full = {"trainer": {"warmup_ratio": 0.03, "tuning": "full", "lora": {"target_modules": "all-linear"}}}
    own = {"trainer": {**lora["trainer"], "lora": {"target_modules": "q_proj,v_proj"}}}
    begin = "Our choice where the papers are silent: the learning rate rises in the first"
    assert f"{begin} 10% of the steps; adapters on all linear layers." in disclosures([lora])
    assert f"{begin} 10% of the steps; adapters on q_proj,v_proj." in disclosures([own])
    assert f"{begin} 3% of the steps; every weight is trained, where MACC trains adapters." in disclosures([full])
    assert len([line for line in disclosures([lora, full, lora]) if line.startswith(begin)]) == 2, "both, each once"
    assert disclosures([{**lora, "compression": {"name": "prompt_only"}}]) == [
        "Our choice: an instruction follows the task's prompt on a new line."
    ], "nothing was trained"


@pytest.mark.parametrize(
    ("engine", "named"),
    [({}, "transformers on this project's local engine"), ({"engine": "local"}, "transformers on this project's local engine")]
    + [({"engine": each}, f"engine {each}") for each in ENGINES if each != "local"],
)
def test_the_footnote_names_the_engine_that_wrote_the_answers(engine: dict[str, str], named: str) -> None:
    model = {"dtype": "float32", "device": "auto", **engine}
    assert disclosures([{"model": model}]) == [f"Answers and times: {named}, float32, device auto, greedy."]


def test_the_footnote_says_how_answers_were_drawn() -> None:
    model = {"dtype": "float32", "device": "cpu"}
    assert disclosures([{"model": model, "evaluation": {"temperature": 0.0}}])[0].endswith("device cpu, greedy.")
    assert disclosures([{"model": model, "evaluation": {"temperature": 0.7}}])[0].endswith("sampled at temperature 0.7.")


# --- what is asked, and of which model ----------------------------------------------------------------------------------------


def compressed_by(**compression: object) -> dict[str, object]:
    return {"name": "name", "compression": compression, "evaluation": {"truncate_ratio": 0.7, "modes": ["base", "compress"]}}


@pytest.mark.parametrize(
    ("compression", "full", "short"),
    [
        ({"name": "macc"}, "fine-tuned, without `<compress>`", "fine-tuned, with `<compress>`"),
        ({"name": "none"}, "fine-tuned, full chain of thought", None),
        (
            {"name": "c3ot", "instruction": "Be brief.", "long_instruction": "Be\nlong."},
            "fine-tuned, asked: “Be long.”",
            "fine-tuned, asked: “Be brief.”",
        ),
        ({"name": "prompt_only", "instruction": "Be brief."}, None, "base, asked: “Be brief.”"),
    ],
    ids=lambda each: each["name"] if isinstance(each, dict) else "",
)
def test_a_row_names_the_model_and_how_it_is_asked(compression: dict[str, str], full: str | None, short: str | None) -> None:
    found = mode_labels(compressed_by(**compression))
    assert list(found) == ["base", "truncate", "full", "compress"]
    assert (found["base"], found["truncate"]) == ("base, full chain of thought", "base, output cut to 70% of its tokens")
    for mode, expected in (("full", full), ("compress", short)):
        assert expected in (None, found[mode])


def test_a_row_names_the_ratio_that_was_asked_for_and_the_notes_what_came_out() -> None:
    settings = compressed_by(name="tokenskip", ratios=[0.9, 0.5], importance="surprisal", protect=True)
    settings |= {"evaluation": {"ratio": 0.5, "modes": ["base", "full", "compress"]}, "mixture": {"full_ratio": 1 / 3}}
    found = mode_labels(settings)
    assert (found["full"], found["compress"]) == ("fine-tuned, without a ratio", "fine-tuned, asked for ratio 0.5")
    pruned = {"num_rationales": 40, "compression_ratio": 0.72, "compression_ratio_at_0.9": 0.9, "compression_ratio_at_0.5": 0.54, "num_protected": 3}
    text = "\n".join(run_table.notes({**METRICS, **{f"compression/{name}": value for name, value in pruned.items()}}, settings))
    assert "40 chains (training and validation) pruned to 72% of their tokens (0.54 at 0.5, 0.90 at 0.9); in 3 of them numbers and" in text
    assert "rounds on average" not in text
    assert any("ranked by their surprisal" in each and "one ratio of 0.9, 0.5 drawn" in each for each in disclosures([settings]))


def test_a_bar_in_an_instruction_does_not_break_the_table() -> None:
    line = list(table_lines(run_table.table(METRICS, compressed_by(name="prompt_only", instruction="Yes | no."))))[3]
    assert line.startswith("| base, asked: “Yes \\| no.” | 95.0%")


def test_the_notes_say_where_the_output_was_cut_and_that_no_time_is_measured() -> None:
    cut = {f"eval/truncate/{name}": value for name, value in {"accuracy": 0.5, "num_cut": 7, "own/budget_tokens": 61, "num_questions": 8}.items()}
    text = "\n".join(run_table.notes({**METRICS, **cut}, compressed_by(name="macc")))
    assert "base, output cut to 70% of its tokens: 7 answers were cut at 61 tokens (own), and the rest is graded" in text
    assert "were cut at" not in "\n".join(run_table.notes(METRICS, compressed_by(name="macc")))


def test_a_run_that_trained_nothing_has_a_report_that_says_so(finished: Path) -> None:
    metrics = {name: value for name, value in METRICS.items() if not name.startswith("training/")}
    (finished / "metrics.json").write_text(json.dumps(metrics))
    (finished / "stages.json").write_text("{}")
    (finished / "settings.json").write_text(json.dumps(compressed_by(name="prompt_only", instruction="Be brief.")))
    for name in ("compressed.jsonl", "selection.jsonl"):
        (finished / name).unlink(missing_ok=True)
    report.write(finished)
    text = (finished / "results.md").read_text()
    assert "- Nothing was trained.\n" in text
    assert "- Our choice: an instruction follows the task's prompt on a new line.\n" in text
    assert "fine-tuned" not in text
    assert list((finished / "figures").iterdir()) == []


def test_the_footnotes_of_two_instructions_say_whose_words_they_are() -> None:
    mixture = {"full_ratio": 0.5, "originals": "all"}
    compression = {"name": "c3ot", "prompt_answer": "model", "instruction": "Be brief.", "long_instruction": "Be long."}
    lines = disclosures([{"compression": compression, "mixture": mixture, "evaluation": {"modes": ["full"]}}])
    assert any("its words (C3oT's own are not known to us)" in each for each in lines)
    assert any("round limit 1" in each for each in lines)
    assert not any("round limit" in each for each in disclosures([{"compression": compression, "evaluation": {"modes": ["base"]}}]))


@pytest.mark.slow
def test_the_package_reads_outputs_without_hydra_or_torch() -> None:
    script = (
        "import importlib, pkgutil, sys, cotexp.report as package\n"
        "for each in pkgutil.iter_modules(package.__path__): importlib.import_module(f'cotexp.report.{each.name}')\n"
        "print(sorted({name.split('.')[0] for name in sys.modules} & {'hydra', 'omegaconf', 'torch', 'transformers', 'wandb'}))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
