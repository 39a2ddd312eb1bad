"""How many detections of each class are right, by the score from which on they count."""

import contextlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tune_cmx.evaluation import counter, objects_of

THRESHOLDS = 101
"""Scores 0, 0.01, .., 1; TensorBoard takes them to be spread so."""
IOU = 0.5


@dataclass(frozen=True)
class Counts:
    """Of one class, at each of the `THRESHOLDS` scores."""

    right: NDArray[np.int64]
    """Detections with at least that score that match an object at IoU 0.5, each object once."""
    wrong: NDArray[np.int64]
    """Those that match none. A detection that is ignored, as in an ignore region, is neither right nor wrong."""
    objects: int

    @property
    def precision(self) -> NDArray[np.float64]:
        """0 where nothing is detected."""
        precision: NDArray[np.float64] = self.right / np.maximum(self.right + self.wrong, 1)
        return precision

    @property
    def recall(self) -> NDArray[np.float64]:
        """The share of the objects that is found."""
        return self.right / max(self.objects, 1)


def counts_by_score(detections: Sequence[Mapping[str, Any]], truth: Mapping[str, Any]) -> dict[str, Counts]:
    """Counts by class name, of the classes that have objects; matched as pycocotools does.

    Args:
        detections: COCO results, as `evaluate` takes them.
        truth: COCO ground truth.
    """
    names = {category["id"]: category["name"] for category in truth["categories"]}
    objects = [annotation["category_id"] for annotation in objects_of(truth)]
    counted = [number for number in names if number in objects]
    scores = np.linspace(0, 1, THRESHOLDS)
    matched = _matched(detections, truth, counted)
    found = {}
    for number in counted:
        score, right = matched.get(number, (np.zeros(0), np.zeros(0, dtype=bool)))
        counts = score[None, :] >= scores[:, None]
        found[names[number]] = Counts(
            (counts & right).sum(axis=1), (counts & ~right).sum(axis=1), objects.count(number)
        )
    return found


def _matched(
    detections: Sequence[Mapping[str, Any]], truth: Mapping[str, Any], classes: Sequence[int]
) -> dict[int, tuple[NDArray[np.float64], NDArray[np.bool_]]]:
    """Scores of each class's detections, without the ignored ones, and whether each found an object."""
    with contextlib.redirect_stdout(io.StringIO()):
        run = counter(detections, truth)
        run.params.iouThrs = np.array([IOU])
        run.params.areaRng, run.params.areaRngLbl = [[0, 1e10]], ["all"]
        run.params.catIds = list(classes)
        run.evaluate()
    by_class: dict[int, tuple[NDArray[np.float64], NDArray[np.bool_]]] = {}
    for number in classes:
        images = [image for image in run.evalImgs if image is not None and image["category_id"] == number]
        if images:
            counted = np.concatenate([np.asarray(image["dtIgnore"][0]) == 0 for image in images])
            score = np.concatenate([np.asarray(image["dtScores"], dtype=np.float64) for image in images])
            right = np.concatenate([image["dtMatches"][0] > 0 for image in images])
            by_class[number] = score[counted], right[counted]
    return by_class
