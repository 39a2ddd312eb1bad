"""The boxes of an image, and what a form of label files is."""

import hashlib
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from tune_cmx.data.labels.classes import ANY_CLASS, IGNORED, LEFT_OUT, ClassMap

OVERSHOOT_PX = 2.0
"""How far a box in pixels may reach out of the image: tools count from 0 or from 1, and round. The box is clipped."""


@dataclass(frozen=True)
class Labels:
    """The boxes of one image."""

    boxes: NDArray[np.float64]
    """N×4: x1, y1, x2, y2, as fractions of the image within 0..1, or in pixels."""
    classes: NDArray[np.int64]
    """N class ids, from 0; -1 for an ignore region that holds for every class."""
    ignore: NDArray[np.bool_] = None  # type: ignore[assignment]  # its length is known only with the others
    """N: True for an ignore region, such as a crowd: neither an object nor background, in training and in scoring.
    Default: all are objects. Scoring ignores detections of the region's class there; training does so for all classes.
    """
    pixels: bool = False
    """Whether boxes are in pixels."""
    reach_px: float = OVERSHOOT_PX
    """How far a box in pixels may reach out of the image; it is clipped. Some sets draw what the edge cuts off."""

    def __post_init__(self) -> None:
        if self.ignore is None:
            object.__setattr__(self, "ignore", np.zeros(len(self.classes), dtype=np.bool_))

    @classmethod
    def of(
        cls,
        boxes: list[tuple[float, float, float, float]],
        classes: list[int],
        ignore: list[bool] | None = None,
        *,
        pixels: bool = False,
        reach_px: float = OVERSHOOT_PX,
    ) -> "Labels":
        """Labels from lists, which may be empty."""
        return cls(
            np.array(boxes, dtype=np.float64).reshape(-1, 4),
            np.array(classes, dtype=np.int64),
            np.zeros(len(boxes), dtype=np.bool_) if ignore is None else np.array(ignore, dtype=np.bool_),
            pixels,
            reach_px,
        )

    def in_pixels(self, height: int, width: int) -> NDArray[np.float64]:
        """N×4: x1, y1, x2, y2 in pixels, within an image of this size."""
        edges = np.array([width, height] * 2, dtype=np.float64)
        return np.clip(self.boxes, 0, edges) if self.pixels else self.boxes * edges

    def outside(self, height: int, width: int) -> str | None:
        """Why the first box that does not fit into an image of this size cannot be used; None: all fit."""
        endless = np.flatnonzero(~np.isfinite(self.boxes).all(axis=1))
        if len(endless):
            corners = ", ".join(f"{corner:g}" for corner in self.boxes[endless[0]])
            return f"the box x1, y1, x2, y2 = {corners} is not finite"
        if not self.pixels or not len(self.boxes):
            return None
        edges = np.array([width, height] * 2, dtype=np.float64)
        clipped = np.clip(self.boxes, 0, edges)
        reach = np.maximum(-self.boxes, self.boxes - edges).max(axis=1)
        empty = (clipped[:, 2:] - clipped[:, :2]).min(axis=1) <= 0
        # a crowd box or an ignore region is often drawn roughly
        bad = np.flatnonzero(((reach > self.reach_px) & ~self.ignore) | empty)
        if not len(bad):
            return None
        corners = ", ".join(f"{corner:g}" for corner in self.boxes[bad[0]])
        return f"the box x1, y1, x2, y2 = {corners} reaches out of the image of {width}×{height} pixels"

    def mapped(self, classes: ClassMap) -> "Labels":
        """With the ids of the classes that the detector learns, without those that are left out.

        Args:
            classes: These labels have the ids of its source.
        """
        if classes.is_identity:
            return self
        to = np.where(self.classes == ANY_CLASS, IGNORED, np.array(classes.to, dtype=np.int64)[self.classes])
        ignore = self.ignore | (to == IGNORED)
        kept = to != LEFT_OUT
        to[to == IGNORED] = ANY_CLASS
        return Labels(self.boxes[kept], to[kept], ignore[kept], self.pixels, self.reach_px)


@dataclass(frozen=True)
class LabelReading:
    """What one reading of an image's labels found."""

    labels: Labels
    problems: list[str] = field(default_factory=list)
    """What is wrong, with the place of each."""
    remarks: list[str] = field(default_factory=list)
    """What is unusual but can be used, as in `polygons became their boxes`; each at most once."""
    size: tuple[int, int] | None = None
    """Height and width in pixels that the labels state for the image."""
    digest: str = ""
    """Of what was read."""


class LabelSource(ABC):
    """Where the boxes of one image come from. It is pickled to loader processes."""

    file: str | Path
    """Path of the file; a text where a set has very many."""

    @property
    def path(self) -> Path:
        """Of the file."""
        return Path(self.file)

    @abstractmethod
    def read(self, place: str, classes: ClassMap) -> LabelReading:
        """The boxes, with ids of `classes.source`.

        Args:
            place: The file's name for error messages.
            classes: Of the set.

        Raises:
            OSError: The file cannot be read.
        """


class LabelForm(ABC):
    """A form of label files of which each image has its own. It has no state."""

    suffix: ClassVar[str]
    """Of the files, in lower case."""
    title: ClassVar[str]
    """As in `YOLO text`."""
    has_names: ClassVar[bool] = False
    """Whether the files have names of classes, not numbers."""

    @abstractmethod
    def parse(self, content: bytes, place: str, classes: ClassMap) -> LabelReading:
        """The boxes of a file.

        Args:
            content: The file's bytes.
            place: The file's name for error messages.
            classes: Of the set; the ids of the labels are those of its source.
        """

    def names(self, content: bytes, place: str) -> list[str]:  # noqa: ARG002  # a subclass uses them
        """The class names that a file of a form with `has_names` has.

        Raises:
            DataError: The file cannot be read.
        """
        return []


def numbered_lines(content: bytes, place: str) -> tuple[list[tuple[int, str]], list[str]]:
    """The lines of a text file that are not blank, with their numbers from 1; and what is wrong with the file.

    Args:
        content: The file's bytes.
        place: The file's name for error messages.
    """
    try:
        lines = content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        return [], [f"{place}: not UTF-8 text: {error}"]
    return [(number, line) for number, line in enumerate(lines, start=1) if line.strip()], []


@dataclass(frozen=True)
class LabelFile(LabelSource):
    """A label file of its own."""

    file: str | Path
    form: LabelForm

    def read(self, place: str, classes: ClassMap) -> LabelReading:
        content = self.path.read_bytes()
        found = self.form.parse(content, place, classes)
        return LabelReading(
            found.labels, found.problems, found.remarks, found.size, hashlib.sha256(content).hexdigest()
        )


@dataclass(frozen=True)
class ListedLabels(LabelSource):
    """The boxes of one image in a document that lists those of many."""

    file: str | Path
    labels: Labels
    """With the ids of the set's source classes."""
    size: tuple[int, int] | None = None
    """Height and width that the document states."""

    def read(self, place: str, classes: ClassMap) -> LabelReading:  # noqa: ARG002  # the contract
        content = hashlib.sha256()
        for array in (self.labels.boxes, self.labels.classes, self.labels.ignore):
            content.update(np.ascontiguousarray(array).tobytes())
        return LabelReading(self.labels, size=self.size, digest=content.hexdigest())
