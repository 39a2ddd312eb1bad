"""FLIR-aligned: the pairs of FLIR ADAS v1 that were registered to each other, 4,129 for training and 1,013 to validate.

Layout: `JPEGImages/FLIR_00002_RGB.jpg` beside `JPEGImages/FLIR_00002_PreviewData.jpeg`,
`Annotations/FLIR_00002_PreviewData.xml`, `align_train.txt`, `align_validation.txt`, all of it in some copies below
`align/`. Lists name an image with or without `_PreviewData`.

The release does not name videos, but FLIR numbered the images in the order in which they were taken, one or two a
second, and the registration left gaps. A gap of more than `GAP` numbers begins a sequence here, and so does the first
image of FLIR's own validation folder. A sequence of this kind may hold several videos; two of them are never close.

Source: Zhang et al., Multispectral Fusion for Object Detection with Cyclic Fuse-and-Refine Blocks, ICIP 2020,
arXiv:2009.12664. It has the classes person, car and bicycle; the few dogs that labels of FLIR have are left out.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from tune_cmx.data.readers.base import Certainty, DataSettings, PairedData, Sign
from tune_cmx.data.readers.folders import found_images
from tune_cmx.data.readers.joining import join
from tune_cmx.data.readers.official import lists_in, parts_from_lists, split_remark
from tune_cmx.data.readers.pairing import ids_of, pair_by_patterns
from tune_cmx.data.readers.sequences import VideoPosition
from tune_cmx.data.readers.sets.named import NamedReader, first_image

FOLDER = "JPEGImages"
NAME = re.compile(r"FLIR_(\d+)_(RGB|PreviewData)", re.IGNORECASE)
PATTERNS = {"rgb": f"{FOLDER}/{{id}}_RGB.*", "thermal": f"{FOLDER}/{{id}}_PreviewData.*"}
LISTS = {"train": "align_train.txt", "val": "align_validation.txt"}
GAP = 10
"""Numbers, about ten seconds."""
FIRST_VALIDATION = 8863
"""Number of the first image in FLIR's own validation folder."""
LEFT_OUT: Mapping[str, str | None] = {"dog": None}
NO_DOGS = "boxes of the class dog are left out, as in papers on this set; --classes dog=dog keeps them"


class FlirAlignedReader(NamedReader):
    """Gaps in the numbers of the names separate sequences."""

    title: ClassVar[str] = "FLIR-aligned"
    holds: ClassVar[str] = "FLIR-aligned's JPEGImages/ (*_RGB.jpg, *_PreviewData.jpeg) and Annotations/"
    takes: ClassVar[frozenset[str]] = frozenset({"labels", "labels_from"})

    def sign(self, root: Path) -> Sign | None:
        home = _home(root)
        found = first_image(home / FOLDER)
        if found is None or not NAME.fullmatch(found.stem):
            return None
        return Sign(str((home / FOLDER / found).relative_to(root)), Certainty.CERTAIN)

    def open(self, root: Path, settings: DataSettings) -> PairedData:
        home = _home(root)
        paired = pair_by_patterns(home, PATTERNS)
        keys = ids_of(home, list(paired.files))
        lists = {} if settings.lists else _lists(home)
        parts = parts_from_lists(home, lists, keys)
        positions, remarks = _positions(list(keys.values()))
        if lists:
            remarks.append(split_remark(root, lists, parts))
        images = found_images(home, paired, positions=positions, parts=parts, remarks=remarks)
        labels = settings.labels or (home / "Annotations" if (home / "Annotations").is_dir() else None)
        data = join(self, home, images, replace(settings, labels=labels), renamed=LEFT_OUT)
        dogs = "dog" in data.class_map.source and "dog" not in (*data.classes, *(settings.classes or ()))
        return replace(data, root=root, remarks=(*data.remarks, NO_DOGS) if dogs else data.remarks)


def _home(root: Path) -> Path:
    return root / "align" if (root / "align" / FOLDER).is_dir() else root


def _lists(home: Path) -> Mapping[str, list[Path]]:
    for folder in (home, home / "ImageSets" / "Main", home / "ImageSets"):
        found = {part: [folder / name] for part, name in LISTS.items() if (folder / name).is_file()}
        if found:
            return found
    return lists_in(home)


def _positions(ids: list[str]) -> tuple[dict[str, VideoPosition], list[str]]:
    """The position of each image by id, and what a user should know of it."""
    numbers = {id: int(match[1]) for id in ids if (match := re.fullmatch(r"FLIR_(\d+)", id))}
    if len(numbers) < len(ids):
        return {}, []
    sequence_of: dict[str, str] = {}
    name, before = "", -GAP
    for id in sorted(numbers, key=numbers.__getitem__):
        number = numbers[id]
        if not name or number - before > GAP or before < FIRST_VALIDATION <= number:
            name = id
        sequence_of[id], before = name, number
    count = len(set(sequence_of.values()))
    if count < 2:
        return {id: VideoPosition(None, number) for id, number in numbers.items()}, []
    remark = (
        f"{count} sequences are separated by gaps of more than {GAP} in the numbers of the names; --sequences overrides"
    )
    return {id: VideoPosition(sequence_of[id], number) for id, number in numbers.items()}, [remark]
