"""The score of a detector that has learnt nothing, and which configurations exceed it."""

import math
import statistics
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from scipy import special

from tune_cmx.errors import DataError
from tune_cmx.evaluation import evaluate
from tune_cmx.evidence.results.stored_detections import stored_truth
from tune_cmx.evidence.results.study_results import StudyResults
from tune_cmx.evidence.statistics.difference import Interval, pooled_sd

LEAST = 0.5
"""Points. A detector below has learnt too little to be compared, even where the commonest box reaches nothing."""
CLEAR = 5.0
"""Points above the floor. A configuration with such a mean has learnt in some seeds, however wide its interval is."""


@dataclass(frozen=True)
class Learning:
    """The configurations of a study against the floor."""

    floor: float
    """Points of the primary metric: `LEAST`, or what the commonest box reaches, where that is more."""
    commonest: float | None
    """What the commonest box on each image reaches; None: the study has no ground truth."""
    intervals: Mapping[str, Interval]
    """By arm, of its mean, 95 %, with the standard deviation pooled over all arms; without one both ends are equal."""
    problem: str | None = None
    """Why `commonest` is not known: what is wrong with the ground truth."""

    def has_learnt(self, arm: str) -> bool:
        """Whether the whole interval is above the floor."""
        return self.intervals[arm][0] > self.floor

    def seeds_disagree(self, arm: str) -> bool:
        """Whether the mean is `CLEAR` above the floor, but its interval reaches the floor."""
        return not self.has_learnt(arm) and statistics.fmean(self.intervals[arm]) > self.floor + CLEAR

    @property
    def nothing(self) -> bool:
        """Whether there are configurations, all intervals reach the floor, and no mean is `CLEAR` above it."""
        return bool(self.intervals) and not any(
            self.has_learnt(arm) or self.seeds_disagree(arm) for arm in self.intervals
        )


def constant_detections(truth: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The commonest box on every image: the median box of the commonest class, with score 1.

    Args:
        truth: COCO ground truth. Without a box there are no detections; of equally common classes the first counts.
    """
    boxes = [box for box in truth["annotations"] if not box.get("iscrowd")]
    if not boxes:
        return []
    counts = Counter(box["category_id"] for box in boxes)
    category = min(counts, key=lambda id: (-counts[id], id))
    sides = zip(*(box["bbox"] for box in boxes if box["category_id"] == category), strict=True)
    median = [statistics.median(side) for side in sides]
    return [
        {"image_id": image["id"], "category_id": category, "bbox": median, "score": 1.0} for image in truth["images"]
    ]


def floor(truth: Mapping[str, Any], metric: str) -> float:
    """Points that a detector reaches without looking: by the commonest box, or by no box at all.

    Args:
        truth: COCO ground truth.
        metric: Without its split, such as `mAP_50`.
    """
    value = evaluate(constant_detections(truth), truth)[metric]
    return value if math.isfinite(value) else 0.0


def learning(study: StudyResults) -> Learning:
    """The confirmed configurations against the floor of the split that they are compared on."""
    metric = study.primary_metric
    commonest, problem = None, None
    try:
        commonest = floor(stored_truth(study), metric.rpartition("/")[2])
    except DataError as error:
        problem = str(error)
    values: dict[str, list[float]] = {}
    for trial in study.confirmed:
        value = trial.result(metric)
        if value is not None:
            values.setdefault(trial.arm, []).append(value)
    return Learning(max(LEAST, commonest or 0.0), commonest, _intervals(values), problem)


def _intervals(values: Mapping[str, list[float]]) -> dict[str, Interval]:
    pooled = pooled_sd(values.values())
    if pooled is None:
        return {arm: (own[0], own[0]) for arm, own in values.items()}
    sd, freedom = pooled
    reach = float(special.stdtrit(freedom, 0.975)) * sd
    found = {}
    for arm, own in values.items():
        mean, half = statistics.fmean(own), reach / math.sqrt(len(own))
        found[arm] = (mean - half, mean + half)
    return found
