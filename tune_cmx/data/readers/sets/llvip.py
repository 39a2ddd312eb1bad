"""LLVIP: pedestrians under street lamps, from cameras that stand still.

Layout: `visible/{train,test}/010001.jpg`, `infrared/{train,test}/010001.jpg`, `Annotations/010001.xml`. The first two
digits of a name are the camera site, the other four count its images. Infrared files are JPEG with three equal bands.

Source: Jia et al., LLVIP: A Visible-infrared Paired Dataset for Low-light Vision, ICCV workshops 2021,
arXiv:2108.10831. The release has a training and a test part.
"""

import re
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from tune_cmx.config.trial import MODALITIES
from tune_cmx.data.readers.base import Certainty, DataSettings, PairedData, Sign
from tune_cmx.data.readers.folders import found_images
from tune_cmx.data.readers.joining import join
from tune_cmx.data.readers.names import Key
from tune_cmx.data.readers.pairing import pair_by_names
from tune_cmx.data.readers.sequences import VideoPosition
from tune_cmx.data.readers.sets.named import NamedReader, first_image, positions_of
from tune_cmx.errors import DataError

CLASSES = ("person",)
NAME = re.compile(r"(\d\d)(\d{4})")
"""Camera site and number."""


class LlvipReader(NamedReader):
    """A camera site is a sequence."""

    title: ClassVar[str] = "LLVIP"
    holds: ClassVar[str] = "LLVIP's visible/, infrared/ and Annotations/"
    takes: ClassVar[frozenset[str]] = frozenset({"labels", "labels_from"})

    def sign(self, root: Path) -> Sign | None:
        folders = (root / "visible", root / "infrared")
        if not all(folder.is_dir() for folder in folders) or any((root / name).is_dir() for name in MODALITIES):
            return None
        found = first_image(folders[0])
        if found is None or not NAME.fullmatch(found.stem):
            return None
        return Sign(f"visible/{found} and infrared/", Certainty.CERTAIN)

    def open(self, root: Path, settings: DataSettings) -> PairedData:
        paired = pair_by_names(root)
        positions = positions_of(root, paired, _position)
        images = found_images(root, paired, positions=positions)
        if settings.classes is None:  # files that are as published need not be searched for names
            settings = replace(settings, label_classes=settings.label_classes or CLASSES)
        return join(self, root, images, settings, numbered=CLASSES)


def _position(key: Key) -> VideoPosition:
    match = NAME.fullmatch(key[-1])
    if match is None:
        raise DataError(
            f"image '{key[-1]}' is not named as in LLVIP, with two digits of the site and four of the image; rename "
            "it, or take --layout folders"
        )
    return VideoPosition(match[1], int(match[2]))
