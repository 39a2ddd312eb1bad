"""What a study keeps of its data and of its runs' detections, read back and compared with the run folders."""

import gzip
import json
from collections.abc import Mapping, Sequence
from typing import Any

from tune_cmx.errors import DataError
from tune_cmx.evidence.results.study_results import StudyResults, Trial
from tune_cmx.evidence.wording import listed
from tune_cmx.old_form import ground_truth_file

READ_ERRORS = (OSError, EOFError, ValueError, KeyError, TypeError)
"""What a file raises that is cut, is not JSON, or lacks a field."""


def stored_truth(study: StudyResults, split: str | None = None) -> Mapping[str, Any]:
    """The ground truth that the study's folder keeps of a split, in COCO's form.

    Args:
        study: A study.
        split: `val` or `test`; None: that of the primary metric.

    Raises:
        DataError: It is missing or damaged.
    """
    path = ground_truth_file(study.folder, split or study.primary_metric.partition("/")[0])
    place = f"data/{path.name}"
    if not path.is_file():
        raise DataError(f"{place} is missing; `tune-cmx search` with --resume writes it, where the data are")
    try:
        truth = json.loads(gzip.decompress(path.read_bytes()))
    except READ_ERRORS as error:
        raise DataError(f"{place} cannot be read: {error}") from error
    if not isinstance(truth, dict) or not truth.keys() >= {"info", "images", "annotations", "categories"}:
        raise DataError(f"{place} needs info, images, annotations and categories")
    return truth


def stored_detections(study: StudyResults, trial: Trial, truth: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A run's detections as COCO results; that they fit the ground truth image by image is not looked at.

    Raises:
        DataError: They are missing, damaged, of another split or other data.
    """
    split = study.primary_metric.partition("/")[0]
    if trial.reported_on != split:
        raise DataError(f"the detections kept are not of {split}")
    for key, value in truth["info"].items():
        if getattr(trial.state, key) != value:
            own = getattr(trial.state, key)
            raise DataError(
                f"{key} is {own} in trial.json and {value} in the ground truth; the detections are of other data"
            )
    path = trial.folder / "detections.json.gz"
    if not path.is_file():
        raise DataError("detections.json.gz is missing")
    try:
        detections: list[dict[str, Any]] = json.loads(gzip.decompress(path.read_bytes()))
    except READ_ERRORS as error:
        raise DataError(f"detections.json.gz cannot be used: {error}") from error
    return detections


def left_out(reasons: Mapping[str, Sequence[str]]) -> list[str]:
    """A sentence for each reason, with the runs that it holds for."""
    return [f"Left out, as {why}: {listed(names)}." for why, names in reasons.items()]
