"""Which backbones a stream can have: Mix Transformers by their own names, timm's hierarchies as `timm/NAME`.

A stream is a module with `forward_stage(stage, x_BCHW)`, which gives the map of one stage of 1..4 from that
of the stage before, or from the image; and with `channels` and `strides` of those four maps.
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
    """What fusions and pyramid must know of a backbone, an entry for each of the stages 1..4."""

    widths: tuple[int, ...]
    heads: tuple[int, ...]
    """Of the attention in FFM; they divide the widths. A Mix Transformer's are its own."""


def stream_shape(backbone: str) -> StreamShape:
    """The shape of a backbone. No weights are drawn.

    timm's hierarchies get the Mix Transformer's rule in place of heads of their own, which convolutions lack: a head
    for 64 channels (`pvt_v2_b1`: 1, 2, 5, 8), or the nearest number below that divides the width, at least 1.

    Raises:
        ConfigError: The backbone is unknown, or none whose stages can be fused one by one.
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
    """One stream with fresh weights from torch's default generator.

    Raises:
        ConfigError: As `stream_shape`, or a timm model that has no drop path where one is asked for.
    """
    stream_shape(backbone)
    if backbone.startswith(TIMM):
        return TimmStream(backbone.removeprefix(TIMM), bands, drop_path)
    return MixTransformer(MIT[backbone], bands, drop_path)


def _heads(width: int) -> int:
    return next(heads for heads in range(max(width // _HEAD_WIDTH, 1), 0, -1) if width % heads == 0)
