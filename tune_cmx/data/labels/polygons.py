"""VOC XML whose boxes are oriented: the corners of a polygon become the upright box around them."""

from collections.abc import Mapping
from typing import ClassVar
from xml.etree.ElementTree import Element

from tune_cmx.data.labels.base import LabelReading, Labels
from tune_cmx.data.labels.classes import ClassMap
from tune_cmx.data.labels.voc import VocForm

IN_BORDER = "have boxes that lie wholly in the border, which were left out"


class PolygonForm(VocForm):
    """DroneVehicle's: `polygon` with x1, y1 to x4, y4, or `bndbox`; the images have a white border.

    Args:
        border: Pixels of the border on each side, which the boxes count and the images as read do not have.
        spellings: Names that are written in several ways, each with the one that is meant.
    """

    title: ClassVar[str] = "VOC XML with polygons"

    def __init__(self, border: int, spellings: Mapping[str, str]) -> None:
        self._border = border
        self._spellings = dict(spellings)

    def parse(self, content: bytes, place: str, classes: ClassMap) -> LabelReading:
        found = super().parse(content, place, classes)
        kept = found.labels
        boxes = kept.boxes - self._border
        size = found.size and (found.size[0] - 2 * self._border, found.size[1] - 2 * self._border)
        if size is not None:
            edges = [size[1], size[0]] * 2
            boxes = boxes.clip(0, edges)
            inside = (boxes[:, 2] - boxes[:, 0] > 0) & (boxes[:, 3] - boxes[:, 1] > 0)
            kept = Labels(boxes[inside], kept.classes[inside], kept.ignore[inside], pixels=True)
        else:
            kept = Labels(boxes, kept.classes, kept.ignore, pixels=True)
        remarks = [*found.remarks, IN_BORDER] if len(kept.classes) < len(found.labels.classes) else found.remarks
        return LabelReading(kept, found.problems, remarks, size)

    def name(self, thing: Element) -> str:
        name = super().name(thing)
        return self._spellings.get(name, name)

    def box(self, thing: Element) -> tuple[float, float, float, float]:
        polygon = thing.find("polygon")
        if polygon is None:
            return super().box(thing)
        xs, ys = ([self.number(polygon, f"{axis}{corner}") for corner in range(1, 5)] for axis in "xy")
        return min(xs), min(ys), max(xs), max(ys)
