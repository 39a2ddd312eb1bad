"""Channel switching and spatial attention (CSSA; Cao et al., CVPR 2023 workshops, PBVS).

Axes: B batch, C channels (of both streams in `both`), H W rows and columns; 1 stands for an axis pooled away.
"""

from typing import Annotated, Literal

import torch
from pydantic import AfterValidator, Field
from torch import Tensor, nn

from tune_cmx.models.fusion.base import Fusion, FusionOptions, FusionOutput, StageShape


def _odd(kernel: int) -> int:
    if kernel % 2 == 0:
        raise ValueError(f"must be odd, so that a channel stands in the middle of its neighbours; got {kernel}")
    return kernel


class CssaOptions(FusionOptions):
    """CSSA and its parts; each part can be left out, to see what it is worth."""

    switching_threshold: Annotated[float, Field(ge=0, le=1)] = 0.5
    """A channel whose weight is below this fraction is replaced by the other stream's; larger switches more.

    Untrained weights lie about 0.5: at the paper's own 0.002 nothing is ever switched. The default is the middle of
    the three values (0.3, 0.5, 0.7) that this project's users compared.
    """
    gate: Literal["hard"] = "hard"
    """`hard`, as published: a comparison, through which no gradient reaches ECA."""
    eca_kernel: Annotated[int, Field(ge=1), AfterValidator(_odd)] = 3
    """Neighbouring channels that share in a weight. 3 as in public code; ECA's own rule gives 5 from C = 128 on."""
    eca: bool = True
    """False: a channel's weight is the sigmoid of its mean, without the convolution over channels."""
    switching: bool = True
    """False: no channel is replaced. ECA's weights have no other use, so that it is not built either."""
    spatial_attention: bool = True
    """False: the output is the plain mean of the switched streams."""


class _ChannelWeights(nn.Module):
    """Efficient channel attention (ECA): a weight from 0 to 1 for each channel, from its mean and its neighbours'."""

    def __init__(self, kernel: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 1, kernel, padding=kernel // 2, bias=False)

    def forward(self, mean_BC: Tensor) -> Tensor:
        weights_BC: Tensor = self.conv(mean_BC[:, None]).sigmoid()[:, 0]
        return weights_BC


class _SigmoidWeights(nn.Module):
    """What remains without ECA."""

    def forward(self, mean_BC: Tensor) -> Tensor:
        return mean_BC.sigmoid()


def _attend(both_BCHW: Tensor) -> Tensor:
    """Weigh each place by the mean and the maximum of its channels; no parameters."""
    mean_B1HW = both_BCHW.mean(dim=1, keepdim=True)
    peak_B1HW = both_BCHW.amax(dim=1, keepdim=True)
    return both_BCHW * mean_B1HW.sigmoid() * peak_B1HW.sigmoid()


class CssaFusion(Fusion):
    """Replace each stream's weak channels by the other's, weigh places, average. Both streams go on unchanged.

    As both streams are averaged, switching every channel is the same function as switching none: only a channel that
    is switched in exactly one stream matters. `audit_notes` tells their share.
    """

    def __init__(self, stage: StageShape, options: CssaOptions) -> None:
        super().__init__(stage, options)
        self.options = options
        if options.switching:
            self.eca_rgb = self._weights(options)
            self.eca_aux = self._weights(options)

    @staticmethod
    def _weights(options: CssaOptions) -> nn.Module:
        return _ChannelWeights(options.eca_kernel) if options.eca else _SigmoidWeights()

    def fuse(self, rgb_BCHW: Tensor, aux_BCHW: Tensor) -> FusionOutput:
        both_BCHW = torch.cat([rgb_BCHW, aux_BCHW], dim=1)
        if self.options.switching:
            rgb_BC11, aux_BC11 = (mask_BC[:, :, None, None] for mask_BC in self._switched(rgb_BCHW, aux_BCHW))
            both_BCHW = torch.cat(
                [torch.where(rgb_BC11, aux_BCHW, rgb_BCHW), torch.where(aux_BC11, rgb_BCHW, aux_BCHW)], dim=1
            )
        if self.options.spatial_attention:
            both_BCHW = _attend(both_BCHW)
        first_BCHW, second_BCHW = both_BCHW.chunk(2, dim=1)
        return FusionOutput(rgb_BCHW, aux_BCHW, (first_BCHW + second_BCHW) / 2)

    def audit_notes(self, rgb_BCHW: Tensor, aux_BCHW: Tensor) -> list[str]:
        if not self.options.switching:
            return []
        rgb_BC, aux_BC = self._switched(rgb_BCHW, aux_BCHW)
        share = (rgb_BC ^ aux_BC).float().mean().item()
        setting = f"threshold {self.options.switching_threshold:g}, gate '{self.options.gate}'"
        return [f"{setting}: {share:.0%} of the channels are switched in exactly one stream; only these matter"]

    def _switched(self, rgb_BCHW: Tensor, aux_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Which channels of each stream are replaced, as masks of B and C."""
        threshold = self.options.switching_threshold
        rgb_BC = self.eca_rgb(rgb_BCHW.mean(dim=(2, 3)))
        aux_BC = self.eca_aux(aux_BCHW.mean(dim=(2, 3)))
        return rgb_BC < threshold, aux_BC < threshold
