"""VEDAI (Razakarivony & Jurie 2016): aerial pairs `*_co.png`, `*_ir.png`, one text of oriented boxes."""

import math
import re
from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from tune_cmx.data.labels.base import Labels, LabelSource, ListedLabels
from tune_cmx.data.readers.base import Certainty, DataSettings, PairedData, Sign
from tune_cmx.data.readers.finding_labels import FoundLabels
from tune_cmx.data.readers.folders import found_images
from tune_cmx.data.readers.joining import join
from tune_cmx.data.readers.names import Key
from tune_cmx.data.readers.official import parts_from_lists
from tune_cmx.data.readers.pairing import IMAGE_SUFFIXES, PairedFiles, files_under
from tune_cmx.data.readers.sets.named import NamedReader
from tune_cmx.errors import DataError

CLASSES = {
    1: "car",
    2: "truck",
    4: "tractor",
    5: "camping car",
    7: "motorcycle",
    8: "bus",
    9: "van",
    10: "other",
    11: "pickup",
    12: "large vehicle",
    23: "boat",
    31: "plane",
}
"""Names by the numbers of the annotation."""
RARE = ("motorcycle", "bus", "large vehicle", "plane")
"""Left out by default, as in the set's own protocol: classes of fewer than 50 objects."""
FOLD = "fold01"
"""The fold that is taken; the set has ten, `fold01.txt` to `fold10.txt` for training and `fold01test.txt` for test."""
TABLES = ("annotation512.txt", "annotation1024.txt")
COLUMNS = 15
_WORD = {"co": "rgb", "ir": "thermal"}


class VedaiReader(NamedReader):
    """Images in one folder, the boxes of all in annotation512.txt or annotation1024.txt; infrared is near infrared."""

    title: ClassVar[str] = "VEDAI"
    holds: ClassVar[str] = "VEDAI's *_co.png and *_ir.png with annotation512.txt"
    takes: ClassVar[frozenset[str]] = frozenset({"labels"})

    def sign(self, root: Path) -> Sign | None:
        table = _table(root)
        if table is None or not any(_images(root)):
            return None
        return Sign(str(table.relative_to(root)), Certainty.CERTAIN)

    def open(self, root: Path, settings: DataSettings) -> PairedData:
        table = settings.labels or _table(root)
        if table is None:
            raise DataError(f"{root}: no annotation512.txt or annotation1024.txt; name it with --labels")
        files: dict[Key, dict[str, Path]] = defaultdict(dict)
        for id, modality, path in _images(root):
            files[(id,)][modality] = root / path
        images = found_images(root, PairedFiles(dict(files), {}), positions={})
        assert images.keys is not None
        lists = {} if settings.lists else _fold(table.parent)
        parts = parts_from_lists(root, lists, images.keys)
        sources, used = _boxes(table, set(images.files))
        names = tuple(CLASSES[number] for number in sorted(used))
        remarks = ["boxes are upright ones around oriented ones; infrared is near infrared and stands as thermal"]
        if lists:
            remarks.append(f"the split is the set's {FOLD}; --split takes another")
        images = replace(images, parts=parts, remarks=(*images.remarks, *remarks))
        found = FoundLabels(sources, names, table)
        rare = {name: None for name in RARE if name in names}
        return join(self, root, images, settings, found, rare or None)


def _fold(folder: Path) -> dict[str, list[Path]]:
    """The lists of the fold, by part."""
    paths = {"train": folder / f"{FOLD}.txt", "test": folder / f"{FOLD}test.txt"}
    return {part: [path] for part, path in paths.items() if path.is_file()}


def _table(root: Path) -> Path | None:
    found = sorted(path for path in files_under(root, TABLES, labels=True) if path.name in TABLES)
    return next((root / path for name in TABLES for path in found if path.name == name), None)


def _images(root: Path) -> Iterator[tuple[str, str, Path]]:
    """Id, modality and path, from the set's folder, of each image."""
    for path in files_under(root, IMAGE_SUFFIXES, labels=True):
        match = re.fullmatch(r"(\d{8})_(co|ir)", path.stem)
        if match:
            yield match[1], _WORD[match[2]], path


def _boxes(table: Path, ids: Collection[str]) -> tuple[dict[str, LabelSource], set[int]]:
    """The boxes by image id, and the class numbers that occur.

    A line has the image's id, centre, orientation, x of four corners, y of four corners, class number, whether the
    object is fully inside, and whether it is occluded.
    """
    try:
        lines = table.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{table}: cannot be read: {error}") from error
    rows: dict[str, list[tuple[tuple[float, float, float, float], int]]] = defaultdict(list)
    for number, line in enumerate(lines, start=1):
        fields = line.split()
        if not fields:
            continue
        try:
            values = [float(field) for field in fields]
        except ValueError:
            values = []
        if len(values) != COLUMNS or not all(map(math.isfinite, values)):
            raise DataError(f"{table}:{number}: {COLUMNS} numbers are needed; got '{line.strip()[:80]}'")
        if values[12] not in CLASSES:
            raise DataError(f"{table}:{number}: class {fields[12]}; known: {', '.join(map(str, CLASSES))}")
        id, class_id = f"{int(values[0]):08d}", int(values[12])
        if id in ids:
            xs, ys = values[4:8], values[8:12]
            if min(xs) == max(xs) or min(ys) == max(ys):
                raise DataError(f"{table}:{number}: the box has no area: x of the corners {xs}, y {ys}")
            rows[id].append(((min(xs), min(ys), max(xs), max(ys)), class_id))
    used = {class_id for own in rows.values() for _, class_id in own}
    index = {class_id: position for position, class_id in enumerate(sorted(used))}
    sources: dict[str, LabelSource] = {}
    for id, own in rows.items():
        labels = Labels.of([box for box, _ in own], [index[class_id] for _, class_id in own], pixels=True)
        sources[id] = ListedLabels(table, labels)
    return sources, used
