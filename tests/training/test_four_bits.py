"""Fine-tuning adapters on weights of 4 bits. Skipped where bitsandbytes is not installed."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from test_fit import MakeJob, make_job, read_curve  # noqa: F401 - a fixture

from cotexp.models import loading
from cotexp.training.data import EncodedExample, collate
from cotexp.training.fit import _load, fit
from cotexp.training.modules import supervised_loss

pytest.importorskip("bitsandbytes", reason="pip install 'cotexp[bitsandbytes]'")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def gradients(model: Any, batch: Any) -> dict[str, torch.Tensor]:
    model.zero_grad()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = supervised_loss(model, batch).total
    loss.backward()
    return {name: each.grad.clone() for name, each in model.named_parameters() if each.grad is not None}


def test_gradients_on_rounded_weights_are_those_on_what_the_bits_mean(make_job: MakeJob) -> None:  # noqa: F811
    job = make_job("job", tuning="lora", precision="bfloat16", frozen_dtype="nf4")
    model, tokenizer = _load(job)
    assert {each.dtype for name, each in model.named_parameters() if "up_proj.base_layer" in name} == {torch.uint8}
    with torch.no_grad():
        for each in (own for own in model.parameters() if own.requires_grad):
            each += 0.02 * torch.randn_like(each)
    encoder = loading.make_encoder(model, tokenizer, job.model)
    texts = [("Ann has 2 apples.", "2 + 3 = 5."), ("Ben has 9 coins. Ben loses 3 coins. How many?", "9 - 3 = 6. 6.")]
    batch = collate([EncodedExample(encoder.example(*each, compressed=True), "compress") for each in texts], 0, 1)
    plain = _load(make_job("plain", tuning="lora", precision="bfloat16"))[0]
    from bitsandbytes.functional import dequantize_4bit

    rounded = {name.replace(".weight", ""): each for name, each in model.named_parameters() if each.dtype == torch.uint8}
    for name, module in plain.named_modules():
        if name in rounded:
            module.weight.data = dequantize_4bit(rounded[name].data, rounded[name].quant_state).to(torch.bfloat16)
    own = {name: each for name, each in model.state_dict().items() if "lora" in name or "trainable" in name}
    plain.load_state_dict(copy.deepcopy(own), strict=False)
    found, expected = gradients(model, batch), gradients(plain, batch)
    assert found.keys() == expected.keys()
    for name, each in expected.items():
        assert (found[name] - each).norm() <= 0.03 * each.norm() + 1e-6, name


@pytest.mark.slow
def test_a_fine_tuning_on_4_bits_learns_as_one_on_16(make_job: MakeJob) -> None:  # noqa: F811
    curves = []
    for frozen in ("bfloat16", "nf4"):
        job = make_job(frozen, tuning="lora", precision="bfloat16", frozen_dtype=frozen, learning_rate=0.02)
        fit(job)
        curves.append([row["validation/loss"] for row in read_curve(job) if "validation/loss" in row])
    assert curves[1] == pytest.approx(curves[0], rel=0.05)
    learned = [each[0] - each[-1] for each in curves]
    assert learned[1] > 0.5 * learned[0] > 0
    loaded = loading.load(job.folder, job.model, base_folder=job.base_folder)
    assert {each.dtype for each in loaded.model.parameters()} == {torch.float32}
