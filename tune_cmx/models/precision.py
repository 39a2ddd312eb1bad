"""Where bfloat16 with its three digits is not precise enough, and where it is slow."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def without_autocast(x: Tensor) -> AbstractContextManager[object]:
    """A context in which nothing on the tensor's device is rounded to bfloat16 (on `meta` nothing is computed)."""
    return nullcontext() if x.is_meta else torch.autocast(x.device.type, enabled=False)


def lacks_bfloat16(device: torch.device) -> bool:
    """Whether the device emulates bfloat16, which is slower than float32; False also where this is not known."""
    if device.type == "cuda":
        return torch.version.hip is None and torch.cuda.get_device_capability(device)[0] < 8
    if device.type != "cpu" or not hasattr(torch.cpu, "get_capabilities"):  # older versions of torch
        return False
    found = torch.cpu.get_capabilities()
    return found.get("architecture") == "x86_64" and not (found.get("avx512_bf16") or found.get("amx_bf16"))


def at_least_float32(dtype: torch.dtype) -> torch.dtype:
    """float32, or the given type if it is wider."""
    return torch.promote_types(dtype, torch.float32)
