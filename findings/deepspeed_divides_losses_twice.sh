#!/usr/bin/env bash
# One would expect that Lightning's DeepSpeedStrategy accumulates gradients as its DDPStrategy does. Lightning divides the loss of a micro-batch by
# accumulate_grad_batches and hands it to DeepSpeed, which divides by the same number once more. The gradient of a step over N micro-batches is N
# times too small. Adam hides this, because its step does not depend on the gradient's scale: clipping by norm, which no longer happens, and SGD do not.
# Lightning refuses DeepSpeed on a CPU; three overridden methods are all that it lacks there.
# Why it matters here: steps are divided into micro-batches by length, so the clipped norm would depend on them. The product hands
# `scale_wrt_gas=False` on to DeepSpeed; its losses and weights are then those of one device, with clipping.
# Source: pytorch_lightning/loops/optimization/automatic.py, ClosureResult; deepspeed/runtime/engine.py, DeepSpeedEngine.backward.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "torch==2.13.0" "pytorch-lightning==2.6.6" wheel setuptools
DS_BUILD_OPS=0 DS_ACCELERATOR=cpu "$folder/venv/bin/pip" install --quiet --disable-pip-version-check --use-pep517 "deepspeed==0.19.8"
cd "$folder"
DS_ACCELERATOR=cpu RANK=0 LOCAL_RANK=0 WORLD_SIZE=1 LOCAL_WORLD_SIZE=1 GROUP_RANK=0 MASTER_ADDR=127.0.0.1 MASTER_PORT=29577 TORCHELASTIC_RUN_ID=x \
    "$folder/venv/bin/python" - <<'PYTHON'
import logging
import sys
import warnings

import deepspeed
import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments import TorchElasticEnvironment
from pytorch_lightning.strategies import DDPStrategy, DeepSpeedStrategy

warnings.filterwarnings("ignore")
logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
print("pytorch-lightning", pl.__version__, "deepspeed", deepspeed.__version__)
deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False  # else it compiles a part that only generation uses


class OnCpu(DeepSpeedStrategy):
    def setup_environment(self):
        DDPStrategy.setup_environment(self)

    def setup_distributed(self):
        DDPStrategy.setup_distributed(self)

    def _setup_model_and_optimizer(self, model, optimizer, lr_scheduler=None):
        engine, own, _, _ = deepspeed.initialize(config=self.config, model=model, model_parameters=list(model.parameters()), optimizer=optimizer)
        return engine, own


class OneWeight(pl.LightningModule):
    """A loss of the weight itself: its gradient is 1, and a step of SGD at rate 1 lowers it by the gradient."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def training_step(self, batch, batch_idx):
        return (self.weight * batch).mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=1.0)


def lowered(strategy, micro_batches):
    module = OneWeight()
    trainer = pl.Trainer(
        accelerator="cpu", devices=1, strategy=strategy, plugins=[TorchElasticEnvironment()], max_steps=1, logger=False,
        accumulate_grad_batches=micro_batches, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )
    trainer.fit(module, torch.utils.data.DataLoader(torch.ones(8, 1)))
    return -float(module.weight)


found = {number: (lowered(DDPStrategy(), number), lowered(OnCpu(stage=2, logging_batch_size_per_gpu=1), number)) for number in (1, 4)}
for number, (ddp, zero) in found.items():
    print(f"gradient of a step over {number} micro-batches: DDP {ddp:g}, DeepSpeed {zero:g}")
sys.exit(0 if found == {1: (1.0, 1.0), 4: (1.0, 0.25)} else "this version behaves otherwise")
PYTHON
