"""Channel switching and spatial attention (CSSA; Cao et al., CVPR 2023 workshops, PBVS).

Axes: B batch, C channels (of both streams in `both`), H W rows and columns; 1 stands for an axis pooled away.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import torch
from pydantic import BeforeValidator, Field
from torch import Tensor, nn

from tune_cmx.model_audit import AuditWarning
from tune_cmx.models.fusion.base import Fusion, FusionOptions, FusionOutput, StageShape, by_image
from tune_cmx.models.precision import at_least_float32, without_autocast

_RULE = "rule"
_LARGEST_KERNEL = 99


def _odd_or_rule(kernel: Any) -> Any:
    odd = (
        isinstance(kernel, int) and not isinstance(kernel, bool) and 1 <= kernel <= _LARGEST_KERNEL and kernel % 2 == 1
    )
    if not odd and kernel != _RULE:
        raise ValueError(
            f"must be odd, from 1 to {_LARGEST_KERNEL}, to have a channel in its middle, or '{_RULE}'; got {kernel!r}"
        )
    return kernel


class CssaOptions(FusionOptions):
    """CSSA and its parts; each part can be switched off for an ablation."""

    switching_threshold: Annotated[float, Field(ge=0, le=1)] = 0.5
    """A channel whose weight is below this fraction is replaced by the other stream's; a larger one switches more.
    Untrained weights lie near 0.5: at the paper's 0.002 nothing is switched. The default is the middle of the three
    values (0.3, 0.5, 0.7) of the published ablation."""
    gate: Literal["hard", "straight_through", "weighted"] = "hard"
    """How a weight switches its channel. `hard`, as published: by a comparison, which passes no gradient to ECA.
    `straight_through`: by the same comparison, with the gradient of a weighted mean of the two channels. `weighted`:
    each channel is multiplied by its weight, as in ECA, before the comparison."""
    eca_kernel: Annotated[int | Literal["rule"], BeforeValidator(_odd_or_rule)] = 3
    """Neighbouring channels that determine a weight: an odd number from 1 to 99, or `rule` for ECA's rule (5 from
    128 channels on). Default: 3, as in public code."""
    eca: bool = True
    """Use ECA's convolution over channels. Without it, a weight is the sigmoid of its channel's mean."""
    switching: bool = True
    """Switch channels. Without it, no channel is replaced; ECA is then only used by the gate `weighted`."""
    spatial_attention: bool = True
    """Use spatial attention. Without it, the output is the mean of the switched streams."""


def _kernel_by_rule(channels: int) -> int:
    """ECA's: |log2(C) + 1| / 2 without its fraction, or the next odd number (arXiv:1910.03151, gamma 2, b 1)."""
    size = int(abs(math.log2(channels) + 1) / 2)
    return size if size % 2 else size + 1


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


def _switch(own_BCHW: Tensor, other_BCHW: Tensor, kept_BC: Tensor) -> Tensor:
    """`own` where a channel is kept, 1, `other` where it is not, 0; with the gradient of the mean that `kept` weighs.

    At 0 and 1 lerp gives either end to the last bit.
    """
    return torch.lerp(other_BCHW, own_BCHW, kept_BC[:, :, None, None].to(own_BCHW.dtype))


class CssaFusion(Fusion):
    """Replace each stream's weak channels by the other's, weigh places, average. Both streams go on unchanged.

    As both streams are averaged, switching every channel is the same function as switching none: only a channel that
    is switched in exactly one stream matters. `audit_notes` tells their share, and `statistics` holds it as
    `exactly_one`, beside what share of channels each stream took from the other.
    """

    def __init__(self, stage: StageShape, options: CssaOptions) -> None:
        super().__init__(stage, options)
        self.options = options
        self._weighs = options.gate == "weighted"
        if options.switching or self._weighs:
            self.eca_rgb = self._weights(stage, options)
            self.eca_aux = self._weights(stage, options)

    @staticmethod
    def _weights(stage: StageShape, options: CssaOptions) -> nn.Module:
        if not options.eca:
            return _SigmoidWeights()
        kernel = _kernel_by_rule(stage.channels) if options.eca_kernel == _RULE else options.eca_kernel
        assert isinstance(kernel, int)
        return _ChannelWeights(kernel)

    def fuse(self, rgb_BCHW: Tensor, aux_BCHW: Tensor) -> FusionOutput:
        first_BCHW, second_BCHW = rgb_BCHW, aux_BCHW
        statistics: Mapping[str, Tensor] = {}
        if self.options.switching or self._weighs:
            rgb_BC, aux_BC = self._channel_weights(rgb_BCHW, aux_BCHW)
            if self._weighs:
                first_BCHW, second_BCHW = (
                    map_BCHW * weights_BC[:, :, None, None].to(map_BCHW.dtype)
                    for map_BCHW, weights_BC in ((rgb_BCHW, rgb_BC), (aux_BCHW, aux_BC))
                )
            if self.options.switching:
                first_BCHW, second_BCHW = self._switched(first_BCHW, second_BCHW, rgb_BC, aux_BC)
                statistics = {} if self.training else self._statistics(rgb_BC, aux_BC)
        if self.options.spatial_attention:
            first_BCHW, second_BCHW = _attend(torch.cat([first_BCHW, second_BCHW], dim=1)).chunk(2, dim=1)
        return FusionOutput(rgb_BCHW, aux_BCHW, (first_BCHW + second_BCHW) / 2, statistics=statistics)

    def audit_notes(self, rgb_BCHW: Tensor, aux_BCHW: Tensor) -> list[AuditWarning]:
        if not self.options.switching:
            return []
        share = self._statistics(*self._channel_weights(rgb_BCHW, aux_BCHW))["exactly_one"].mean().item()
        text = "{share} of the channels are switched in exactly one stream at the start; only these matter"
        return [AuditWarning(text, share=share)]

    def without_gradient(self, names: Sequence[str]) -> str:
        if self.options.gate != "hard":
            return super().without_gradient(names)
        return (
            f"gate 'hard' gives {', '.join(names)} no gradient: they stay as drawn, and the threshold acts through a "
            "random filter; `gate: straight_through` trains them"
        )

    def _channel_weights(self, rgb_BCHW: Tensor, aux_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        """In float32 at least: what is compared with a threshold needs more than bfloat16's three digits."""
        dtype = at_least_float32(rgb_BCHW.dtype)
        with without_autocast(rgb_BCHW):
            rgb_BC: Tensor = self.eca_rgb(rgb_BCHW.mean(dim=(2, 3), dtype=dtype))
            aux_BC: Tensor = self.eca_aux(aux_BCHW.mean(dim=(2, 3), dtype=dtype))
        return rgb_BC, aux_BC

    def _switched(self, rgb_BCHW: Tensor, aux_BCHW: Tensor, rgb_BC: Tensor, aux_BC: Tensor) -> tuple[Tensor, Tensor]:
        """Both maps, where a channel's weight is below the threshold the other's."""
        threshold = self.options.switching_threshold
        if self.options.gate == "straight_through":
            rgb_kept_BC, aux_kept_BC = (
                (weights_BC >= threshold).to(weights_BC.dtype) + (weights_BC - weights_BC.detach())
                for weights_BC in (rgb_BC, aux_BC)
            )
            return _switch(rgb_BCHW, aux_BCHW, rgb_kept_BC), _switch(aux_BCHW, rgb_BCHW, aux_kept_BC)
        rgb_BC11, aux_BC11 = (weights_BC[:, :, None, None] < threshold for weights_BC in (rgb_BC, aux_BC))
        return torch.where(rgb_BC11, aux_BCHW, rgb_BCHW), torch.where(aux_BC11, rgb_BCHW, aux_BCHW)

    def _statistics(self, rgb_BC: Tensor, aux_BC: Tensor) -> dict[str, Tensor]:
        threshold = self.options.switching_threshold
        from_aux_BC, from_rgb_BC = rgb_BC < threshold, aux_BC < threshold
        return {
            "exactly_one": by_image(from_aux_BC ^ from_rgb_BC),
            "from_aux": by_image(from_aux_BC),
            "from_rgb": by_image(from_rgb_BC),
        }
