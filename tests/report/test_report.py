from __future__ import annotations

import json
from pathlib import Path

import pytest

from cotexp import report
from cotexp.report import examples, tables

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
    """A finished run of three chains: a rebound in round 2, the limit in round 2, a failed round 1."""
    folder = tmp_path / "runs" / "name" / "key"
    for each in ("checkpoint", "rationales", "rounds"):
        (tmp_path / "store" / each / "k").mkdir(parents=True)
    folder.mkdir(parents=True)
    stages = {each: {"key": "k", "path": f"store/{each}/k"} for each in ("checkpoint", "rationales", "rounds")}
    chains = [("a", [10, 6, 8], 1, "rebound"), ("b", [12, 7, 7], 2, "limit"), ("c", [9, 0], 0, "failed")]
    (folder / "stages.json").write_text(json.dumps(stages))
    (folder / "settings.json").write_text(json.dumps({"name": "name"}))
    (folder / "metrics.json").write_text(json.dumps(METRICS))
    compressed = [
        {"rationale_id": f"{name}/0", "num_rounds_run": len(lengths) - 1, "kept_round": kept, "stop_reason": reason, "round_num_tokens": lengths}
        for name, lengths, kept, reason in chains
    ]
    (folder / "compressed.jsonl").write_text("".join(json.dumps(each) + "\n" for each in compressed))
    rationale = {
        "sample": 0,
        "closing": "",
        "answer": "5",
        "correct": True,
        "num_tokens": 1,
        "num_cot_tokens": 1,
        "finish_reason": "stop",
        "written": 0,
    }
    rationales = [{**rationale, "id": f"{name}/0", "question_id": name, "cot": f"chain {name}"} for name, *_ in chains]
    one = {"tokenizer": "", "prompt_hash": "", "previous_text_hash": "", "finish_reason": "stop", "outcome": "ok", "answer_kept": True, "written": 0}
    rounds = [
        {**one, "id": f"{name}/0/{n}", "rationale_id": f"{name}/0", "round": n, "text": f"<script>{name}{n}</script>", "num_tokens": lengths[n]}
        for name, lengths, *_ in chains
        for n in range(1, len(lengths))
    ]
    for stage, rows in (("rationales", rationales), ("rounds", rounds)):
        (tmp_path / "store" / stage / "k" / "rows-w.jsonl").write_text("".join(json.dumps(each) + "\n" for each in rows))
    curve = [{"step": n, "train/loss": 1 / n, "train/loss_full": 1 / n, "validation/loss_full": 2 / n} for n in (1, 2, 3)]
    (tmp_path / "store" / "checkpoint" / "k" / "curve.jsonl").write_text("".join(json.dumps(each) + "\n" for each in curve))
    return folder


def test_the_table_shows_interval_tokens_ratio_and_what_was_not_measured() -> None:
    lines = tables.markdown(METRICS).splitlines()
    assert lines[2] == "| base, full chain of thought | 97.0% (95.0% to 98.2%) | 84.2 | 1 | not measured | not measured |"
    assert lines[3] == "| fine-tuned, with `<compress>` | 95.0% (93.0% to 96.6%) | 27.5 | 0.25 | 0.123 | not measured |"
    assert len(lines) == 4


def test_the_notes_count_what_could_not_be_read() -> None:
    assert any("3 answers could not be read, 2 were cut off" in each for each in tables.notes(METRICS))


def test_a_report_holds_table_figures_and_examples(finished: Path) -> None:
    report.write(finished)
    text = (finished / "results.md").read_text()
    assert text.startswith("# name, run key\n")
    for name in ("tokens_per_round.png", "stop_rounds.png", "training_curve.png"):
        assert f"figures/{name}" in text
        assert (finished / "figures" / name).read_bytes().startswith(b"\x89PNG")
    assert report.is_written(finished)


def test_an_example_with_a_rebound_comes_first_and_its_rejected_round_is_marked(finished: Path) -> None:
    first = examples.pick(finished)[0]
    assert (first.question_id, first.kept_round, first.stop_reason, first.num_tokens) == ("a", 1, "rebound", [10, 6, 8])
    text = examples.markdown([first])
    assert "Round 1, 6 tokens (kept):" in text
    assert "Round 2, 8 tokens (rejected):" in text
    assert "\n    <script>a1</script>\n" in text, "model text stands in a code block"
