"""`cotexp export`: a fine-tuned model as an ordinary transformers folder."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cotexp import durable
from cotexp.jobs.disk import check_writable
from cotexp.jobs.stored_files import Damaged, metrics_of, read_json, settings_of, stages_of, understood
from cotexp.report.finished_runs import name_of
from cotexp.sections import ConfigError, broken_path

if TYPE_CHECKING:
    from transformers import GenerationConfig

    from cotexp.model_settings import PretrainedModel
    from cotexp.models.loading import LoadedModel

MARK = "language model fine-tuned by cotexp"
"""Stands in the card of every export, and nowhere else: only such a folder is replaced."""

CARD = """---
library_name: transformers
{front}tags: [chain-of-thought]
---

# {title}

{what}

* Made from {source}.
* Licence of those weights: {license}.
* Made by run `{run_key}` of experiment `{experiment}` (`python run.py experiment={experiment}` with the settings below), with {libraries}.
* Parameters: {parameters:,}. Weights: {dtype}, safetensors.
* Trained {num_steps} steps on {num_examples} examples ({num_supervised_tokens:,} supervised tokens), rationales by `{teacher}`, compression
  `{compression}`; step {best_step} has the lowest validation loss.
* Generates as it was evaluated: {generation} (`generation_config.json`).
* Test results, as the run measured them with {measured} weights:

{results}

## Use

```python
from transformers import {auto_class}, {tokenizer_class}

folder = "{title}"  # where this card lies
model, tokenizer = {auto_class}.from_pretrained(folder), {tokenizer_class}.from_pretrained(folder){why_class}
prompt = "..."{asked}
inputs = {inputs}
output = model.generate(**inputs)[0]
print({printed})
```

In training, `prompt` held a question as each task's prompt puts it.

{prompts}

## Settings that differ from the defaults or matter most

```json
{settings}
```
"""

GENERIC = "PreTrainedTokenizerFast"
"""The class of transformers that does what a tokenizer.json says."""

ASKED, READ, TENSORS = '[{"role": "user", "content": prompt}]', 'inputs["input_ids"][0]', '"pt"'
"""Pieces of the card's code."""

SHOWN = ("task", "model", "teacher", "selection", "compressor", "compression", "mixture", "trainer", "evaluation", "seed")
"""Settings that the card lists."""


def export_model(run: str, folder: Path, *, dtype: str, outputs: Path) -> None:
    """Merge, convert and write the fine-tuned model of a finished run, with tokenizer, chat template, generation settings and model card.

    Raises: ConfigError when there is no such run, it trained nothing, its model has changed since, or `folder` holds something else.
    """
    source = find_run(run, outputs, trained=True)
    card = folder / "README.md"
    if folder.exists() and not (card.is_file() and MARK in card.read_text()):
        raise ConfigError(f"export: {folder} exists and is no earlier export; name another folder")
    temporary = folder.with_name(f".{folder.name}.new")
    if problem := broken_path(temporary.name):
        raise ConfigError(f"export: FOLDER {problem}, five of them for the unfinished one; got {folder.name!r}")
    check_writable(folder.absolute().parent, "export: the folder")
    settings: dict[str, Any] = settings_of(source)
    stages = stages_of(source)
    metrics_of(source)  # the card shows them
    with understood(source):
        checkpoint = _checkpoint(source, settings, stages, outputs)
    manifest = read_json(checkpoint / "manifest.json", "model", "libraries")
    base = outputs / stages["model"]["path"] if "model" in stages else _base_folder(settings, manifest, checkpoint)
    import torch

    from cotexp.jobs.disk import check_unchanged
    from cotexp.models import loading

    for each in filter(None, (checkpoint, base)):
        check_unchanged(each)
    loaded = loading.load(checkpoint, _model_settings(settings), base_folder=base)
    loaded.model.generation_config = _generation_config(loaded, settings["evaluation"])
    shutil.rmtree(temporary, ignore_errors=True)
    loading.save(loaded.model, loaded.tokenizer, temporary, dtype=getattr(torch, dtype))
    made_from = _source(settings["model"], manifest, base, is_made="model" in stages)
    is_followed = _is_followed(temporary)
    (temporary / "README.md").write_text(_card(source, folder.name, settings, dtype, loaded, made_from, manifest["libraries"], is_followed))
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    durable.put(temporary, folder)
    if not is_followed:
        print(f"{folder}: transformers' AutoTokenizer does not keep to tokenizer.json for such a model; {GENERIC} does, as the card says")
    print(f"Wrote {folder} ({sum(path.stat().st_size for path in folder.iterdir()) / 1e6:.1f} MB)")


def _is_followed(folder: Path) -> bool:
    """Whether AutoTokenizer reads the tokenizer in `folder` as the run did: for some kinds of models it has rules of its own."""
    from transformers import AutoTokenizer

    from cotexp.models.tokenizer import TOKENIZER_FILE, follows

    try:
        return follows(AutoTokenizer.from_pretrained(folder), folder / TOKENIZER_FILE)
    except (TypeError, ValueError):  # a class that cannot hold this vocabulary, or code of the model's own that was not asked for
        return not (folder / TOKENIZER_FILE).is_file()


def _checkpoint(source: Path, settings: dict[str, Any], stages: dict[str, Any], outputs: Path) -> Path:
    """The folder of the run's fine-tuned model, or its adapter."""
    if "checkpoint" not in stages:
        why = f"compression={settings['compression']['name']}, evaluation.modes={settings['evaluation']['modes']}"
        raise ConfigError(f"export: run {source} trained nothing ({why}); its model is {settings['model']['path']} as it is")
    checkpoint = outputs / stages["checkpoint"]["path"]
    if not (checkpoint / "manifest.json").is_file():
        raise ConfigError(f"export: the fine-tuned model of {source} is not in {checkpoint}; give --outputs, or run its command again")
    return checkpoint


def _model_settings(settings: dict[str, Any]) -> PretrainedModel:
    """Those of the run's model that decide its form; merged in float32 on the CPU."""
    from cotexp.model_settings import PretrainedModel

    names = (
        "path",
        "revision",
        "compress_token",
        "trust_remote_code",
        "literal_encoding",
        "system_prompt",
        "stop_tokens",
        "context_length",
        "license",
    )
    stored = {name: settings["model"][name] for name in names if name in settings["model"]}
    return PretrainedModel(**stored, device="cpu")


def find_run(run: str, outputs: Path, *, trained: bool = False) -> Path:
    """The folder of a finished run, by path, by its key or the first digits of it, or by the experiment's name: its newest, or with `trained`
    its newest that has a model, if any.
    """
    if (Path(run) / "stages.json").is_file():
        return Path(run)
    finished = sorted((outputs / "runs").rglob("stages.json"), key=lambda path: path.stat().st_mtime)
    found = [each for each in finished if name_of(each.parent, outputs) == run]
    if not found:
        found = [each for each in finished if each.parent.name.startswith(run)]
        if len(found) != 1:
            fitting = f"{len(found)} runs begin with it" if found else "there is none"
            raise ConfigError(
                f"RUN must be the folder, key or experiment of a finished run under {outputs / 'runs'}; got {run!r} ({fitting}); "
                "`cotexp runs` lists them"
            )
    with_model = [each for each in found if _has_model(each.parent)] if trained else []
    return (with_model or found)[-1].parent


def _has_model(folder: Path) -> bool:
    try:
        return "checkpoint" in stages_of(folder)
    except Damaged:
        return False


def _base_folder(settings: dict[str, Any], manifest: dict[str, Any], checkpoint: Path) -> Path | None:
    """The folder of the model that was fine-tuned. A whole checkpoint does not need it: None when it is gone, or another by now."""
    from cotexp.models import identity

    is_adapter = (checkpoint / "adapter_config.json").is_file()
    try:
        files = identity.find(_model_settings(settings), download=is_adapter)
    except ConfigError:
        if is_adapter:
            raise
        return None
    if files.sha256 == manifest["model"]["sha256"]:
        return files.folder
    if is_adapter:
        raise ConfigError(f"export: the model in {files.folder} is not the one that this run's adapter was trained on; restore it, or run again")
    return None


def _generation_config(loaded: LoadedModel, evaluation: dict[str, Any]) -> GenerationConfig:
    """Generation as it was evaluated: greedy, or drawn from the whole vocabulary; no penalty that the source's own settings may hold."""
    from transformers import GenerationConfig

    from cotexp.models.loading import generation_stop_ids

    own, temperature = loaded.model.generation_config, evaluation.get("temperature")
    pad_id = loaded.tokenizer.pad_token_id
    return GenerationConfig(
        bos_token_id=own.bos_token_id,
        decoder_start_token_id=own.decoder_start_token_id,
        eos_token_id=sorted(generation_stop_ids(loaded)),
        pad_token_id=loaded.encoder.eos_id if pad_id is None else pad_id,
        max_new_tokens=evaluation["max_new_tokens"],
        **({"do_sample": True, "temperature": temperature, "top_k": 0, "top_p": 1.0} if temperature else {"do_sample": False}),
    )


def _card(
    source: Path,
    title: str,
    settings: dict[str, Any],
    dtype: str,
    loaded: LoadedModel,
    made_from: str,
    libraries: dict[str, str],
    is_followed: bool,
) -> str:
    from cotexp.report import run_table
    from cotexp.report.markdown import table_lines

    model, evaluation = settings["model"], settings["evaluation"]
    is_encoder_decoder = loaded.model.config.is_encoder_decoder
    metrics = metrics_of(source)
    training = {
        name.removeprefix("training/"): int(value) for name, value in metrics.items() if name.startswith("training/num") or name.endswith("best_step")
    }
    how = f"sampled at temperature {evaluation['temperature']}" if evaluation.get("temperature") else "greedily"
    tasks = ", ".join(f"`{each}`" for each in settings["task"].get("train") or [settings["task"]["name"]])
    return CARD.format(
        title=title,
        front=_front(model),
        what=f"{'An encoder-decoder' if is_encoder_decoder else 'A causal'} {MARK} on {tasks}.",
        source=made_from,
        license=model.get("license") or "not known to the run; see their source",
        run_key=source.name,
        experiment=settings["name"],
        libraries=", ".join(f"{name} {version}" for name, version in libraries.items()),
        parameters=sum(each.numel() for each in loaded.model.parameters()),
        teacher=settings["teacher"]["name"],
        compression=settings["compression"]["name"],
        generation=f"{how}, at most {evaluation['max_new_tokens']} new tokens",
        auto_class="AutoModelForSeq2SeqLM" if is_encoder_decoder else "AutoModelForCausalLM",
        asked=_asked(settings, loaded),
        tokenizer_class="AutoTokenizer" if is_followed else GENERIC,
        why_class="" if is_followed else "  # AutoTokenizer would not keep to tokenizer.json",
        inputs=_inputs(loaded),
        printed=_printed(loaded),
        prompts=_prompts(settings, loaded),
        dtype=dtype,
        measured=model["dtype"],
        results="\n".join(table_lines(run_table.table(metrics, settings))),
        settings=json.dumps({name: settings[name] for name in SHOWN if name in settings}, indent=2),
        **training,
    )


def _front(model: dict[str, Any]) -> str:
    """What the hub reads of a card: licence, and the hub's name of the source."""
    is_on_hub = re.fullmatch(r"[\w.-]+/[\w.-]+", model["path"]) and not Path(model["path"]).exists()
    lines = {"license": model.get("license"), "base_model": model["path"] if is_on_hub else None}
    return "".join(f"{name}: {value}\n" for name, value in lines.items() if value)


def _source(model: dict[str, Any], manifest: dict[str, Any], base: Path | None, *, is_made: bool) -> str:
    """The model that was fine-tuned: name, revision on the hub, and what stands for its content."""
    revision = model.get("revision") or (base.name if base and base.parent.name == "snapshots" else None)
    content = f"{'key of the stage that made it' if is_made else 'sha256 of its files'}: `{manifest['model']['sha256']}`"
    return f"`{model['path']}`{f', revision `{revision}`' if revision else ''} ({content})"


def _prompts(settings: dict[str, Any], loaded: LoadedModel) -> str:
    """What stands around a training question, task by task, as the model read it."""
    tasks = settings.get("tasks") or {settings["task"]["name"]: settings["task"]}
    names = settings["task"].get("train") or tasks
    own = {name: loaded.encoder.readable(tasks[name]["prompt"].replace("{{", "{").replace("}}", "}")) for name in names}
    return "\n\n".join(f"`{name}`:\n\n```\n{prompt}\n```" for name, prompt in own.items())


def _asked(settings: dict[str, Any], loaded: LoadedModel) -> str:
    """What stands behind the prompt to ask for a short chain of thought, as code with a comment."""
    if settings["compression"]["name"] in ("none", "reference"):
        return ""
    if instruction := settings["compression"].get("instruction"):
        full = settings["compression"].get("long_instruction")
        other = f"with {full!r} for a full one" if full else "leave it out for a full one"
        return f" + {chr(10) + instruction!r}  # this line asks for a short chain of thought; {other}"
    if ratio := settings["evaluation"].get("ratio"):
        ratios = ", ".join(map(str, settings["compression"]["ratios"]))
        form = loaded.encoder.asked(ratio=ratio)
        return f" + {form!r}  # the share of its tokens that is wanted of a chain of thought, of {ratios}; leave it out for a full one"
    return f" + {loaded.encoder.asked(compressed=True)!r}  # the mark asks for a short chain of thought; leave it out for a full one"


def _inputs(loaded: LoadedModel) -> str:
    """How transformers makes the run's prompts, as code."""
    if loaded.tokenizer.chat_template:
        return f"tokenizer.apply_chat_template({ASKED}, add_generation_prompt=True, return_dict=True, return_tensors={TENSORS})"
    if loaded.tokenizer("a")["input_ids"] == loaded.encoder.prompt("a"):
        return f"tokenizer(prompt, return_tensors={TENSORS})"
    first = "".join(loaded.tokenizer.convert_ids_to_tokens(loaded.encoder.prefix_ids))  # it would end the text that is to go on
    return f"tokenizer({f'{first!r} + ' if first else ''}prompt, add_special_tokens=False, return_tensors={TENSORS})"


def _printed(loaded: LoadedModel) -> str:
    """The text that was written, as the run has it, as code."""
    if loaded.model.config.is_encoder_decoder:
        return "tokenizer.decode(output, skip_special_tokens=True)"
    encoder, whole = loaded.encoder, "tokenizer.decode({}, skip_special_tokens=True)"
    written = whole.format(f"output[len({READ}) :]")
    alike = [loaded.tokenizer.decode(encoder.text_ids(text), skip_special_tokens=True) for text in ("a", " a")]
    if alike == ["a", " a"]:
        return written
    if alike == ["a", "a"]:  # the text's first space is lost where it is decoded alone
        written = f"{whole.format('output')}[len({whole.format(READ)}) :]"
    return written + (f".removeprefix({encoder.opening!r})" if encoder.opening else "")
