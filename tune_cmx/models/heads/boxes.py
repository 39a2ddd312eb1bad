"""Non-maximum suppression of a batch, and the loss of box regression.

Axes: B batch, K candidates of an image, S sampled boxes of an image.
"""

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import batched_nms, nms

_APART = {"cpu": 4_000, "cuda": 100_000}
"""Numbers in an image's boxes above which torchvision's `batched_nms` takes the groups one by one."""


def suppress(
    boxes_BK4: Tensor, scores_BK: Tensor, keep_BK: Tensor, groups_BK: Tensor, iou_threshold: float
) -> list[Tensor]:
    """torchvision's `batched_nms` of the boxes to keep of each image.

    Args:
        boxes_BK4: Within their images: not negative.
        scores_BK: 0 to 1.
        keep_BK: Which boxes take part.
        groups_BK: Numbers from 0; boxes suppress only those of their own group.
        iou_threshold: Of two that overlap by more, the one with the lower score goes.

    Returns:
        For each image the places in K of what is left, the highest score first.
    """
    if boxes_BK4[0].numel() > _APART.get(boxes_BK4.device.type, _APART["cuda"]):
        images = zip(boxes_BK4, scores_BK, keep_BK, groups_BK, strict=True)
        return [_one_by_one(*image, iou_threshold) for image in images]
    # What does not take part stays, so that no size waits for the device: it comes after all others and suppresses
    # none of them. Groups are moved apart by the same numbers as torchvision's, for the same rounding.
    boxes_BK4, scores_BK = boxes_BK4.where(keep_BK.unsqueeze(-1), 0), scores_BK.where(keep_BK, -1)
    apart_B11 = boxes_BK4.amax((1, 2), keepdim=True) + 1
    moved_BK4 = boxes_BK4 + groups_BK.unsqueeze(-1) * apart_B11
    kept = [nms(own_K4, own_K, iou_threshold) for own_K4, own_K in zip(moved_BK4, scores_BK, strict=True)]
    counts = torch.stack([keep_K[rows].sum() for keep_K, rows in zip(keep_BK, kept, strict=True)]).tolist()
    return [rows[:count] for rows, count in zip(kept, counts, strict=True)]


def _one_by_one(boxes_K4: Tensor, scores_K: Tensor, keep_K: Tensor, groups_K: Tensor, iou_threshold: float) -> Tensor:
    rows = keep_K.nonzero().squeeze(1)
    return rows[batched_nms(boxes_K4[rows], scores_K[rows], groups_K[rows], iou_threshold)]


def box_loss(found_BS4: Tensor, wanted_BS4: Tensor, positive_BS: Tensor) -> Tensor:
    """Smooth L1 loss of the positives, summed. What is wanted of others need not be finite."""
    mask_BS1 = positive_BS.unsqueeze(-1)
    return F.smooth_l1_loss(found_BS4.where(mask_BS1, 0), wanted_BS4.where(mask_BS1, 0), reduction="sum", beta=1 / 9)
