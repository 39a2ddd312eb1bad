"""RoIAlign on a CPU, where torchvision's goes through channels one by one, on one core, and takes a third of a step.

Axes: B images, C channels, H W rows and columns, R RoIs of all images and levels, L pyramid levels, P bins a side,
T taps of a bin along one axis, K places of all maps together.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from tune_cmx.models.precision import at_least_float32


def align_on_cpu(
    maps: Sequence[Tensor], boxes_R4: Tensor, images_R: Tensor, levels_R: Tensor, scales: Sequence[float], bins: int
) -> Tensor:
    """torchvision's `roi_align` with two samples a bin and side, not aligned, up to the rounding of sums.

    What a bin takes is a weighted sum of the places around its samples, and so an embedding bag over the places of all
    maps: forward and backward go through whole rows of channels, on all cores.

    Args:
        maps: B x C x H x W of each level.
        boxes_R4: x1, y1, x2, y2 in pixels of the batch.
        images_R: Of the batch, the image of each RoI.
        levels_R: The level that each RoI is taken from.
        scales: Of each level, places a pixel.
        bins: Along each side.

    Returns:
        R x C x bins x bins, at least float32.

    Source: Mask R-CNN, arXiv:1703.06870, section 3; the sampling is torchvision's.
    """
    table_KC = torch.cat([own_BCHW.permute(0, 2, 3, 1).flatten(0, 2) for own_BCHW in maps])
    table_KC = table_KC.to(at_least_float32(table_KC.dtype))
    sides_L2 = torch.tensor([own_BCHW.shape[-2:] for own_BCHW in maps])
    starts_L = torch.tensor([0, *(own_BCHW[:, 0].numel() for own_BCHW in maps)]).cumsum(0)[:-1]
    height_R, width_R = sides_L2[levels_R].unbind(1)
    placed_R4 = boxes_R4 * torch.tensor(scales, dtype=boxes_R4.dtype)[levels_R].unsqueeze(1)
    row_RPT, down_RPT = _taps(placed_R4[:, 1], placed_R4[:, 3], height_R, bins)
    column_RPT, across_RPT = _taps(placed_R4[:, 0], placed_R4[:, 2], width_R, bins)
    first_R = starts_L[levels_R] + images_R * height_R * width_R
    line_RPT = first_R[:, None, None] + row_RPT * width_R[:, None, None]
    place_RPPTT = line_RPT[:, :, None, :, None] + column_RPT[:, None, :, None, :]
    weight_RPPTT = down_RPT[:, :, None, :, None] * across_RPT[:, None, :, None, :]
    pooled = F.embedding_bag(
        place_RPPTT.flatten(3).flatten(0, 2),
        table_KC,
        per_sample_weights=weight_RPPTT.flatten(3).flatten(0, 2).to(table_KC.dtype),
        mode="sum",
    )
    return pooled.view(len(boxes_R4), bins, bins, table_KC.shape[1]).permute(0, 3, 1, 2)


def _taps(low_R: Tensor, high_R: Tensor, places_R: Tensor, bins: int) -> tuple[Tensor, Tensor]:
    """Along one axis the places that a bin takes, and how much of each: two samples, each between two places."""
    bin_R1 = (high_R - low_R).clamp(min=1).unsqueeze(1) / bins
    sample_S = torch.arange(2 * bins)
    at_RS = low_R.unsqueeze(1) + sample_S // 2 * bin_R1 + (sample_S % 2 + 0.5) * (bin_R1 / 2)
    last_R1 = places_R.unsqueeze(1) - 1
    inside_RS = (at_RS >= -1) & (at_RS <= places_R.unsqueeze(1))
    before_RS = torch.minimum(at_RS.clamp(min=0).floor().long(), last_R1)
    after_RS = torch.minimum(before_RS + 1, last_R1)
    share_RS = (at_RS.clamp(min=0) - before_RS).where(before_RS < last_R1, 0)
    places_RST = torch.stack((before_RS, after_RS), dim=-1)
    weights_RST = torch.stack((1 - share_RS, share_RS), dim=-1) * (inside_RS / 2).unsqueeze(-1)
    return places_RST.view(len(low_R), bins, 4), weights_RST.view(len(low_R), bins, 4)
