"""The files that `tune-cmx predict` writes: COCO results, a table, pictures and YOLO text."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from tune_cmx.data.pixels import Pixels
from tune_cmx.errors import ConfigError
from tune_cmx.inference.pictures import picture
from tune_cmx.inference.prediction import Prediction
from tune_cmx.state.json_file import write_atomically

RESULTS, TABLE, PICTURES, LABELS = "detections.json", "detections.csv", "pictures", "labels"
_HEADER = ("image", "class", "score", "x1", "y1", "x2", "y2")
_QUALITY = 90
"""Of a JPEG."""


class PredictionFiles:
    """Writes detections image by image. Used as a context: the COCO results are written at its end.

    Args:
        folder: Receives the files.
        classes: Names, by id from 0.
        pictures: Whether each image is drawn.
        picture_score: Weaker detections are not drawn.
        txt: Whether each image gets a file of YOLO text, with the score as the sixth number.
        force: Write into a folder that has earlier results.

    Raises:
        ConfigError: The folder has earlier results, and `force` is not set.
    """

    def __init__(
        self,
        folder: Path,
        classes: Sequence[str],
        *,
        pictures: bool = True,
        picture_score: float = 0.5,
        txt: bool = False,
        force: bool = False,
    ) -> None:
        if (folder / RESULTS).exists() and not force:
            raise ConfigError(f"{folder}: has {RESULTS} of an earlier prediction; choose another --out, or add --force")
        self.folder = folder
        self._classes = tuple(classes)
        self._pictures, self._picture_score, self._txt = pictures, picture_score, txt
        self._results: list[dict[str, Any]] = []
        self.images = 0

    def __enter__(self) -> "PredictionFiles":
        for name in [PICTURES] * self._pictures + [LABELS] * self._txt:
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._table = (self.folder / TABLE).open("w", newline="", encoding="utf-8")
        self._rows = csv.writer(self._table, lineterminator="\n")
        self._rows.writerow(_HEADER)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._table.close()
        if kind is None:
            write_atomically(self.folder / RESULTS, json.dumps(self._results) + "\n")

    def add(self, id: str, pixels: Mapping[str, Pixels], found: Prediction) -> None:
        """Write what was detected in an image.

        Args:
            id: Of the image; COCO results have it as `file_name`, and its place from 0 as `image_id`.
            pixels: H×W×bands by modality, for the picture.
            found: The detections.
        """
        self._results += [{**one, "file_name": id} for one in found.to_coco(self.images)]
        self.images += 1
        for box, score, label in zip(found.boxes.tolist(), found.scores.tolist(), found.classes, strict=True):
            self._rows.writerow([id, label, f"{score:.4f}", *(f"{side:.2f}" for side in box)])
        name = id.replace("/", "_")
        if self._pictures:
            drawn = picture(pixels, found, self._picture_score)
            drawn.save(self.folder / PICTURES / f"{name}.jpg", quality=_QUALITY, subsampling="4:4:4")
        if self._txt:
            write_atomically(self.folder / LABELS / f"{name}.txt", yolo_text(found))


def yolo_text(found: Prediction) -> str:
    """A line for each detection: class id from 0, centre, width and height as fractions of the image, and score."""
    lines = []
    for (x1, y1, x2, y2), score, id in zip(
        found.boxes.tolist(), found.scores.tolist(), found.class_ids.tolist(), strict=True
    ):
        centre = (x1 + x2) / 2 / found.width, (y1 + y2) / 2 / found.height
        size = (x2 - x1) / found.width, (y2 - y1) / found.height
        lines.append(" ".join([str(id), *(f"{value:.6f}" for value in (*centre, *size, score))]))
    return "".join(f"{line}\n" for line in lines)
