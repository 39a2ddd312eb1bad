"""Commands on one configuration: `train`, `describe`."""

import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from tune_cmx.cli.earlier import earlier_trial
from tune_cmx.cli.options.flags import (
    CONFIGURATION,
    MODEL,
    OUTPUT,
    SCHEDULE,
    Bands,
    Classes,
    Data,
    Device,
    Labels,
    Sequences,
    Sets,
    SharedCache,
    Split,
    SplitBy,
    Threads,
    Workers,
    data_settings,
    device_named,
    loaders,
    set_settings,
)
from tune_cmx.cli.output import out, warn
from tune_cmx.cli.prepare import prepared_for
from tune_cmx.config.parse import PRESETS, load_trial, parse_trial
from tune_cmx.config.paths import put
from tune_cmx.config.trial import TrialConfig
from tune_cmx.counting import count
from tune_cmx.errors import ConfigError
from tune_cmx.registry import lookup

Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        help="File to start from, such as a trial's config.json; flags override it.",
        rich_help_panel=CONFIGURATION,
    ),
]
Backbone = Annotated[
    str | None,
    typer.Option(help="Encoder: mit_b0 to mit_b5, mit_nano, or timm/NAME. Default: mit_b1.", rich_help_panel=MODEL),
]
FusionType = Annotated[
    str | None,
    typer.Option(
        "--fusion-type",
        help="Name of a fusion (see docs/reference/configuration.md). `gaff` means se_gated here; for the guided one "
        "use --config. Default: frm_ffm.",
        rich_help_panel=MODEL,
    ),
]
Stages = Annotated[
    str | None,
    typer.Option(
        help="Encoder stages of the fusion, as in 2,3; frm_ffm at the others. Default: all four.", rich_help_panel=MODEL
    ),
]
Threshold = Annotated[float | None, typer.Option(help="Switching threshold of CSSA.", rich_help_panel=MODEL)]
NoCssa = Annotated[
    bool, typer.Option("--no-cssa", help="Refuse to start if CSSA is in the model.", rich_help_panel=MODEL)
]
Streams = Annotated[
    str | None,
    typer.Option(
        help="Modalities of the two streams, or of one. Default: `rgb | thermal+event`.", rich_help_panel=MODEL
    ),
]
ImageSize = Annotated[
    int | None,
    typer.Option("--image-size", help="Shorter side of the resized images in pixels.", rich_help_panel=MODEL),
]


def train(
    config: Config = None,
    sets: Sets = None,
    backbone: Backbone = None,
    fusion_type: FusionType = None,
    stages: Stages = None,
    threshold: Threshold = None,
    no_cssa: NoCssa = False,
    streams: Streams = None,
    image_size: ImageSize = None,
    epochs: Annotated[int | None, typer.Option(help="Number of epochs.", rich_help_panel=SCHEDULE)] = None,
    batch_size: Annotated[
        int | None, typer.Option("--batch-size", help="Number of images in a step.", rich_help_panel=SCHEDULE)
    ] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate.", rich_help_panel=SCHEDULE)] = None,
    preset: Annotated[
        str | None, typer.Option(help="Named schedule (see docs/reference/configuration.md).", rich_help_panel=SCHEDULE)
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Random seed. Default: 0.", rich_help_panel=SCHEDULE)] = None,
    data: Data = None,
    labels: Labels = None,
    split: Split = None,
    split_by: SplitBy = None,
    classes: Classes = None,
    sequences: Sequences = None,
    bands: Bands = None,
    device: Device = None,
    threads: Threads = None,
    workers: Workers = None,
    shared_cache: SharedCache = False,
    output_dir: Annotated[
        Path,
        typer.Option(
            "--output-dir",
            help="Run folder of the trial; an unfinished trial there is resumed.",
            rich_help_panel=OUTPUT,
        ),
    ] = Path("runs/trial"),
    test: Annotated[
        bool,
        typer.Option(
            "--test", help="Report on the test split, once, at the end. Default: val.", rich_help_panel=OUTPUT
        ),
    ] = False,
) -> None:
    """Train one configuration without Ray. An unfinished trial is resumed from its last epoch.

    Examples:

    `tune-cmx train --data IMAGES --labels LABELS --backbone mit_b1 --epochs 15 --batch-size 16 --lr 0.02
    --fusion-type frm_ffm --no-cssa --output-dir DIR`

    `tune-cmx train --config runs/demo/trials/TRIAL/config.json --output-dir runs/again`
    """
    settings = {
        "model.backbone": backbone,
        "schedule.epochs": epochs,
        "schedule.batch_size": batch_size,
        "schedule.lr": lr,
        "model.streams": streams,
        "model.detector.image_size": image_size,
        "seed": seed,
        "report_split": "test" if test else None,
        **data_settings(data, labels, split, split_by, classes, sequences, bands),
        **set_settings(sets),
    }
    parsed = trial_config(
        config,
        settings,
        preset=preset,
        fusion_type=fusion_type,
        stages=stages,
        threshold=threshold,
        no_cssa=no_cssa,
    )
    folder = output_dir.resolve()
    begun = earlier_trial(folder, parsed)
    chosen = device_named(device, here=True)
    import torch

    from tune_cmx.training.model_probe import build_for
    from tune_cmx.training.protocol import protocol, protocol_hash
    from tune_cmx.training.run import run_trial
    from tune_cmx.training.run_folder import RunFolder

    if threads:
        torch.set_num_threads(threads)
    with prepared_for(parsed.data, folder, begun=begun) as prepared:
        build_for(parsed.model, prepared)
    hashes = prepared.hashes()
    fields = protocol(parsed, (), hashes)
    run_folder = RunFolder.plan(
        folder, parsed, arm="single", phase="single", protocol_hash=protocol_hash(fields), **hashes
    )
    reading = loaders(workers, chosen, processes=parsed.schedule.processes)
    done = run_folder.state().epochs
    if done:
        what = "complete" if run_folder.over else f"resumed after epoch {done} of {parsed.schedule.epochs}"
        out.print(f"{escape(str(folder))}: {what}", soft_wrap=True)
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # as clusters end a job: it shall leave nothing
    try:
        for epoch in run_trial(run_folder, prepared, device=chosen, workers=reading, shared_cache=shared_cache):
            if epoch.epoch > done:
                _show_epoch(epoch)
    except KeyboardInterrupt as error:
        reached = run_folder.state().epochs
        out.print(f"[yellow]interrupted after epoch {reached}[/yellow]; run the same command to resume", soft_wrap=True)
        raise typer.Exit(130) from error
    finally:
        signal.signal(signal.SIGTERM, before)
    out.print(f"[bold]results: {folder / 'final_results.json'}[/bold]", soft_wrap=True)


def _show_epoch(epoch: Any) -> None:
    shown = {name: epoch.metrics[name] for name in ("train/loss", "val/mAP", "val/mAP_50", "val/mAP_75")}
    values = "  ".join(f"{name} {value:.2f}" for name, value in shown.items())
    out.print(f"epoch {epoch.epoch} of {epoch.epochs}  {values}  {epoch.seconds:.0f} s", soft_wrap=True)


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
    parsed = trial_config(config, settings, fusion_type=fusion_type, stages=stages, threshold=threshold)
    from tune_cmx.models.describe import flops, inspected
    from tune_cmx.training.model_probe import DEFAULT_BANDS, build_plain

    height, width = _input_size(input_size)
    detector = build_plain(parsed.model, DEFAULT_BANDS, num_classes)
    model = parsed.model
    kinds = [f"{kind.kind}" for kind in model.fusion.stage_fusions()] if len(model.stream_modalities()) > 1 else []
    fused = f", fusion {' / '.join(kinds)} at stages 1..4, carry {model.carry}" if kinds else ", one stream"
    out.print(f"{model.backbone}, {model.streams}{fused}, {count(num_classes, 'class')} and background", soft_wrap=True)
    found = inspected(detector)
    for part, number in found.parameters.items():
        out.print(f"{part:<14}{number:>14,}")
    out.print(f"{'GFLOPs':<14}{flops(detector, height, width):>14,.1f}  forward, one image of {height}x{width}")
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


def trial_config(
    config: Path | None,
    settings: Mapping[str, Any],
    *,
    preset: str | None = None,
    fusion_type: str | None = None,
    stages: str | None = None,
    threshold: float | None = None,
    no_cssa: bool = False,
) -> TrialConfig:
    """A trial from a file and flags; a flag overrides the file."""
    content, lines = load_trial(config) if config else ({}, {})
    given = {
        **({} if preset is None else {f"schedule.{key}": value for key, value in _preset(preset).items()}),
        **_fusion(fusion_type, stages, threshold),
        **{path: value for path, value in settings.items() if value is not None},
    }
    if no_cssa and fusion_type == "cssa":
        raise ConfigError("--no-cssa and --fusion-type cssa contradict each other; leave one out")
    for path, value in sorted(given.items(), key=lambda item: item[0].count(".")):  # a section before its parts
        put(content, path, value)
        lines = {key: line for key, line in lines.items() if key != path and not key.startswith(f"{path}.")}
    parsed = parse_trial(content, source=str(config or "flags"), lines=lines)
    if no_cssa and any(stage.kind == "cssa" for stage in parsed.model.fusion.stage_fusions()):
        raise ConfigError(f"--no-cssa, but {config or 'the configuration'} has CSSA; leave one out")
    return parsed


def _preset(name: str) -> dict[str, Any]:
    return {"preset": name, **lookup(PRESETS, name, "--preset: unknown preset")}


def _fusion(fusion_type: str | None, stages: str | None, threshold: float | None) -> dict[str, Any]:
    """The flags about fusion as a configuration path."""
    if fusion_type is None:
        if stages is not None or threshold is not None:
            raise ConfigError("--stages and --threshold need --fusion-type, as in --fusion-type cssa --stages 2,3")
        return {}
    fusion: dict[str, Any] = {"kind": "se_gated" if fusion_type == "gaff" else fusion_type}
    if stages is not None:
        fusion |= {"stages": _stages(stages), "elsewhere": "frm_ffm"}
    if threshold is not None:
        if fusion_type != "cssa":
            raise ConfigError(f"--threshold needs --fusion-type cssa; got --fusion-type {fusion_type}")
        fusion |= {"options": {"switching_threshold": threshold}}
    return {"model.fusion": fusion}


def _stages(text: str) -> list[int]:
    try:
        return [int(stage) for stage in text.split(",")]
    except ValueError as error:
        raise ConfigError(f"--stages: needs whole numbers of 1..4, as in 2,3; got '{text}'") from error
