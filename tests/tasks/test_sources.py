"""Where files come from: data folders, and a hub copy (here a local folder that `datasets` loads)."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from refusals import refusal

from cotexp.store.stored_files import read_lines
from cotexp.tasks import BenchmarkTask, data_folders, load_questions, sources
from cotexp.tasks.benchmarks import BENCHMARKS, Benchmark, HubCopy, Split
from cotexp.tasks.pinned_files import RECIPES

GSM = [{"question": f"What is {n} plus 1?", "answer": f"One more.\n#### {n + 1}"} for n in range(12)]


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(map(json.dumps, rows)) + "\n", encoding="utf-8")


def task(name: str = "gsm8k", **more: Any) -> BenchmarkTask:
    return BenchmarkTask(name=name, **{"num_validation": 2, **more})


# --- data folders -----------------------------------------------------------------------------------------------------------


def test_earlier_folders_win_and_each_split_is_found_by_itself(tmp_path: Path) -> None:
    write_rows(tmp_path / "a/gsm8k/test.jsonl", GSM[:2])
    write_rows(tmp_path / "b/gsm8k/test.jsonl", GSM[:5])
    write_rows(tmp_path / "b/gsm8k/train.jsonl", GSM[5:])
    sets = load_questions(task(), [tmp_path / "a", tmp_path / "b"])
    assert [len(each) for each in (sets.train, sets.validation, sets.test)] == [5, 2, 2]


def test_local_files_are_read_without_the_libraries_of_the_hub(tmp_path: Path) -> None:
    write_rows(tmp_path / "gsm8k/test.jsonl", GSM[:2])
    write_rows(tmp_path / "gsm8k/train.jsonl", GSM[2:])
    program = (
        "import sys; from pathlib import Path; from cotexp.tasks import BenchmarkTask; from cotexp.tasks import load_questions; "
        "load_questions(BenchmarkTask(name='gsm8k', num_validation=2), [Path(sys.argv[1])]); "
        "print({'datasets', 'huggingface_hub', 'pandas', 'torch', 'transformers'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_missing_file_names_the_ways_to_get_it(tmp_path: Path) -> None:
    write_rows(tmp_path / "multiarith/train.jsonl", [])
    message = refusal(load_questions, task("multiarith"), [tmp_path])
    assert "task=multiarith needs multiarith/test.jsonl in a data folder" in message
    for way in ("paths.data=FOLDER", "COTEXP_DATA", "cotexp fetch multiarith", "network", str(tmp_path)):
        assert way in message


def test_without_any_folder_nothing_is_downloaded() -> None:
    assert "task=gsm8k needs gsm8k/train.jsonl" in refusal(load_questions, task(), [])


def test_an_unknown_task_is_refused_with_a_near_name() -> None:
    assert "task.name must be one of gsm8k, math500" in refusal(load_questions, task("gsm8"), [])
    assert "(did you mean 'gsm8k'?)" in refusal(load_questions, task("gsm8"), [])


def test_paths_data_comes_before_the_environment_and_downloads_go_to_outputs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COTEXP_DATA", raising=False)
    assert data_folders(None, "out") == [Path("out/data")]
    monkeypatch.setenv("COTEXP_DATA", "/env")
    assert data_folders(None, "out") == [Path("/env"), Path("out/data")]
    assert data_folders("mine", "out") == [Path("mine"), Path("out/data")]


def test_aime_has_test_questions_alone(tmp_path: Path) -> None:
    write_rows(tmp_path / "aime24/test.jsonl", [{"problem": "Find.", "answer": "025"}])
    sets = load_questions(task("aime24"), [tmp_path])
    assert (sets.train, sets.validation, len(sets.test)) == ([], [], 1)
    assert "task.few_shot must be at most 0" in refusal(load_questions, task("aime24", few_shot=1), [tmp_path])


def test_the_whole_training_set_of_aqua_wins_over_the_part(tmp_path: Path) -> None:
    def row(text: str) -> dict[str, Any]:
        return {"question": text, "options": ["A)1", "B)2"], "correct": "A"}

    write_rows(tmp_path / "aqua/dev.jsonl", [row("dev 1"), row("dev 2")])
    write_rows(tmp_path / "aqua/test.jsonl", [row("test")])
    write_rows(tmp_path / "aqua/train_flan_subset.jsonl", [{"question": "part\nOptions:\n(A) 1\n(B) 2", "answer": "(A)"}])
    aqua = task("aqua", prompt="{question} {options}")
    assert [each.text for each in load_questions(aqua, [tmp_path]).train] == ["part"]
    write_rows(tmp_path / "aqua/train.jsonl", [row("whole")])
    assert [each.text for each in load_questions(aqua, [tmp_path]).train] == ["whole"]
    assert "task.prompt must contain {options}, because aqua is multiple choice" in refusal(load_questions, task("aqua"), [tmp_path])


@pytest.mark.slow
def test_all_real_tasks_load_with_disjoint_splits_and_nothing_uncounted(benchmark_data: Path) -> None:
    dropped = {}
    for name, benchmark in BENCHMARKS.items():
        prompt = {"prompt": "{question} {options}"} if benchmark.answer_type == "choice" else {}
        sets = load_questions(task(name, num_validation=64, **prompt), [benchmark_data])
        ids = [each.id for split in ("train", "validation", "test") for each in sets[split]]
        assert len(ids) == len(set(ids)), name
        assert len(sets.validation) == (64 if "train" in benchmark.splits else 0)
        paths = {split: sources.find_file(facts, [benchmark_data]) for split, facts in benchmark.splits.items()}
        num_rows = {split: len(path.read_bytes().splitlines()) for split, path in paths.items() if path}
        assert len(sets.test) == num_rows["test"], "no test question is ever dropped"
        held_back = 0 if "validation" in num_rows else len(sets.validation)
        assert len(sets.train) + held_back + sum(sets.dropped.values()) == num_rows.get("train", 0), name
        dropped[name] = sets.dropped
    assert dropped["multiarith"] == {"duplicates": 12, "overlap": 5}
    assert dropped["strategyqa"] == {"overlap": 1}


# --- the hub ----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def hub_folder(tmp_path: Path) -> Path:
    """A dataset repository of JSON Lines as a folder."""
    write_rows(tmp_path / "hub/main/train.jsonl", GSM[:8])
    write_rows(tmp_path / "hub/main/test.jsonl", GSM[8:])
    return with_card(tmp_path / "hub", "main", {"train": "main/train.jsonl", "test": "main/test.jsonl"})


def with_card(folder: Path, config: str, files: dict[str, str]) -> Path:
    listed = [{"config_name": config, "data_files": [{"split": split, "path": path} for split, path in files.items()]}]
    (folder / "README.md").write_text(f"---\nconfigs: {json.dumps(listed)}\n---\n")
    return folder


def on_hub(folder: Path | str, *, num_test: int = 4) -> Benchmark:
    splits = {
        "train": Split(("gsm8k/train.jsonl",), 8, HubCopy(str(folder), "train", "main")),
        "test": Split(("gsm8k/test.jsonl",), num_test, HubCopy(str(folder), "test", "main")),
    }
    return dataclasses.replace(BENCHMARKS["gsm8k"], splits=splits)


def test_a_hub_copy_becomes_json_lines_with_a_record_of_its_source(hub_folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "data"
    written = sources.from_hub("gsm8k", on_hub(hub_folder), None, target)
    assert written == [target / "gsm8k/train.jsonl", target / "gsm8k/test.jsonl"]
    assert [read_lines(path) for path in written] == [GSM[:8], GSM[8:]]
    record = json.loads((target / "gsm8k/source.json").read_bytes())
    assert [(each["split"], each["hub"], each["num_rows"], each["commit"]) for each in record["splits"]] == [
        ("train", str(hub_folder), 8, None),
        ("test", str(hub_folder), 4, None),
    ]
    assert record["splits"][0]["sha256"] == hashlib.sha256(written[0].read_bytes()).hexdigest()
    assert sorted(each.name for each in target.rglob("*")) == ["gsm8k", "source.json", "test.jsonl", "train.jsonl"], "nothing else is left"


def test_loading_downloads_only_the_split_that_is_missing(hub_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BENCHMARKS, "gsm8k", on_hub(hub_folder))
    own, outputs = tmp_path / "own", tmp_path / "outputs/data"
    write_rows(own / "gsm8k/test.jsonl", [{"question": "Mine?", "answer": "#### 1"}])
    sets = load_questions(task(), [own, outputs])
    assert [each.text for each in sets.test] == ["Mine?"]
    assert (len(sets.train), len(sets.validation)) == (6, 2)
    assert [path.name for path in sorted(outputs.glob("gsm8k/*"))] == ["source.json", "train.jsonl"]
    (hub_folder / "README.md").unlink()
    assert load_questions(task(), [own, outputs]) == sets, "the second time the hub is not asked"


def test_a_flat_parquet_copy_reads_like_the_original_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow
    from pyarrow import parquet

    rows = [{"question": f"Q{n}", "choices": {"label": ["1", "2"], "text": ["x", "é"]}, "answerKey": "2"} for n in range(5)]
    folder = tmp_path / "hub"
    folder.mkdir()
    parquet.write_table(pyarrow.Table.from_pylist(rows), folder / "validation.parquet")
    with_card(folder, "flat", {"validation": "validation.parquet"})
    split = Split(("commonsense_qa/dev.jsonl",), 5, HubCopy(str(folder), "validation", "flat"))
    monkeypatch.setitem(BENCHMARKS, "commonsense_qa", dataclasses.replace(BENCHMARKS["commonsense_qa"], splits={"test": split}))
    sets = load_questions(task("commonsense_qa", prompt="{question} {options}"), [tmp_path / "data"])
    assert [(each.text, each.answer, each.options) for each in sets.test] == [(f"Q{n}", "B", {"A": "x", "B": "é"}) for n in range(5)]


def test_a_hub_copy_with_another_row_count_is_refused_and_nothing_is_written(hub_folder: Path, tmp_path: Path) -> None:
    message = refusal(sources.from_hub, "gsm8k", on_hub(hub_folder, num_test=1319), None, tmp_path / "data")
    assert "the test split of" in message
    assert "must have 1319 rows, the official count; got 4" in message
    assert list((tmp_path / "data").iterdir()) == []


@pytest.mark.parametrize(("name", "reason"), [("nobody/no-such-set", "offline"), ("hub", "")])
def test_a_hub_that_cannot_be_reached_is_one_line_with_a_next_step(hub_folder: Path, tmp_path: Path, name: str, reason: str) -> None:
    if name == "hub":
        (hub_folder / "main/train.jsonl").unlink()
    place = str(hub_folder) if name == "hub" else name
    message = refusal(sources.from_hub, "gsm8k", on_hub(place), None, tmp_path / "data")
    assert f"task=gsm8k: {place} could not be loaded from the Hugging Face hub" in message
    assert reason in message
    assert "paths.data=FOLDER" in message
    assert list((tmp_path / "data").iterdir()) == []


def test_the_table_names_a_hub_copy_for_every_task_that_has_no_pinned_files() -> None:
    for name, benchmark in BENCHMARKS.items():
        assert name in RECIPES or all(split.hub for split in benchmark.splits.values()), name
    assert RECIPES.keys() - {name for name, benchmark in BENCHMARKS.items() if not any(split.hub for split in benchmark.splits.values())} == {"svamp"}


def test_a_task_without_pinned_files_is_fetched_from_the_hub(hub_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BENCHMARKS, "gsm8k", on_hub(hub_folder))
    target = tmp_path / "data"
    assert len(sources.fetch("gsm8k", target)) == 2
    assert sources.fetch("gsm8k", target) == []
