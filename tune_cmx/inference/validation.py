"""A trained detector's metrics on a part of a data set."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tune_cmx.data.dataset import PairedDataset
from tune_cmx.data.ground_truth import ground_truth
from tune_cmx.data.prepare import Prepared
from tune_cmx.evaluation import by_class, by_condition
from tune_cmx.inference.trained_detector import TrainedDetector
from tune_cmx.training.score import Score, score_images


@dataclass(frozen=True)
class Validation:
    """A detector on a part."""

    score: Score
    truth: Mapping[str, Any]
    """The ground truth in COCO's form."""
    by_class: Mapping[str, Mapping[str, float]]
    by_condition: Mapping[str, Mapping[str, float]]
    """Empty where the images have no condition."""


def validated(detector: TrainedDetector, prepared: Prepared, part: str, *, workers: int = 0) -> Validation:
    """Score a detector on a part of the data, with the pixels scaled as in its training.

    Args:
        detector: Its classes are those of the data, in their order.
        prepared: The data, split.
        part: `train`, `val` or `test`.
        workers: Loader processes; 0 loads here.

    Raises:
        DataError: An image or label cannot be read.
        TrialError: A box or a score is not finite.
    """
    ids = getattr(prepared.split, part)
    images = PairedDataset(
        prepared.data, ids, tuple(detector.modalities), augment=None, seed=0, scales=detector.scales, cache_mib=0
    )
    truth = ground_truth(prepared.data, ids, prepared.audit.sizes)
    at_once = detector.images_at_once
    score = score_images(detector.network, images, truth, detector.device, at_once=at_once, workers=workers)
    return Validation(score, truth, by_class(score.detections, truth), by_condition(score.detections, truth))
