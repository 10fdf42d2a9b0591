"""Questions of several tasks: pooled sets, overlap between tasks, and each task's own prompt."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cotexp import flow
from cotexp.config import command_line
from cotexp.jobs import pipeline, questions
from cotexp.records import AnswerType
from cotexp.settings.base import ConfigError
from cotexp.settings.root import Settings
from cotexp.stages import made_model
from cotexp.tasks import QuestionSets
from cotexp.tasks.splits import make_question


def write(path: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(each) + "\n" for each in rows), encoding="utf-8")
    return path


def svamp(*numbers: int) -> list[dict[str, Any]]:
    return [{"Body": f"Ann has {n} apples.", "Question": "How many apples has she?", "Answer": n} for n in numbers]


def svamp_text(number: int) -> str:
    return f"Ann has {number} apples. How many apples has she?"


def multiarith(*numbers: int) -> list[dict[str, Any]]:
    return [{"sQuestion": f"Ben has {n} pears. How many?", "lSolutions": [n]} for n in numbers]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """SVAMP and MultiArith with 6 training and 3 test questions each, AQuA with 4, 3 and 2, AIME with 2 test questions."""
    folder = tmp_path / "data"
    write(folder / "svamp" / "train.jsonl", svamp(*range(6)))
    write(folder / "svamp" / "test.jsonl", svamp(100, 101, 102))
    write(folder / "multiarith" / "train.jsonl", multiarith(*range(6)))
    write(folder / "multiarith" / "test.jsonl", multiarith(100, 101, 102))
    for name, count in (("train", 4), ("dev", 3), ("test", 2)):
        rows = [{"question": f"{name} {n}?", "options": ["A)1", "B)2"], "rationale": f"It is {n}.", "correct": "B"} for n in range(count)]
        write(folder / "aqua" / f"{name}.jsonl", rows)
    write(folder / "aime24" / "test.jsonl", [{"problem": f"Find {n}.", "answer": str(n)} for n in (7, 8)])
    return folder


def load(data: Path, *overrides: str) -> tuple[QuestionSets, dict[str, Any], Settings]:
    arguments = ["experiment=none", f"paths.data={data}", f"paths.outputs={data / 'outputs'}", "task.num_validation=2", *overrides]
    settings = command_line.check_command_line(arguments, multirun=False)[0]
    sets, prompts = questions.load(settings)
    return sets, dict(prompts), settings


def texts(sets: QuestionSets, split: str) -> list[str]:
    return [each.text for each in sets[split]]


def test_training_and_test_questions_of_several_tasks_are_pooled_in_the_order_of_the_names(data: Path) -> None:
    sets, prompts, _ = load(data, "task=svamp", "task.train=[multiarith,svamp]", "evaluation.tasks=[svamp,aime24]")
    assert [each.task for each in sets.train] == ["multiarith"] * 4 + ["svamp"] * 4
    assert [each.task for each in sets.validation] == ["multiarith"] * 2 + ["svamp"] * 2
    assert [each.task for each in sets.test] == ["svamp"] * 3 + ["aime24"] * 2
    assert set(prompts) == {"multiarith", "svamp", "aime24"}
    every = [each.id for split in ("train", "validation", "test") for each in sets[split]]
    assert len(set(every)) == len(every)


def test_a_task_that_is_only_evaluated_gives_no_training_question_and_the_other_way_round(data: Path) -> None:
    sets, _, _ = load(data, "task=svamp", "task.train=[svamp]", "evaluation.tasks=[multiarith]")
    assert {each.task for each in [*sets.train, *sets.validation]} == {"svamp"}
    assert {each.task for each in sets.test} == {"multiarith"}


def test_a_training_question_that_another_task_tests_is_dropped_and_counted_however_it_is_written(data: Path) -> None:
    write(data / "multiarith" / "test.jsonl", [*multiarith(100), {"sQuestion": "  ANN has 3  apples. How many apples has she? ", "lSolutions": [3]}])
    apart, _, _ = load(data, "task=svamp")
    sets, _, _ = load(data, "task=svamp", "evaluation.tasks=[svamp,multiarith]")
    trained = {*texts(sets, "train"), *texts(sets, "validation")}
    assert {*texts(apart, "train"), *texts(apart, "validation")} - trained == {svamp_text(3)}
    assert (apart.dropped["overlap"], sets.dropped["overlap"]) == (0, 1)
    assert len(sets.test) == 5, "test questions are never dropped"


def test_a_validation_question_that_another_task_tests_is_dropped_and_counted_as_well(data: Path, tmp_path: Path) -> None:
    own = {
        "file": [{"question": f"What is {n} plus 1?", "answer": n + 1} for n in range(5)],
        "validation_file": [{"question": svamp_text(101), "answer": 101}, {"question": "What is 50 plus 1?", "answer": 51}],
        "test_file": [{"question": "What is 4 plus 1?", "answer": 5}, {"question": "What is 9 plus 1?", "answer": 10}],
    }
    files = [f"task.{name}={write(tmp_path / f'{name}.jsonl', rows)}" for name, rows in own.items()]
    sets, _, _ = load(data, "task=custom", *files, "evaluation.tasks=[custom,svamp]")
    assert texts(sets, "validation") == ["What is 50 plus 1?"]
    assert sorted(texts(sets, "train")) == [f"What is {n} plus 1?" for n in range(4)]
    assert sets.dropped["overlap"] == 2, "one of the training file, which the task's own test file holds, and one of the validation file"


def test_every_question_to_train_on_is_taken_or_counted(data: Path) -> None:
    write(data / "svamp" / "train.jsonl", svamp(0, 1, 2, 3, 3, 100, 101))
    write(data / "multiarith" / "train.jsonl", [*multiarith(0, 1, 2, 0), {"sQuestion": svamp_text(102), "lSolutions": [102]}])
    sets, _, _ = load(data, "task=svamp", "task.train=[svamp,multiarith]", "evaluation.tasks=[svamp]")
    assert sets.dropped == {"duplicates": 2, "overlap": 3}
    assert len(sets.train) + len(sets.validation) + sum(sets.dropped.values()) == 7 + 5


def test_a_question_that_two_tasks_test_stays_in_both(data: Path) -> None:
    write(data / "multiarith" / "test.jsonl", [{"sQuestion": svamp_text(100), "lSolutions": [100]}])
    sets, _, _ = load(data, "task=svamp", "evaluation.tasks=[svamp,multiarith]")
    assert texts(sets, "test").count(svamp_text(100)) == 2
    assert {each.task for each in sets.test if each.text == svamp_text(100)} == {"svamp", "multiarith"}


def test_every_task_asks_in_its_own_words(data: Path) -> None:
    sets, prompts, settings = load(data, "task=svamp", "task.prompt='Q: {question}'", "task.train=[svamp,aqua]", "evaluation.tasks=[svamp,aqua]")
    first = {name: next(each for each in sets.train if each.task == name) for name in ("svamp", "aqua")}
    assert prompts["svamp"](first["svamp"]) == f"Q: {first['svamp'].text}"
    assert prompts["aqua"](first["aqua"]).startswith(f"{first['aqua'].text}\n(A) 1\n(B) 2\n")
    assert settings.tasks["aqua"].prompt != settings.task.prompt


def test_worked_examples_come_from_each_tasks_own_training_questions_which_lose_them(data: Path) -> None:
    alone, _, _ = load(data, "task=aqua")
    sets, prompts, _ = load(data, "task=aqua", "task.few_shot=1", "task.num_train=10")
    (shown,) = {*texts(alone, "train")} - {*texts(sets, "train")}
    asked = prompts["aqua"](sets.test[0])
    assert asked.startswith(f"{shown}\n(A) 1\n(B) 2\n")
    assert asked.index("The answer is (B).") < asked.index(sets.test[0].text)


def run_key_and_stages(data: Path, model: Path, *overrides: str) -> tuple[str, dict[str, str]]:
    """The run's key and those of its stages."""
    arguments = ["experiment=none", "model=hf", f"model.path={model}", "compressor=self", "task.num_validation=2", f"paths.data={data}"]
    settings = command_line.check_command_line([*arguments, f"paths.outputs={data / 'outputs'}", *overrides], multirun=False)[0]
    context = pipeline.make_context(settings, plan=True)
    return pipeline.run_key(context), {name: spec.key for name, spec in flow.specs_of(context).items()}


@pytest.mark.slow
@pytest.mark.parametrize("changed", ["file", "test_file", "few_shot_file"])
def test_the_content_of_a_users_file_is_part_of_the_keys_and_its_place_is_not(changed: str, data: Path, tmp_path: Path, random_model: Path) -> None:
    own = {
        "file": [{"question": f"What is {n} plus 1?", "answer": n + 1} for n in range(5)],
        "test_file": [{"question": "What is 9 plus 1?", "answer": 10}],
        "few_shot_file": [{"question": "What is 1 plus 1?", "solution": "The answer is 2."}],
    }

    def keys(folder: str) -> tuple[str, dict[str, str]]:
        files = [f"task.{name}={write(tmp_path / folder / f'{name}.jsonl', rows)}" for name, rows in own.items()]
        return run_key_and_stages(data, random_model, "task=custom", "task.few_shot=1", *files)

    before = keys("here")
    assert keys("there") == before
    own[changed][0] = {name: f"{value} 7" if name == "solution" else value for name, value in {**own[changed][0], "answer": 7}.items()}
    run_key, stages = keys("there")
    assert run_key != before[0]
    same = {name for name, key in stages.items() if key == before[1][name]}
    ledgers = ("rationales", "grades/rationales", "rounds", "perplexity", "answer_perplexity", "predictions/base", "grades/base")
    texts_of_base = {f"{each}/custom" for each in ledgers}
    expected = {
        "file": texts_of_base,
        "test_file": set(stages) - {f"latency/{mode}" for mode in ("base", "full", "compress")},
        "few_shot_file": set(),
    }
    assert same - {"latency/base"} == expected[changed], "rows of questions lie side by side; another prompt or another model makes other ledgers"


@pytest.mark.slow
def test_the_order_and_choice_of_evaluated_tasks_change_no_stage_of_a_task(data: Path, random_model: Path) -> None:
    chosen = ["task=svamp", "task.train=[multiarith,svamp]"]
    one, other, alone = (
        run_key_and_stages(data, random_model, *chosen, f"evaluation.tasks=[{names}]") for names in ("svamp,aime24", "aime24,svamp", "svamp")
    )
    assert len({one[0], other[0], alone[0]}) == 3
    untimed = [{name: key for name, key in stages.items() if not name.startswith("latency/")} for _, stages in (one, other, alone)]
    assert untimed[0] == untimed[1]
    assert untimed[2].items() <= untimed[0].items()


def test_a_task_to_train_on_without_training_questions_is_refused_by_name(data: Path) -> None:
    with pytest.raises(ConfigError, match=r"task\.train must name tasks with training questions; aime24 has none"):
        load(data, "task=svamp", "task.train=[svamp,aime24]")


@pytest.mark.parametrize("lacking", ["file", "validation_file"])
def test_worked_solutions_can_teach_only_where_every_question_has_one(data: Path, tmp_path: Path, lacking: str) -> None:
    """Training and validation questions both need a rationale."""
    arguments = ["task=custom", "teacher=reference", "task.solution_field=solution"]
    for number, name in enumerate(("file", "validation_file", "test_file")):
        rows: list[dict[str, Any]] = [{"question": f"{number}-{n}?", "answer": n, "solution": f"It is {n}."} for n in range(6)]
        if name == lacking:
            del rows[2]["solution"], rows[3]["solution"]
        arguments.append(f"task.{name}={write(tmp_path / f'{name}.jsonl', rows)}")
    arguments.append("task.num_validation=6")
    with pytest.raises(ConfigError, match=r"teacher=reference needs a worked solution for .*; custom has questions without one"):
        load(data, *arguments)


def test_a_custom_task_with_test_questions_alone_is_evaluated_whole_while_another_one_trains(data: Path) -> None:
    own = write(data / "own.jsonl", [{"question": f"What is {n} plus 1?", "answer": n + 1} for n in range(3)])
    sets, _, _ = load(data, "task=custom", f"task.test_file={own}", "task.train=[svamp]", "evaluation.tasks=[custom]")
    assert {each.task for each in sets.train} == {"svamp"}
    assert texts(sets, "test") == ["What is 0 plus 1?", "What is 1 plus 1?", "What is 2 plus 1?"]
    with pytest.raises(ConfigError, match=r"task\.train must name tasks with training questions; custom has none"):
        load(data, "task=custom", f"task.test_file={own}")


def test_a_question_that_two_tasks_hold_trains_once_and_never_validates_too(data: Path) -> None:
    shared = [{"question": svamp_text(n), "answer": n} for n in range(6)]
    own = write(data / "own.jsonl", [*shared, *({"question": f"Own {n}?", "answer": n} for n in range(6))])
    other = write(data / "other.jsonl", [{"question": "Other?", "answer": 1}])
    sets, _, _ = load(data, "task=custom", f"task.file={own}", f"task.test_file={other}", "task.train=[custom,svamp]")
    train, validation = texts(sets, "train"), texts(sets, "validation")
    assert len(train) == len(set(train))
    assert not set(train) & set(validation)
    assert sum(sets.dropped.values()) == 18 - len(train) - len(validation)


def test_counts_examples_and_seed_hold_for_every_task_that_is_drawn_from_files(data: Path) -> None:
    _, _, settings = load(data, "task=svamp", "task.train=[svamp,multiarith]", "task.num_test=2", "task.seed=3")
    assert [(each.num_test, each.num_validation, each.seed) for each in settings.tasks.values()] == [(2, 2, 3), (2, 2, 3)]
    shots = write(data / "shots.jsonl", [{"question": "1 + 1?", "solution": "The answer is 2."}])
    _, prompts, _ = load(data, "task=svamp", "evaluation.tasks=[svamp,multiarith]", "task.few_shot=1", f"task.few_shot_file={shots}")
    assert all("1 + 1?" in each.shots for each in prompts.values())


def test_a_data_folder_that_is_none_is_refused_before_the_hub_is_asked(data: Path) -> None:
    with pytest.raises(ConfigError, match=r"paths\.data \(or COTEXP_DATA\) must be a folder with benchmark files; got '.*nowhere'"):
        load(data, "task=svamp", f"paths.data={data / 'nowhere'}")


def test_a_revision_of_the_hub_is_refused_where_other_files_would_be_read(data: Path) -> None:
    with pytest.raises(ConfigError, match=r"task\.revision=abc requests the hub's copy, but the existing .*svamp/train\.jsonl comes from elsewhere"):
        load(data, "task=svamp", "task.revision=abc")
    write(data / "svamp" / "source.json", [{"splits": [{"file": f"svamp/{each}.jsonl", "commit": "abcdef"} for each in ("train", "test")]}])
    sets, _, _ = load(data, "task=svamp", "task.revision=abc")
    assert len(sets.test) == 3


def test_a_tokenizer_made_from_other_questions_is_another_model(data: Path) -> None:
    keys = set()
    for number in (1, 2):
        rows = [{"question": f"What is {n} plus {number}?", "answer": n, "solution": f"It is {n}."} for n in range(9)]
        own = write(data / f"own{number}.jsonl", rows)
        arguments = ["task=custom", f"task.file={own}", "task.num_test=2", "task.solution_field=solution", "model=scratch", "teacher=reference"]
        sets, prompts, settings = load(data, *arguments, "compression=none", "trainer.tuning=full")
        keys.add(made_model.spec(settings, sets, prompts).key)
    assert len(keys) == 2


@pytest.mark.parametrize(("answer_type", "num_steps"), [("integer", 1), ("latex", 3)])
def test_steps_are_calculations_where_answers_are_numbers_and_sentences_elsewhere(answer_type: AnswerType, num_steps: int) -> None:
    solution = "Let $x = 2y$.\nThen 2 + 3 = 5.\nSo $y$ is 5.\nThe answer is $5$."
    asked = make_question("t", text="What is y?", answer="5", answer_type=answer_type, references=[solution])
    context: Any = SimpleNamespace(training_questions=[asked], questions=SimpleNamespace(test=[]))
    assert pipeline._what_was_asked(context)[asked.id]["num_steps"] == num_steps
