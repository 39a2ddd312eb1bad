"""The test-set bootstrap interval: mAP and its differences on images drawn again, with the runs held fixed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tune_cmx.errors import DataError
from tune_cmx.evidence.statistics.coco_matches import Matched, MatchedClass
from tune_cmx.evidence.statistics.difference import Interval

RESAMPLES = 1000
FEWEST_UNITS = 10
"""Fewer sequences, or images, give no interval: their resamples repeat a handful of values."""

Counts = NDArray[np.int32]
"""Resamples×images: how often each image was drawn."""

_RECALLS = np.linspace(0.0, 1.00, 101)
"""Where pycocotools reads the precision."""
_AT_ONCE = 2**18
"""Numbers in an array that is worked on at one time: it stays in the processor's cache."""


@dataclass(frozen=True)
class BootstrapInterval:
    """A difference of two arms' means over their runs, in points."""

    difference: float
    """On the data themselves."""
    ci95: Interval | None
    """From the 2.5th to the 97.5th percentile of the resamples; None: too few units, or nothing is defined."""
    unit: Literal["images", "sequences"]
    units: int
    """What was drawn, and how many of it there are."""
    resamples: int
    undefined: int
    """Resamples without any box of the metric's size; they are left out."""


@dataclass(frozen=True)
class ValueInterval:
    """A metric of one run with its interval over images, in points."""

    value: float
    """On the data themselves; nan where it is not defined."""
    ci95: Interval | None
    """From the 2.5th to the 97.5th percentile of the resamples; None: too few units, or nothing is defined."""
    unit: Literal["images", "sequences"]
    units: int
    """What was drawn, and how many of it there are."""


def draw_images(
    images: int, sequences: Sequence[str] | None = None, *, resamples: int = RESAMPLES, seed: int = 0
) -> Counts:
    """Draw as many images as there are with replacement, or as many whole sequences.

    Args:
        images: How many there are.
        sequences: Of each image; None: images are drawn one by one.
        resamples: How many to draw.
        seed: The same draws for the same seed.
    """
    unit_of, units = _units(images, sequences)
    drawn = np.random.default_rng(seed).integers(units, size=(resamples, units))
    first = np.arange(resamples)[:, None] * units
    counts = np.bincount((drawn + first).ravel(), minlength=resamples * units).reshape(resamples, units)
    return counts[:, unit_of].astype(np.int32)


def resampled(matched: Matched, counts: Counts) -> NDArray[np.float64]:
    """The metric on each resample, in points; nan where a resample has no box to be found.

    An image that was drawn k times counts as k images with the same boxes and the same detections. With every image
    drawn once the value is pycocotools' own. Otherwise it is what pycocotools gives for the data with those copies
    written out, if a copy follows its image and no image has two detections of one class with equal scores.
    pycocotools keeps equal scores in the order of the file. Of an image drawn twice with equal scores a
    and b it reads a b a b; here it is a a b b.

    Args:
        matched: A run.
        counts: As of `draw_images`.
    """
    total, defined = np.zeros(len(counts)), np.zeros(len(counts))
    for rows in matched.classes:
        boxes = counts @ rows.boxes
        has_boxes = boxes > 0
        total += np.where(has_boxes, _average_precision(rows, counts, boxes), 0.0)
        defined += has_boxes
    points = np.full(len(counts), np.nan)
    np.divide(100 * total, defined, out=points, where=defined > 0)
    return points


def paired_bootstrap(
    arms: Mapping[str, Sequence[Matched]],
    baseline: str,
    sequences: Sequence[str] | None = None,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, BootstrapInterval]:
    """Each arm's difference from the baseline, with the percentile interval over resamples of the images.

    A resample is the same for every run of every arm. In it, an arm's value is the mean over its runs, so that the
    interval holds the spread of the images and not that of the runs.

    Args:
        arms: The runs of each, the baseline among them.
        baseline: Its name.
        sequences: Of each image, in the order of `Matched.images`; None: not known.
        resamples: How many to draw.
        seed: The same numbers for the same seed.

    Raises:
        DataError: Runs were not matched on the same images.
    """
    images = arms[baseline][0].images
    if any(run.images != images for runs in arms.values() for run in runs):
        raise DataError("runs that are resampled together need the same images; match them with one ground truth")
    _, units = _units(len(images), sequences)
    drawn = draw_images(len(images), sequences, resamples=resamples if units >= FEWEST_UNITS else 0, seed=seed)
    counts = np.concatenate([np.ones((1, len(images)), dtype=np.int32), drawn])  # first the data themselves
    means = {arm: np.mean([resampled(run, counts) for run in runs], axis=0) for arm, runs in arms.items()}
    unit: Literal["images", "sequences"] = "images" if sequences is None else "sequences"
    return {arm: _interval(values - means[baseline], unit, units) for arm, values in means.items() if arm != baseline}


def value_interval(
    run: Matched, sequences: Sequence[str] | None = None, *, resamples: int = RESAMPLES, seed: int = 0
) -> ValueInterval:
    """A run's value with the percentile interval over resamples of the images; the run itself is held fixed.

    Args:
        run: Matched for one metric.
        sequences: Of each image, in the order of `Matched.images`; None: not known.
        resamples: How many to draw.
        seed: The same numbers for the same seed.
    """
    _, units = _units(len(run.images), sequences)
    drawn = draw_images(len(run.images), sequences, resamples=resamples if units >= FEWEST_UNITS else 0, seed=seed)
    counts = np.concatenate([np.ones((1, len(run.images)), dtype=np.int32), drawn])  # first the data themselves
    unit: Literal["images", "sequences"] = "images" if sequences is None else "sequences"
    found = _interval(resampled(run, counts), unit, units)
    return ValueInterval(found.difference, found.ci95, unit, units)


def _interval(differences: NDArray[np.float64], unit: Literal["images", "sequences"], units: int) -> BootstrapInterval:
    again = differences[1:]
    known = again[~np.isnan(again)]
    low, high = np.percentile(known, [2.5, 97.5]).tolist() if len(known) else (np.nan, np.nan)
    ci95 = (low, high) if len(known) else None
    return BootstrapInterval(float(differences[0]), ci95, unit, units, len(again), len(again) - len(known))


def _units(images: int, sequences: Sequence[str] | None) -> tuple[NDArray[np.intp], int]:
    """The number of the unit that each image belongs to, and how many units there are."""
    if sequences is None:
        return np.arange(images), images
    if len(sequences) != images:
        raise DataError(f"{len(sequences)} sequences for {images} images; name one for each image")
    names, unit_of = np.unique(np.asarray(sequences, dtype=str), return_inverse=True)
    return unit_of, len(names)


def _average_precision(rows: MatchedClass, counts: Counts, boxes: NDArray[np.int32]) -> NDArray[np.float64]:
    """Mean precision over thresholds and recalls in each resample, within 0..1; without meaning where it has no box."""
    needed = _hits_needed(boxes)
    found = [np.flatnonzero(threshold) for threshold in rows.found]
    precision = np.zeros(len(counts))
    step = max(1, _AT_ONCE // max(1, len(rows.image)))
    for start in range(0, len(counts), step):
        part = slice(start, start + step)
        weights = counts[part].take(rows.image, axis=1)
        seen = weights
        for threshold, places in enumerate(found):
            counted = rows.counted[threshold]
            if threshold == 0 or (counted != rows.counted[threshold - 1]).any():
                seen = np.cumsum(weights if counted.all() else weights * counted, axis=1, dtype=np.int32)
            hits = np.cumsum(weights.take(places, axis=1), axis=1, dtype=np.int32)
            precision[part] += _mean_precision(hits, seen.take(places, axis=1), needed[part])
    return precision / len(found)


def _mean_precision(hits: Counts, seen: Counts, needed: NDArray[np.int64]) -> NDArray[np.float64]:
    """The mean over recalls of the highest precision at that recall or beyond.

    Only rows that find a box are given. After the last of a row's copies the precision is higher than after any other
    of them, and a row that finds none lowers it: the highest precision from anywhere on stands after such a row.

    Args:
        hits: Resamples×rows: boxes found up to and with the row.
        seen: Resamples×rows: detections up to and with the row.
        needed: Resamples×recalls.
    """
    resamples, rows = hits.shape
    precision = np.zeros((resamples, rows + 1))  # at the end that of a recall never reached
    np.divide(hits, seen + np.spacing(1), out=precision[:, :rows])
    beyond = int(max(needed.max(), hits.max(initial=0))) + 1
    first = np.arange(resamples)[:, None]
    reached = np.searchsorted((hits + first * beyond).ravel(), (needed + first * beyond).ravel())
    # From one recall to the next; the first recall, 0, is reached at once, so that no stretch runs into the next row.
    stretches = reached.reshape(needed.shape) + first
    highest = np.maximum.reduceat(precision.ravel(), stretches.ravel()).reshape(needed.shape)
    mean: NDArray[np.float64] = np.maximum.accumulate(highest[:, ::-1], axis=1).mean(axis=1)
    return mean


def _hits_needed(boxes: NDArray[np.int32]) -> NDArray[np.int64]:
    """The fewest boxes found with which found / boxes, as floats divide, is not below each recall."""
    all_boxes = np.maximum(boxes, 1)[:, None].astype(np.int64)
    needed = np.ceil(_RECALLS * all_boxes).astype(np.int64)
    needed -= (needed - 1) / all_boxes >= _RECALLS
    needed += needed / all_boxes < _RECALLS
    return needed
