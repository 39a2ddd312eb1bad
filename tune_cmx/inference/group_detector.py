"""A checkpoint of the earlier group in use: the detector as they trained it, and its row in a table of results."""

import csv
import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from tune_cmx import metrics
from tune_cmx.config.data.ranges import PixelRange, PixelRanges
from tune_cmx.config.model_sections import ModelConfig
from tune_cmx.config.trial import ComputeConfig, DataConfig, TrialConfig
from tune_cmx.data.pixel_range import PixelScale
from tune_cmx.data.prepare import Prepared
from tune_cmx.errors import ConfigError
from tune_cmx.inference.trained_detector import Modality, TrainedDetector
from tune_cmx.models.group_checkpoint import BANDS, MEAN, WHITE, GroupCheckpoint, build_as_trained

_SCALE = PixelScale("fixed", 0.0, WHITE)
_FULL = PixelRange(kind="fixed", low=0.0, high=WHITE)
RANGES = PixelRanges(rgb=_FULL, thermal=_FULL, event=_FULL)
"""Of the data: a pixel of 255 becomes 1, whatever the number type of the files."""


def trained_detector(checkpoint: GroupCheckpoint, classes: Sequence[str], device: torch.device) -> TrainedDetector:
    """The detector as trained, in float32.

    Args:
        checkpoint: As read.
        classes: Names, in the order of the class numbers of the labels.
        device: Where it computes.

    Raises:
        ConfigError: The checkpoint has another number of classes.
    """
    if len(classes) != checkpoint.num_classes:
        raise ConfigError(
            f"{checkpoint.source}: has {checkpoint.num_classes} classes; the data have {len(classes)}: "
            f"{', '.join(classes)}. Name those of the training in their order, as in --classes person,car"
        )
    config = TrialConfig(
        model=checkpoint.model,
        data=DataConfig(range=RANGES),
        compute=ComputeConfig(precision="fp32", channels_last=False),
    )
    bands = dict(zip(checkpoint.model.modalities(), (BANDS[0], 1, 1), strict=True))
    means = iter(MEAN)
    modalities = {
        name: Modality(count, "uint8", _SCALE, tuple(next(means) / WHITE for _ in range(count)))
        for name, count in bands.items()
    }
    return TrainedDetector(build_as_trained(checkpoint), config, classes, modalities, device)


def refuse_other_bands(checkpoint: GroupCheckpoint, bands: Mapping[str, Sequence[int]]) -> None:
    """Refuse data that the checkpoint's streams cannot take.

    Args:
        checkpoint: As read.
        bands: The channels of the data, by modality.

    Raises:
        FieldError: A modality is missing.
        ConfigError: A modality has another number of bands.
    """
    checkpoint.model.refuse_without(list(bands))
    for name, count in zip(checkpoint.model.modalities(), (BANDS[0], 1, 1), strict=True):
        if len(bands[name]) != count:
            raise ConfigError(f"{checkpoint.source}: takes {count} bands of {name}; the data have {len(bands[name])}")


def near_in_train(prepared: Prepared, part: str) -> float:
    """The share of a part's images, from 0 to 1, with an image of train before or after them in the order of names.

    Images of two sequences are not neighbours. What was taken from train for a missing validation part counts as train,
    because the checkpoint has seen it.
    """
    split, images = prepared.split, prepared.data.images
    train = {*split.train, *(split.val if split.notes else ())}
    near = {
        one.id
        for first, second in pairwise(images)
        for one, other in ((first, second), (second, first))
        if other.id in train and one.sequence == other.sequence
    }
    ids = getattr(split, part)
    return len(near & set(ids)) / len(ids)


def result_row(
    checkpoint: GroupCheckpoint, scored: Mapping[str, float], part: str, prepared: Prepared, parameters: int
) -> dict[str, str]:
    """The checkpoint's run as a row that `tune-cmx import` reads.

    Args:
        checkpoint: As read.
        scored: Its metrics on the part, in points.
        part: `val` or `test`.
        prepared: The data, with the split of the training.
        parameters: Of the modules that are used.

    Returns:
        Texts by column; a value that is not known is empty. `notes` says that it is a single run, and whether images of
        train are next to those of the part.
    """
    path = Path(checkpoint.source)
    return {
        "exp_id": "-".join(name for name in (path.parent.name, path.stem) if name),
        **{name: _text(value) for name, value in _fusion(checkpoint.model).items()},
        "modalities": "+".join(checkpoint.model.modalities()),
        "backbone": checkpoint.model.backbone,
        **{name: _points(scored[name]) for name in metrics.scored()},
        "params_M": f"{parameters / 1e6:.6f}",
        "reported_on": part,
        "source": checkpoint.source,
        "notes": _notes(prepared, part),
    }


def add_row(path: Path, row: Mapping[str, str]) -> None:
    """Add a row to a CSV file, which is made if it is not there.

    Raises:
        ConfigError: The file has other columns.
    """
    begun = path.exists()
    if begun:
        with path.open(newline="", encoding="utf-8") as file:
            header = next(csv.reader(file), [])
        if header != list(row):
            raise ConfigError(f"{path}: has other columns than {', '.join(row)}; name a new file")
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(row))
        if not begun:
            writer.writeheader()
        writer.writerow(row)


def _fusion(model: ModelConfig) -> dict[str, Any]:
    fusion, options = model.fusion, model.fusion.options
    stages = fusion.stages or (1, 2, 3, 4)
    return {
        "fusion": fusion.kind,
        "stages": "+".join(map(str, stages)),
        "elsewhere": fusion.elsewhere,
        "threshold": options.get("switching_threshold"),
        "kernel_size": options.get("eca_kernel"),
        "se_reduction": options.get("se_reduction"),
        "merge_bottleneck": options.get("merge_bottleneck"),
    }


def _notes(prepared: Prepared, part: str) -> str:
    share = near_in_train(prepared, part)
    leak = f"{share:.0%} of the {part} images have an image of train next to them in the order of names"
    split = f"leaked split ({leak})" if share > 0 else "no image of train is next to one of " + part
    return f"single run; {split}; evaluated as trained, pixels 0 to 255"


def _points(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.4f}"


def _text(value: Any) -> str:
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
