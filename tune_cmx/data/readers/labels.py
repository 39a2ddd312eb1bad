"""YOLO text labels: class, x centre, y centre, width, height, as fractions of the image."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

OVERSHOOT = 1e-3
"""How far a box may reach out of the image, as a fraction of it: rounded labels do. The box is clipped."""
ROUNDING = 1e-6


@dataclass(frozen=True)
class Labels:
    """The boxes of one image: objects and ignore regions."""

    boxes: NDArray[np.float64]
    """N×4: x1, y1, x2, y2 as fractions, within 0..1."""
    classes: NDArray[np.int64]
    """N class ids, from 0."""
    ignore: NDArray[np.bool_] = None  # type: ignore[assignment]  # its length is known only with the others
    """N: True for an ignore region, such as a crowd: neither an object nor background, in training and in scoring.
    Default: all are objects. Scoring ignores detections of the region's class there; training does so for all classes.
    """

    def __post_init__(self) -> None:
        if self.ignore is None:
            object.__setattr__(self, "ignore", np.zeros(len(self.classes), dtype=np.bool_))


def parse_labels(content: bytes, place: str, classes: tuple[str, ...]) -> tuple[Labels, list[str]]:
    """The boxes of a label file, and what is wrong with each of its other lines.

    Args:
        content: The file's bytes.
        place: The file's name for error messages.
        classes: Names of the classes; a line's id must be below their number.
    """
    try:
        lines = content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        return _labels([], []), [f"{place}: not UTF-8 text: {error}"]
    boxes: list[tuple[float, float, float, float]] = []
    ids: list[int] = []
    problems: list[str] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            class_id, box = _parse_line(line, classes)
        except ValueError as error:
            problems.append(f"{place}:{number}: {error}")
        else:
            ids.append(class_id)
            boxes.append(box)
    return _labels(boxes, ids), problems


def _labels(boxes: list[tuple[float, float, float, float]], ids: list[int]) -> Labels:
    return Labels(np.array(boxes, dtype=np.float64).reshape(-1, 4), np.array(ids, dtype=np.int64))


def _parse_line(line: str, classes: tuple[str, ...]) -> tuple[int, tuple[float, float, float, float]]:
    """Class id, and x1, y1, x2, y2. Raises ValueError with what is wrong."""
    fields = line.split()
    try:
        values = [float(field) for field in fields]
    except ValueError:
        values = []
    if len(values) != 5 or not all(math.isfinite(value) for value in values):
        raise ValueError(
            f"five numbers are needed: class, x centre, y centre, width, height; got '{line.strip()[:80]}'"
        )
    class_id, x, y, width, height = values
    if class_id != int(class_id) or not 0 <= class_id < len(classes):
        allowed = "0" if len(classes) == 1 else f"0..{len(classes) - 1}"
        raise ValueError(f"class is {fields[0]}; allowed: {allowed} ({', '.join(classes[:8])})")
    for name, value, field in zip(("x centre", "y centre", "width", "height"), values[1:], fields[1:], strict=True):
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
        raise ValueError(f"the box has no area within the image: '{line.strip()}'")
    return int(class_id), (x1, y1, x2, y2)
