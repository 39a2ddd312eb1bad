"""The command `train`."""

import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from tune_cmx.cli.earlier import earlier_trial
from tune_cmx.cli.options.configuration import (
    Backbone,
    Config,
    FusionType,
    ImageSize,
    NoCssa,
    Stages,
    Streams,
    Threshold,
    given_trial,
)
from tune_cmx.cli.options.flags import (
    OUTPUT,
    SCHEDULE,
    Bands,
    Classes,
    Data,
    Device,
    Labels,
    LabelsFrom,
    Layout,
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
from tune_cmx.cli.output import out
from tune_cmx.cli.prepare import opened_data, prepared_for
from tune_cmx.config.model_sections import ASSUMED, DefaultStreams
from tune_cmx.training.loggers import DEFAULT, require_loggers


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
    layout: Layout = None,
    labels_from: LabelsFrom = None,
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
    loggers: Annotated[
        list[str] | None,
        typer.Option(
            "--logger",
            metavar="NAME",
            help="What to log to besides the run folder: tensorboard, mlflow, a logger of another package, or none. "
            "Repeatable. Default: tensorboard.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
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
        **data_settings(data, labels, split, split_by, classes, sequences, bands, layout, labels_from),
        **set_settings(sets),
    }
    given = given_trial(
        config,
        settings,
        preset=preset,
        fusion_type=fusion_type,
        stages=stages,
        threshold=threshold,
        no_cssa=no_cssa,
    )
    logged = _loggers(loggers)
    opened = opened_data(given.config(ASSUMED).data)
    default = ASSUMED if opened is None else DefaultStreams.of_data(opened.bands)
    parsed = given.config(default)
    if opened is not None:
        parsed.model.refuse_without(opened.bands)
    folder = output_dir.resolve()
    begun = earlier_trial(folder, parsed)
    chosen = device_named(device, here=True)
    import torch

    from tune_cmx.inference.model_folder import try_to_leave_model
    from tune_cmx.training.model_probe import build_for
    from tune_cmx.training.protocol import plugins_of, protocol, protocol_hash
    from tune_cmx.training.run import run_trial
    from tune_cmx.training.run_folder import RunFolder

    if threads:
        torch.set_num_threads(threads)
    with prepared_for(parsed.data, folder, opened, begun=begun) as prepared:
        out.print(given.streams_line(default), soft_wrap=True)
        build_for(parsed.model, prepared)
    hashes = prepared.hashes()
    fields = protocol(parsed, (), hashes, plugins_of([parsed], prepared.data.layout))
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
        for epoch in run_trial(
            run_folder, prepared, device=chosen, workers=reading, shared_cache=shared_cache, loggers=logged
        ):
            if epoch.epoch > done:
                _show_epoch(epoch)
    except KeyboardInterrupt as error:
        reached = run_folder.state().epochs
        out.print(f"[yellow]interrupted after epoch {reached}[/yellow]; run the same command to resume", soft_wrap=True)
        raise typer.Exit(130) from error
    finally:
        signal.signal(signal.SIGTERM, before)
    try_to_leave_model(run_folder, prepared)
    out.print(f"[bold]results: {folder / 'final_results.json'}[/bold]", soft_wrap=True)


def _loggers(given: Sequence[str] | None) -> tuple[str, ...]:
    """The loggers that the command line names.

    Raises:
        ConfigError: One is unknown or cannot be used, or `none` is given with another.
    """
    names = DEFAULT if given is None else tuple(given)
    if names == ("none",):
        return ()
    require_loggers(names, "--logger")
    return names


def _show_epoch(epoch: Any) -> None:
    shown = {name: epoch.metrics[name] for name in ("train/loss", "val/mAP", "val/mAP_50", "val/mAP_75")}
    values = "  ".join(f"{name} {value:.2f}" for name, value in shown.items())
    out.print(f"epoch {epoch.epoch} of {epoch.epochs}  {values}  {epoch.seconds:.0f} s", soft_wrap=True)
