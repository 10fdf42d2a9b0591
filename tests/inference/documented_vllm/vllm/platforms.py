from __future__ import annotations

import os


class Platform:
    device_type = "cpu"
    device_control_env_var = "CPU_VISIBLE_MEMORY_NODES"

    def device_count(self) -> int:
        return 1


class CudaPlatform(Platform):
    device_type = "cuda"
    device_control_env_var = "CUDA_VISIBLE_DEVICES"

    def device_count(self) -> int:
        return len(os.environ["CUDA_VISIBLE_DEVICES"].split(","))


class UnspecifiedPlatform(Platform):
    device_type = ""


current_platform = {"cpu": Platform, "cuda": CudaPlatform, "": UnspecifiedPlatform}[os.environ.get("DOCUMENTED_VLLM_DEVICE", "cpu")]()
