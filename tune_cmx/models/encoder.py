"""One or two streams, with one fusion a stage between two.

Axes: B batch, C channels or bands, H W rows and columns.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from tune_cmx.config.trial import STAGES, ModelConfig
from tune_cmx.errors import ConfigError, ShapeError
from tune_cmx.models.fusion import Fusion, Truth, build_fusion, check_options
from tune_cmx.models.streams import StreamShape, build_stream, stream_shape


class Encoder(nn.Module):
    """Turns an image of all bands into four maps for the pyramid.

    Two streams are called `rgb` and `aux`, whatever their modalities; one alone is called `single` and has no fusion:
    its own maps go to the pyramid.

    Args:
        config: Backbone, fusions, carry and drop path.
        bands: Input channels of each stream.

    Raises:
        ConfigError: The backbone, a fusion or one of its options is unknown, or `bands` and `config` differ in the
            number of streams.
    """

    def __init__(self, config: ModelConfig, bands: Sequence[int]) -> None:
        super().__init__()
        shape = stream_shape(config.backbone)
        if len(bands) != len(config.stream_modalities()):
            raise ConfigError(
                f"model.streams: '{config.streams}' has {len(config.stream_modalities())} streams; "
                f"got bands for {len(bands)}"
            )
        self.bands = tuple(bands)
        self.channels = shape.widths
        self.carry = config.carry
        names = ("rgb", "aux") if len(bands) == 2 else ("single",)
        self.streams = nn.ModuleDict(
            {
                name: build_stream(config.backbone, count, config.drop_path)
                for name, count in zip(names, bands, strict=True)
            }
        )
        self.fusions = nn.ModuleList(_fusions(config, shape))
        self._noted: dict[str, tuple[Tensor, int]] = {}

    def forward(self, image_BCHW: Tensor, truth: Truth | None = None) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Run all stages.

        Args:
            image_BCHW: All bands, in the order of the streams.
            truth: The boxes of the objects, for fusions that learn from them; only in training.

        Returns:
            The maps of stages 1..4, fused where there are two streams, by the names "0".."3"; and the fusions' own
            losses, by names such as `fusion1_dice`.

        Raises:
            ShapeError: The image has another number of bands than the streams together.
        """
        if image_BCHW.shape[1] != sum(self.bands):
            raise ShapeError(f"encoder: image has {image_BCHW.shape[1]} bands; the streams take {self.bands}")
        maps = list(torch.split(image_BCHW, list(self.bands), dim=1))
        pyramid: dict[str, Tensor] = {}
        losses: dict[str, Tensor] = {}
        for stage in STAGES:
            maps = [stream.forward_stage(stage, x) for stream, x in zip(self.streams.values(), maps, strict=True)]  # type: ignore[operator]
            if len(maps) == 1:
                pyramid[str(stage - 1)] = maps[0]
                continue
            try:
                output = self.fusions[stage - 1](*maps, truth=truth)
            except ShapeError as error:
                raise ShapeError(f"encoder stage {stage}: {error}") from error
            separate = self.carry == "separate"
            maps = [output.rgb_BCHW, output.aux_BCHW] if separate else [output.fused_BCHW, output.fused_BCHW]
            pyramid[str(stage - 1)] = output.fused_BCHW
            losses |= {f"fusion{stage}_{name}": loss for name, loss in output.losses.items()}
            if output.statistics:
                self._note(stage, output.statistics)
        return pyramid, losses

    # Its count of images would be compiled in, and everything again for each new count.
    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def _note(self, stage: int, statistics: Mapping[str, Tensor]) -> None:
        """Add to the sums on the maps' device, so that the host does not wait."""
        for name, values_B in statistics.items():
            key = f"stage{stage}_{name}"
            total, images = self._noted.get(key, (0, 0))
            self._noted[key] = total + values_B.double().sum(), images + len(values_B)

    def take_statistics(self) -> dict[str, float]:
        """The statistics of the fusions in evaluation mode since the last call.

        Returns:
            Means over the images, fractions 0..1, by names such as `stage1_from_aux`.
        """
        noted, self._noted = self._noted, {}
        if not noted:
            return {}
        means = torch.stack([total / images for total, images in noted.values()])
        return dict(zip(noted, means.tolist(), strict=True))


def _fusions(config: ModelConfig, shape: StreamShape) -> list[Fusion]:
    """One fusion a stage, or none for a single stream; the configuration is checked in either case.

    Fusions draw their weights from a generator of their own. So arms of one seed that differ in their fusions start
    with the same streams, pyramid and heads.
    """
    stages = list(zip(config.fusion.stage_fusions(), shape.widths, shape.heads, strict=True))
    for fusion, _, _ in stages:
        check_options(fusion.kind, fusion.options)
    seed = int(torch.randint(2**31, (), device="cpu"))
    if len(config.stream_modalities()) == 1:
        return []
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return [build_fusion(fusion.kind, width, fusion.options, heads=heads) for fusion, width, heads in stages]
