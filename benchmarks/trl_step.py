"""The memory of a training step of TRL with peft. Runs in an environment of benchmarks/requirements.txt; see memory.py."""

from __future__ import annotations

import json
import sys
from typing import Any

import torch
from peak import Step, measured
from peft import LoraConfig, get_peft_model
from trl.trainer import utils


def make_model(step: Step) -> Any:
    """The model as in SFTTrainer, with a fused head: a base in bfloat16 under peft, or a float32 model with all weights trained."""
    model = step.model(torch.bfloat16 if step.tuning == "lora" else torch.float32).train()
    utils.add_fused_lm_head(model, outputs=("log_probs", "entropy", "is_top1"))
    if step.tuning == "lora":
        model = get_peft_model(model, LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM"))
    if step.checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
        model.enable_input_require_grads()
    return model


def make_loss(step: Step, model: Any) -> Any:
    ids_BT = torch.ones(step.rows, step.tokens, dtype=torch.long)
    labels_BT = ids_BT.clone()
    labels_BT[:, : step.first] = -100

    def loss() -> torch.Tensor:
        return model(input_ids=ids_BT, attention_mask=torch.ones_like(ids_BT), labels=labels_BT, fused_lm_head=True, use_cache=False).loss

    return loss


if __name__ == "__main__":
    own = Step(**json.loads(sys.argv[1]))
    print(
        json.dumps(
            measured(
                lambda: make_model(own), lambda model: make_loss(own, model), widths=[utils._CHUNKED_LOGPROB_CHUNK_SIZE], fake=sys.argv[2] == "fake"
            )
        )
    )
