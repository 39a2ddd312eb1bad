"""How well each image was detected by the runs of a configuration, and which images are picked as examples."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tune_cmx.errors import DataError
from tune_cmx.evidence.results.stored_detections import READ_ERRORS, stored_detections
from tune_cmx.evidence.results.study_results import StudyResults, Trial
from tune_cmx.evidence.statistics.coco_matches import match
from tune_cmx.ties import difference, key, keys

LEAST_SCORE = 0.5
"""Detections with a lower score neither count nor are drawn."""
EACH = 2
"""Images of each kind."""


@dataclass(frozen=True)
class Images:
    """The images of the ground truth, in ascending order of their numbers."""

    truth: Mapping[str, Any]
    """All of it, in COCO's form."""
    images: Sequence[Mapping[str, Any]]
    boxes: Sequence[Sequence[Mapping[str, Any]]]
    """Objects of each image."""
    ignored: Sequence[Sequence[Mapping[str, Any]]]
    """Ignore regions of each image; one that holds for several classes once."""
    classes: Mapping[int, str]

    @classmethod
    def of(cls, truth: Mapping[str, Any]) -> "Images":
        """Those of a ground truth in COCO's form."""
        images = sorted(truth["images"], key=lambda image: int(image["id"]))
        boxes: dict[int, list[Mapping[str, Any]]] = {image["id"]: [] for image in images}
        ignored: dict[int, dict[tuple[float, ...], Mapping[str, Any]]] = {image["id"]: {} for image in images}
        for box in truth["annotations"]:
            if box.get("iscrowd"):
                ignored[box["image_id"]].setdefault(tuple(box["bbox"]), box)
            else:
                boxes[box["image_id"]].append(box)
        classes = {category["id"]: str(category["name"]) for category in truth["categories"]}
        regions = [list(of_image.values()) for of_image in ignored.values()]
        return cls(truth, images, list(boxes.values()), regions, classes)


@dataclass(frozen=True)
class ImageRun:
    """A confirmed run's detections, image by image."""

    seed: int | None
    f1: NDArray[np.float64]
    """Of each image of `Images`; nan without boxes."""
    detections: Sequence[Mapping[str, Any]]
    """COCO results from `LEAST_SCORE` on."""


@dataclass(frozen=True)
class ScoredArm:
    """An arm that has runs to show."""

    arm: str
    name: str
    """`baseline` or `selected`."""
    runs: Sequence[ImageRun]

    @property
    def f1(self) -> NDArray[np.float64]:
        """Of each image, the mean over the runs."""
        mean: NDArray[np.float64] = keys(np.stack([run.f1 for run in self.runs]).mean(axis=0))
        return mean


@dataclass(frozen=True)
class Example:
    """An image to be shown."""

    place: int
    """Of its image in `Images`."""
    reasons: tuple[str, ...]
    """The kinds that it stands for."""


@dataclass(frozen=True)
class Tie:
    """A kind whose last image shown is one of several with that score."""

    kind: str
    others: int


def scored_arm(
    study: StudyResults, arm: str, name: str, images: Images
) -> tuple[ScoredArm | None, dict[str, list[str]]]:
    """The confirmed runs of an arm, the lowest seed first; and by reason the runs that cannot be used."""
    runs: list[ImageRun] = []
    missing: dict[str, list[str]] = {}
    for trial in study.confirmed:
        if trial.arm != arm:
            continue
        try:
            runs.append(_run(study, trial, images.truth))
        except DataError as error:
            missing.setdefault(str(error), []).append(trial.name)
    runs.sort(key=lambda run: math.inf if run.seed is None else run.seed)
    return ScoredArm(arm, name, runs) if runs else None, missing


def image_f1(detections: Sequence[Mapping[str, Any]], truth: Mapping[str, Any]) -> NDArray[np.float64]:
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


def pick(arms: Sequence[ScoredArm], images: Images) -> list[Example]:
    """The images to be shown, each once: of each arm the highest and the lowest, of two where they differ most.

    No image is among the highest and the lowest at once, and none without a right detection is among the highest. An
    image is no example of a difference whose sign its drawn runs do not show.
    Of equal images those come first whose sequence is not among the kind's yet, then those with more boxes, then those
    that come first in the split.

    Args:
        arms: The baseline, the selected configuration, or both in this order.
        images: Of the split that the arms are compared on.
    """
    reasons: dict[int, list[str]] = {}
    for kind, _, places in _picked(arms, images):
        for place in places:
            reasons.setdefault(place, []).append(kind)
    return [Example(place, tuple(kinds)) for place, kinds in reasons.items()]


def tied_kinds(arms: Sequence[ScoredArm], images: Images) -> list[Tie]:
    """The kinds for which images that are not shown would have done as well."""
    found = []
    for kind, figures, places in _picked(arms, images):
        shown = [figures[place] for place in places]
        others = sum(figure == max(shown) for figure in figures.values()) - shown.count(max(shown)) if shown else 0
        if others:
            found.append(Tie(kind, others))
    return found


def drawn_runs(arms: Sequence[ScoredArm], place: int) -> list[ImageRun]:
    """Of each arm the run that is drawn: on the shared seed nearest to the means of this image, then the lowest.

    Where the arms share no seed, each has the run nearest to its own mean.
    """
    shared = set.intersection(*({run.seed for run in arm.runs} for arm in arms)) - {None}

    def distance(arm: ScoredArm, run: ImageRun) -> float:
        return key(abs(float(run.f1[place]) - float(arm.f1[place])))

    if not shared:
        return [min(arm.runs, key=lambda run, arm=arm: distance(arm, run)) for arm in arms]  # type: ignore[misc]
    by_seed = [{run.seed: run for run in arm.runs} for arm in arms]
    nearest = min(
        sorted(seed for seed in shared if seed is not None),
        key=lambda seed: sum(distance(arm, runs[seed]) for arm, runs in zip(arms, by_seed, strict=True)),
    )
    return [runs[nearest] for runs in by_seed]


def _picked(arms: Sequence[ScoredArm], images: Images) -> list[tuple[str, dict[int, float], list[int]]]:
    """Name of each kind, by image what it goes by, the lowest first, and the images picked."""
    found = []
    known = [{place: float(f1) for place, f1 in enumerate(arm.f1) if math.isfinite(f1)} for arm in arms]
    highest: set[int] = set()
    bounds: list[float] = []
    for arm, own in zip(arms, known, strict=True):
        figures = {place: -f1 for place, f1 in own.items() if f1 > 0}
        places = _first(figures, images)
        found.append((f"{arm.name} highest", figures, places))
        highest |= {*places}
        bounds.append(min((own[place] for place in places), default=math.inf))
    for arm, own, bound in zip(arms, known, bounds, strict=True):
        figures = {place: f1 for place, f1 in own.items() if place not in highest and f1 < bound}
        found.append((f"{arm.name} lowest", figures, _first(figures, images)))
    for side, sign in (("above", 1), ("below", -1)) if len(arms) == 2 else ():
        figures = {
            place: -sign * gap
            for place in known[0]
            if sign * (gap := difference(known[1][place], known[0][place])) > 0 and sign * _drawn_gap(arms, place) > 0
        }
        found.append((f"selected furthest {side}", figures, _first(figures, images)))
    return found


def _drawn_gap(arms: Sequence[ScoredArm], place: int) -> float:
    baseline, selected = drawn_runs(arms, place)
    return difference(float(selected.f1[place]), float(baseline.f1[place]))


def _first(figures: Mapping[int, float], images: Images) -> list[int]:
    taken: list[int] = []

    def order(place: int) -> tuple[float, bool, int, int]:
        sequences = {images.images[shown].get("sequence") for shown in taken}
        is_shown = images.images[place].get("sequence") in sequences
        return figures[place], is_shown, -len(images.boxes[place]), place

    while len(taken) < min(EACH, len(figures)):
        taken.append(min(figures.keys() - taken, key=order))
    return taken


def _run(study: StudyResults, trial: Trial, truth: Mapping[str, Any]) -> ImageRun:
    """Raises DataError where the stored detections cannot be used."""
    stored = stored_detections(study, trial, truth)
    try:
        kept = [one for one in stored if one["score"] >= LEAST_SCORE]
        return ImageRun(trial.seed, image_f1(kept, truth), kept)
    except READ_ERRORS as error:
        raise DataError(f"detections.json.gz cannot be used: {error}") from error
