"""`cotexp grade` with several answers to a question: the interval is over questions, as that of a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from run_folders import write_run

from cotexp.commands import cli
from cotexp.methods.statistics import share_interval, wilson

RIGHT = {"id": "a", "gold": "18", "text": "The answer is 18."}


def written(folder: Path, rows: list[dict[str, Any]], name: str = "answers.jsonl") -> Path:
    path = folder / name
    path.write_text("".join(json.dumps(each) + "\n" for each in rows), encoding="utf-8")
    return path


def summary_of(task: str, path: Path, capsys: pytest.CaptureFixture[str]) -> str:
    cli.main(["grade", "--task", task, str(path)])
    return capsys.readouterr().err


QUESTIONS = [{"id": f"q{number}", "gold": number, "right": right} for number, right in enumerate([4, 4, 4, 3, 1, 0, 0, 0])]


def test_answers_to_one_question_are_not_independent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Four answers to each of eight questions, as lists and as rows: the interval is that of eight shares, as of a run."""
    samples = {each["id"]: [f"The answer is {each['gold'] if number < each['right'] else 77}." for number in range(4)] for each in QUESTIONS}
    low, high = share_interval([each["right"] / 4 for each in QUESTIONS])
    lists = written(tmp_path, [{**each, "texts": samples[each["id"]]} for each in QUESTIONS], "lists.jsonl")
    rows = written(tmp_path, [{**each, "texts": text} for number in range(4) for each in QUESTIONS for text in samples[each["id"]][number:][:1]])
    for path in (lists, rows):
        cli.main(["grade", "--task", "integer", "--text-field", "texts", str(path)])
        summary = capsys.readouterr().err
        assert "integer: 32 answers to 8 questions; every one counts" in summary
        assert f"strict        50.00%  (95 % interval over questions {low:.2%} to {high:.2%}; 16 correct)" in summary
    narrow = wilson(16, 32)
    assert high - low > 1.5 * (narrow.high - narrow.low)


def test_questions_count_alike_however_many_answers_they_have(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{**RIGHT, "text": f"The answer is {text}."} for text in (18, 18, 18)] + [{"id": "b", "gold": 5, "text": "The answer is 77."}]
    summary = summary_of("integer", written(tmp_path, rows), capsys)
    assert "4 answers to 2 questions" in summary
    assert "strict        50.00%" in summary
    assert "3 correct" in summary


def test_one_answer_to_each_question_is_told_as_before(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Also where files that were joined number their questions alike: another gold answer is another question."""
    rows = [RIGHT, {**RIGHT, "gold": "5"}, {**RIGHT, "id": "b"}]
    summary = summary_of("integer", written(tmp_path, rows), capsys)
    low, high = wilson(2, 3)
    assert "integer: 3 answers; every one counts in the denominator" in summary
    assert f"strict        66.67%  (95 % interval {low:.2%} to {high:.2%}; 2 correct)" in summary


def write_samples(outputs: Path, shares: list[float], num_samples: int) -> Path:
    """A run with this share of right answers among the `num_samples` answers to each question."""
    folder = write_run(outputs, "key", "1" * len(shares))
    ids = [[f"svamp-{number}/{sample}" for sample in range(num_samples)] for number in range(len(shares))]
    for path in (outputs / "store").glob("*/*/rows-w.jsonl"):
        [row, *_] = (json.loads(line) for line in path.read_text().splitlines())
        rows = [
            {
                **row,
                "id": name,
                "question_id": name.split("/")[0],
                "sample": sample,
                "text": f"The answer is {7 if sample < share * num_samples else 8}.",
            }
            for names, share in zip(ids, shares, strict=True)
            for sample, name in enumerate(names)
        ]
        if path.parts[-3] == "grades":
            rows = [{**row, "id": each["id"], "strict": each["text"].endswith("7.")} for each in rows]
        path.write_text("".join(json.dumps(each) + "\n" for each in rows))
    (folder / "questions.json").write_text(json.dumps({"test": {"svamp": [name for names in ids for name in names]}}))
    return folder


@pytest.mark.parametrize("num_samples", [1, 4])
def test_the_answers_of_a_run_have_the_interval_of_the_run(num_samples: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shares = [1.0] * 3 + [0.5 if num_samples > 1 else 1.0] * 2 + [0.0] * 5
    cli.main(["grade", str(write_samples(tmp_path, shares, num_samples))])
    shown = capsys.readouterr().out
    one = num_samples == 1
    low, high = wilson(5, 10) if one else share_interval(shares)
    assert f"full, svamp: {10 * num_samples} answers{'' if one else ' to 10 questions'}; every one" in shown
    assert f"strict        {sum(shares):.0f}0.00%  (95 % interval{'' if one else ' over questions'} {low:.2%} to {high:.2%};" in shown
