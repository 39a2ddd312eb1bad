"""A metric: average precision at one strict IoU."""

from typing import Any

import numpy as np

from tune_cmx.metrics import Metric


def _at_90(counted: Any) -> float:
    """Of an evaluated COCO object: the mean precision at IoU 0.90 over recalls and classes; -1: not defined."""
    precision = counted.eval["precision"][8, :, :, 0, -1]
    defined = precision[precision > -1]
    return float(np.mean(defined)) if defined.size else -1.0


MAP_90 = Metric(
    "mAP@90",
    "COCO average precision at IoU 0.90, mean over classes",
    "points",
    "higher",
    aliases=("AP90",),
    score=_at_90,
    selects=True,
)
