"""How well each frame was detected by the runs of an arm, and which frames are picked to be shown."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tune_cmx.errors import DataError
from tune_cmx.evidence.results.stored_detections import READ_ERRORS, stored_detections
from tune_cmx.evidence.results.study_results import StudyResults, Trial
from tune_cmx.evidence.statistics.coco_matches import match
from tune_cmx.ties import difference, keys

LEAST_SCORE = 0.5
"""Detections below it neither count for a frame nor are drawn."""
EACH = 2
"""Frames of each kind."""


@dataclass(frozen=True)
class Frames:
    """The images of the ground truth, in ascending order of their numbers."""

    truth: Mapping[str, Any]
    """All of it, in COCO's form."""
    images: Sequence[Mapping[str, Any]]
    boxes: Sequence[Sequence[Mapping[str, Any]]]
    """Of each image."""
    classes: Mapping[int, str]

    @classmethod
    def of(cls, truth: Mapping[str, Any]) -> "Frames":
        """Those of a ground truth in COCO's form."""
        images = sorted(truth["images"], key=lambda image: int(image["id"]))
        boxes: dict[int, list[Mapping[str, Any]]] = {image["id"]: [] for image in images}
        for box in truth["annotations"]:
            boxes[box["image_id"]].append(box)
        classes = {category["id"]: str(category["name"]) for category in truth["categories"]}
        return cls(truth, images, list(boxes.values()), classes)


@dataclass(frozen=True)
class FrameRun:
    """A confirmed run's detections, frame by frame."""

    seed: int | None
    f1: NDArray[np.float64]
    """Of each image of `Frames`; nan without boxes."""
    detections: Sequence[Mapping[str, Any]]
    """COCO results from `LEAST_SCORE` on."""


@dataclass(frozen=True)
class ScoredArm:
    """An arm that has runs to show."""

    arm: str
    name: str
    """`baseline` or `finalist`."""
    runs: Sequence[FrameRun]

    @property
    def f1(self) -> NDArray[np.float64]:
        """Of each image, the mean over the runs."""
        mean: NDArray[np.float64] = keys(np.stack([run.f1 for run in self.runs]).mean(axis=0))
        return mean


@dataclass(frozen=True)
class Example:
    """A frame to be shown."""

    place: int
    """Of its image in `Frames`."""
    reasons: tuple[str, ...]
    """The kinds that it stands for."""


@dataclass(frozen=True)
class Tie:
    """A kind whose last frame shown is one of several with that score."""

    kind: str
    others: int


def scored_arm(
    records: StudyResults, arm: str, name: str, frames: Frames
) -> tuple[ScoredArm | None, dict[str, list[str]]]:
    """The confirmed runs of an arm, the lowest seed first; and by reason the runs that cannot be used."""
    runs: list[FrameRun] = []
    missing: dict[str, list[str]] = {}
    for trial in records.confirmed:
        if trial.arm != arm:
            continue
        try:
            runs.append(_run(records, trial, frames.truth))
        except DataError as error:
            missing.setdefault(str(error), []).append(trial.name)
    runs.sort(key=lambda run: math.inf if run.seed is None else run.seed)
    return ScoredArm(arm, name, runs) if runs else None, missing


def frame_f1(detections: Sequence[Mapping[str, Any]], truth: Mapping[str, Any]) -> NDArray[np.float64]:
    """F1 of each image at IoU 0.5, over its classes together, matched as pycocotools does.

    Args:
        detections: COCO results; each counts, whatever its score.
        truth: COCO ground truth.

    Returns:
        In ascending order of image numbers, 0..1; nan for an image without boxes.
    """
    matched = match(detections, truth, "mAP_50")
    found, counted, boxes = np.zeros((3, len(matched.images)))
    for one in matched.classes:
        found += np.bincount(one.image[one.found[0]], minlength=len(found))
        counted += np.bincount(one.image[one.counted[0]], minlength=len(found))
        boxes += one.boxes
    f1 = np.full(len(found), np.nan)
    np.divide(2 * found, counted + boxes, out=f1, where=boxes > 0)
    return f1


def pick(arms: Sequence[ScoredArm], frames: Frames) -> list[Example]:
    """The frames to be shown, each once: of each arm the highest and the lowest, of two where they differ most.

    Of equal frames those come first whose sequence is not among the kind's yet, then those with more boxes, then those
    that come first in the split.

    Args:
        arms: The baseline, the finalist, or both in this order.
        frames: Of the split that the arms are compared on.
    """
    reasons: dict[int, list[str]] = {}
    for kind, figures in _kinds(arms):
        for place in _first(figures, frames):
            reasons.setdefault(place, []).append(kind)
    return [Example(place, tuple(kinds)) for place, kinds in reasons.items()]


def ties(arms: Sequence[ScoredArm], examples: Iterable[Example]) -> list[Tie]:
    """The kinds for which frames that are not shown would have done as well."""
    found = []
    for kind, figures in _kinds(arms):
        shown = [figures[example.place] for example in examples if kind in example.reasons]
        others = sum(figure == max(shown) for figure in figures.values()) - shown.count(max(shown)) if shown else 0
        if others:
            found.append(Tie(kind, others))
    return found


def _kinds(arms: Sequence[ScoredArm]) -> list[tuple[str, dict[int, float]]]:
    """Name of each kind, and by image what it goes by, the lowest first."""
    kinds = []
    for arm in arms:
        known = {place: float(f1) for place, f1 in enumerate(arm.f1) if math.isfinite(f1)}
        kinds.append((f"{arm.name} highest", {place: -f1 for place, f1 in known.items()}))
        kinds.append((f"{arm.name} lowest", known))
    if len(arms) == 2:
        gaps = {
            place: difference(above, below)
            for place, (above, below) in enumerate(zip(arms[1].f1.tolist(), arms[0].f1.tolist(), strict=True))
        }
        kinds.append(("finalist furthest above", {place: -gap for place, gap in gaps.items() if gap > 0}))
        kinds.append(("finalist furthest below", {place: gap for place, gap in gaps.items() if gap < 0}))
    return kinds


def _first(figures: Mapping[int, float], frames: Frames) -> list[int]:
    taken: list[int] = []

    def order(place: int) -> tuple[float, bool, int, int]:
        sequences = {frames.images[shown].get("sequence") for shown in taken}
        is_shown = frames.images[place].get("sequence") in sequences
        return figures[place], is_shown, -len(frames.boxes[place]), place

    while len(taken) < min(EACH, len(figures)):
        taken.append(min(figures.keys() - taken, key=order))
    return taken


def _run(records: StudyResults, trial: Trial, truth: Mapping[str, Any]) -> FrameRun:
    """Raises DataError where the stored detections cannot be used."""
    stored = stored_detections(records, trial, truth)
    try:
        kept = [one for one in stored if one["score"] >= LEAST_SCORE]
        return FrameRun(trial.seed, frame_f1(kept, truth), kept)
    except READ_ERRORS as error:
        raise DataError(f"detections.json.gz cannot be used: {error}") from error
