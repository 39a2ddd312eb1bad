"""`tune-cmx val` of a checkpoint of the earlier group: as it was trained, on the split of the training."""

import math
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape

from tune_cmx.cli.output import out, say, table_of, warn
from tune_cmx.cli.prepare import opened_data, prepare_data
from tune_cmx.config.model_sections import ModelConfig
from tune_cmx.config.trial import DataConfig
from tune_cmx.counting import count
from tune_cmx.errors import ConfigError, DataError
from tune_cmx.metrics import METRICS

if TYPE_CHECKING:
    from tune_cmx.data.readers import PairedData
    from tune_cmx.inference.labelled_set import Scored
    from tune_cmx.models.group_checkpoint import GroupCheckpoint

SUFFIXES = (".pth", ".pt")


def is_checkpoint(model: str) -> bool:
    """Whether the argument of `val` names a file of torch, not a model folder."""
    return Path(model).suffix in SUFFIXES


def val_checkpoint(
    path: Path,
    data: Mapping[str, Any],
    part: str,
    *,
    stages: tuple[int, ...] | None,
    threshold: float | None,
    device: str,
    workers: int,
    row: Path | None,
) -> None:
    """Score a checkpoint, print its metrics, and write its row.

    Args:
        path: The file.
        data: Fields of the data's configuration that were given, by name.
        part: `val` or `test`.
        stages: Of CSSA or SE-gated fusion, where the file does not say.
        threshold: Of CSSA.
        device: As torch names it.
        workers: Loader processes.
        row: CSV file that receives the row; None: no file.

    Raises:
        ConfigError: The checkpoint or a flag cannot be used.
        DataError: The data cannot be used.
    """
    import torch

    from tune_cmx.inference.group_detector import (
        RANGES,
        add_row,
        near_in_train,
        refuse_other_bands,
        result_row,
        trained_detector,
    )
    from tune_cmx.inference.labelled_set import LabelledSet, score_detector
    from tune_cmx.models.group_checkpoint import read_group_checkpoint

    if not path.is_file():
        raise ConfigError(f"{path}: no such file")
    checkpoint = read_group_checkpoint(path, stages=stages, threshold=threshold)
    say(f"checkpoint: {escape(_described(checkpoint))}")
    config = DataConfig(**data, range=RANGES)
    config, opened = opened_for(config, checkpoint)
    refuse_other_bands(checkpoint, opened.bands)
    with tempfile.TemporaryDirectory() as folder:
        prepared = prepare_data(config, Path(folder), opened)
        detector = trained_detector(checkpoint, prepared.data.classes, torch.device(device))
        share = near_in_train(prepared, part)
        if share > 0:
            warn(
                f"leaked split: {share:.0%} of the {part} images have an image of train next to them in the order of "
                "names; describe these metrics, and compare them only with metrics on the same split"
            )
        labelled = LabelledSet(prepared.data, prepared.audit, {})
        found = score_detector(detector, labelled, getattr(prepared.split, part), workers=workers)
        parameters = sum(one.numel() for one in detector.network.parameters())
        made = result_row(checkpoint, found.metrics, part, prepared, parameters)
    _show(found, part)
    if row is not None:
        add_row(row, made)
        say(f"import: tune-cmx import {escape(str(row))}")
        out.print(f"[bold]row: {escape(str(row))}[/bold]", soft_wrap=True)


def opened_for(config: DataConfig, checkpoint: "GroupCheckpoint") -> "tuple[DataConfig, PairedData]":
    """The data set; labels without names of classes get numbers, as the group's code has no names.

    Args:
        config: Where the data are.
        checkpoint: As read.

    Returns:
        The configuration with the classes' names, and the data set.

    Raises:
        ConfigError: No data are named.
        DataError: The data cannot be used.
    """
    from tune_cmx.data.readers.joining import ClassesUnknownError

    if config.root is None:
        raise ConfigError("no data: name the images' folder with --data, as in --data IMAGES --labels LABELS")
    try:
        opened = opened_data(config)
    except DataError as error:
        if not isinstance(error, ClassesUnknownError) and not isinstance(error.__cause__, ClassesUnknownError):
            raise
        names = tuple(f"class {number}" for number in range(checkpoint.num_classes))
        say(f"classes: the data name none; called {', '.join(names)}, as the labels number them")
        config = config.model_copy(update={"classes": names})
        opened = opened_data(config)
    assert opened is not None, "the configuration names the data"
    return config, opened


def _described(checkpoint: "GroupCheckpoint") -> str:
    model = checkpoint.model
    tensors = f"{count(len(checkpoint.used), 'tensor')} used, {len(checkpoint.unused)} of unused fusions"
    return (
        f"{model.backbone}, {_fusion(model)}, carry {model.carry}, {count(checkpoint.num_classes, 'class')} and "
        f"background; {tensors}"
    )


def _fusion(model: ModelConfig) -> str:
    kinds = [fusion.kind for fusion in model.fusion.stage_fusions()]
    options = ", ".join(f"{name} {value}" for name, value in model.fusion.options.items())
    return f"fusion {' / '.join(kinds)} at stages 1..4" + (f" ({options})" if options else "")


def _show(found: "Scored", part: str) -> None:
    """The metrics on the part, then by class and by condition."""
    boxes = sum(int(one["boxes"]) for one in found.by_class.values())
    say(f"on {part}: {count(len(found.truth['images']), 'image')}, {count(boxes, 'box')}; metrics in points")
    rows = [[METRICS[name].title, _number(value)] for name, value in found.metrics.items()]
    table_of(["metric", part], rows, right={1})
    for what, parts in (("class", found.by_class), ("condition", found.by_condition)):
        if len(parts) > 1:
            cells = [
                [name, _number(one["mAP"]), _number(one["mAP_50"]), str(one["boxes"])] for name, one in parts.items()
            ]
            table_of([what, "mAP", "mAP@50", "boxes"], cells, right={1, 2, 3})


def _number(value: float) -> str:
    return "undefined" if math.isnan(value) else f"{value:.2f}"
