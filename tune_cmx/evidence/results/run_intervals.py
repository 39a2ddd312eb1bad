"""The scored metrics of one run, each with its test-set bootstrap interval."""

from collections.abc import Mapping, Sequence
from typing import Any

from tune_cmx import metrics
from tune_cmx.evidence.statistics.bootstrap import ValueInterval, value_interval
from tune_cmx.evidence.statistics.coco_matches import match


def run_intervals(detections: Sequence[Mapping[str, Any]], truth: Mapping[str, Any]) -> dict[str, ValueInterval]:
    """By metric the value with its interval, for every metric whose matches are known.

    Whole sequences are drawn where the ground truth names them, else images.

    Args:
        detections: COCO results.
        truth: COCO ground truth.

    Raises:
        DataError: A detection is on an image that the ground truth does not have.
    """
    drawn = sequences_of(truth)
    known = [name for name, metric in metrics.scored().items() if metric.matches is not None]
    return {name: value_interval(match(detections, truth, name), drawn) for name in known}


def sequences_of(truth: Mapping[str, Any]) -> list[str] | None:
    """Of each image, in the order of their numbers; None: not known."""
    images = sorted(truth["images"], key=lambda image: int(image["id"]))
    return [str(image["sequence"]) for image in images] if all("sequence" in image for image in images) else None
