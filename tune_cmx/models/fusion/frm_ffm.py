"""FRM and FFM, the fusion of CMX (arXiv:2203.04838): each stream is corrected by the other, then both are merged.

Axes: B batch, C channels, H W rows and columns, N tokens (H * W), G heads, D E channels of one head.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from tune_cmx.models.fusion.base import Fusion, FusionOptions, FusionOutput, StageShape, by_image
from tune_cmx.models.init import init_weights
from tune_cmx.models.precision import at_least_float32, without_autocast

_LAMBDA_CHANNEL = 0.5
_LAMBDA_SPATIAL = 0.5


class FrmFfmOptions(FusionOptions):
    """None: it is the baseline, and stands as published, with both reductions 1."""


class _ChannelWeights(nn.Module):
    """A weight for each channel of each stream, from the means and maxima of both."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(4 * channels, 4 * channels),
            nn.ReLU(),
            nn.Linear(4 * channels, 2 * channels),
            nn.Sigmoid(),
        )

    def forward(self, both_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        pooled_BC = torch.cat([both_BCHW.mean(dim=(2, 3)), both_BCHW.amax(dim=(2, 3))], dim=1)
        rgb_BC, aux_BC = self.mlp(pooled_BC).chunk(2, dim=1)
        return rgb_BC[:, :, None, None], aux_BC[:, :, None, None]


class _SpatialWeights(nn.Module):
    """A weight for each place of each stream."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Conv2d(2 * channels, channels, 1), nn.ReLU(), nn.Conv2d(channels, 2, 1), nn.Sigmoid()
        )

    def forward(self, both_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        rgb_B1HW, aux_B1HW = self.mlp(both_BCHW).chunk(2, dim=1)
        return rgb_B1HW, aux_B1HW


class FeatureRectification(nn.Module):
    """FRM: correct each stream with evidence from the other."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channel_weights = _ChannelWeights(channels)
        self.spatial_weights = _SpatialWeights(channels)
        self.apply(init_weights)

    def forward(self, rgb_BCHW: Tensor, aux_BCHW: Tensor) -> tuple[Tensor, Tensor, Mapping[str, Tensor]]:
        """The two corrected maps, same shapes as given; and in evaluation mode how much each took from the other."""
        both_BCHW = torch.cat([rgb_BCHW, aux_BCHW], dim=1)
        rgb_channel, aux_channel = self.channel_weights(both_BCHW)
        rgb_spatial, aux_spatial = self.spatial_weights(both_BCHW)
        gates = (
            {}
            if self.training
            else {
                "from_aux": _LAMBDA_CHANNEL * by_image(aux_channel) + _LAMBDA_SPATIAL * by_image(aux_spatial),
                "from_rgb": _LAMBDA_CHANNEL * by_image(rgb_channel) + _LAMBDA_SPATIAL * by_image(rgb_spatial),
            }
        )
        return (
            rgb_BCHW + _LAMBDA_CHANNEL * aux_channel * aux_BCHW + _LAMBDA_SPATIAL * aux_spatial * aux_BCHW,
            aux_BCHW + _LAMBDA_CHANNEL * rgb_channel * rgb_BCHW + _LAMBDA_SPATIAL * rgb_spatial * rgb_BCHW,
            gates,
        )


class _CrossAttention(nn.Module):
    """Each stream's queries meet the other's summary of keys and values, at a cost linear in the number of tokens."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.scale = (channels // heads) ** -0.5
        self.kv_rgb = nn.Linear(channels, 2 * channels, bias=False)
        self.kv_aux = nn.Linear(channels, 2 * channels, bias=False)

    def forward(self, rgb_BNC: Tensor, aux_BNC: Tensor) -> tuple[Tensor, Tensor]:
        context_rgb_BGDE = self._context(self.kv_rgb(rgb_BNC))
        context_aux_BGDE = self._context(self.kv_aux(aux_BNC))
        return self._read(rgb_BNC, context_aux_BGDE), self._read(aux_BNC, context_rgb_BGDE)

    def _split_heads(self, x_BNC: Tensor) -> Tensor:
        batch, tokens, channels = x_BNC.shape
        return x_BNC.reshape(batch, tokens, self.heads, channels // self.heads).transpose(1, 2)

    def _context(self, kv_BNC: Tensor) -> Tensor:
        """In float32 at least: a sum over all tokens reaches hundreds, where bfloat16 counts in whole numbers."""
        with without_autocast(kv_BNC):
            kv_BNC = kv_BNC.to(at_least_float32(kv_BNC.dtype))
            k_BGND, v_BGNE = (self._split_heads(part) for part in kv_BNC.chunk(2, dim=-1))
            return torch.softmax(k_BGND.transpose(-2, -1) @ v_BGNE * self.scale, dim=-2)

    def _read(self, x_BNC: Tensor, context_BGDE: Tensor) -> Tensor:
        return (self._split_heads(x_BNC) @ context_BGDE).transpose(1, 2).flatten(2)


class _CrossPath(nn.Module):
    """Exchange between the streams, token by token and through the cross-attention."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.project_rgb = nn.Linear(channels, 2 * channels)
        self.project_aux = nn.Linear(channels, 2 * channels)
        self.attention = _CrossAttention(channels, heads)
        self.end_rgb = nn.Linear(2 * channels, channels)
        self.end_aux = nn.Linear(2 * channels, channels)
        self.norm_rgb = nn.LayerNorm(channels)
        self.norm_aux = nn.LayerNorm(channels)

    def forward(self, rgb_BNC: Tensor, aux_BNC: Tensor) -> tuple[Tensor, Tensor]:
        y_rgb_BNC, u_rgb_BNC = self.project_rgb(rgb_BNC).relu().chunk(2, dim=-1)
        y_aux_BNC, u_aux_BNC = self.project_aux(aux_BNC).relu().chunk(2, dim=-1)
        v_rgb_BNC, v_aux_BNC = self.attention(u_rgb_BNC, u_aux_BNC)
        return (
            self.norm_rgb(rgb_BNC + self.end_rgb(torch.cat([y_rgb_BNC, v_rgb_BNC], dim=-1))),
            self.norm_aux(aux_BNC + self.end_aux(torch.cat([y_aux_BNC, v_aux_BNC], dim=-1))),
        )


class _ChannelEmbed(nn.Module):
    """From both streams' channels to one stream's."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.residual = nn.Conv2d(2 * channels, channels, 1, bias=False)
        self.embed = nn.Sequential(
            nn.Conv2d(2 * channels, channels, 1),
            nn.Conv2d(channels, channels, 3, padding=1, groups=channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 1),
            nn.BatchNorm2d(channels),
        )
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, both_BCHW: Tensor) -> Tensor:
        fused_BCHW: Tensor = self.norm(self.residual(both_BCHW) + self.embed(both_BCHW))
        return fused_BCHW


class FeatureFusion(nn.Module):
    """FFM: merge two corrected streams into one map."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.cross = _CrossPath(channels, heads)
        self.channel_embed = _ChannelEmbed(channels)
        self.apply(init_weights)

    def forward(self, rgb_BCHW: Tensor, aux_BCHW: Tensor) -> Tensor:
        """The merged map, of one stream's shape."""
        batch, channels, height, width = rgb_BCHW.shape
        both_BNC = torch.cat(
            self.cross(rgb_BCHW.flatten(2).transpose(1, 2), aux_BCHW.flatten(2).transpose(1, 2)), dim=-1
        )
        both_BCHW = both_BNC.transpose(1, 2).reshape(batch, 2 * channels, height, width)
        fused_BCHW: Tensor = self.channel_embed(both_BCHW)
        return fused_BCHW


class FrmFfmFusion(Fusion):
    """FRM's maps go on to the next stage; FFM's goes to the pyramid.

    Source: CMX, arXiv:2203.04838. Differs from the authors' code: weights are initialised here, not by the encoder.
    """

    def __init__(self, stage: StageShape, options: FrmFfmOptions) -> None:
        super().__init__(stage, options)
        self.frm = FeatureRectification(stage.channels)
        self.ffm = FeatureFusion(stage.channels, stage.heads)

    def fuse(self, rgb_BCHW: Tensor, aux_BCHW: Tensor) -> FusionOutput:
        rgb_BCHW, aux_BCHW, gates = self.frm(rgb_BCHW, aux_BCHW)
        return FusionOutput(rgb_BCHW, aux_BCHW, self.ffm(rgb_BCHW, aux_BCHW), statistics=gates)
