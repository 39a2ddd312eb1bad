"""The ground truth in COCO's form: for trials, and in a file for reports, which have no data."""

import gzip
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tune_cmx.data.labels.base import Labels
from tune_cmx.data.labels.classes import ANY_CLASS
from tune_cmx.data.readers import PairedData, read_labels
from tune_cmx.errors import DataError
from tune_cmx.evaluation import coco_truth

_LEVEL = 3
"""Of compression: five times as fast as the default, and the file is a seventh larger."""


def ground_truth(
    data: PairedData,
    ids: Sequence[str],
    sizes: Mapping[str, tuple[int, int]],
    labels_of: Mapping[str, Labels] | None = None,
) -> dict[str, Any]:
    """The boxes of some images in COCO's form.

    An image's number is its index in `ids`, as in the dataset's targets. Where they are known, each image has its
    `sequence` and its `condition`, which are not COCO's. Ignore regions are crowd boxes (`iscrowd`); one that holds for
    every class is there once for each.

    Args:
        data: The set.
        ids: Of the images, in the order that the dataset has them.
        sizes: Height and width in pixels by image id, as `Audit.sizes`.
        labels_of: Boxes by image id, where they are known; the others are read.

    Raises:
        DataError: A label cannot be used.
    """
    paired = {image.id: image for image in data.images}
    images, boxes, labels, ignore = [], [], [], []
    for index, id in enumerate(ids):
        found = None if labels_of is None else labels_of.get(id)
        found = read_labels(data, paired[id]) if found is None else found
        height, width = sizes[id]
        images.append((index, id, height, width))
        of_class, of_any = found.classes != ANY_CLASS, found.classes == ANY_CLASS
        corners = found.in_pixels(height, width)
        if not of_any.any():
            boxes.append(corners)
            labels.append(found.classes + 1)
            ignore.append(found.ignore)
            continue
        every = np.arange(len(data.classes))
        boxes.append(np.concatenate([corners[of_class], corners[of_any].repeat(len(every), axis=0)]))
        labels.append(np.concatenate([found.classes[of_class], np.tile(every, of_any.sum())]) + 1)
        ignore.append(np.concatenate([found.ignore[of_class], found.ignore[of_any].repeat(len(every))]))
    truth = coco_truth(images, boxes, labels, data.classes, ignore)
    for described in truth["images"]:
        image = paired[described["file_name"]]
        if data.sequences_known:
            described["sequence"] = image.sequence
        if image.condition is not None:
            described["condition"] = image.condition
    return truth


def keep_ground_truth(truth: Mapping[str, Any], path: Path) -> None:
    """Write ground truth as `.json.gz`, whole or not at all; an existing file is only compared.

    Args:
        truth: In COCO's form.
        path: Of the file.

    Raises:
        DataError: The file is damaged, or has other boxes or classes.
    """
    if not path.exists():
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        temporary.write_bytes(gzip.compress(json.dumps(truth).encode(), _LEVEL, mtime=0))
        temporary.replace(path)
        return
    try:
        kept = json.loads(gzip.decompress(path.read_bytes()))
        then, here = _boxes(kept), _boxes(truth)
        same_classes = kept["categories"] == truth["categories"]
    except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: is damaged: {error}; remove it, and it is written again") from error
    changed = sorted(id for id in {*then, *here} if then.get(id) != here.get(id))
    if changed:
        raise DataError(
            f"{path}: the boxes of {len(changed)} images differ from those of the data, such as {changed[0]}; "
            "restore the labels, or start a new study"
        )
    if not same_classes:
        raise DataError(f"{path}: has other classes than the data; restore them, or start a new study")


def _boxes(truth: Mapping[str, Any]) -> dict[str, list[tuple[int, list[float], bool]]]:
    """Class, box (x, y, width, height in pixels), and whether it is an ignore region, by image id."""
    names = {image["id"]: image["file_name"] for image in truth["images"]}
    found: dict[str, list[tuple[int, list[float], bool]]] = {name: [] for name in names.values()}
    for box in truth["annotations"]:
        found[names[box["image_id"]]].append((box["category_id"], box["bbox"], bool(box.get("iscrowd"))))
    return found
