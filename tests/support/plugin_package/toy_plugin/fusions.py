"""A fusion: one share for each channel."""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from tune_cmx.models.fusion import Fusion, FusionOptions, FusionOutput, StageShape


class MixtureOptions(FusionOptions):
    """How the streams are mixed."""

    start: Annotated[float, Field(ge=-4, le=4)] = 0.0
    """Logit of the share of the RGB stream before training."""


class MixtureFusion(Fusion):
    """A learned share of the RGB stream for each channel."""

    def __init__(self, stage: StageShape, options: MixtureOptions) -> None:
        super().__init__(stage, options)
        self.share = nn.Parameter(torch.full((stage.channels, 1, 1), options.start))

    def fuse(self, rgb_BCHW: Tensor, aux_BCHW: Tensor) -> FusionOutput:
        share_C11 = self.share.sigmoid()
        return FusionOutput(rgb_BCHW, aux_BCHW, share_C11 * rgb_BCHW + (1 - share_C11) * aux_BCHW)


MIXTURE = (MixtureOptions, MixtureFusion)
