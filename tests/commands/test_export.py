"""An export is a folder that transformers alone can use, as its card says, for every kind of model."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer

from cotexp.commands.export import export_model
from cotexp.model_settings import PretrainedModel
from cotexp.models import loading
from cotexp.settings import Lora

KINDS = ["t5", "flan", "bart", "chat", "plain"]


@pytest.fixture
def base(request: pytest.FixtureRequest, encoder_decoders: dict[str, Path], random_model: Path, tmp_path: Path) -> Path:
    if request.param in encoder_decoders:
        return encoder_decoders[request.param]
    if request.param == "chat":
        return random_model
    model, tokenizer = loading.load_trainable(random_model, PretrainedModel(path=str(random_model)))
    tokenizer.chat_template = None
    loading.save(model, tokenizer, tmp_path / "plain")
    return tmp_path / "plain"


def finished_run(base: Path, outputs: Path, *, lora: bool) -> tuple[Path, loading.LoadedModel]:
    """The folder of a run whose model was fine-tuned (here: changed), and that model."""
    settings = PretrainedModel(path=str(base), device="cpu")
    torch.manual_seed(0)
    model, tokenizer = loading.load_trainable(base, settings)
    mark = loading.add_compress_token(model, tokenizer, settings.compress_token)
    if lora:
        model = loading.add_lora(model, Lora(rank=2, alpha=4), mark)
    with torch.no_grad():
        for each in model.parameters():
            if each.requires_grad:
                each += 0.1 * torch.randn_like(each)
    loading.save(model, tokenizer, outputs / "checkpoints" / "some")
    fine_tuned = loading.load(outputs / "checkpoints" / "some", settings, base_folder=base)
    run = outputs / "runs" / "toy" / "key"
    run.mkdir(parents=True)
    stored: dict[str, Any] = dict.fromkeys(("teacher", "compression", "mixture", "trainer", "seed"), "as it was")
    stored |= {"name": "toy", "task": {"name": "stories"}, "model": {name: getattr(settings, name) for name in settings.__dataclass_fields__}}
    (run / "settings.json").write_text(json.dumps(stored))
    (run / "stages.json").write_text(json.dumps({"checkpoint": {"path": "checkpoints/some"}}))
    counted = ("num_steps", "num_examples", "num_supervised_tokens", "best_step")
    (run / "metrics.json").write_text(json.dumps({f"training/{each}": 3 for each in counted}))
    return run, fine_tuned


@pytest.mark.parametrize("base", KINDS, indirect=True)
@pytest.mark.parametrize("lora", [False, True])
def test_an_export_answers_as_its_card_says(base: Path, lora: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, fine_tuned = finished_run(base, tmp_path / "outputs", lora=lora)
    monkeypatch.chdir(tmp_path)
    export_model(str(run), Path("toy"), dtype="float32", outputs=tmp_path / "outputs")
    export_model(str(run), Path("toy"), dtype="float32", outputs=tmp_path / "outputs")
    card = Path("toy/README.md").read_text()
    snippet = re.search(r"```python\n(.*?)```", card, re.DOTALL)
    assert snippet is not None
    used: dict[str, Any] = {}
    exec(snippet[1].replace('"..."', '"Ann has 5 apples."').replace("max_new_tokens=512", "max_new_tokens=8, do_sample=False"), used)
    assert used["inputs"]["input_ids"][0].tolist() == fine_tuned.encoder.prompt("Ann has 5 apples.", compressed=True)
    prompt = used["inputs"]["input_ids"]
    expected = fine_tuned.model.generate(prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=8, do_sample=False)[0]
    assert used["output"].tolist() == expected.tolist()
    assert f"Parameters: {sum(each.numel() for each in fine_tuned.model.parameters()):,}." in card
    assert ("An encoder-decoder language model" in card) == fine_tuned.model.config.is_encoder_decoder
    for name, each in fine_tuned.model.state_dict().items():
        torch.testing.assert_close(used["model"].state_dict()[name], each, rtol=0, atol=1e-6)
    assert AutoTokenizer.from_pretrained("toy").chat_template == fine_tuned.tokenizer.chat_template


@pytest.mark.parametrize("base", ["flan"], indirect=True)
def test_an_export_holds_the_number_format_that_was_asked_for(base: Path, tmp_path: Path) -> None:
    run, fine_tuned = finished_run(base, tmp_path / "outputs", lora=True)
    export_model(str(run), tmp_path / "small", dtype="bfloat16", outputs=tmp_path / "outputs")
    loaded = loading.load(tmp_path / "small", PretrainedModel(path="small", device="cpu"))
    head = fine_tuned.model.get_output_embeddings().weight
    assert torch.equal(loaded.model.get_output_embeddings().weight, head.bfloat16().float())
    assert json.loads((tmp_path / "small" / "config.json").read_text())["dtype"] == "bfloat16"
