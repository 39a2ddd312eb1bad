"""PASCAL VOC XML: one file an image, boxes in pixels, classes by name."""

import math
from typing import ClassVar
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException, ElementTree

from tune_cmx.data.labels.base import OVERSHOOT_PX, LabelForm, LabelReading, Labels
from tune_cmx.data.labels.classes import ClassMap
from tune_cmx.errors import DataError


class VocForm(LabelForm):
    """One `object` an object, with `name` and `bndbox`."""

    suffix: ClassVar[str] = ".xml"
    title: ClassVar[str] = "VOC XML"
    has_names: ClassVar[bool] = True
    reach_px: ClassVar[float] = OVERSHOOT_PX
    """How far a box may reach out of the image."""

    def parse(self, content: bytes, place: str, classes: ClassMap) -> LabelReading:
        try:
            root = parsed(content, place)
        except DataError as error:
            return LabelReading(Labels.of([], []), [str(error)])
        boxes: list[tuple[float, float, float, float]] = []
        ids: list[int] = []
        problems: list[str] = []
        for number, thing in enumerate(root.iter("object"), start=1):
            name = self.name(thing)
            try:
                box = self.box(thing)
                if box[2] <= box[0] or box[3] <= box[1]:
                    corners = ", ".join(f"{corner:g}" for corner in box)
                    raise ValueError(f"the box has no area: xmin, ymin, xmax, ymax are {corners}")
                if name not in classes.id_of:
                    raise ValueError(f"class '{name}'; known: {', '.join(classes.source)}")
            except ValueError as error:
                problems.append(f"{place}: object {number}: {error}")
            else:
                boxes.append(box)
                ids.append(classes.id_of[name])
        labels = Labels.of(boxes, ids, pixels=True, reach_px=self.reach_px)
        return LabelReading(labels, problems, size=self.size(root))

    def names(self, content: bytes, place: str) -> list[str]:
        return [self.name(thing) for thing in parsed(content, place).iter("object")]

    def name(self, thing: Element) -> str:
        """The class of an object."""
        return (thing.findtext("name") or "").strip()

    def box(self, thing: Element) -> tuple[float, float, float, float]:
        """x1, y1, x2, y2 of an object in pixels.

        Raises:
            ValueError: They are missing or not numbers.
        """
        found = thing.find("bndbox")
        if found is None:
            raise ValueError("no bndbox; xmin, ymin, xmax, ymax are needed")
        x1, y1, x2, y2 = (self.number(found, key) for key in ("xmin", "ymin", "xmax", "ymax"))
        return x1, y1, x2, y2

    def number(self, parent: Element, key: str) -> float:
        """The number in a field.

        Raises:
            ValueError: It is missing or not a number.
        """
        text = (parent.findtext(key) or "").strip()
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise ValueError(f"{key} is '{text}'; a number is needed")
        return value

    def size(self, root: Element) -> tuple[int, int] | None:
        """Height and width that the file states; None where it does not."""
        height, width = (root.findtext(f"size/{side}") or "" for side in ("height", "width"))
        try:
            found = round(float(height)), round(float(width))
        except (ValueError, OverflowError):
            return None
        return found if min(found) > 0 else None  # some tools write 0


def parsed(content: bytes, place: str) -> Element:
    """The root of an XML file.

    Raises:
        DataError: It is not XML, or has entities, which label files do not need.
    """
    try:
        root: Element = ElementTree.fromstring(content)
    except (ParseError, DefusedXmlException, ValueError, LookupError) as error:  # the last two: its encoding
        raise DataError(f"{place}: cannot be read as XML: {error}") from error
    return root
