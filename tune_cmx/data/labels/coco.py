"""COCO JSON: one document that lists images, categories and boxes in pixels."""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from tune_cmx.data.labels.base import Labels, ListedLabels
from tune_cmx.errors import DataError

_LIST = re.compile(rb'"(images|annotations)"\s*:\s*\[')
_PIECE, _OVERLAP = 2**20, 256
"""Bytes that are read at once, and of which two pieces share some."""


@dataclass(frozen=True)
class CocoDocument:
    """The images of a document with their boxes."""

    path: Path
    names: tuple[str, ...]
    """Of the categories, in the order of their ids."""
    labels: Mapping[str, ListedLabels]
    """By `file_name` as the document has it; class ids count `names`."""
    images: Mapping[str, Mapping[str, Any]]
    """What the document says of each image, by `file_name`."""


def is_coco(path: Path) -> bool:
    """Whether a JSON file is in COCO's form: it is read up to its list of images or of annotations."""
    before = b""
    try:
        with path.open("rb") as file:
            while part := file.read(_PIECE):
                if _LIST.search(before + part):
                    return True
                before = part[-_OVERLAP:]
    except OSError:
        return False
    return False


def read_coco(path: Path, names: tuple[str, ...] | None = None) -> CocoDocument:
    """Read a document.

    Args:
        path: Of the JSON file.
        names: Class names to count by, from several documents of one set; None: this document's own.

    Raises:
        DataError: The file is not in COCO's form; a box is of no area, of an unknown image or category.
    """
    try:
        content = json.loads(path.read_bytes())
        categories = {entry["id"]: str(entry["name"]) for entry in content["categories"]}
        described = {entry["id"]: entry for entry in content["images"]}
        boxes = content["annotations"]
        if len(described) < len(content["images"]):
            raise ValueError("an image id is there twice")
        files = {id: str(entry["file_name"]) for id, entry in described.items()}
        if len(set(files.values())) < len(files):
            raise ValueError("a file_name is there twice")
        sizes = {id: _size(entry) for id, entry in described.items()}
        own = tuple(categories[id] for id in sorted(categories))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: not in COCO's form: {error!r}; images, annotations, categories are needed") from error
    number = {name: index for index, name in enumerate(names or own)}
    found: dict[Any, list[tuple[tuple[float, float, float, float], int, bool]]] = {id: [] for id in described}
    for position, entry in enumerate(boxes):
        try:
            x, y, width, height = map(float, entry["bbox"])
            if not math.isfinite(x + y + width + height):
                raise ValueError(entry["bbox"])
            crowd = bool(entry.get("iscrowd", 0) or entry.get("ignore", 0))
            target = found[entry["image_id"]]
            class_id = number[categories[entry["category_id"]]]
        except (KeyError, ValueError, TypeError) as error:
            raise DataError(f"{path}: annotations[{position}]: {error!r} is not known, or not a number") from error
        if not (width > 0 and height > 0):
            raise DataError(
                f"{path}: annotations[{position}]: the box has no area: width {width:g}, height {height:g}; "
                "both must be above 0"
            )
        target.append(((x, y, x + width, y + height), class_id, crowd))
    labels = {}
    for id, rows in found.items():
        listed = Labels.of([row[0] for row in rows], [row[1] for row in rows], [row[2] for row in rows], pixels=True)
        labels[files[id]] = ListedLabels(path, listed, sizes[id])
    return CocoDocument(path, own, labels, {files[id]: entry for id, entry in described.items()})


def stem(file_name: str) -> str:
    """The name of an image's file without folders and suffix."""
    return PurePosixPath(file_name.replace("\\", "/")).stem


def _size(entry: Mapping[str, Any]) -> tuple[int, int] | None:
    height, width = entry.get("height"), entry.get("width")
    return (round(height), round(width)) if height and width else None
