"""The exported examples are those of the run's training, in files that `datasets`, TRL and LLaMA-Factory read."""

from __future__ import annotations

import copy
import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from transformers import AutoTokenizer

from cotexp import flow
from cotexp.commands import arguments, cli
from cotexp.commands.encode import encoder_with_mark
from cotexp.commands.export_data import export_data
from cotexp.config import command_line
from cotexp.jobs import pipeline, questions, status
from cotexp.models import loading
from cotexp.records import Example
from cotexp.settings.base import ConfigError
from cotexp.settings.models import PretrainedModel
from cotexp.stages import checkpoint
from cotexp.stages.context import Context
from cotexp.store.stored_files import write_json


def words_of(model: Path) -> list[str]:
    """A run whose chains come with the questions and are cut, so that no model writes."""
    return [
        *("name=cut", "model=hf", f"model.path={model}", "teacher=reference", "compression=truncate", "tracking=none"),
        *("task.num_train=6", "task.num_validation=2", "task.num_test=2", "scoring.perplexity_chains=0", "scoring.answer_perplexity=false"),
    ]


def made_run(words: list[str], outputs: Path) -> tuple[Path, Context, list[Example]]:
    """A run's folder as it is before fine-tuning, which data do not need; and its training examples."""
    settings = command_line.only_point([*words, f"paths.outputs={outputs}"]).settings
    context = pipeline.prepare(settings)
    made = flow.training_set(context, flow.Walk())
    folder = pipeline.folder_of(context)
    folder.mkdir(parents=True)
    with status.recorded(folder, words):
        flow.write_training_set(made, folder)
        contents: dict[str, Any] = {"settings": dataclasses.asdict(settings), "stages": pipeline.stages_used(context)}
        for name, content in (contents | {"metrics": flow.metrics_of(context, made)}).items():
            write_json(folder / f"{name}.json", content)
    return folder, context, checkpoint.make_examples(context, made.chosen, made.compressed).train


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.slow
def test_a_chat_model_trained_on_the_export_would_read_the_ids_that_the_run_trained_on(random_model: Path, tmp_path: Path) -> None:
    _, context, examples = made_run(words_of(random_model), tmp_path / "outputs")
    export_data("cut", tmp_path / "short-chains", outputs=tmp_path / "outputs")
    rows = lines(tmp_path / "short-chains" / "train.jsonl")
    assert [row["form"] for row in rows] == ["full"] * 6 + ["compress"] * 6
    encoder = encoder_with_mark(context)
    tokenizer = copy.deepcopy(AutoTokenizer.from_pretrained(random_model))
    tokenizer.add_tokens(["<compress>"], special_tokens=True)
    for row, example in zip(rows, examples, strict=True):
        encoded = encoder.example(example.prompt, example.completion, compressed=example.compressed)
        asked = tokenizer.apply_chat_template(row["prompt"], add_generation_prompt=True, return_dict=False)
        assert asked == encoded.ids[: encoded.loss_mask.index(1)]
        whole = tokenizer.apply_chat_template([*row["prompt"], *row["completion"]], return_dict=False)
        assert whole[: len(encoded.ids)] == encoded.ids
        assert row["answer"] in row["completion"][0]["content"]
    messages = lines(tmp_path / "short-chains" / "llama_factory" / "train.jsonl")
    assert [each["messages"] for each in messages] == [[*row["prompt"], *row["completion"]] for row in rows]
    declared = json.loads((tmp_path / "short-chains" / "dataset_info.json").read_text())
    assert list(declared) == ["short_chains", "short_chains_validation"]
    for each in declared.values():
        first = lines(tmp_path / "short-chains" / each["file_name"])[0][each["columns"]["messages"]]
        assert [turn[each["tags"]["role_tag"]] for turn in first] == [each["tags"]["user_tag"], each["tags"]["assistant_tag"]]


@pytest.mark.slow
def test_datasets_loads_the_folder_by_its_card_which_says_what_is_in_it(random_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets", reason="pip install 'cotexp[hub]'")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    made_run([*words_of(random_model), "selection=random", "selection.max_rationales=4", "model.license=mit"], tmp_path / "outputs")
    export_data("cut", None, outputs=tmp_path / "outputs")
    (folder,) = (tmp_path / "outputs" / "exports").iterdir()
    loaded = datasets.load_dataset(str(folder), cache_dir=str(tmp_path / "cache"))
    assert {split: len(rows) for split, rows in loaded.items()} == {"train": 8, "validation": 4}
    assert loaded["train"][0]["prompt"][0]["role"] == "user"
    card = (folder / "README.md").read_text()
    front = yaml.safe_load(card.split("---\n")[1])
    assert (front["license"], front["task_categories"], front["size_categories"]) == ("mit", ["text-generation"], ["n<1K"])
    assert "| `compress`: its short form | 4 | 2 |" in card
    assert "## Selection" in card
    assert "| budget: 4 rationales | 4 | 2 | 67% |" in card
    assert "ends with `<compress>`: add it to the tokenizer as a special token" in card


@pytest.mark.slow
def test_a_model_without_a_chat_template_gets_texts_and_an_unknown_licence_is_said(random_model: Path, tmp_path: Path) -> None:
    model, tokenizer = loading.load_trainable(random_model, PretrainedModel(path=str(random_model)))
    tokenizer.chat_template = None
    loading.save(model, tokenizer, tmp_path / "plain")
    _, context, examples = made_run(
        [*words_of(tmp_path / "plain"), "teacher=recorded", f"teacher.files=[{recorded(tmp_path)}]"], tmp_path / "outputs"
    )
    export_data("cut", tmp_path / "texts", outputs=tmp_path / "outputs")
    row, example = lines(tmp_path / "texts" / "train.jsonl")[-1], examples[-1]
    eos = encoder_with_mark(context).tokenizer.eos_token
    assert (row["form"], row["prompt"], row["completion"]) == ("compress", f"{example.prompt}{eos}<compress>{eos}", example.completion)
    card = (tmp_path / "texts" / "README.md").read_text()
    assert "license: unknown\n" in card
    assert "* weights of the teacher `recorded`: unknown" in card


def recorded(folder: Path) -> Path:
    """A file with the worked solution of every question."""
    settings = command_line.only_point(["task.num_train=6", "task.num_validation=2", "task.num_test=2", "tracking=none"]).settings
    sets, _ = questions.load(settings)
    path = folder / "recorded.jsonl"
    rows = [{"question": each.text, "text": each.references[0]} for each in [*sets.train, *sets.validation]]
    path.write_text("".join(json.dumps(each) + "\n" for each in rows))
    return path


@pytest.mark.slow
def test_texts_that_are_gone_and_settings_that_make_other_ones_are_refused(random_model: Path, tmp_path: Path) -> None:
    words = words_of(random_model)
    source, _, _ = made_run(words, tmp_path / "outputs")
    stages = json.loads((source / "stages.json").read_text())
    (source / "stages.json").write_text(json.dumps(stages | {"checkpoint": stages["checkpoint"] | {"key": "another"}}))
    with pytest.raises(ConfigError, match="now makes another training set, because a settings file, a file of questions or a model has changed"):
        export_data("cut", tmp_path / "new", outputs=tmp_path / "outputs")
    (source / "stages.json").write_text(json.dumps({name: entry for name, entry in stages.items() if name != "checkpoint"}))
    with pytest.raises(ConfigError, match="trained nothing, so it has no training set"):
        export_data("cut", tmp_path / "new", outputs=tmp_path / "outputs")
    (source / "stages.json").write_text(json.dumps(stages))
    (rows,) = (tmp_path / "outputs" / stages["rationales/stories"]["path"]).glob("rows-*.jsonl")
    rows.write_text("".join(rows.read_text().splitlines(keepends=True)[:-2]))
    with pytest.raises(ConfigError, match=r"2 rationales and .*of run .* are no longer in .*store; run its command again"):
        export_data("cut", tmp_path / "new", outputs=tmp_path / "outputs")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    "words", [["RUN", "DIR", "--data"], ["RUN", "--data", "DIR"], ["--data", "RUN", "DIR"], ["RUN", "--push", "me/x", "DIR", "--data"]]
)
def test_the_folder_may_stand_before_and_after_options(words: list[str]) -> None:
    options = arguments.parse(["export", *words])
    assert (options.run, options.folder, options.data) == ("RUN", Path("DIR"), True)
    assert arguments.parse(["export", "RUN", "--data"]).folder is None


@pytest.mark.parametrize("words", [["RUN", "A", "B"], ["RUN", "--data", "A", "B"], ["RUN", "--wrong"], ["RUN", "--data", "x\0"]])
def test_what_is_left_over_ends_in_one_line(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        arguments.parse(["export", *words])
    assert capsys.readouterr().err.count("\n") == 1


def test_options_that_do_not_go_together_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for words, told in (
        (["export", "x", "--private"], "--private makes a new repository of --push OWNER/NAME private; add --push, or leave it out"),
        (["export", "x", "--data", "--dtype", "bfloat16"], "--dtype is the number format of a model's weights, which --data does not write"),
    ):
        with pytest.raises(SystemExit) as ended:
            cli.main(words)
        assert str(ended.value).startswith(f"cotexp: {told}")
