"""The model card of an exported model: its origin, its measured results, and code that uses it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cotexp.compressions import compression_of
from cotexp.invocation import run_command
from cotexp.jobs.status import read_status
from cotexp.store.stored_files import metrics_of

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

    from cotexp.models.loading import LoadedModel

MARK = "language model fine-tuned by cotexp"
"""A phrase of every export's card. Only a folder with such a card is replaced."""

CARD = """---
{front}
---

# {title}

{what}

* Made from {source}.
* Licence of those weights: {license}.
* Made by {run}, with {libraries}.
* Parameters: {parameters:,}. Weights: {dtype}, safetensors.
* Trained {num_steps} steps on {num_examples} examples ({num_supervised_tokens:,} supervised tokens), rationales by `{teacher}`, compression
  `{compression}`; step {best_step} has the lowest validation loss.
* Generates as in its evaluation: {generation} (`generation_config.json`).
* Test results of the run, measured with {measured} weights:

{results}

## Use

```python
from transformers import {auto_class}, {tokenizer_class}

folder = "{title}"  # {where}
model, tokenizer = {auto_class}.from_pretrained(folder), {tokenizer_class}.from_pretrained(folder){why_class}
prompt = "..."{asked}
inputs = {inputs}
output = model.generate(**inputs)[0]
print({printed})
```

In training, `prompt` was a question within the prompt of its task.

{prompts}
{rewriting}
## Settings

```json
{settings}
```
"""

UNKNOWN = "unknown"
"""The hub's word for a licence that is not known."""

GENERIC = "PreTrainedTokenizerFast"
"""The class of transformers that follows tokenizer.json."""

ASKED, READ, TENSORS = '[{"role": "user", "content": prompt}]', 'inputs["input_ids"][0]', '"pt"'
"""Pieces of code for the card."""

SHOWN = ("task", "model", "teacher", "selection", "compressor", "compression", "mixture", "trainer", "evaluation", "seed")
"""Settings that the card lists."""


def model_card(
    run: Path,
    title: str,
    settings: dict[str, Any],
    loaded: LoadedModel,
    *,
    dtype: str,
    made_from: str,
    libraries: dict[str, str],
    is_followed: bool,
) -> str:
    """The README.md of the exported model of a run, in Markdown. `is_followed`: AutoTokenizer reads its tokenizer as the run did."""
    from cotexp.report.disclosures import sampling_of
    from cotexp.report.document import text_table
    from cotexp.report.markdown import table_lines
    from cotexp.report.run_table import COLUMNS, rows

    model, evaluation, metrics = settings["model"], settings["evaluation"], metrics_of(run)
    tasks = ", ".join(f"`{task}`" for task in training_tasks(settings))
    return CARD.format(
        title=title,
        where=place_of(title),
        front=_front(title, settings, metrics),
        what=f"{'An encoder-decoder' if loaded.model.config.is_encoder_decoder else 'A causal'} {MARK} on {tasks}.",
        source=made_from,
        license=model.get("license") or "unknown to the run; see their source",
        run=_named(run, settings["name"]),
        libraries=", ".join(f"{name} {version}" for name, version in libraries.items()),
        parameters=sum(parameter.numel() for parameter in loaded.model.parameters()),
        teacher=settings["teacher"]["name"],
        compression=settings["compression"]["name"],
        generation=f"{sampling_of(evaluation)}, at most {evaluation['max_new_tokens']} new tokens",
        dtype=dtype,
        measured=model["dtype"],
        results="\n".join(table_lines(text_table("", COLUMNS, rows(metrics, settings)))),
        settings=json.dumps({name: settings[name] for name in SHOWN if name in settings}, indent=2),
        **{name.removeprefix("training/"): int(value) for name, value in metrics.items() if name.startswith(("training/num", "training/best_step"))},
        **_use(settings, loaded, is_followed=is_followed),
    )


def _named(run: Path, experiment: str) -> str:
    """The run and the command that makes it, without the folders of this machine, if the run knows one that a code span can hold."""
    named = f"run `{run.name}` of experiment `{experiment}`"
    status = read_status(run)
    words = [each for each in status.overrides if not each.startswith(("paths.", "--config-dir="))] if status else []
    shown = run_command(words)
    return f"{named} (`{shown}`)" if words and not {"`", "\n"} & {*shown} else named


def _use(settings: dict[str, Any], loaded: LoadedModel, *, is_followed: bool) -> dict[str, str]:
    """The pieces of the card's code, and the prompts of training."""
    return {
        "auto_class": "AutoModelForSeq2SeqLM" if loaded.model.config.is_encoder_decoder else "AutoModelForCausalLM",
        "tokenizer_class": "AutoTokenizer" if is_followed else GENERIC,
        "why_class": "" if is_followed else "  # AutoTokenizer would not follow tokenizer.json",
        "asked": _asked(settings, loaded),
        "inputs": _inputs(loaded),
        "printed": _printed(loaded),
        "prompts": _prompts(settings, loaded),
        "rewriting": _rewriting(settings),
    }


def _front(title: str, settings: dict[str, Any], metrics: Mapping[str, float]) -> str:
    """Front matter for the hub: the kind of model, licence, the source's name on the hub, and results by task and mode."""
    from huggingface_hub import ModelCardData

    model = settings["model"]
    is_on_hub = re.fullmatch(r"[\w.-]+/[\w.-]+", model["path"]) and not Path(model["path"]).exists()
    results = list(_results(settings, metrics))
    data = ModelCardData(
        model_name=title if results else None,
        library_name="transformers",
        pipeline_tag="text-generation",  # the hub's task of encoder-decoder models too, since it gave up text2text-generation
        license=model.get("license") or UNKNOWN,
        base_model=model["path"] if is_on_hub else None,
        base_model_relation="finetune" if is_on_hub else None,
        datasets=sources_on_hub(training_tasks(settings)) or None,
        metrics=["accuracy"] if results else None,
        tags=["chain-of-thought", "cotexp"],
        eval_results=results or None,
    )
    return data.to_yaml()


def _results(settings: dict[str, Any], metrics: Mapping[str, float]) -> Iterator[EvalResult]:
    """Accuracy and tokens of each task and mode of the fine-tuned model, as the hub lists results."""
    from huggingface_hub import EvalResult

    split = settings["evaluation"].get("split", "test")
    for name, value in metrics.items():
        found = re.fullmatch(r"eval/(full|compress)/([^/]+)/(accuracy|num_tokens)", name)
        if found is None:
            continue
        mode, task, metric = found.groups()
        what = "accuracy" if metric == "accuracy" else "tokens per answer"
        yield EvalResult(
            task_type="text-generation",
            dataset_type=next(iter(sources_on_hub([task])), f"cotexp:{task}"),  # no name that the hub may have given to other data
            dataset_name=task,
            dataset_split=split,
            metric_type=metric,
            metric_value=value,
            metric_name=f"{what}, {'short' if mode == 'compress' else 'full'} chains",
        )


def place_of(title: str) -> str:
    """What the title of a card names: a folder, or OWNER/NAME on the hub too."""
    return "on the hub, or the folder of this card" if "/" in title else "the folder of this card"


def training_tasks(settings: dict[str, Any]) -> list[str]:
    """The tasks that a run with these stored settings was trained on."""
    return settings["task"].get("train") or [settings["task"]["name"]]


def sources_on_hub(tasks: Sequence[str]) -> list[str]:
    """The hub's names of the data sets of these tasks, where they have one."""
    from cotexp.tasks.benchmarks import BENCHMARKS

    splits = [split for task in tasks if task in BENCHMARKS for split in BENCHMARKS[task].splits.values()]
    return list(dict.fromkeys(split.hub.name for split in splits if split.hub))


def source_of(model: dict[str, Any], manifest: dict[str, Any], base: Path | None, *, is_made: bool) -> str:
    """The model that was fine-tuned: name, revision on the hub, and hash of its content."""
    revision = model.get("revision") or (base.name if base and base.parent.name == "snapshots" else None)
    content = f"{'key of the stage that made it' if is_made else 'sha256 of its files'}: `{manifest['model']['sha256']}`"
    return f"`{model['path']}`{f', revision `{revision}`' if revision else ''} ({content})"


def _prompts(settings: dict[str, Any], loaded: LoadedModel) -> str:
    """The prompt around a training question, for each task, as the model read it."""
    tasks = settings.get("tasks") or {settings["task"]["name"]: settings["task"]}
    names = settings["task"].get("train") or tasks
    prompts = {name: loaded.encoder.readable(tasks[name]["prompt"].replace("{{", "{").replace("}}", "}")) for name in names}
    return "\n\n".join(f"`{name}`:\n\n```\n{prompt}\n```" for name, prompt in prompts.items())


def _rewriting(settings: dict[str, Any]) -> str:
    """What the model was taught as a compressor, and the prompt that asks for it; empty if it was not."""
    taught = compression_of(settings).taught(settings)
    prompt = settings["compression"].get("prompt")
    return f"\n## As a compressor\n\n{taught}. Nothing else makes it do so. The prompt was:\n\n```\n{prompt}\n```\n" if taught else ""


def _asked(settings: dict[str, Any], loaded: LoadedModel) -> str:
    """Code after the prompt that asks for a short chain of thought, or for the answer alone, with a comment."""
    kind = compression_of(settings)
    if not kind.has_short_form:
        return ""
    if instruction := settings["compression"].get("instruction"):
        full = settings["compression"].get("long_instruction")
        other = f"with {full!r} for a full one" if full else "leave it out for a full one"
        if kind.learns_labels:
            other = f"with {full!r} for a chain of thought" if full else "the model was taught nothing else"
        short = "the answer alone" if kind.learns_labels else "a short chain of thought"
        return f" + {chr(10) + instruction!r}  # this line asks for {short}; {other}"
    if ratio := settings["evaluation"].get("ratio"):
        ratios = ", ".join(map(str, settings["compression"]["ratios"]))
        form = loaded.encoder.asked(ratio=ratio)
        return f" + {form!r}  # the requested share of the tokens of a chain of thought, one of {ratios}; leave it out for a full one"
    return f" + {loaded.encoder.asked(compressed=True)!r}  # the mark asks for a short chain of thought; leave it out for a full one"


def _inputs(loaded: LoadedModel) -> str:
    """Code that encodes a prompt as the run did."""
    if loaded.tokenizer.chat_template:
        return f"tokenizer.apply_chat_template({ASKED}, add_generation_prompt=True, return_dict=True, return_tensors={TENSORS})"
    if loaded.tokenizer("a")["input_ids"] == loaded.encoder.prompt("a"):
        return f"tokenizer(prompt, return_tensors={TENSORS})"
    first = "".join(loaded.tokenizer.convert_ids_to_tokens(loaded.encoder.prefix_ids))  # the suffix would end the text to continue
    return f"tokenizer({f'{first!r} + ' if first else ''}prompt, add_special_tokens=False, return_tensors={TENSORS})"


def _printed(loaded: LoadedModel) -> str:
    """Code for the written text, as the run decodes it."""
    if loaded.model.config.is_encoder_decoder:
        return "tokenizer.decode(output, skip_special_tokens=True)"
    encoder, whole = loaded.encoder, "tokenizer.decode({}, skip_special_tokens=True)"
    written = whole.format(f"output[len({READ}) :]")
    decoded = [loaded.tokenizer.decode(encoder.text_ids(text), skip_special_tokens=True) for text in ("a", " a")]
    if decoded == ["a", " a"]:
        return written
    if decoded == ["a", "a"]:  # without the prompt, the text loses its first space
        written = f"{whole.format('output')}[len({whole.format(READ)}) :]"
    return written + (f".removeprefix({encoder.opening!r})" if encoder.opening else "")
