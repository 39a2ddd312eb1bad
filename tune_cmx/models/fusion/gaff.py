"""Guided attentive feature fusion (GAFF; Zhang et al., WACV 2021): masks of the foreground, learnt from the boxes.

Taken from the paper: three convolutions in all; one on each stream for a mask of the foreground (intra-modality), one
on both streams for a mask each (inter-modality); masks that strengthen, f (1 + m), and never take away; the first
guided by the boxes drawn as a mask, the second by which stream's first mask is nearer to that, and by nothing where the
two are about as near; Dice-type losses; the mean of the two streams.

Not confirmed, as the authors publish their detections and no code: the kernel (3 x 3 here), how boxes are drawn at a
stage's resolution (`Truth.foreground`), the form of Dice (plain sums, image by image, smoothed by one place, the mean
over images and streams), the margin, and the losses' weights (0.1 here, so that eight losses of at most 1 do not drown
the detector's four). What pads an image is background here. Places in an ignore region that lie on no object count in
neither loss. The paper has a RetinaNet over VGG16 or ResNet18.

What the published ablation calls GAFF is another fusion: `se_gated`.

Axes: B batch, C channels, H W rows and columns; 2 stands for the RGB and the auxiliary stream, in this order.
"""

from collections.abc import Mapping
from typing import Annotated, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn

from tune_cmx.models.fusion.base import Fusion, FusionOptions, FusionOutput, StageShape, Truth, by_image
from tune_cmx.models.precision import at_least_float32

_KERNEL = 3
_SMOOTH = 1.0
"""Places added to both sides of Dice: a mask that is rightly empty is then no loss."""


class GaffOptions(FusionOptions):
    """How strongly the boxes guide. Defaults are this software's: the paper's could not be confirmed."""

    intra_weight: Annotated[float, Field(ge=0, le=1000)] = 0.1
    """Weight of the loss of the foreground masks. With 0 the boxes do not guide them."""
    inter_weight: Annotated[float, Field(ge=0, le=1000)] = 0.1
    """Weight of the loss of the masks that say which stream to prefer."""
    margin: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Smallest difference of the two foreground masks' errors, 0 to 1, at which a place trains the preference."""


class _Masks(NamedTuple):
    """Fractions 0..1."""

    intra_B2HW: Tensor
    """How much each stream, for itself, holds a place for foreground."""
    inter_B2HW: Tensor
    """How much each stream is to be preferred."""


def _dice_loss(mask_B2HW: Tensor, truth_B2HW: Tensor) -> Tensor:
    """0 where each mask is the truth, towards 1 where they share nothing; the mean over images and streams."""
    mask_B2HW = mask_B2HW.to(at_least_float32(mask_B2HW.dtype))  # sums of many places
    shared_B2 = (mask_B2HW * truth_B2HW).sum(dim=(2, 3))
    both_B2 = mask_B2HW.sum(dim=(2, 3)) + truth_B2HW.sum(dim=(2, 3))
    return (1 - (2 * shared_B2 + _SMOOTH) / (both_B2 + _SMOOTH)).mean()


def _inter_loss(masks: _Masks, foreground_B1HW: Tensor, margin: float, considered_B1HW: Tensor | None) -> Tensor:
    """Dice over the places where one stream's foreground mask is nearer to the truth than the other's by the margin."""
    intra_B2HW = masks.intra_B2HW.detach()  # what is nearer is a fact here, not a thing to learn
    error_B2HW = (intra_B2HW - foreground_B1HW.to(intra_B2HW.dtype)).abs()
    rgb_leads_B1HW = error_B2HW[:, 1:] - error_B2HW[:, :1]
    nearer_B2HW = torch.cat([rgb_leads_B1HW > margin, rgb_leads_B1HW < -margin], dim=1)
    if considered_B1HW is not None:
        nearer_B2HW = nearer_B2HW & considered_B1HW
    decided_B1HW = nearer_B2HW.any(dim=1, keepdim=True)
    return _dice_loss(masks.inter_B2HW * decided_B1HW, nearer_B2HW)


class GaffFusion(Fusion):
    """Strengthen each stream where it sees an object, and where it is the better one; average. Both go on unchanged."""

    def __init__(self, stage: StageShape, options: GaffOptions) -> None:
        super().__init__(stage, options)
        self.options = options
        channels = stage.channels
        self.intra_rgb = nn.Conv2d(channels, 1, _KERNEL, padding=_KERNEL // 2)
        self.intra_aux = nn.Conv2d(channels, 1, _KERNEL, padding=_KERNEL // 2)
        self.inter = nn.Conv2d(2 * channels, 2, _KERNEL, padding=_KERNEL // 2)

    def fuse(self, rgb_BCHW: Tensor, aux_BCHW: Tensor) -> FusionOutput:
        masks = self._masks(rgb_BCHW, aux_BCHW)
        statistics: Mapping[str, Tensor] = {} if self.training else _statistics(masks)
        return FusionOutput(rgb_BCHW, aux_BCHW, _fused(rgb_BCHW, aux_BCHW, masks), statistics=statistics)

    def fuse_guided(self, rgb_BCHW: Tensor, aux_BCHW: Tensor, truth: Truth) -> FusionOutput:
        masks = self._masks(rgb_BCHW, aux_BCHW)
        foreground_B1HW, considered_B1HW = truth.foreground(rgb_BCHW), truth.considered(rgb_BCHW)
        intra_B2HW = masks.intra_B2HW if considered_B1HW is None else masks.intra_B2HW * considered_B1HW
        inter_loss = _inter_loss(masks, foreground_B1HW, self.options.margin, considered_B1HW)
        losses = {
            "intra": self.options.intra_weight * _dice_loss(intra_B2HW, foreground_B1HW.expand(-1, 2, -1, -1)),
            "inter": self.options.inter_weight * inter_loss,
        }
        return FusionOutput(rgb_BCHW, aux_BCHW, _fused(rgb_BCHW, aux_BCHW, masks), losses)

    def _masks(self, rgb_BCHW: Tensor, aux_BCHW: Tensor) -> _Masks:
        intra_B2HW = torch.cat([self.intra_rgb(rgb_BCHW), self.intra_aux(aux_BCHW)], dim=1)
        inter_B2HW = self.inter(torch.cat([rgb_BCHW, aux_BCHW], dim=1))
        dtype = at_least_float32(intra_B2HW.dtype)  # what is compared with a margin needs more than bfloat16's digits
        return _Masks(intra_B2HW.to(dtype).sigmoid(), inter_B2HW.to(dtype).sigmoid())


def _fused(rgb_BCHW: Tensor, aux_BCHW: Tensor, masks: _Masks) -> Tensor:
    stronger_B2HW = (1 + masks.intra_B2HW) * (1 + masks.inter_B2HW)
    rgb_B1HW, aux_B1HW = stronger_B2HW.to(rgb_BCHW.dtype).chunk(2, dim=1)
    return (rgb_BCHW * rgb_B1HW + aux_BCHW * aux_B1HW) / 2


def _statistics(masks: _Masks) -> dict[str, Tensor]:
    return {
        f"{mask}_{stream}": by_image(values_B2HW[:, index])
        for mask, values_B2HW in (("foreground", masks.intra_B2HW), ("preferred", masks.inter_B2HW))
        for index, stream in enumerate(("rgb", "aux"))
    }
