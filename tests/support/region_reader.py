"""A reader of image folders whose labels may hold ignore regions: lines of YOLO text behind the word `ignore`."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from tune_cmx.data.labels.base import LabelFile, LabelReading, Labels
from tune_cmx.data.labels.classes import ClassMap
from tune_cmx.data.labels.yolo import YoloForm
from tune_cmx.data.readers import PairedData
from tune_cmx.data.readers.base import DataSettings
from tune_cmx.data.readers.folders import FolderReader


class RegionForm(YoloForm):
    """Reads `ignore 0 0.5 0.5 0.2 0.2` as an ignore region of class 0."""

    def parse(self, content: bytes, place: str, classes: ClassMap) -> LabelReading:
        lines = [line for line in content.decode().splitlines() if line.strip()]
        plain = "\n".join(line.removeprefix("ignore ") for line in lines)
        found = super().parse(plain.encode(), place, classes)
        flags = np.array([line.startswith("ignore ") for line in lines], dtype=np.bool_)
        return replace(found, labels=Labels(found.labels.boxes, found.labels.classes, flags))


class RegionReader(FolderReader):
    """Image folders with such labels."""

    def open(self, root: Path, settings: DataSettings) -> PairedData:
        data = super().open(root, settings)
        images = [
            replace(image, label=image.label and LabelFile(image.label.path, RegionForm())) for image in data.images
        ]
        return replace(data, images=tuple(images))
