"""The labels of KAIST: text lines `class x y w h occlusion vx vy vw vh ignore angle`, or XML with x, y, w, h.

Both are in pixels. The text is version 3 of `bbGt` in Piotr Dollár's toolbox, as for the Caltech pedestrians.
"""

import math
from typing import ClassVar
from xml.etree.ElementTree import Element

from tune_cmx.data.labels.base import LabelForm, LabelReading, Labels, numbered_lines
from tune_cmx.data.labels.classes import ClassMap
from tune_cmx.data.labels.voc import VocForm

FIELDS = 12
IGNORE_FIELD = 10
NO_AREA = "have regions of no area, which were left out"


class KaistForm(LabelForm):
    """A line that begins with % is a comment. Boxes of persons at the edge may reach out of the image."""

    suffix: ClassVar[str] = ".txt"
    title: ClassVar[str] = "KAIST text"

    def parse(self, content: bytes, place: str, classes: ClassMap) -> LabelReading:
        lines, problems = numbered_lines(content, place)
        boxes: list[tuple[float, float, float, float]] = []
        ids: list[int] = []
        ignore: list[bool] = []
        remarks: list[str] = []
        for number, line in lines:
            if line.startswith("%"):
                continue
            try:
                class_id, (x, y, width, height), ignored = _parse_line(line, classes)
            except ValueError as error:
                problems.append(f"{place}:{number}: {error}")
                continue
            if width > 0 and height > 0:
                boxes.append((x, y, x + width, y + height))
                ids.append(class_id)
                ignore.append(ignored)
            elif ignored or classes.to[class_id] < 0:
                remarks = [NO_AREA]
            else:
                problems.append(
                    f"{place}:{number}: the box has no area: width {width:g}, height {height:g}; both must be above 0"
                )
        labels = Labels.of(boxes, ids, ignore, pixels=True, reach_px=math.inf)
        return LabelReading(labels, problems, remarks)


class KaistXmlForm(VocForm):
    """VOC XML with x, y, w, h in `bndbox`; some copies have VOC's own corners."""

    reach_px: ClassVar[float] = math.inf

    def box(self, thing: Element) -> tuple[float, float, float, float]:
        found = thing.find("bndbox")
        if found is None or found.find("w") is None:
            return super().box(thing)
        x, y, width, height = (self.number(found, key) for key in ("x", "y", "w", "h"))
        return x, y, x + width, y + height


def _parse_line(line: str, classes: ClassMap) -> tuple[int, tuple[float, float, float, float], bool]:
    """Class id; x, y, width, height; and whether it is an ignore region. Raises ValueError with what is wrong."""
    name, *fields = line.split()
    try:
        values = [float(field) for field in fields]
    except ValueError:
        values = []
    if len(values) != FIELDS - 1 or not all(math.isfinite(value) for value in values):
        raise ValueError(
            f"{FIELDS} fields are needed: class, x, y, width, height, occlusion, visible x, y, width, height, ignore, "
            f"angle; got '{line.strip()[:80]}'"
        )
    if name not in classes.id_of:
        raise ValueError(f"class '{name}'; known: {', '.join(classes.source)}")
    x, y, width, height = values[:4]
    return classes.id_of[name], (x, y, width, height), bool(values[IGNORE_FIELD - 1])
