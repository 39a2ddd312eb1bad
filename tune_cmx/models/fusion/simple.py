"""The two fusions that any other must beat: the mean, and one convolution. Both streams go on unchanged.

Axes: B batch, C channels, H W rows and columns.
"""

import torch
from torch import Tensor, nn

from tune_cmx.models.fusion.base import Fusion, FusionOptions, FusionOutput, StageShape


class AddOptions(FusionOptions):
    """None."""


class AddFusion(Fusion):
    """The mean of the two streams; no parameters."""

    def fuse(self, rgb_BCHW: Tensor, aux_BCHW: Tensor) -> FusionOutput:
        return FusionOutput(rgb_BCHW, aux_BCHW, (rgb_BCHW + aux_BCHW) / 2)


class ConcatOptions(FusionOptions):
    """None."""


class ConcatFusion(Fusion):
    """A learned mixture of all channels at each place."""

    def __init__(self, stage: StageShape, options: ConcatOptions) -> None:
        super().__init__(stage, options)
        self.mix = nn.Conv2d(2 * stage.channels, stage.channels, 1)

    def fuse(self, rgb_BCHW: Tensor, aux_BCHW: Tensor) -> FusionOutput:
        return FusionOutput(rgb_BCHW, aux_BCHW, self.mix(torch.cat([rgb_BCHW, aux_BCHW], dim=1)))
