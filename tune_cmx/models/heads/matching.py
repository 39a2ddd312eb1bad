"""Which true box each anchor or proposal belongs to, and a balanced sample of them, for a batch at once.

Axes: B images, M boxes to match (anchors or proposals), N true boxes of the image with most, n those of one block,
R ignore regions of the image with most, S sampled boxes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tune_cmx.models.heads.padding import Padding

_BLOCK = {"cpu": 2**20, "cuda": 2**24}
"""IoU values computed at a time: what a CPU's cache holds, and 64 MiB on a GPU; about four blocks live at once."""
INSIDE = 0.5
"""A box lies in an ignore region if their intersection is at least this fraction of the box's own area."""


@dataclass(frozen=True)
class Matches:
    """For each box the true box with the highest IoU, the first of equals."""

    iou_BM: Tensor
    """0 in an image without true boxes."""
    index_BM: Tensor
    """Of N; 0 in an image without true boxes."""
    closest_BM: Tensor
    """Whether no other box has a higher IoU with some true box. True of several in a tie."""


@torch.no_grad()
def match(boxes_B4M: Tensor, truth_BN4: Tensor, padding: Padding) -> Matches:
    """Match boxes to true boxes by IoU.

    IoU values are computed in blocks of `_BLOCK`, or of one row of M if that is longer, so that memory does not grow
    with their number.

    Args:
        boxes_B4M: x1, y1, x2, y2 in pixels; coordinates before boxes, so that each is read in one go. May be expanded.
            What is matched to boxes without area is undefined.
        truth_BN4: True boxes, padded.
        padding: Of the true boxes.
    """
    images, _, boxes = boxes_B4M.shape
    block = max(1, _BLOCK.get(boxes_B4M.device.type, _BLOCK["cuda"]) // boxes)
    step = max(1, block // truth_BN4.shape[1])
    parts = [
        _match(
            boxes_B4M[start : start + step],
            truth_BN4[start : start + step, : max(1, *padding.sizes[start : start + step])],
            padding.mask_BN[start : start + step],
            max(1, block // step),
        )
        for start in range(0, images, step)
    ]
    iou_BM, index_BM, behind_BM = (torch.cat(part) for part in zip(*parts, strict=True))
    return Matches(iou_BM, index_BM, behind_BM == 0)


def _match(boxes_B4M: Tensor, truth_BN4: Tensor, mask_BN: Tensor, step: int) -> tuple[Tensor, Tensor, Tensor]:
    """Highest IoU, its true box, and by how much the box is behind the closest one of a true box; negative, or 0."""
    found: tuple[Tensor, Tensor, Tensor] | None = None
    for start in range(0, truth_BN4.shape[1], step):
        part = slice(start, start + step)
        iou_BnM = _iou(truth_BN4[:, part], boxes_B4M)
        highest_Bn = iou_BnM.amax(-1)
        highest_Bn = highest_Bn.where(mask_BN[:, part][:, : highest_Bn.shape[1]], 2)  # all are behind padding's
        iou_BM, index_BM = iou_BnM.max(1)
        behind_BM = iou_BnM.sub_(highest_Bn.unsqueeze(-1)).amax(1)
        if found is not None:
            before_BM, index_before_BM, behind_before_BM = found
            index_BM = torch.where(iou_BM > before_BM, index_BM + start, index_before_BM)
            iou_BM, behind_BM = torch.maximum(iou_BM, before_BM), torch.maximum(behind_BM, behind_before_BM)
        found = iou_BM, index_BM, behind_BM
    assert found is not None
    return found


def _iou(truth_BN4: Tensor, boxes_B4M: Tensor) -> Tensor:
    """torchvision's `box_iou` to the last bit, N x M. Its pairs of coordinates side by side are slow to go through."""
    truth = [side_BN.unsqueeze(-1) for side_BN in truth_BN4.unbind(-1)]
    boxes = [side_BM.unsqueeze(1) for side_BM in boxes_B4M.unbind(1)]
    width_BNM, height_BNM = (
        torch.minimum(truth[end], boxes[end]).sub_(torch.maximum(truth[end - 2], boxes[end - 2])).clamp_(min=0)
        for end in (2, 3)
    )
    both_BNM = width_BNM.mul_(height_BNM)
    area_BN1, area_B1M = ((x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in (truth, boxes))
    return both_BNM.div_((area_BN1 + area_B1M).sub_(both_BNM))


def regions_of(targets: Sequence[Mapping[str, Tensor]]) -> list[Tensor]:
    """The ignore regions of each target, R x 4; none where it does not say."""
    return [target["ignore"] if "ignore" in target else target["boxes"][:0] for target in targets]


@torch.no_grad()
def without_ignored(labels_BM: Tensor, boxes_B4M: Tensor, regions: Sequence[Tensor]) -> Tensor:
    """Labels with -1 (neither) in place of 0 (negative) for boxes that lie in an ignore region. Positives stay.

    A box lies in a region if their intersection over the box's own area is at least `INSIDE`; each region counts for
    itself. The rule and its threshold are those of scoring at IoU 0.5.

    Args:
        labels_BM: Above 0 positive, 0 negative, below 0 neither.
        boxes_B4M: x1, y1, x2, y2 in pixels; B may be 1. Boxes without area count as inside.
        regions: R x 4 of each image.

    Source: the Caltech toolbox (`bbGt('evalRes')`; Dollár et al., TPAMI 2012) for the rule; mmdetection's
        `ignore_iof_thr` uses it in training.
    """
    counts = [len(own) for own in regions]
    if not any(counts):
        return labels_BM
    regions_BR4 = Padding(counts, labels_BM.device).pad([own.float() for own in regions])
    x1_BM, y1_BM, x2_BM, y2_BM = boxes_B4M.unbind(1)
    enough_BM = INSIDE * (x2_BM - x1_BM) * (y2_BM - y1_BM)
    inside_BM = torch.zeros_like(labels_BM, dtype=torch.bool)
    for left_B1, top_B1, right_B1, bottom_B1 in (own_B41.unbind(1) for own_B41 in regions_BR4.unsqueeze(-1).unbind(1)):
        width_BM = torch.minimum(x2_BM, right_B1).sub_(torch.maximum(x1_BM, left_B1)).clamp_(min=0)
        height_BM = torch.minimum(y2_BM, bottom_B1).sub_(torch.maximum(y1_BM, top_B1)).clamp_(min=0)
        inside_BM |= width_BM.mul_(height_BM) >= enough_BM
    return labels_BM.where((labels_BM != 0) | ~inside_BM, -1)


def sample(labels_BM: Tensor, keys_BM: Tensor, size: int, positive_fraction: float) -> tuple[Tensor, Tensor]:
    """torchvision's balanced sample: at most that fraction positives, filled up with negatives.

    Args:
        labels_BM: Above 0 positive, 0 negative, below 0 neither.
        keys_BM: Uniform on [0, 1); those with the highest are taken.
        size: Boxes an image, at most.
        positive_fraction: Of `size`.

    Returns:
        index_BS: Of M, positives first; S is the lower of `size` and M.
        valid_BS: False where there were too few boxes to sample.
    """
    most_positives = int(size * positive_fraction)
    size = min(size, labels_BM.shape[1])
    keys_2BM = torch.stack((keys_BM.where(labels_BM > 0, -1), keys_BM.where(labels_BM == 0, -1)))
    (positive_BS, negative_BS), (from_positive_BS, from_negative_BS) = keys_2BM.topk(size)
    positives_B1 = (positive_BS[:, :most_positives] >= 0).sum(1, keepdim=True)
    slot_S = torch.arange(size, device=labels_BM.device)
    first_BS, slot_BS = slot_S < positives_B1, (slot_S - positives_B1).clamp(min=0)
    index_BS = from_positive_BS.where(first_BS, from_negative_BS.gather(1, slot_BS))
    return index_BS, first_BS | (negative_BS.gather(1, slot_BS) >= 0)
