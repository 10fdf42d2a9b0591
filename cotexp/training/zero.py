"""Fine-tuning with DeepSpeed's ZeRO 2: each device keeps a part of the gradients, of the optimiser, and of the trained weights in float32."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from pytorch_lightning.plugins.precision import DeepSpeedPrecision
from pytorch_lightning.strategies import DDPStrategy, DeepSpeedStrategy


class ZeroPrecision(DeepSpeedPrecision):
    """Weights in the formats that they have, and a forward pass under autocast, as with every other strategy.

    Lightning's own class lets DeepSpeed round all weights to the format of the forward pass, or turns frozen ones into float32.
    """

    def __init__(self, precision: str, device_type: str) -> None:
        super().__init__("32-true")
        self.device_type, self.is_rounded = device_type, precision == "bfloat16"

    def convert_module(self, module: torch.nn.Module) -> torch.nn.Module:
        return module

    @contextlib.contextmanager
    def forward_context(self) -> Iterator[None]:
        with torch.autocast(self.device_type, dtype=torch.bfloat16, enabled=self.is_rounded):
            yield


class ZeroStrategy(DeepSpeedStrategy):
    """Lightning's strategy, on CPUs as well, which Lightning refuses, and with losses that are divided by the micro-batches once."""

    def __init__(self, precision: str, device_type: str) -> None:
        super().__init__(stage=2, logging_batch_size_per_gpu=1, precision_plugin=ZeroPrecision(precision, device_type))
        # DeepSpeed ends the autocast of others. No module is named, so that gradients are summed in float32.
        autocast = {"enabled": precision == "bfloat16", "dtype": "bfloat16", "lower_precision_safe_modules": []}
        self.config = {**(self.config or {}), "torch_autocast": autocast}

    def setup_environment(self) -> None:
        DDPStrategy.setup_environment(self)

    def setup_distributed(self) -> None:
        DDPStrategy.setup_distributed(self)

    def _setup_model_and_optimizer(self, model: torch.nn.Module, optimizer: Any, lr_scheduler: Any = None) -> tuple[Any, Any]:
        import deepspeed

        # It would compile this part, which only generation uses, in the home folder before the first step.
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
        trained = [each for each in model.parameters() if each.requires_grad]
        engine, divided, _, _ = deepspeed.initialize(
            config=self.config, model=model, model_parameters=trained, optimizer=optimizer, lr_scheduler=lr_scheduler
        )
        return engine, divided

    def backward(self, closure_loss: torch.Tensor, optimizer: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Lightning has divided the loss by the number of micro-batches, and DeepSpeed would once more: clipping would see too small a norm."""
        return super().backward(closure_loss, optimizer, *args, scale_wrt_gas=False, **kwargs)


def is_divided(parameter: torch.Tensor) -> bool:
    """Whether DeepSpeed keeps the float32 values of a parameter in parts."""
    return hasattr(parameter, "get_full_hp_param")


def whole(parameter: torch.Tensor) -> torch.Tensor:
    """The float32 values of a parameter. All devices must call this."""
    from deepspeed.utils import safe_get_full_fp32_param

    values: torch.Tensor = safe_get_full_fp32_param(parameter)
    return values


def whole_moments(optimizer: Any, parameter: torch.Tensor) -> dict[str, torch.Tensor]:
    """The optimiser's state of a parameter, as on one device. All devices must call this."""
    from deepspeed.utils import safe_get_full_optimizer_state

    own_part = next(iter(optimizer.state.values()))
    return {key: safe_get_full_optimizer_state(parameter, key) if value.dim() else value for key, value in own_part.items()}


def restore(optimizer: Any, trained: Sequence[tuple[torch.nn.Parameter, torch.Tensor, dict[str, torch.Tensor]]]) -> None:
    """Give each device its part of what `trained` holds as a whole: parameters, their values, and their states of the optimiser."""
    from deepspeed.utils import safe_set_full_fp32_param, safe_set_full_optimizer_state

    for part in (each for group in optimizer.param_groups for each in group["params"]):
        optimizer.state[part] = {key: torch.zeros_like(part) if value.dim() else value.clone() for key, value in trained[0][2].items()}
    optimizer._lazy_init_hp_params_optimizer_state()
    for parameter, values, moments in trained:
        parameter.copy_(values)
        safe_set_full_fp32_param(parameter, values.to(parameter.device))
        for key, value in moments.items():
            if value.dim():
                safe_set_full_optimizer_state(parameter, value.to(parameter.device), key)
