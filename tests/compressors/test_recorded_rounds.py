"""Rounds that were written before: rows of files become rounds of chains, and stop rules choose among them as among our own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cotexp import flow
from cotexp.compressors.base import RecordedRounds, Rewritten
from cotexp.compressors.recorded import RecordedCompressor
from cotexp.config.command_line import check_command_line
from cotexp.jobs import pipeline
from cotexp.jobs.pipeline import Clock
from cotexp.records import Compressed
from cotexp.settings.base import ConfigError
from cotexp.stages import perplexity, rounds
from cotexp.stages.context import Context
from cotexp.stages.training_set import TrainingSet
from cotexp.tasks.splits import make_question

QUESTIONS = [make_question("t", text=f"Ann has {n} apples. How many?", answer=str(n), answer_type="decimal") for n in range(4)]
FIRST, SECOND = (each.id for each in QUESTIONS[:2])


def lines(path: Path, *rows: dict[str, Any]) -> str:
    path.write_text("".join(json.dumps(each) + "\n" for each in rows))
    return str(path)


def read(path: str, **names: Any) -> RecordedRounds:
    return RecordedCompressor(files=[path], **names).read("t", QUESTIONS, [])


def refused(path: str, **names: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        read(path, **names)
    (problem,) = caught.value.problems
    return problem


def test_rows_and_lists_are_rounds_of_the_rationale_that_they_name(tmp_path: Path) -> None:
    path = lines(
        tmp_path / "a.jsonl",
        {"question": "ann has 0 apples; how many", "text": ["long one ", "short"]},
        {"question_id": SECOND, "text": "2nd", "round": 2, "sample": 1, "finish_reason": "max_tokens"},
        {"question_id": f"{SECOND}/1", "text": "1st", "round": "1"},
        {"question_id": f"{SECOND}/0/thinking", "text": "thoughts", "finish_reason": "refused"},
        {"question_id": SECOND, "text": None},
        {"question": "Who?", "text": "nobody"},
    )
    found = read(path)
    assert found.rounds == {
        f"{FIRST}/0": [Rewritten("long one"), Rewritten("short")],
        f"{SECOND}/1": [Rewritten("1st"), Rewritten("2nd", "length")],
        f"{SECOND}/0/thinking": [Rewritten("thoughts", "refused")],
        f"{SECOND}/0": [Rewritten("")],
    }
    assert found.note == (
        "compressor.files: 6 rounds of 4 chains, at most 2 of each; 2 of 4 training and validation questions of t have none and get no short form; "
        "1 texts are empty and count as failed rounds; 1 rows belong to no question and are not read"
    )


def test_only_the_content_of_the_rounds_makes_their_identity(tmp_path: Path) -> None:
    rows = [{"question_id": FIRST, "text": "one", "round": 1}, {"question_id": FIRST, "text": "two", "round": 2}]
    first = read(lines(tmp_path / "a.jsonl", *rows)).sha256
    assert read(lines(tmp_path / "b.jsonl", *reversed(rows), rows[0])).sha256 == first
    assert read(lines(tmp_path / "c.jsonl", {"id": FIRST, "said": ["one", "two"]}), id_field="id", text_field="said").sha256 == first
    assert read(lines(tmp_path / "d.jsonl", rows[0], {**rows[1], "text": "two!"})).sha256 != first


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        (
            [{"question_id": FIRST, "text": "a"}, {"question_id": FIRST, "text": "b"}, {"question_id": SECOND, "text": "c", "round": 3}],
            "1 rows repeat a round with another text (the first: compressor.files: {path}, line 2: round 1 of {first}/0); 1 chains lack a round "
            "before a later one (the first: {second}/0 has rounds 3); name the number of the round by compressor.round_field",
        ),
        (
            [{"question_id": FIRST, "text": "a", "round": 0}],
            "line 1: field 'round' must be a whole number from 1 on; got 0; see compressor.round_field",
        ),
        (
            [{"question_id": FIRST, "text": "a", "sample": "x"}],
            "field 'sample' must be a whole number from 0 on; got 'x'; see compressor.sample_field",
        ),
        ([{"question_id": FIRST, "text": 3}], "line 1: field 'text' must be a text or a list of texts; got 3; see compressor.text_field"),
        (
            [{"question_id": FIRST, "txt": "a"}],
            "line 1: field 'text' is missing (did you mean 'txt'?); fields here: question_id, txt; see compressor",
        ),
        (
            [{"question_id": FIRST, "text": "a", "sample": 1}, {"question_id": FIRST, "text": "b", "sample": 2}],
            "no row is of the first rationale of its question, number 0, but {first}/1 is a chain: rationales must be counted from 0",
        ),
        (
            [{"question_id": "other", "text": "a"}],
            "none of the 1 rows in {path} belongs to a question of t; check the files, compressor.question_field",
        ),
    ],
)
def test_what_contradicts_itself_is_one_line_with_counts(rows: list[dict[str, Any]], problem: str, tmp_path: Path) -> None:
    path = lines(tmp_path / "a.jsonl", *rows)
    assert problem.format(path=path, first=FIRST, second=SECOND) in refused(path)


SMALL = ["experiment=none", "teacher=reference", "task.num_train=8", "task.num_validation=2", "task.num_test=2", "tracking=none", "model=tiny"]


def made(outputs: Path, *words: str) -> TrainingSet:
    context = context_of(outputs, *words)
    return flow.training_set(context, pipeline._walk(context, Clock(lambda stage: None)))


def context_of(outputs: Path, *words: str) -> Context:
    [settings] = check_command_line([*SMALL, "scoring.perplexity_chains=0", f"paths.outputs={outputs}", *words], multirun=False)
    return pipeline.make_context(settings)


def kept(found: TrainingSet) -> dict[str, Compressed]:
    return {each.rationale_id: each for each in found.kept}


@pytest.mark.slow
def test_our_own_rounds_read_from_a_file_give_the_same_chains_under_every_stop_rule(tmp_path: Path) -> None:
    rules = ["compression=macc", "compression=macc compression.patience=1", "compression=shortest_correct", "compression=single_round"]
    own = {rule: made(tmp_path / "own", "compressor=tiny", "compressor.rounds=4", *rule.split()) for rule in rules}
    ledgers = list((tmp_path / "own/store/rounds").iterdir())
    assert len(ledgers) == 1
    recorded = [
        "compressor=recorded",
        f"compressor.files=[{ledgers[0]}/rows-*.jsonl]",
        "compressor.id_field=rationale_id",
        "compressor.rounds=4",
    ]
    lengths = {len(run) for found in own.values() for run in found.rounds.values()}
    assert max(lengths) > 1
    for rule, first in own.items():
        again = made(tmp_path / "recorded", *recorded, *rule.split())
        assert {name: (each.text, each.num_tokens, each.kept_round) for name, each in kept(again).items()} == {
            name: (each.text, each.num_tokens, each.kept_round) for name, each in kept(first).items()
        }
        rows = [
            {name: [(each.text, each.answer_kept, each.outcome) for each in run] for name, run in found.rounds.items()} for found in (first, again)
        ]
        assert all(rows[1][name] == run[: len(rows[1][name])] for name, run in rows[0].items())
    assert not (tmp_path / "recorded/store/rewrites").exists()


@pytest.mark.slow
def test_chains_whose_rounds_end_keep_the_last_and_those_without_rounds_get_no_short_form(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    plain = made(tmp_path, "compression=none")
    first, second, third, *others = [each.id for each in plain.chains]
    cots = {each.id: each.cot.strip() for each in plain.chains}
    shorter = " ".join(cots[first].split()[:9])
    path = lines(
        tmp_path / "rounds.jsonl",
        {"question_id": first, "text": [cots[first], shorter]},
        {"question_id": second, "text": [cots[second], f"{cots[second]} and so on and on", "late"]},
        {"question_id": third, "text": ""},
    )
    words = ["compressor=recorded", f"compressor.files=[{path}]", "compression=macc"]
    with caplog.at_level("INFO", logger="cotexp"):
        found = made(tmp_path, *words)
    assert "6 rounds of 3 chains, at most 3 of each; 7 of 10 training and validation questions of stories have none" in caplog.text
    assert {name: (each.text, each.stop_reason) for name, each in kept(found).items()} == {
        first: (shorter, "limit"),
        second: (cots[second], "rebound"),
        third: (cots[third], "failed"),
    }
    assert not {each.rationale_id for each in found.compressed} & set(others)
    counts = rounds.metrics(context_of(tmp_path, *words), found)
    assert (counts["rounds/num_written"], counts["rounds/num_empty"], counts["rounds/num_chains_without"]) == (5, 1, 7)
    assert counts["compressor/num_tokens_out"] == sum(each.num_tokens for run in found.rounds.values() for each in run) > 0
    counts = perplexity.metrics(context_of(tmp_path, *words), found)
    assert [counts[f"compression/num_{each}"] for each in ("failed", "unrecorded", "dropped", "rationales")] == [1, 7, 7, 3]
    dropped = made(tmp_path, *words, "compression.failed_round=drop")
    counts = perplexity.metrics(context_of(tmp_path, *words), dropped)
    assert [counts.get(f"compression/num_{each}") for each in ("failed", "unrecorded", "dropped", "rationales")] == [1, 7, 8, 2]
    assert set(kept(dropped)) == {first, second}
