"""The settings of a process that change the values a network gives, by more than rounding."""

import os
from typing import Any

import torch

# Environment variables by which oneDNN, CUDA and Metal compute float32 with fewer digits.
_VARIABLES = (
    *("ONEDNN_DEFAULT_FPMATH_MODE", "DNNL_DEFAULT_FPMATH_MODE"),
    *("NVIDIA_TF32_OVERRIDE", "PYTORCH_MPS_FAST_MATH"),
)
# How CUDA adds up products of 16-bit numbers.
_SUMS = (
    "allow_fp16_reduced_precision_reduction",
    "allow_bf16_reduced_precision_reduction",
    "allow_fp16_accumulation",
)


def arithmetic(device: str, precision: str) -> str:
    """A text that differs where the same network gives other values, for the keys of the store.

    The number of a device is not in it, as all of one type compute alike. Neither is the engine:
    `EngineChoice.arithmetic` adds one whose values are not torch's.

    Parameters
    ----------
    device : str
    precision : {"float32", "bfloat16", "float16"}
    """
    device_type = torch.device(device).type
    return " ".join([device_type, precision, *_switches(device_type)])


def _switches(device_type: str) -> list[str]:
    """The settings that differ from torch's own, each as ``name=value``.

    Torch's old switches (`set_float32_matmul_precision`, `allow_tf32`) show in the new ones,
    which are read here; reading an old one raises once both were used. With fewer digits,
    matrix products are off by up to a hundredth.
    """
    found = {variable: os.environ[variable] for variable in _VARIABLES if variable in os.environ}
    backends: Any = torch.backends  # whose modules have properties that type checkers miss
    units = {}
    if device_type == "cpu":
        units = {"matmul": backends.mkldnn.matmul, "conv": backends.mkldnn.conv}
    elif device_type == "cuda":
        units = {"matmul": backends.cuda.matmul, "conv": backends.cudnn.conv}
        found |= {name: str(getattr(backends.cuda.matmul, name)) for name in _SUMS}
    for name, unit in units.items():
        if unit.fp32_precision not in ("none", "ieee"):  # both mean all digits
            found[name] = unit.fp32_precision
    return [f"{name}={value}" for name, value in found.items()]
