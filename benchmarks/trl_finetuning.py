"""TRL's part of finetuning.py: a fine-tuning by SFTTrainer on the examples in a file. Runs in an environment of benchmarks/requirements.txt.

python benchmarks/trl_finetuning.py EXAMPLES default|packed|"not checkpointed" --model FOLDER --work lora|full --batch-size 16
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import SFTConfig, SFTTrainer

ROW = 1056
"""Tokens of a packed row; two rows hold a batch of 16 rationales."""


class Clock(TrainerCallback):
    """Records the times at which steps end."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.times.append(time.perf_counter())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("examples")
    parser.add_argument("how")
    parser.add_argument("--model")
    parser.add_argument("--work")
    parser.add_argument("--batch-size", type=int)
    options = parser.parse_args()
    examples = json.loads(Path(options.examples).read_text())
    dataset = Dataset.from_dict({"input_ids": [ids for ids, _ in examples], "completion_mask": [mask for _, mask in examples]})
    rows = 1 if options.how == "packed" else min(8, options.batch_size)
    accumulated = 2 if options.how == "packed" else options.batch_size // rows
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        config = SFTConfig(
            output_dir=folder, bf16=True, use_cpu=True, num_train_epochs=1, learning_rate=2e-5, lr_scheduler_type="cosine", warmup_steps=1,
            per_device_train_batch_size=rows, gradient_accumulation_steps=accumulated, logging_steps=1, report_to=[], save_strategy="no",
            completion_only_loss=True, packing=options.how == "packed", max_length=ROW if options.how == "packed" else 2048, disable_tqdm=True,
            **({"gradient_checkpointing": False} if options.how == "not checkpointed" else {}),
        )  # fmt: skip
        dtype = torch.bfloat16 if options.work == "lora" else torch.float32
        trainer = SFTTrainer(
            AutoModelForCausalLM.from_pretrained(options.model, dtype=dtype),
            config,
            train_dataset=dataset,
            processing_class=AutoTokenizer.from_pretrained(options.model),
            peft_config=LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM") if options.work == "lora" else None,
            callbacks=[clock],
        )
        trainer.train()
    losses = [each["loss"] for each in trainer.state.log_history if "loss" in each]
    tokens = sum(len(ids) for ids, _ in examples) * (1 - 1 / len(clock.times))
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    print(json.dumps({"tokens_per_second": tokens / (clock.times[-1] - clock.times[0]), "resident_gb": resident, "losses": losses}))


if __name__ == "__main__":
    main()
