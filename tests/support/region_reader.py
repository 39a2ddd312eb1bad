"""A reader of image folders whose labels may hold ignore regions: lines of YOLO text behind the word `ignore`."""

import numpy as np

from tune_cmx.data.readers.folders import FolderReader
from tune_cmx.data.readers.labels import Labels


class RegionReader(FolderReader):
    """Reads `ignore 0 0.5 0.5 0.2 0.2` as an ignore region of class 0."""

    def parse_labels(self, content: bytes, place: str, classes: tuple[str, ...]) -> tuple[Labels, list[str]]:
        lines = [line for line in content.decode().splitlines() if line.strip()]
        plain = "\n".join(line.removeprefix("ignore ") for line in lines)
        found, problems = super().parse_labels(plain.encode(), place, classes)
        flags = np.array([line.startswith("ignore ") for line in lines], dtype=np.bool_)
        return Labels(found.boxes, found.classes, flags), problems
