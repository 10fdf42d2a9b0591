"""`cotexp export --data`: the examples that a run's model was trained on, in the formats of TRL and LLaMA-Factory."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cotexp import flow
from cotexp.commands import hub
from cotexp.commands.data_card import MARK, data_card
from cotexp.commands.encode import encoder_with_mark
from cotexp.commands.export import checked_place, find_run, put
from cotexp.config import command_line, search_path
from cotexp.jobs import pipeline
from cotexp.jobs.status import read_status
from cotexp.models.encoding import Encoder
from cotexp.records import Example
from cotexp.settings.base import ConfigError
from cotexp.settings.root import outputs_words
from cotexp.stages import checkpoint
from cotexp.stages.checkpoint import Examples
from cotexp.stages.context import Context
from cotexp.store.stored_files import metrics_of, settings_of, stages_of, write_json, write_lines

Row = dict[str, Any]
SPLITS = ("train", "validation")
LLAMA_FACTORY = "llama_factory"
"""The folder of the files in LLaMA-Factory's format."""
TAGS = {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant", "system_tag": "system"}


def export_data(run: str, folder: Path | None, *, outputs: Path, push: str = "", private: bool = False) -> None:
    """Write the training and validation examples of a finished run with a data card; `folder` is OUTPUTS/exports/KEY-data by default.

    `push` is the repository OWNER/NAME of the hub that then holds the folder too. No model is loaded, only its tokenizer.
    Raises: ConfigError if there is no such run, it trained nothing, its texts are no longer there, `folder` contains something else, or the hub
    refuses it.
    """
    source = find_run(run, outputs, trained=True)
    folder = folder or outputs / "exports" / f"{source.name}-data"
    temporary = checked_place(folder, MARK)
    metrics = metrics_of(source)
    context = _context(source, outputs)
    made = _examples(source, context)
    repository = hub.find(push, "dataset", private=private, mark=MARK) if push else None
    answers = {each.id: (each.task, each.answer) for each in context.training_questions}
    encoder = encoder_with_mark(context)
    rows = {split: [_row(each, answers, context, encoder) for each in getattr(made, split)] for split in SPLITS if getattr(made, split)}
    shutil.rmtree(temporary, ignore_errors=True)
    (temporary / LLAMA_FACTORY).mkdir(parents=True)
    for split, of_split in rows.items():
        write_lines(temporary / f"{split}.jsonl", of_split)
        write_lines(temporary / LLAMA_FACTORY / f"{split}.jsonl", [{"messages": list(_messages(each))} for each in of_split])
    name = re.sub(r"\W+", "_", (push or folder.name).rpartition("/")[2]).strip("_") or "examples"
    write_json(temporary / "dataset_info.json", {f"{name}{'' if split == 'train' else '_validation'}": _declared(split) for split in rows})
    card = data_card(source.name, push or folder.name, name, settings_of(source), metrics, rows, context)
    (temporary / "README.md").write_text(card, encoding="utf-8")
    put(temporary, folder)
    if repository:
        hub.push(repository, folder)


def _context(source: Path, outputs: Path) -> Context:
    """What the run read, composed anew from the words that made it. Raises: ConfigError if they now make another training set."""
    stored = stages_of(source)
    if "checkpoint" not in stored:
        raise ConfigError(f"export: run {source} trained nothing, so it has no training set; `cotexp runs` shows what each run did")
    status = read_status(source)
    words = [each for each in status.overrides if not each.startswith("paths.outputs=")] if status else []
    folders = [each.partition("=")[2] for each in words if each.startswith("--config-dir=")]
    overrides, others = search_path.split([each for each in words if not each.startswith("--config-dir=")])
    search_path.use(next(iter(folders), None), others)
    point = command_line.only_point([*overrides, *outputs_words(outputs)])
    context = pipeline.make_context(point.settings, plan=True)
    if checkpoint.spec(context).key != stored["checkpoint"]["key"]:
        raise ConfigError(
            f"export: the command of run {source} now makes another training set, because a settings file, a file of questions or a model has "
            "changed; restore it, or run the command again and export that run"
        )
    return context


def _examples(source: Path, context: Context) -> Examples:
    """The run's examples, from stored texts alone. Raises: ConfigError if some of them are gone."""
    with flow.looking(context) as look:
        made = flow.training_set(context, flow.Walk())
    needed = {kind: look.num_missing(kind) for kind in ("rationales", "grades", "scores", "ranks", "rounds", "importances")}
    if gone := [f"{number} {kind}" for kind, number in needed.items() if number]:
        raise ConfigError(f"export: {' and '.join(gone)} of run {source} are no longer in {context.store.root}; run its command again")
    return checkpoint.make_examples(context, made.chosen, made.compressed)


def _row(example: Example, answers: dict[str, tuple[str, str]], context: Context, encoder: Encoder) -> Row:
    """An example in TRL's prompt-completion format: turns of a conversation for a chat model, else texts. What the user says ends with the mark
    or ratio that asks for the short form.
    """
    asked = encoder.readable(example.prompt) + encoder.asked(compressed=example.compressed, ratio=example.ratio)
    written = encoder.readable(example.completion)
    task, answer = answers[example.question_id]
    about = {"id": example.id, "task": task, "form": example.form, "answer": answer}
    if not encoder.tokenizer.chat_template:
        return {"prompt": asked, "completion": written, **about}
    system = context.settings.model.system_prompt
    turns = [*([{"role": "system", "content": system}] if system else []), {"role": "user", "content": asked}]
    return {"prompt": turns, "completion": [{"role": "assistant", "content": written}], **about}


def _messages(row: Row) -> Iterator[dict[str, str]]:
    """The turns of an example as one conversation."""
    for part, role in (("prompt", "user"), ("completion", "assistant")):
        yield from [{"role": role, "content": row[part]}] if isinstance(row[part], str) else row[part]


def _declared(split: str) -> dict[str, Any]:
    """What LLaMA-Factory's dataset_info.json says of one file."""
    return {"file_name": f"{LLAMA_FACTORY}/{split}.jsonl", "formatting": "sharegpt", "columns": {"messages": "messages"}, "tags": TAGS}
