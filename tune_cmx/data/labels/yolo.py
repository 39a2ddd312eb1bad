"""YOLO text labels: class, x centre, y centre, width, height, as fractions of the image."""

import math
from typing import ClassVar

from tune_cmx.data.labels.base import LabelForm, LabelReading, Labels, numbered_lines
from tune_cmx.data.labels.classes import ClassMap

OVERSHOOT = 1e-3
"""How far a box may reach out of the image, as a fraction of it: rounded labels do. The box is clipped."""
ROUNDING = 1e-6
POLYGON = "have polygons or key points; the box around each polygon is taken"


class YoloForm(LabelForm):
    """One line an object; a line may also have a polygon in place of a box."""

    suffix: ClassVar[str] = ".txt"
    title: ClassVar[str] = "YOLO text"

    def parse(self, content: bytes, place: str, classes: ClassMap) -> LabelReading:
        lines, problems = numbered_lines(content, place)
        boxes: list[tuple[float, float, float, float]] = []
        ids: list[int] = []
        polygons = False
        for number, line in lines:
            try:
                class_id, box, polygon = _parse_line(line, classes.source)
            except ValueError as error:
                problems.append(f"{place}:{number}: {error}")
            else:
                ids.append(class_id)
                boxes.append(box)
                polygons |= polygon
        return LabelReading(Labels.of(boxes, ids), problems, [POLYGON] if polygons else [])


def _parse_line(line: str, classes: tuple[str, ...]) -> tuple[int, tuple[float, float, float, float], bool]:
    """Class id; x1, y1, x2, y2; and whether they are those of a polygon. Raises ValueError with what is wrong."""
    fields = line.split()
    try:
        values = [float(field) for field in fields]
    except ValueError:
        values = []
    if len(values) == 6:
        raise ValueError(
            f"six numbers; labels have five: class, x centre, y centre, width, height. The sixth may be a confidence: "
            f"detections are not ground truth; got '{line.strip()[:80]}'"
        )
    polygon = len(values) >= 7 and len(values) % 2 == 1
    if not (polygon or len(values) == 5) or not all(math.isfinite(value) for value in values):
        raise ValueError(
            "five numbers are needed: class, x centre, y centre, width, height; or class and at least three corners "
            f"of a polygon; got '{line.strip()[:80]}'"
        )
    class_id = values[0]
    if class_id != int(class_id) or not 0 <= class_id < len(classes):
        allowed = "0" if len(classes) == 1 else f"0..{len(classes) - 1}"
        raise ValueError(f"class is {fields[0]}; allowed: {allowed} ({', '.join(classes[:8])})")
    if polygon and _has_key_points(values):
        raise ValueError(
            "the line may be a box and key points with their visibility (0, 1 or 2), as pose labels have; keep the "
            f"first five numbers of each line: class, x centre, y centre, width, height; got '{line.strip()[:80]}'"
        )
    if polygon:
        corners = min(values[1::2]), min(values[2::2]), max(values[1::2]), max(values[2::2])
    else:
        x, y, width, height = values[1:]
        named = zip(("x centre", "y centre", "width", "height"), values[1:], fields[1:], strict=True)
        for name, value, field in named:
            if not -ROUNDING <= value <= 1 + ROUNDING:
                raise ValueError(f"{name} is {field}; a fraction of the image, 0..1, is needed")
        if width <= 0 or height <= 0:
            raise ValueError(f"the box has no area: width {fields[3]}, height {fields[4]}; both must be above 0")
        corners = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    if min(corners) < -OVERSHOOT or max(corners) > 1 + OVERSHOOT:
        edges = ", ".join(f"{corner:.4g}" for corner in corners)
        raise ValueError(f"the box reaches out of the image: x1, y1, x2, y2 are {edges}; 0..1 is allowed")
    x1, y1, x2, y2 = (min(max(corner, 0.0), 1.0) for corner in corners)
    if x2 <= x1 or y2 <= y1:
        raise ValueError(f"the box has no area within the image: '{line.strip()[:80]}'")
    return int(class_id), (x1, y1, x2, y2), polygon


def _has_key_points(values: list[float]) -> bool:
    """Whether class and box are followed by triples of x, y and visibility, with each visible point in the box."""
    x, y, width, height = values[1:5]
    points = list(zip(values[5::3], values[6::3], values[7::3], strict=False))
    return len(values) % 3 == 2 and all(
        seen in (0, 1, 2) and (seen == 0 or (abs(px - x) <= width / 2 and abs(py - y) <= height / 2))
        for px, py, seen in points
    )
