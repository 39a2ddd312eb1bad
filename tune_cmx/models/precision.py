"""Where bfloat16's three digits are too few."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor


def without_autocast(x: Tensor) -> AbstractContextManager[object]:
    """A context in which nothing on the tensor's device is rounded to bfloat16; `meta` computes nothing at all."""
    return nullcontext() if x.is_meta else torch.autocast(x.device.type, enabled=False)


def at_least_float32(dtype: torch.dtype) -> torch.dtype:
    """float32, or the type given where that is wider."""
    return torch.promote_types(dtype, torch.float32)
