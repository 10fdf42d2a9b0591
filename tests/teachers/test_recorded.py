"""Rationales from files find their questions, by id or text; whatever is wrong with a file is said in one line."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from cotexp.settings.base import ConfigError
from cotexp.tasks import BenchmarkTask, load_questions
from cotexp.tasks.answers import split_solution
from cotexp.tasks.splits import make_question
from cotexp.teachers.recorded import Recorded, RecordedTeacher, Written, read_recorded

QUESTIONS = [make_question("t", text=f"Ann has {n} apples. How many?", answer=str(n), answer_type="decimal") for n in range(4)]


def lines(path: Path, *rows: dict[str, Any]) -> str:
    path.write_text("".join(json.dumps(each) + "\n" for each in rows))
    return str(path)


def read(teacher: RecordedTeacher, *folders: Path) -> Recorded:
    return read_recorded(teacher, "t", QUESTIONS, folders)


def test_how_a_rationale_ended_is_read_from_its_row(tmp_path: Path) -> None:
    rows = [{"question_id": QUESTIONS[0].id, "text": str(n), "source": "x"} for n in range(4)]
    said = ("STOP", "MAX_TOKENS", "model_length", "completed")
    path = lines(tmp_path / "a.jsonl", *({**row, "finish_reason": each} for row, each in zip(rows, said, strict=True)))
    found = read(RecordedTeacher(files=[path]))
    assert [each.finish_reason for each in found.rationales[QUESTIONS[0].id]] == ["stop", "length", "length", "stop"]
    plain = lines(tmp_path / "b.jsonl", *rows)
    assert read(RecordedTeacher(files=[plain])).sha256 == read(RecordedTeacher(files=[lines(tmp_path / "c.jsonl", *rows)])).sha256 != found.sha256
    bad = lines(tmp_path / "d.jsonl", {**rows[0], "finish_reason": "lenght"})
    with pytest.raises(ConfigError, match="line 1: field 'finish_reason' must be a finish reason"):
        read(RecordedTeacher(files=[bad]))


def test_rows_are_joined_by_id_or_by_text_in_the_order_of_files_and_rows(tmp_path: Path) -> None:
    first = lines(tmp_path / "a.jsonl", {"question_id": QUESTIONS[1].id, "text": "one", "source": "x"}, {"question_id": "other", "text": "lost"})
    second = lines(
        tmp_path / "b.jsonl", {"question": " ann has 1 apples.  How many", "text": "two"}, {"question": QUESTIONS[0].text, "text": "three"}
    )
    found = read(RecordedTeacher(files=[first, second]))
    assert found.rationales == {
        QUESTIONS[0].id: [Written("three", "b")],
        QUESTIONS[1].id: [Written("one", "x"), Written("two", "b")],
        QUESTIONS[2].id: [],
        QUESTIONS[3].id: [],
    }
    assert found.num_unmatched == 1


def test_ids_of_another_project_go_through_the_questions_file(tmp_path: Path) -> None:
    lines(tmp_path / "t_questions.jsonl", *({"id": n, "question": each.text} for n, each in enumerate(QUESTIONS)))
    for source in ("gpt", "code"):
        lines(tmp_path / f"t_{source}.jsonl", *({"id": n, "completion": f"{source} {n}"} for n in range(3)))
    teacher = RecordedTeacher(files=["{task}_*.jsonl"], questions_file="{task}_questions.jsonl", id_field="id", text_field="completion")
    found = read(teacher, Path("/nowhere"), tmp_path)
    assert found.rationales[QUESTIONS[2].id] == [Written("code 2", "t_code"), Written("gpt 2", "t_gpt")]
    assert found.rationales[QUESTIONS[3].id] == []
    assert found.num_unmatched == 0


def test_the_first_rationales_of_a_question_are_those_of_a_smaller_pool(tmp_path: Path) -> None:
    path = lines(tmp_path / "a.jsonl", *({"question_id": QUESTIONS[0].id, "text": str(n)} for n in range(5)))
    whole, cut = (read(RecordedTeacher(files=[path], num_samples=count)) for count in (None, 2))
    assert cut.rationales[QUESTIONS[0].id] == whole.rationales[QUESTIONS[0].id][:2]
    assert len(whole.rationales[QUESTIONS[0].id]) == 5


def test_other_content_has_another_hash_and_other_names_have_not(tmp_path: Path) -> None:
    rows = [{"question_id": QUESTIONS[0].id, "text": "one", "source": "x"}, {"question_id": QUESTIONS[1].id, "text": "two", "source": "x"}]
    first = read(RecordedTeacher(files=[lines(tmp_path / "a.jsonl", *rows)])).sha256
    assert read(RecordedTeacher(files=[lines(tmp_path / "b.jsonl", *rows)])).sha256 == first
    assert read(RecordedTeacher(files=[lines(tmp_path / "c.jsonl", *rows[:1])])).sha256 != first
    assert read(RecordedTeacher(files=[lines(tmp_path / "d.jsonl", rows[0], {**rows[1], "text": "2"})])).sha256 != first


def test_questions_that_share_a_text_share_its_rationales(tmp_path: Path) -> None:
    twins = [make_question("t", text="How many?", answer=answer, answer_type="decimal") for answer in "12"]
    path = lines(tmp_path / "a.jsonl", {"question": "How many?", "text": "this"})
    found = read_recorded(RecordedTeacher(files=[path]), "t", twins, ())
    assert [found.rationales[each.id] for each in twins] == [[Written("this", "a")], [Written("this", "a")]]


def test_of_questions_with_one_text_and_other_options_a_row_belongs_to_that_with_its_own(tmp_path: Path) -> None:
    given = [{"A": "cats bark", "B": "dogs bark"}, {"A": "2+2=5", "B": "2+2=4"}, {"A": "dogs bark", "B": "cats bark"}]
    asked = [
        make_question("t", text="Which is true?", answer=answer, answer_type="choice", options=each)
        for answer, each in zip("BBA", given, strict=True)
    ]
    rows = [{"question": "Which is true?", "options": list(each.values()), "text": f"text {n}"} for n, each in enumerate(given)]
    rows += [{"question": "Which is true?", "text": "of whom?"}, {"question": "Which is true?", "choices": ["x", "y"], "text": "of another"}]
    found = read_recorded(RecordedTeacher(files=[lines(tmp_path / "a.jsonl", *rows)]), "t", asked, ())
    assert [found.rationales[each.id] for each in asked] == [[Written(f"text {n}", "a")] for n in range(3)]
    assert found.num_unmatched == 2
    alone = lines(tmp_path / "b.jsonl", rows[3])
    with pytest.raises(ConfigError, match=r"none of the 1 rows .* a row must name the id, or its own options or choices$"):
        read_recorded(RecordedTeacher(files=[alone]), "t", asked, ())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("What is 12 + 3?", "What is 12 - 3?"),
        ("What is 12 * 3?", "What is 12 / 3?"),
        ("Round 1.23.", "Round 123."),
        ("Find $\\arcsin 1$.", "Find $\\arcsin (-1)$."),
        ("Solve x > 0", "Solve x < 0"),
        ("What is 1 2/3?", "What is 12/3?"),
        ("What is 5!?", "What is 5?"),
        ("Find f'(x).", "Find f(x)."),
        ("Find x-y.", "Find xy."),
        ("Which point is (1,2)?", "Which point is (12)?"),
        ("∫?", "√?"),
    ],
)
def test_a_sign_or_point_makes_another_question(one: str, other: str, tmp_path: Path) -> None:
    asked = [make_question("t", text=text, answer=answer, answer_type="decimal") for text, answer in ((one, "1"), (other, "2"))]
    path = lines(tmp_path / "a.jsonl", {"question": one, "text": "first"}, {"question": other, "text": "second"})
    both = read_recorded(RecordedTeacher(files=[path]), "t", asked, ())
    assert [[each.text for each in both.rationales[question.id]] for question in asked] == [["first"], ["second"]]
    alone = read_recorded(RecordedTeacher(files=[path]), "t", asked[:1], ())
    assert ([each.text for each in alone.rationales[asked[0].id]], alone.num_unmatched) == (["first"], 1)


@pytest.mark.parametrize(
    "spelled",
    [
        "tom's twenty-one “apples” cost $3.50 , or 7 halves ; how many are there ?",
        "Tom’s **twenty-one** apples cost 3.50, or 7 halves: how many are there",
        "TOM'S twenty one apples cost $3.50 or 7 halves how many are there?",
    ],
)
def test_other_spelling_finds_the_question_unless_two_are_spelled_so(spelled: str, tmp_path: Path) -> None:
    text = 'Tom\'s twenty-one "apples" cost $3.50, or 7 halves; how many are there?'
    asked = [make_question("t", text=text, answer="21", answer_type="decimal")]
    teacher = RecordedTeacher(files=[lines(tmp_path / "a.jsonl", {"question": spelled, "text": "21"}, {"question": text, "text": "exact"})])
    assert [each.text for each in read_recorded(teacher, "t", asked, ()).rationales[asked[0].id]] == ["21", "exact"]
    asked.append(make_question("t", text=text.replace(";", ":"), answer="21", answer_type="decimal"))
    found = read_recorded(teacher, "t", asked, ())
    assert ([[each.text for each in found.rationales[question.id]] for question in asked], found.num_unmatched) == ([["exact"], []], 1)


def test_an_id_of_two_questions_is_refused_with_both_places(tmp_path: Path) -> None:
    names = [{"id": 1, "question": QUESTIONS[0].text}, {"id": 1, "question": QUESTIONS[0].text}, {"id": 1, "question": QUESTIONS[1].text}]
    answers = lines(tmp_path / "a.jsonl", {"id": 1, "text": "x"})
    teacher = RecordedTeacher(files=[answers], id_field="id", questions_file=lines(tmp_path / "q.jsonl", *names[:2]))
    assert read(teacher).rationales[QUESTIONS[0].id] == [Written("x", "a")]
    lines(tmp_path / "q.jsonl", *names)
    with pytest.raises(ConfigError, match=r"line 3: field 'id' must not repeat with another question; got '1' as in .*q\.jsonl, line 1$"):
        read(teacher)


def test_a_list_in_a_cell_is_several_rationales_and_one_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    texts = ["I count.\nSo 1", 'It\'s "1"']
    spelled = [str(texts), json.dumps(texts), f"array({texts}, dtype=object)"]

    def of(cell: str, **names: str) -> Recorded:
        with path.open("w", newline="") as file:
            csv.writer(file).writerows([["question", "text", "finish_reason"], [QUESTIONS[0].text, cell, names.get("reason", "")]])
        return read(RecordedTeacher(files=[str(path)]))

    for each in spelled:
        assert [written.text for written in of(each).rationales[QUESTIONS[0].id]] == texts
    assert [written.finish_reason for written in of(spelled[0], reason="['stop', 'length']").rationales[QUESTIONS[0].id]] == ["stop", "length"]
    for plain in ("[1, 2]", "['a'] is a list", "[Step 1] I count."):
        assert [written.text for written in of(plain).rationales[QUESTIONS[0].id]] == [plain]
    for torn in ("['I count.'\n 'So 1']", "['I count.', 'So 1]"):  # NumPy's print of an array, which Python reads as one text
        with pytest.raises(ConfigError, match="line 2: field 'text' must be a text, or a list of texts with commas between them"):
            of(torn)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no such file": (
        {"files": ["{task}/none*.jsonl"]},
        "teacher.files must name files that exist; found none for 't/none*.jsonl' in the current folder, ",
    ),
    "no text": ({"files": ["no_text.jsonl"]}, "no_text.jsonl, line 1: field 'text' is missing"),
    "empty text": ({"files": ["empty_text.jsonl"]}, "empty_text.jsonl, line 1: field 'text' must not be empty"),
    "neither id nor question": ({"files": ["no_question.jsonl"]}, "no_question.jsonl, line 1: field 'question' is missing"),
    "strangers only": ({"files": ["strangers.jsonl"]}, "teacher.files: none of the 2 rows in "),
    "torn line": ({"files": ["torn.jsonl"]}, "torn.jsonl, line 2 is not valid JSON"),
    "unknown id": (
        {"files": ["strangers.jsonl"], "questions_file": "ids.jsonl"},
        "field 'question_id' must be an id of teacher.questions_file; got 'a'",
    ),
    "nothing but the questions": ({"files": ["ids.jsonl"], "questions_file": "ids.jsonl"}, "teacher.files must name files besides"),
    "no questions file": ({"files": ["ids.jsonl"], "questions_file": "none.jsonl"}, "teacher.questions_file must name files that exist"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_wrong_with_a_file_is_said(name: str, tmp_path: Path) -> None:
    lines(tmp_path / "no_text.jsonl", {"question": "Ann", "texts": "one"})
    lines(tmp_path / "empty_text.jsonl", {"question": "Ann", "text": " "})
    lines(tmp_path / "no_question.jsonl", {"text": "one"})
    lines(tmp_path / "strangers.jsonl", {"question_id": "a", "text": "one"}, {"question_id": "b", "text": "two"})
    lines(tmp_path / "ids.jsonl", {"question_id": "1", "question": QUESTIONS[0].text})
    (tmp_path / "torn.jsonl").write_text(json.dumps({"question": QUESTIONS[0].text, "text": "one"}) + '\n{"question": "Ann')
    settings, message = REFUSED[name]
    with pytest.raises(ConfigError) as caught:
        read(RecordedTeacher(**settings), tmp_path)
    assert message in str(caught.value)


TEACHERS = ["code001", "code002", "gpt-3.5-turbo", "gpt4", "text002", "text003"]


@pytest.mark.slow
@pytest.mark.parametrize(("task", "num_questions"), [("svamp", 700), ("multiarith", 412), ("strategyqa", 1602), ("date_understanding", 252)])
def test_the_rationales_of_six_real_teachers_find_their_questions(benchmark_data: Path, task: str, num_questions: int) -> None:
    sets = load_questions(BenchmarkTask(name=task, prompt="{question}" + ("{options}" if task == "date_understanding" else "")), [benchmark_data])
    questions = [*sets.train, *sets.validation]
    teacher = RecordedTeacher(
        files=["teacher_rationales/faithful_cot/{task}_train/*.jsonl"],
        questions_file="teacher_rationales/faithful_cot/{task}_train/questions.jsonl",
        id_field="id",
        text_field="completion",
    )
    found = read_recorded(teacher, task, questions, [benchmark_data])
    having = [each for each in found.rationales.values() if each]
    sources = Counter(written.source for each in having for written in each)
    assert sorted(sources) == TEACHERS
    assert len(set(sources.values())) == 1
    left_out = num_questions - len(having)
    assert left_out <= sets.dropped.get("duplicates", 0) + sets.dropped.get("overlap", 0) + 8, "repeated and tested questions alone have no place"
    by_id = {each.id: each for each in questions}
    stated = [
        bool(split_solution(written.text, by_id[name].answer_type, by_id[name].options)[1])
        for name, rationales in found.rationales.items()
        for written in rationales
    ]
    assert sum(stated) > 0.6 * len(stated)
