"""`cotexp export`: a fine-tuned model as an ordinary transformers folder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cotexp.jobs.store import read_json
from cotexp.sections import ConfigError

if TYPE_CHECKING:
    from cotexp.models.loading import LoadedModel

MARK = "language model fine-tuned by cotexp"
"""Stands in the card of every export, and nowhere else: only such a folder is replaced."""

CARD = """---
library_name: transformers
tags: [chain-of-thought]
---

# {title}

{what}

* Made by `{command}`.
* Parameters: {parameters:,}. Weights: {dtype}, safetensors.
* Trained {num_steps} steps on {num_examples} examples ({num_supervised_tokens:,} supervised tokens); step {best_step} has the lowest validation loss.
* Test results, as the run measured them with {measured} weights:

{results}

## Use

```python
from transformers import {auto_class}, AutoTokenizer

model, tokenizer = {auto_class}.from_pretrained("{title}"), AutoTokenizer.from_pretrained("{title}")
prompt = "..." + {mark!r}  # the mark asks for a short chain of thought; leave it out for a full one
inputs = {inputs}
output = model.generate(**inputs, max_new_tokens=512)[0]
print(tokenizer.decode({written}, skip_special_tokens=True))
```

## Settings that differ from the defaults or matter most

```json
{settings}
```
"""


def export_model(run: str, folder: Path, *, dtype: str, outputs: Path) -> None:
    """Merge, convert and write the fine-tuned model of a finished run, with tokenizer, chat template and model card.

    Raises: ConfigError when there is no such run, or `folder` holds something else.
    """
    source = find_run(run, outputs)
    card = folder / "README.md"
    if folder.exists() and not (card.is_file() and MARK in card.read_text()):
        raise ConfigError(f"export: {folder} exists and is no earlier export; name another folder")
    import torch

    from cotexp.models import loading

    settings: dict[str, Any] = read_json(source / "settings.json")
    stages = read_json(source / "stages.json")
    checkpoint = outputs / stages["checkpoint"]["path"]
    base = outputs / stages["model"]["path"] if "model" in stages else _base_folder(settings)
    loaded = loading.load(checkpoint, _model_settings(settings), base_folder=base)
    temporary = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(temporary, ignore_errors=True)
    loading.save(loaded.model, loaded.tokenizer, temporary, dtype=getattr(torch, dtype))
    (temporary / "README.md").write_text(_card(source, settings, dtype, loaded))
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary.rename(folder)
    print(f"Wrote {folder} ({sum(path.stat().st_size for path in folder.iterdir()) / 1e6:.1f} MB)")


def _model_settings(settings: dict[str, Any]) -> Any:
    from cotexp.model_settings import PretrainedModel

    stored = settings["model"]
    return PretrainedModel(**{name: stored[name] for name in ("path", "compress_token", "trust_remote_code", "literal_encoding")})


def find_run(run: str, outputs: Path) -> Path:
    """The folder of a finished run, by path or by the experiment's name (then the newest)."""
    if (Path(run) / "stages.json").is_file():
        return Path(run)
    found = sorted((outputs / "runs" / run).glob("*/stages.json"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise ConfigError(f"no finished run {run!r} under {outputs / 'runs'}; name a run's folder or an experiment")
    return found[-1].parent


def _base_folder(settings: dict[str, Any]) -> Path:
    from cotexp.model_settings import PretrainedModel
    from cotexp.models import identity

    return identity.find(PretrainedModel(path=settings["model"]["path"], revision=settings["model"]["revision"])).folder


def _card(source: Path, settings: dict[str, Any], dtype: str, loaded: LoadedModel) -> str:
    from cotexp.report import tables

    is_encoder_decoder = loaded.model.config.is_encoder_decoder
    chat = 'tokenizer.apply_chat_template([{"role": "user", "content": prompt}], add_generation_prompt=True, return_dict=True, return_tensors="pt")'
    metrics = read_json(source / "metrics.json")
    training = {
        name.removeprefix("training/"): int(value) for name, value in metrics.items() if name.startswith("training/num") or name.endswith("best_step")
    }
    made_of = {name: settings[name] for name in ("task", "model", "teacher", "compression", "mixture", "trainer", "seed")}
    return CARD.format(
        title=settings["name"],
        what=f"{'An encoder-decoder' if is_encoder_decoder else 'A causal'} {MARK} on the task `{settings['task']['name']}`.",
        command=f"python run.py experiment={settings['name']}",
        parameters=sum(each.numel() for each in loaded.model.parameters()),
        auto_class="AutoModelForSeq2SeqLM" if is_encoder_decoder else "AutoModelForCausalLM",
        mark="".join(loaded.tokenizer.convert_ids_to_tokens(loaded.encoder.mark_ids)),
        inputs=chat if loaded.tokenizer.chat_template else 'tokenizer(prompt, return_tensors="pt")',
        written="output" if is_encoder_decoder else 'output[inputs["input_ids"].shape[1] :]',
        dtype=dtype,
        measured=settings["model"]["dtype"],
        results=tables.markdown(metrics),
        settings=json.dumps(made_of, indent=2),
        **training,
    )
