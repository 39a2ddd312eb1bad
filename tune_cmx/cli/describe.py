"""The command `describe`."""

from typing import Annotated

import typer

from tune_cmx.cli.objects.described import DescribedModel
from tune_cmx.cli.options.configuration import (
    Backbone,
    Config,
    FusionType,
    ImageSize,
    Stages,
    Streams,
    Threshold,
    given_trial,
)
from tune_cmx.cli.options.flags import MODEL, Sets, set_settings
from tune_cmx.cli.options.json_output import Json, print_object, prints
from tune_cmx.cli.output import out, warn
from tune_cmx.config.model_sections import ASSUMED
from tune_cmx.counting import count
from tune_cmx.errors import ConfigError


@prints(DescribedModel)
def describe(
    config: Config = None,
    backbone: Backbone = None,
    fusion_type: FusionType = None,
    stages: Stages = None,
    threshold: Threshold = None,
    streams: Streams = None,
    image_size: ImageSize = None,
    input_size: Annotated[
        str,
        typer.Option(
            "--input-size", help="Rows x columns of the image for which FLOPs are counted.", rich_help_panel=MODEL
        ),
    ] = "320x416",
    num_classes: Annotated[
        int, typer.Option("--num-classes", min=1, help="Number of classes.", rich_help_panel=MODEL)
    ] = 1,
    sets: Sets = None,
    as_json: Json = False,
) -> None:
    """Print a model's parameters by part, its FLOPs, and warnings from one training step.

    Examples:

    `tune-cmx describe --backbone mit_b1`

    `tune-cmx describe --backbone mit_b1 --fusion-type cssa --stages 2,3`
    """
    settings = {
        "model.backbone": backbone,
        "model.streams": streams,
        "model.detector.image_size": image_size,
        **set_settings(sets),
    }
    given = given_trial(config, settings, fusion_type=fusion_type, stages=stages, threshold=threshold)
    parsed = given.config(ASSUMED)
    from tune_cmx.models.describe import flops, inspected
    from tune_cmx.training.model_probe import DEFAULT_BANDS, build_plain

    height, width = _input_size(input_size)
    detector = build_plain(parsed.model, DEFAULT_BANDS, num_classes)
    model = parsed.model
    kinds = [f"{kind.kind}" for kind in model.fusion.stage_fusions()] if len(model.stream_modalities()) > 1 else []
    found, gflops = inspected(detector), flops(detector, height, width)
    if as_json:
        described = DescribedModel(
            backbone=str(model.backbone),
            streams=str(model.streams),
            fusions=tuple(kinds),
            carry=model.carry if kinds else None,
            classes=num_classes,
            parameters=found.parameters,
            gflops=gflops,
            input_size=(height, width),
            warnings=tuple(map(str, found.warnings)),
        )
        print_object(described)
        return
    fused = f", fusion {' / '.join(kinds)} at stages 1..4, carry {model.carry}" if kinds else ", one stream"
    out.print(f"{model.backbone}{fused}, {count(num_classes, 'class')} and background", soft_wrap=True)
    out.print(given.streams_line(ASSUMED), soft_wrap=True)
    for part, number in found.parameters.items():
        out.print(f"{part:<14}{number:>14,}")
    out.print(f"{'GFLOPs':<14}{gflops:>14,.1f}  forward, one image of {height}x{width}")
    for warning in found.warnings:
        warn(str(warning))


def _input_size(text: str) -> tuple[int, int]:
    try:
        height, width = (int(side) for side in text.lower().split("x"))
    except ValueError as error:
        raise ConfigError(f"--input-size: needs rows x columns, as in 320x416; got '{text}'") from error
    if height % 32 or width % 32 or min(height, width) < 32:
        raise ConfigError(f"--input-size: both sides must be multiples of 32, to which the network pads; got '{text}'")
    return height, width
