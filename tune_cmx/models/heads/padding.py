"""Lists of tensors as one padded tensor, and numbers of the host on a device, without waiting for the device.

Axes: B images, N the longest list, M rows of which S are taken.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def on_device(values: Tensor, device: torch.device) -> Tensor:
    """A small tensor of the host, copied in the device's own time.

    A plain copy from pageable memory waits until all work queued on a CUDA device is done.
    """
    return values.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else values.to(device)


def numbers(values: Any, device: torch.device, dtype: torch.dtype = torch.float32) -> Tensor:
    """`torch.tensor` that does not wait for the device."""
    return on_device(torch.tensor(values, dtype=dtype), device)


class Padding:
    """The position of each element of a list of tensors in the padded tensor.

    Attributes:
        sizes: The lengths of the lists.
        mask_BN: True where there is an element, False where there is padding.
    """

    def __init__(self, sizes: Sequence[int], device: torch.device) -> None:
        """Lay out lists of these lengths. N is at least 1, so that maxima over it exist."""
        self.sizes = tuple(sizes)
        sizes_B1 = torch.tensor(sizes).unsqueeze(1)
        column_N = torch.arange(max(1, *sizes))
        mask_BN = column_N < sizes_B1
        starts_B1 = sizes_B1.cumsum(0) - sizes_B1
        self._index_BN = on_device((starts_B1 + column_N).where(mask_BN, sum(sizes)), device)
        self.mask_BN = on_device(mask_BN, device)

    def pad(self, tensors: Sequence[Tensor]) -> Tensor:
        """One tensor, B x N x the axes that an element has; padding is zero.

        Args:
            tensors: One an image, of the lengths that this was made for; same type and device.
        """
        end = tensors[0].new_zeros(1, *tensors[0].shape[1:])  # where padding points to
        return torch.cat([*tensors, end])[self._index_BN]


def rows_at(rows_BM4: Tensor, index_BS: Tensor) -> Tensor:
    """The rows of each image at those places, B x S x 4."""
    return rows_BM4.gather(1, index_BS.unsqueeze(-1).expand(-1, -1, rows_BM4.shape[-1]))
