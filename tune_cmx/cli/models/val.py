"""The command `val`."""

from pathlib import Path
from typing import Annotated

import typer

from tune_cmx.cli.models.val_checkpoint import SUFFIXES, is_checkpoint, val_checkpoint
from tune_cmx.cli.options.flags import (
    DATA,
    MODEL,
    OUTPUT,
    Bands,
    Classes,
    Data,
    Device,
    Labels,
    Sequences,
    Threads,
    Workers,
    data_settings,
    device_named,
    loaders,
)
from tune_cmx.errors import ConfigError

_PARTS = ("test", "val")


def val(
    model: Annotated[str, typer.Argument(help="Checkpoint of the earlier group, a `.pth` file.", show_default=False)],
    data: Data = None,
    labels: Labels = None,
    split: Annotated[
        str | None,
        typer.Option(
            "--split",
            help="test or val; or a JSON file with image ids under train, val and test, whose test part is scored. "
            "Default: test.",
            rich_help_panel=DATA,
        ),
    ] = None,
    classes: Classes = None,
    sequences: Sequences = None,
    bands: Bands = None,
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
) -> None:
    """Score a trained detector on a data set: all metrics, by class and by condition.

    Examples:

    `tune-cmx val baseline.pth --data IMAGES --labels LABELS --as-trained --split split.json --row rows.csv`
    """
    if not is_checkpoint(model):
        raise ConfigError(f"{model}: no checkpoint; name a file that ends in {' or '.join(SUFFIXES)}")
    if not as_trained:
        raise ConfigError(f"{model}: a checkpoint of the earlier group has no range of pixels; add --as-trained")
    part, file = (split or _PARTS[0], None) if split in (None, *_PARTS) else (_PARTS[0], Path(str(split)))
    chosen = device_named(device, here=True)
    if threads:
        import torch

        torch.set_num_threads(threads)
    given = data_settings(data, labels, file, None, classes, sequences, bands)
    val_checkpoint(
        Path(model),
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
