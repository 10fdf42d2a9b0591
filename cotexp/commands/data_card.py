"""The data card of an exported training set: what it holds, who wrote it, what was selected and compressed, licences, and how to read it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cotexp.commands.model_card import SHOWN, UNKNOWN, place_of, sources_on_hub, training_tasks
from cotexp.report import funnel
from cotexp.report.compression_texts import compressor_of
from cotexp.report.markdown import table_lines
from cotexp.report.run_table import too_long
from cotexp.stages.context import Context, compressor_model
from cotexp.tasks.benchmarks import BENCHMARKS

MARK = "chains of thought selected and compressed by cotexp"
"""A phrase of every data card. Only a folder with such a card is replaced."""

OF_HUB = {"mit": "mit", "apache-2.0": "apache-2.0", "cc by-sa 4.0": "cc-by-sa-4.0", "cc by 4.0": "cc-by-4.0"}
"""A licence in small letters -> the hub's identifier."""
SIZES = {"n<1K": 1_000, "1K<n<10K": 10_000, "10K<n<100K": 100_000, "100K<n<1M": 1_000_000}

FORMS = {
    "full": "the chain of thought as written",
    "compress": "its short form",
    "rewrite": "a shorter chain for a longer one, as a compressor writes",
}

CARD = """---
{front}
---

# {title}

Training examples of one run: {mark}, for {tasks}.

{counts}

{too_long}* Questions: {questions}.
* Rationales by `{teacher}`, selection `{selection}`, compression `{compression}`{compressor}.{lengths}
* Made by run `{run_key}` of experiment `{experiment}`, for the tokenizer of `{model}`.
{selected}
## Licences

{licences}

The licence of the whole is theirs to allow; where one is unknown, ask its owner before you publish this set.

## Use

Each row of `train.jsonl` and `validation.jsonl` has {columns}, and `id`, `task`, `form` and the gold `answer`.{mark_note}

TRL trains on the completions alone:

```python
from datasets import load_dataset

examples = load_dataset("{title}")  # {where}
```

LLaMA-Factory reads the same examples by `dataset_info.json`: `dataset_dir: FOLDER`, `dataset: {name}`{remote}.

## Settings

```json
{settings}
```
"""


def data_card(
    run_key: str,
    title: str,
    name: str,
    settings: dict[str, Any],
    metrics: dict[str, float],
    rows: Mapping[str, Sequence[dict[str, Any]]],
    context: Context,
) -> str:
    """The README.md of an exported training set, in Markdown. `name`: what dataset_info.json calls it; `rows`: those of each split."""
    tasks = training_tasks(settings)
    licences = dict(_licences(settings, context))
    is_chat = not isinstance(rows["train"][0]["prompt"], str)
    tables = funnel.tables(metrics, settings)
    return CARD.format(
        front=_front(title, tasks, licences, rows),
        title=title,
        mark=MARK,
        tasks=", ".join(f"`{task}`" for task in tasks),
        counts="\n".join(_counts(rows)),
        too_long=f"* Too long for the run's fine-tuning, which left them out: {left_out}.\n" if (left_out := too_long(metrics)) else "",
        questions=_questions(tasks),
        teacher=settings["teacher"]["name"],
        selection=settings["selection"]["name"],
        compression=settings["compression"]["name"],
        compressor=f" by `{compressor_of(settings)}`" if context.settings.compression.asks_compressor else "",
        lengths=_lengths(metrics),
        run_key=run_key,
        experiment=settings["name"],
        model=settings["model"]["path"],
        selected="".join(f"\n## Selection\n\n{chr(10).join(table_lines(table))}\n{_notes(table.notes)}" for table in tables),
        licences="\n".join(f"* {what}: {licence}" for what, licence in licences.items()),
        columns="a `prompt` and a `completion` as turns of a conversation" if is_chat else "a `prompt` and a `completion` as texts",
        mark_note=_mark_note(settings, rows),
        where=place_of(title),
        name=name,
        remote=f", or `dataset_dir: REMOTE:{title}`" if "/" in title else "",
        settings=json.dumps({slot: settings[slot] for slot in SHOWN if slot in settings}, indent=2),
    )


def _front(title: str, tasks: Sequence[str], licences: Mapping[str, str], rows: Mapping[str, Sequence[dict[str, Any]]]) -> str:
    """Front matter for the hub. The licence is the one that all sources have, or unknown."""
    from huggingface_hub import DatasetCardData

    total = sum(map(len, rows.values()))
    known = {OF_HUB.get(licence.lower(), licence) for licence in licences.values()}
    data = DatasetCardData(
        license=known.pop() if len(known) == 1 else UNKNOWN,
        pretty_name=title,
        task_categories=["text-generation"],
        tags=["chain-of-thought", "cotexp"],
        size_categories=[next((name for name, limit in SIZES.items() if total < limit), "n>1M")],
        source_datasets=sources_on_hub(tasks) or None,
        configs=[{"config_name": "default", "data_files": [{"split": split, "path": f"{split}.jsonl"} for split in rows]}],
    )
    return data.to_yaml()


def _licences(settings: dict[str, Any], context: Context) -> Iterator[tuple[str, str]]:
    """What the texts come from, and its licence as far as it is known."""
    chosen = context.settings
    for task in training_tasks(settings):
        own = "MIT" if chosen.tasks[task].is_generated else BENCHMARKS[task].licence if task in BENCHMARKS else UNKNOWN
        yield f"questions of `{task}`{', generated by cotexp' if chosen.tasks[task].is_generated else ''}", own
    if not chosen.teacher.needs_references:  # worked solutions come with the questions
        model = chosen.model if chosen.teacher.is_student else chosen.teacher.model
        yield f"weights of the teacher `{_name_of(model, chosen.teacher.name)}`", getattr(model, "license", None) or UNKNOWN
    if chosen.compression.asks_compressor:
        model = compressor_model(chosen)
        yield f"weights of the compressor `{compressor_of(settings)}`", getattr(model, "license", None) or UNKNOWN


def _name_of(model: Any, other: str) -> str:
    return str(getattr(model, "path", other))


def _questions(tasks: Sequence[str]) -> str:
    sources = sources_on_hub(tasks)
    return f"{', '.join(f'`{task}`' for task in tasks)}{f' (on the hub: {chr(44).join(sources)})' if sources else ''}"


def _counts(rows: Mapping[str, Sequence[dict[str, Any]]]) -> Iterator[str]:
    """A table of the rows of each split by form."""
    forms = list(dict.fromkeys(row["form"] for of_split in rows.values() for row in of_split))
    yield f"| form | {' | '.join(rows)} |"
    yield f"|---|{'---:|' * len(rows)}"
    counted = {split: Counter(row["form"] for row in of_split) for split, of_split in rows.items()}
    for form in forms:
        yield f"| `{form}`: {FORMS[form]} | {' | '.join(str(counted[split][form]) for split in rows)} |"


def _lengths(metrics: Mapping[str, float]) -> str:
    if "compression/compression_ratio" not in metrics:
        return ""
    kept = metrics.get("compression/answer_kept_ratio")
    says = f"; {kept:.1%} of them still lead to their answer" if kept is not None else ""
    return (
        f" {metrics['compression/num_rationales']:,.0f} chains, with those of validation questions, have "
        f"{metrics['compression/compression_ratio']:.1%} of their tokens{says}."
    )


def _notes(notes: Sequence[str]) -> str:
    return "".join(f"\n* {note.replace(' Question by question: selection.jsonl.', '')}" for note in notes) + ("\n" if notes else "")


def _mark_note(settings: dict[str, Any], rows: Mapping[str, Sequence[dict[str, Any]]]) -> str:
    """That a token must be added, if a prompt ends with the mark."""
    mark = settings["model"].get("compress_token")
    if not mark or mark not in json.dumps(rows["train"], ensure_ascii=False):
        return ""
    return f"\nA prompt that asks for the short form ends with `{mark}`: add it to the tokenizer as a special token, and resize the embeddings."
