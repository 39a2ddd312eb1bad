"""The backbones of a stream: Mix Transformers by their names, timm's hierarchies as `timm/NAME`.

A stream is a module with `forward_stage(stage, x_BCHW)` for the stages 1..4. It turns the map of the stage before, or
the image, into the map of this stage. `channels` and `strides` are those of the four maps.
"""

from dataclasses import dataclass

from tune_cmx.config.trial import TIMM
from tune_cmx.errors import ConfigError
from tune_cmx.models.mit import MIT, MixTransformer
from tune_cmx.models.timm_stream import TimmStream, timm_widths
from tune_cmx.registry import suggestion

Stream = MixTransformer | TimmStream

_HEAD_WIDTH = 64
"""Channels of one attention head in the Mix Transformers B1 to B5."""


@dataclass(frozen=True)
class StreamShape:
    """What fusions and pyramid need to know of a backbone; one entry for each of the stages 1..4."""

    widths: tuple[int, ...]
    """Channels of each map."""
    heads: tuple[int, ...]
    """Attention heads in FFM; they divide the widths. For a Mix Transformer, those of its own blocks."""


def stream_shape(backbone: str) -> StreamShape:
    """The shape of a backbone. No weights are drawn.

    For timm's hierarchies the number of heads follows the Mix Transformer's rule, because convolutions have no heads: a
    head for 64 channels (`pvt_v2_b1`: 1, 2, 5, 8), or the next lower number that divides the width, at least 1.

    Raises:
        ConfigError: The backbone is unknown, or its stages cannot be fused one by one.
    """
    if backbone.startswith(TIMM):
        widths = timm_widths(backbone.removeprefix(TIMM))
        return StreamShape(widths, tuple(_heads(width) for width in widths))
    if backbone not in MIT:
        raise ConfigError(
            f"model.backbone: unknown backbone '{backbone}'. Known: {', '.join(sorted(MIT))}, and {TIMM}NAME for a "
            f"hierarchy of timm, as in {TIMM}pvt_v2_b1.{suggestion(backbone, MIT)}"
        )
    return StreamShape(MIT[backbone].widths, MIT[backbone].heads)


def build_stream(backbone: str, bands: int, drop_path: float) -> Stream:
    """One stream with random weights from torch's default generator.

    Args:
        backbone: Its name.
        bands: Input channels.
        drop_path: Largest probability of stochastic depth.

    Raises:
        ConfigError: As for `stream_shape`, or a timm model without drop path gets one above 0.
    """
    stream_shape(backbone)
    if backbone.startswith(TIMM):
        return TimmStream(backbone.removeprefix(TIMM), bands, drop_path)
    return MixTransformer(MIT[backbone], bands, drop_path)


def _heads(width: int) -> int:
    return next(heads for heads in range(max(width // _HEAD_WIDTH, 1), 0, -1) if width % heads == 0)
