#!/usr/bin/env bash
# One would expect that a Lightning callback finds in `on_train_batch_end` the learning rate with which that batch was trained. It finds the rate of the
# next step: a schedule of steps is advanced before the hook. With gradient accumulation only the last micro-batch of a step shows it, the others have
# the right rate, so a curve that is written at the end of each step, and a glance at any other batch, do not agree. A decay to zero ends in a logged 0
# that no step used, and a warm-up loses its first rate. Nothing is said.
# Why it matters here: the curve of a fine-tuning, and what trackers draw of it, had each rate one step early. It is read in `on_train_batch_start` now.
# Source: pytorch_lightning/loops/training_epoch_loop.py, advance: update_lr_schedulers("step", ...) stands before the hook on_train_batch_end.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "torch==2.13.0" "numpy==2.4.3" "pytorch-lightning==2.6.6"
cd "$folder"
"$folder/venv/bin/python" - 2>/dev/null <<'PYTHON'
import sys

import pytorch_lightning as lightning
import torch

print("pytorch-lightning", lightning.__version__)


class Module(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer, self.used = torch.nn.Linear(2, 1), []

    def training_step(self, batch, batch_idx):
        return self.layer(batch).sum()

    def on_before_optimizer_step(self, optimizer):
        self.used.append(optimizer.param_groups[0]["lr"])

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), lr=1.0)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / 4)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class Rates(lightning.Callback):
    def __init__(self):
        self.at_start, self.at_end = [], []

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        self.at_start.append(trainer.optimizers[0].param_groups[0]["lr"])

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        self.at_end.append(trainer.optimizers[0].param_groups[0]["lr"])


seen = {}
for num_micro_batches in (1, 2):
    module, rates = Module(), Rates()
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = lightning.Trainer(max_steps=4, accelerator="cpu", callbacks=[rates], accumulate_grad_batches=num_micro_batches, **quiet)
    trainer.fit(module, torch.utils.data.DataLoader(torch.ones(8, 2), batch_size=1))
    seen[num_micro_batches] = (module.used, rates.at_start, rates.at_end)
    print(f"{num_micro_batches} micro-batches: used {module.used}, on_train_batch_start {rates.at_start}, on_train_batch_end {rates.at_end}")

used = [1.0, 0.75, 0.5, 0.25]
expected = {
    1: (used, used, [0.75, 0.5, 0.25, 0.0]),
    2: (used, [rate for rate in used for _ in range(2)], [1.0, 0.75, 0.75, 0.5, 0.5, 0.25, 0.25, 0.0]),
}
sys.exit(seen != expected)
PYTHON
# Seen:
# pytorch-lightning 2.6.6
# 1 micro-batches: used [1.0, 0.75, 0.5, 0.25], on_train_batch_start [1.0, 0.75, 0.5, 0.25], on_train_batch_end [0.75, 0.5, 0.25, 0.0]
# 2 micro-batches: used [1.0, 0.75, 0.5, 0.25], on_train_batch_start [1.0, 1.0, 0.75, 0.75, 0.5, 0.5, 0.25, 0.25], on_train_batch_end [1.0, 0.75, 0.75, 0.5, 0.5, 0.25, 0.25, 0.0]
