"""Boxes of each size in the ground truth, and which are too few."""

from tune_cmx.errors import DataError
from tune_cmx.evidence.results.stored_detections import READ_ERRORS, stored_truth
from tune_cmx.evidence.results.study_results import StudyResults
from tune_cmx.evidence.wording import listed

BOUNDS_PX2 = (32**2, 96**2)
"""Areas of a box: small is below the first, large from the second on, as in COCO."""
FEW_BOXES = 100
"""Below this, one box moves recall by more than a point."""


def size_counts(study: StudyResults, split: str) -> dict[str, int] | None:
    """Boxes of each size in the split's ground truth; None where the study's data folder does not hold it.

    Read from `data/ground_truth_SPLIT.json.gz`, in COCO's form. Crowd boxes are not counted, as mAP does not.
    """
    try:
        boxes = stored_truth(study, split)["annotations"]
        areas = [float(box["area"]) for box in boxes if not box.get("iscrowd")]
    except (DataError, *READ_ERRORS):
        return None
    low, high = BOUNDS_PX2
    small, large = sum(area < low for area in areas), sum(area >= high for area in areas)
    return {"small": small, "medium": len(areas) - small - large, "large": large}


def few_boxes_words(study: StudyResults, split: str) -> str | None:
    """The sizes with too few boxes; None where there are none, or the counts are not known."""
    counts = size_counts(study, split)
    few = [f"{size} ({boxes})" for size, boxes in (counts or {}).items() if 0 < boxes < FEW_BOXES]
    return listed(few) if few else None
