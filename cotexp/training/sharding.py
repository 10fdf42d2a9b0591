"""One fine-tuning on several devices: Lightning's strategy, the sharded parts of a model, and tensors gathered from all devices."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from pytorch_lightning.strategies import DDPStrategy, ModelParallelStrategy, Strategy
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from cotexp.models import identity
from cotexp.settings.training import Trainer
from cotexp.training import zero
from cotexp.training.zero import ZeroStrategy


def strategy_of(trainer: Trainer) -> Strategy | str:
    """Lightning's strategy for the trainer's devices; "auto" for one device."""
    if trainer.num_workers == 1:
        return "auto"
    if trainer.strategy == "fsdp":
        return ModelParallelStrategy(data_parallel_size=trainer.num_workers, tensor_parallel_size=1)
    return ZeroStrategy(trainer.precision, identity.device_type(trainer.accelerator)) if trainer.strategy == "deepspeed" else DDPStrategy()


def is_sharded(trainer: Trainer) -> bool:
    """Whether no device holds the whole trained model, so that it cannot be saved directly."""
    return trainer.num_workers > 1 and trainer.strategy in ("fsdp", "deepspeed")


def environment_of(trainer: Trainer) -> ClusterEnvironment:
    """The launcher of the processes: torch elastic if there are several. Workers must not interpret Slurm's variables."""
    return TorchElasticEnvironment() if trainer.num_workers > 1 else LightningEnvironment()


def shard(model: Any, mesh: DeviceMesh) -> None:
    """Shard the weights of every block among the devices of `mesh`, then the others: embeddings, head and last norm."""
    for each in _blocks(model):
        fully_shard(each, mesh=mesh)
    fully_shard(model, mesh=mesh)


def _blocks(module: torch.nn.Module) -> Iterator[torch.nn.Module]:
    """The members of the outermost module lists, which are a transformer's blocks."""
    for each in module.children():
        if isinstance(each, torch.nn.ModuleList):
            yield from each
        else:
            yield from _blocks(each)


def trained_parameters(module: torch.nn.Module) -> Iterator[tuple[str, torch.nn.Parameter]]:
    """Name and values of every trained parameter; the names are the same on every device and under every strategy."""
    return ((name, each) for name, each in module.named_parameters() if each.requires_grad)


def gathered(tensor: torch.Tensor) -> torch.Tensor:
    """The gathered values of a sharded tensor. All devices must call this."""
    if isinstance(tensor, DTensor):
        return tensor.full_tensor()
    return zero.whole(tensor) if zero.is_divided(tensor) else tensor


def moments_of(optimizer: torch.optim.Optimizer, parameter: torch.Tensor) -> dict[str, torch.Tensor]:
    """The optimiser's state of a parameter, each tensor as a whole. All devices must call this."""
    if zero.is_divided(parameter):
        return zero.whole_moments(optimizer, parameter)
    return {key: gathered(value) for key, value in optimizer.state[parameter].items()}


def distributed(full: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """This device's shard of the whole tensor `full`, sharded like `like`."""
    full = full.to(like.device)
    return distribute_tensor(full, like.device_mesh, like.placements, src_data_rank=None) if isinstance(like, DTensor) else full
