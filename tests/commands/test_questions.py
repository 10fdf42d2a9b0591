"""`cotexp questions`: counts, what was left out, examples, the check of gold answers, and overlap."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cotexp.commands.questions import print_questions, self_check
from cotexp.config import command_line
from cotexp.jobs import questions
from cotexp.records import Question
from cotexp.settings.base import ConfigError
from cotexp.tasks.benchmarks import BENCHMARKS
from cotexp.tasks.splits import make_question

LONG = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen"


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """GSM8K and SVAMP with few questions, some of them alike."""
    monkeypatch.setenv("COLUMNS", "200")
    gsm = [{"question": f"{LONG} {n}?", "answer": f"Sum.\n#### {n}"} for n in range(12)]
    svamp = [{"Body": f"There are {n} eggs", "Question": "How many?", "Answer": float(n)} for n in range(9)]
    parts = {"gsm8k/train": [*gsm[:10], gsm[0], gsm[11]], "gsm8k/test": gsm[10:], "svamp/train": svamp[:7], "svamp/test": svamp[7:]}
    for name, rows in parts.items():
        path = tmp_path / f"{name}.jsonl"
        path.parent.mkdir(exist_ok=True)
        path.write_text("\n".join(map(json.dumps, rows)))
    return tmp_path


def shown(capsys: pytest.CaptureFixture[str], data: Path, *overrides: str, overlap: int | None = None, examples: int = 0) -> str:
    print_questions([*overrides, f"paths.data={data}", "task.num_validation=2"], overlap=overlap, examples=examples)
    return capsys.readouterr().out


def cells(text: str, split: str) -> list[str]:
    (line,) = [each for each in text.splitlines() if f" {split} " in each and "│" in each]
    return [each.strip() for each in line.split("│")[2:5]]


def test_rows_dropped_questions_and_checked_gold_answers_are_shown(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, data, "task=gsm8k")
    assert "gsm8k: decimal answers; left out: 1 duplicates, 1 overlap" in text
    assert [cells(text, split) for split in ("train", "validation", "test")] == [["8"] * 3, ["2"] * 3, ["2"] * 3]
    assert "share" not in text


def test_a_file_with_another_number_of_rows_than_the_official_one_is_told(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = " ".join(shown(capsys, data, "task=gsm8k").split())
    assert "gsm8k: the test file has 2 rows, the official one has 1,319; its score is not one on the whole benchmark" in text
    assert "gsm8k: the train file has 12 rows, the official one has 7,473." in text


def test_a_run_counts_the_rows_of_the_files_that_it_reads(data: Path) -> None:
    words = ["task=gsm8k", "experiment=none", "evaluation.tasks=[svamp]", f"paths.data={data}", "task.num_validation=2"]
    sets, _ = questions.load(command_line.check_command_line(words, multirun=False)[0])
    assert sets.incomplete == {"gsm8k/train": (12, 7473), "svamp/test": (2, 300)}
    official = BENCHMARKS["svamp"].splits["test"].num_rows
    path = data / "svamp" / "test.jsonl"
    path.write_text("".join(json.dumps({"Body": f"{n} eggs", "Question": "How many?", "Answer": 1.0}) + "\n" for n in range(official)))
    assert list(questions.load(command_line.check_command_line(words, multirun=False)[0])[0].incomplete) == ["gsm8k/train"], (
        "a whole file needs no word"
    )


@pytest.mark.slow
def test_examples_show_the_prompt_the_gold_answer_and_the_worked_solution(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, data, "task=gsm8k", examples=2)
    assert text.count("put the final answer in \\boxed{}.") == 2
    assert text.count("gold: ") == 2
    assert text.count("worked solution: Sum.") == 2


@pytest.mark.slow
def test_overlap_is_shown_on_request_and_between_tasks(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, data, "task=gsm8k", "evaluation.tasks=[svamp]", overlap=13)
    assert "gsm8k: train and test: 2 of 2 test questions share 13 words in a row with a training question; 0 are exact duplicates" in text
    assert "svamp: train and test: 0 of 2" in text
    assert "gsm8k (train) and svamp (test): 0 of 2" in text
    assert "gsm8k: train and test: 0 of 2" in shown(capsys, data, "task=gsm8k", overlap=17)


def test_several_tasks_are_shown_in_one_go(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, data, "task=gsm8k,svamp")
    assert "gsm8k: decimal answers" in text
    assert "svamp: decimal answers; left out: none" in text


def test_mistakes_in_settings_are_reported(data: Path) -> None:
    with pytest.raises(ConfigError, match="gsm9k"):
        print_questions(["task=gsm9k"], overlap=None, examples=0)


GOLDS: list[Question] = [
    make_question("t", text="x", answer="-1200", answer_type="integer"),
    make_question("t", text="x", answer="0.5", answer_type="decimal"),
    make_question("t", text="x", answer="\\frac{1}{2}", answer_type="latex"),
    make_question("t", text="x", answer="B", answer_type="choice", options={"A": "x", "B": "y"}),
    make_question("t", text="x", answer="no", answer_type="boolean"),
]


def test_the_check_of_gold_answers_can_fail() -> None:
    assert self_check(GOLDS) == (5, 5)
    bad = [
        make_question("t", text="x", answer="many", answer_type="integer"),
        make_question("t", text="x", answer="E", answer_type="choice", options={"A": "x"}),
    ]
    assert self_check([*GOLDS, *bad]) == (5, 7)
    assert self_check([]) == (0, 0)


@pytest.mark.slow
@pytest.mark.parametrize("name", BENCHMARKS)
def test_every_benchmark_has_settings_whose_prompt_asks_in_its_answers_format(name: str) -> None:
    (settings,) = command_line.check_command_line([f"task={name}", "experiment=none"], multirun=False)
    prompt = settings.task.prompt
    formats = {"choice": "The answer is (X).", "boolean": 'The answer is yes." or "The answer is no.'}
    assert formats.get(BENCHMARKS[name].answer_type, "\\boxed{{}}") in prompt
    assert ("{options}" in prompt) == (BENCHMARKS[name].answer_type == "choice")
    assert (settings.task.name, settings.task.train) == (name, ["math500"] if name == "aime24" else [name])
