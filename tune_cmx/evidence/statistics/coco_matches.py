"""Which detections find a box, image by image, as pycocotools matches them; once a run, for all its resamples."""

import contextlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tune_cmx import metrics
from tune_cmx.errors import DataError
from tune_cmx.evaluation import counter


@dataclass(frozen=True)
class MatchedClass:
    """The detections of one class, the highest score first; equal scores in the order of images, then of detections."""

    image: NDArray[np.int32]
    """Of each of D detections the place of its image in `Matched.images`."""
    counted: NDArray[np.bool_]
    """Thresholds×D: true or false positives; the others count as neither, as on a crowd or of another size."""
    found: NDArray[np.bool_]
    """Thresholds×D: true positives."""
    boxes: NDArray[np.int32]
    """Boxes to be found in each image."""


@dataclass(frozen=True)
class Matched:
    """One run's detections set against the ground truth, for one metric."""

    images: tuple[int, ...]
    """Image numbers, in ascending order."""
    classes: tuple[MatchedClass, ...]


def match(detections: Sequence[Mapping[str, Any]], truth: Mapping[str, Any], metric: str = "mAP") -> Matched:
    """Match a run's detections with the boxes, at most 100 of an image and class.

    Args:
        detections: COCO results.
        truth: COCO ground truth.
        metric: A metric of the table that says which matches it is a mean over; only those are made.

    Raises:
        DataError: The metric does not say it, or a detection is on an image that the ground truth does not have.
    """
    known = metrics.find(metric)
    if known is None or known[1].matches is None:
        raise DataError(f"{metric} has no test-set bootstrap interval: the table of metrics has no `matches` for it")
    area, thresholds = known[1].matches
    with contextlib.redirect_stdout(io.StringIO()):
        counted = counter(detections, truth)
        params = counted.params
        params.areaRng = [params.areaRng[params.areaRngLbl.index(area)]]
        params.areaRngLbl = [area]
        params.iouThrs = params.iouThrs[thresholds]
        counted.evaluate()
    images = [int(id) for id in params.imgIds]
    by_class = (counted.evalImgs[start : start + len(images)] for start in range(0, len(counted.evalImgs), len(images)))
    return Matched(tuple(images), tuple(_class(results, len(params.iouThrs)) for results in by_class))


def _class(results: Sequence[Mapping[str, Any] | None], thresholds: int) -> MatchedClass:
    """One class from pycocotools' results of each image; None: neither boxes nor detections."""
    shown = [(place, result) for place, result in enumerate(results) if result is not None]
    scores = np.concatenate([[], *(result["dtScores"] for _, result in shown)])
    order = np.argsort(-scores, kind="mergesort")  # pycocotools' own: ties keep the order of the images
    empty = np.zeros((thresholds, 0))
    matches = np.concatenate([empty, *(result["dtMatches"] for _, result in shown)], axis=1)[:, order]
    ignored = np.concatenate([empty, *(result["dtIgnore"] for _, result in shown)], axis=1)[:, order].astype(bool)
    places = np.array([place for place, _ in shown], dtype=np.int32)
    boxes = np.zeros(len(results), dtype=np.int32)
    boxes[places] = [np.count_nonzero(result["gtIgnore"] == 0) for _, result in shown]
    return MatchedClass(
        image=np.repeat(places, [len(result["dtScores"]) for _, result in shown])[order],
        counted=~ignored,
        found=(matches != 0) & ~ignored,
        boxes=boxes,
    )
