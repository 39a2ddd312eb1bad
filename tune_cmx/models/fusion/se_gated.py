"""Squeeze-and-excitation with gates between the streams; what the published ablation calls GAFF.

It is not the guided fusion of Zhang et al., WACV 2021, for which the name stands elsewhere.

Axes: B batch, C channels, H W rows and columns.
"""

from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from tune_cmx.models.fusion.base import Fusion, FusionOptions, FusionOutput, StageShape, by_image


class SeGatedOptions(FusionOptions):
    """Sizes of the parts; the defaults are the published ablation's."""

    se_reduction: Annotated[int, Field(ge=1, le=1024)] = 4
    """Reduction ratio r of squeeze-and-excitation; at least one channel is kept."""
    merge_bottleneck: bool = False
    """Merge the streams with two convolutions instead of one."""


class _SqueezeExcite(nn.Module):
    """Weigh each channel by what all channels' means say of it (arXiv:1709.01507)."""

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        middle = max(channels // reduction, 1)
        self.mlp = nn.Sequential(
            nn.Linear(channels, middle, bias=False), nn.ReLU(), nn.Linear(middle, channels, bias=False), nn.Sigmoid()
        )

    def forward(self, x_BCHW: Tensor) -> Tensor:
        weights_BC: Tensor = self.mlp(x_BCHW.mean(dim=(2, 3)))
        return x_BCHW * weights_BC[:, :, None, None]


class SeGatedFusion(Fusion):
    """Each stream, its channels weighed, plus the other one through a gate; then both merged. Both go on unchanged.

    Weights start as PyTorch draws them, as in the published ablation.
    """

    def __init__(self, stage: StageShape, options: SeGatedOptions) -> None:
        super().__init__(stage, options)
        channels = stage.channels
        self.se_rgb = _SqueezeExcite(channels, options.se_reduction)
        self.se_aux = _SqueezeExcite(channels, options.se_reduction)
        self.gate_rgb = nn.Conv2d(2 * channels, channels, 1, bias=False)
        self.gate_aux = nn.Conv2d(2 * channels, channels, 1, bias=False)
        merge: list[nn.Module] = [nn.Conv2d(2 * channels, channels, 1, bias=False), nn.BatchNorm2d(channels)]
        if options.merge_bottleneck:
            merge += [nn.ReLU(), nn.Conv2d(channels, channels, 1, bias=False), nn.BatchNorm2d(channels)]
        self.merge = nn.Sequential(*merge)

    def fuse(self, rgb_BCHW: Tensor, aux_BCHW: Tensor) -> FusionOutput:
        both_BCHW = torch.cat([rgb_BCHW, aux_BCHW], dim=1)
        from_aux_BCHW, from_rgb_BCHW = self.gate_rgb(both_BCHW).sigmoid(), self.gate_aux(both_BCHW).sigmoid()
        gated_rgb_BCHW = self.se_rgb(rgb_BCHW) + from_aux_BCHW * aux_BCHW
        gated_aux_BCHW = self.se_aux(aux_BCHW) + from_rgb_BCHW * rgb_BCHW
        fused_BCHW = self.merge(torch.cat([gated_rgb_BCHW, gated_aux_BCHW], dim=1))
        if self.training:
            return FusionOutput(rgb_BCHW, aux_BCHW, fused_BCHW)
        gates = {"from_aux": by_image(from_aux_BCHW), "from_rgb": by_image(from_rgb_BCHW)}
        return FusionOutput(rgb_BCHW, aux_BCHW, fused_BCHW, statistics=gates)
