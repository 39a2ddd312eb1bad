"""The command `val`, on a model folder or a checkpoint of the earlier group."""

from pathlib import Path
from typing import Annotated

import typer

from tune_cmx.cli.models.named import Model
from tune_cmx.cli.models.val_checkpoint import is_checkpoint, val_checkpoint
from tune_cmx.cli.models.val_model import Validated, val_model
from tune_cmx.cli.options.flags import (
    DATA,
    MODEL,
    OUTPUT,
    Bands,
    Classes,
    Data,
    Device,
    Labels,
    LabelsFrom,
    Layout,
    Sequences,
    Threads,
    Workers,
    data_settings,
    device_named,
    loaders,
)
from tune_cmx.cli.options.json_output import Json, prints
from tune_cmx.errors import ConfigError

_PARTS = ("test", "val")


@prints(Validated)
def val(
    model: Model,
    data: Data = None,
    labels: Labels = None,
    split: Annotated[
        str | None,
        typer.Option(
            "--split",
            help="Images to score: test, val or, for a model folder, all; or a JSON file with image ids under train, "
            "val and test, whose test part is scored. On the data of the training the split is that of the training, "
            "otherwise the official one. Default: test.",
            rich_help_panel=DATA,
        ),
    ] = None,
    classes: Classes = None,
    sequences: Sequences = None,
    bands: Bands = None,
    layout: Layout = None,
    labels_from: LabelsFrom = None,
    as_trained: Annotated[
        bool,
        typer.Option(
            "--as-trained",
            help="Compute a checkpoint of the earlier group as its code did: pixels from 0 to 255 with means meant for "
            "0 to 1, sides of 800 to 1333 pixels, RoIAlign over five maps.",
            rich_help_panel=MODEL,
        ),
    ] = False,
    stages: Annotated[
        str | None,
        typer.Option(
            "--stages",
            help="Stages of CSSA or SE-gated fusion, as in 2,3. Default: as the checkpoint says.",
            rich_help_panel=MODEL,
        ),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            "--threshold",
            min=0,
            max=1,
            help="Switching threshold of CSSA, which no checkpoint of the earlier group holds.",
            rich_help_panel=MODEL,
        ),
    ] = None,
    row: Annotated[
        Path | None,
        typer.Option(
            "--row",
            help="CSV file that receives the results as a row, for `tune-cmx import`. A row is added to an existing "
            "file.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    device: Device = None,
    threads: Threads = None,
    workers: Workers = None,
    as_json: Json = False,
) -> None:
    """Score a trained detector: all metrics with their test-set bootstrap interval, by class, sequence and condition.

    On the data of the training the values are those of the run.

    Examples:

    `tune-cmx val models/cssa --data DATA`

    `tune-cmx val models/cssa --data OTHER --split all --json`

    `tune-cmx val baseline.pth --data IMAGES --labels LABELS --as-trained --split split.json --row rows.csv`
    """
    if not is_checkpoint(str(model)):
        if as_trained or stages is not None or threshold is not None or row is not None:
            raise ConfigError("--as-trained, --stages, --threshold and --row are for a .pth file; leave them out")
        given = data_settings(data, labels, None, None, classes, sequences, bands, layout, labels_from)
        settings = {path.removeprefix("data."): value for path, value in given.items()}
        val_model(
            model,
            settings,
            split or _PARTS[0],
            device=device,
            threads=threads,
            workers=workers,
            as_json=as_json,
        )
        return
    if as_json:
        raise ConfigError("--json: is for a model folder; a .pth file has --row FILE")
    if not as_trained:
        raise ConfigError(f"{model}: a checkpoint of the earlier group has no range of pixels; add --as-trained")
    part, file = (split or _PARTS[0], None) if split in (None, *_PARTS) else (_PARTS[0], Path(str(split)))
    chosen = device_named(device, here=True)
    if threads:
        import torch

        torch.set_num_threads(threads)
    given = data_settings(data, labels, file, None, classes, sequences, bands, layout, labels_from)
    val_checkpoint(
        model,
        {path.removeprefix("data."): value for path, value in given.items()},
        part,
        stages=None if stages is None else _stages(stages),
        threshold=threshold,
        device=chosen,
        workers=loaders(workers, chosen),
        row=row,
    )


def _stages(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(stage) for stage in text.split(","))
    except ValueError as error:
        raise ConfigError(f"--stages: needs numbers of 1 to 4, as in 2,3; got '{text}'") from error
