"""What of a run can be read as an example."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import asdict
from pathlib import Path

import pytest
import sample_records
from written_runs import write_run

from cotexp.report import compression_examples
from cotexp.report.run_examples import outcome_of, sources
from cotexp.stages.scores import row_id
from cotexp.tracking import tables


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_run(
        tmp_path,
        "k",
        chains={"a": ["it is right so seven", "right so seven", "right it is so seven"], "b": ["no", ""]},
        answers={"base": {"t": "right 7", "u": "?"}, "compress": {"t": "", "u": "?"}},
        rationales={"c": ["right one", "wrong one", "right two"]},
        kept={"c": [2]},
    )


def test_a_chain_shows_every_round_with_tokens_and_which_is_kept(folder: Path) -> None:
    chains = sources(folder)["chains"]
    first, second = chains.make(["a/0", "b/0"])
    assert (first.id, first.question_id, first.task, first.outcome) == ("a/0", "a", "sums", "ended by rebound")
    assert [each.title for each in first.columns] == ["original", "round 1", "round 2"]
    assert [each.kept for each in first.columns] == [False, True, False]
    assert [each.previous for each in first.columns] == [None, "it is right so seven", "right so seven"]
    assert first.columns[0].outcome == "right"
    assert first.columns[0].facts == ["5 tokens", "answer 7"]
    assert first.columns[1].facts == ["3 tokens", "60% of the original"]
    assert second.columns[0].outcome == "wrong"
    assert second.columns[1].facts == ["0 tokens", "0% of the original", "empty"]


def test_a_chain_without_rounds_shows_only_what_was_written(tmp_path: Path) -> None:
    """As TALE leaves a wrong chain, and no other reason of its own may add a text."""
    folder = write_run(tmp_path, "k", chains={"a": ["1 + 1 = 3"]})
    row = json.loads((folder / "compressed.jsonl").read_text()) | {"stop_reason": "answer_lost"}
    row |= {"nll": 5.0, "round_nll": [5.0], "num_answer_tokens": 2, "round_answer_nll": [1.0], "answer_nll": 1.0, "answer_nll_alone": 3.0}
    (folder / "compressed.jsonl").write_text(json.dumps(row) + "\n")
    (chain,) = sources(folder)["chains"].make(["a/0"])
    assert (chain.outcome, [(each.title, each.kept) for each in chain.columns]) == ("kept as written", [("original", True)])
    assert "perplexity 2.72" in chain.columns[0].facts
    text = compression_examples.markdown(compression_examples.pick(folder))
    assert "## a: kept as written\n" in text
    assert "Round 1" not in text
    assert [each[1:3] for each in tables.rounds(folder)] == [[0, 5]]


def test_a_round_shows_its_perplexity_where_it_was_measured(folder: Path) -> None:
    path = folder / "compressed.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows[0] |= {"nll": 3 * math.log(4), "round_nll": [5 * math.log(2), 3 * math.log(4), None]}
    path.write_text("".join(json.dumps(each) + "\n" for each in rows))
    first, second = sources(folder)["chains"].make(["a/0", "b/0"])
    assert [[fact for fact in each.facts if "perplexity" in fact] for each in first.columns] == [["perplexity 2"], ["perplexity 4"], []]
    assert not any("perplexity" in fact for each in second.columns for fact in each.facts)


def test_a_rationale_shows_its_difficulty_and_its_rank_surprisal_where_ranks_were_measured(folder: Path) -> None:
    """By hand: an answer of one token, e^(2 - 3) = 0.368; 30 ranks over 20 nats."""
    outputs = folder.parent.parent.parent
    one, two = (sample_records.rationale("c", cot=text, closing="") for text in ("right one", "wrong one"))
    own = asdict(sample_records.score("c", answer_nll_plain=2.0, nll=20.0))
    ledgers = {
        "scores/sums": [{**own, "id": each} for each in ("c", row_id(one), row_id(two))],
        "ranks/sums": [{"id": row_id(one), "num_tokens": 2, "rank_sum": 30}],
    }
    for row in ledgers["scores/sums"]:
        del row["rank_sum"]
    stages = json.loads((folder / "stages.json").read_text())
    for stage, rows in ledgers.items():
        place = outputs / "store" / stage / "k"
        place.mkdir(parents=True)
        (place / "rows-w.jsonl").write_text("".join(json.dumps({**each, "written": 0}) + "\n" for each in rows))
        stages[stage] = {"key": "k", "path": str(place.relative_to(outputs))}
    (folder / "stages.json").write_text(json.dumps(stages))
    (example,) = sources(folder)["rationales"].make(["c"])
    facts = {each.text: [fact for fact in each.facts if fact.startswith("R")] for each in example.columns}
    difficulty = "RD 0.368 plain, 1 masked, 1 hidden"
    assert facts == {"right one": [difficulty, "RSR 1.5"], "wrong one": [difficulty], "right two": []}


def test_a_round_shows_the_perplexity_of_its_answer_where_it_was_measured(folder: Path) -> None:
    path = folder / "compressed.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows[0] |= {"num_answer_tokens": 2, "answer_nll": 2 * math.log(4), "round_answer_nll": [0.0, 2 * math.log(4), None], "answer_nll_alone": 9.0}
    path.write_text("".join(json.dumps(each) + "\n" for each in rows))
    first, second = sources(folder)["chains"].make(["a/0", "b/0"])
    shown = [[fact for fact in each.facts if "perplexity" in fact] for each in first.columns]
    assert shown == [["its answer's perplexity 1"], ["its answer's perplexity 4"], []]
    assert not any("perplexity" in fact for each in second.columns for fact in each.facts)


def test_the_rationales_of_a_question_stand_with_the_kept_ones_first(folder: Path) -> None:
    source = sources(folder)["rationales"]
    assert list(source.groups) == ["c"]
    (one,) = source.make(["c"])
    assert one.outcome == "1 of 3 rationales kept"
    assert [(each.text, each.kept, each.outcome) for each in one.columns] == [
        ("right two", True, "right"),
        ("right one", False, "right"),
        ("wrong one", False, "unparsable"),
    ]


def test_the_answers_to_a_question_stand_mode_by_mode_and_say_what_fine_tuning_changed(folder: Path) -> None:
    lost, same = sources(folder)["answers"].make(["t", "u"])
    assert [(each.mode, each.outcome) for each in lost.columns] == [("base", "right"), ("compress", "unparsable")]
    assert lost.outcome == "lost against base"
    assert same.outcome == ""


def test_a_run_that_selected_and_compressed_nothing_has_answers_alone(tmp_path: Path) -> None:
    assert list(sources(write_run(tmp_path, "k", answers={"full": {"t": "x"}}))) == ["answers"]


@pytest.mark.parametrize("stage", ["rounds", "rationales"])
def test_what_is_no_longer_in_the_store_is_left_out(folder: Path, stage: str) -> None:
    shutil.rmtree(folder.parents[2] / "store" / stage)
    if stage == "rationales":
        shutil.rmtree(folder.parents[2] / "store" / "grades" / stage)
    found = sources(folder)
    assert list(found["chains"].make(["a/0"])) == []
    assert len(list(found["rationales"].make(["c"]))) == (stage == "rounds")
    assert len(list(found["answers"].make(["t"]))) == 1


@pytest.mark.parametrize(
    ("graded", "outcome"),
    [
        ({"correct": True, "finish_reason": "budget", "extracted": "7"}, "right"),
        ({"correct": False, "finish_reason": "length", "extracted": "7"}, "truncated"),
        ({"correct": False, "finish_reason": "refused", "extracted": None}, "refused"),
        ({"correct": False, "finish_reason": "stop", "extracted": None}, "unparsable"),
        ({"correct": False, "finish_reason": "stop", "extracted": "8", "timed_out": True}, "not compared in time"),
        ({"correct": False, "finish_reason": "stop", "extracted": "8"}, "wrong"),
    ],
)
def test_an_outcome_says_first_how_a_wrong_text_ended(graded: dict[str, object], outcome: str) -> None:
    assert outcome_of(**graded) == outcome  # type: ignore[arg-type]
