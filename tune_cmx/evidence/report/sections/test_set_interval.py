"""The section of the report on the interval of the data: what the differences would be on other images."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from tune_cmx.errors import DataError
from tune_cmx.evidence.report.page import Page
from tune_cmx.evidence.results.stored_detections import READ_ERRORS, left_out, stored_detections, stored_truth
from tune_cmx.evidence.results.study_results import StudyResults, Trial
from tune_cmx.evidence.statistics.bootstrap import FEWEST_UNITS, DataInterval, paired_bootstrap, resampled
from tune_cmx.evidence.statistics.coco_matches import Matched, match
from tune_cmx.evidence.wording import count, interval, number, signed

LARGEST_GAP = 1.0
"""Points between a run's recorded value and the one from its stored detections. Their boxes are rounded to a hundredth
of a pixel and their scores to five digits, which moves a match here and there; more says that the boxes are others."""


def data_interval_section(page: Page, records: StudyResults) -> None:
    """Each confirmed arm's difference from the baseline on the primary metric, with the interval of the data."""
    page.heading("Interval of the data")
    try:
        truth = stored_truth(records)
    except DataError as error:
        page.paragraph(f"Cannot be computed: {error}.")
        return
    runs, missing = _runs(records, truth)
    baseline = str(records.baseline)
    others = [arm for arm in runs if arm != baseline]
    if baseline not in runs or not others:
        lacking = "any arm but the baseline" if baseline in runs else "the baseline"
        page.paragraph(f"Cannot be computed: no confirmation run of {lacking} has detections that can be used.")
    else:
        found = paired_bootstrap(runs, baseline, _sequences(truth))
        _table(page, records, {arm: len(runs[arm]) for arm in runs}, found)
    if missing:
        page.bullets(missing)


def _table(page: Page, records: StudyResults, runs: Mapping[str, int], found: Mapping[str, DataInterval]) -> None:
    header = ["arm", "runs", "runs of the baseline", "difference", "95 % interval of the data"]
    rows = [
        [
            records.label(arm),
            str(runs[arm]),
            str(runs[str(records.baseline)]),
            signed(one.difference),
            interval(one.ci95),
        ]
        for arm, one in sorted(found.items(), key=lambda entry: -entry[1].difference)
    ]
    one = next(iter(found.values()))
    page.paragraph(f"{records.primary_metric} in points, from the stored detections. {_how(records, one)}")
    page.table(header, rows)
    if one.ci95 is not None:
        page.paragraph(
            "This interval is the spread over images while the runs are held fixed: how far the difference would move "
            "on other images of this kind. It says nothing of other seeds and does not replace the run-to-run interval "
            "in the table of arms, on which the verdicts rest."
        )


def _how(records: StudyResults, one: DataInterval) -> str:
    """How the images were drawn, or why they were not."""
    split, _, metric = records.primary_metric.partition("/")
    if one.units < FEWEST_UNITS:
        few = f"{split} has {count(one.units, one.unit[:-1])}, and from fewer than {FEWEST_UNITS} none is drawn"
        return f"There is no interval: {few}."
    words = (
        f"Paired bootstrap, percentile interval: {one.resamples:,} resamples of the {one.units:,} {one.unit} of "
        f"{split}, with replacement, the same for all runs."
    )
    if one.unit == "images":
        words += " Sequences are not known; where frames of one video are alike, the interval is too narrow."
    if one.undefined:
        words += f" {one.undefined:,} resamples without a box that {metric} counts are left out."
    return words


def _sequences(truth: Mapping[str, Any]) -> list[str] | None:
    """Of each image, in the order of their numbers; None: not known."""
    images = sorted(truth["images"], key=lambda image: int(image["id"]))
    return [str(image["sequence"]) for image in images] if all("sequence" in image for image in images) else None


def _runs(records: StudyResults, truth: Mapping[str, Any]) -> tuple[dict[str, list[Matched]], list[str]]:
    """The confirmed runs by arm, and of those that cannot be used what they lack."""
    runs: dict[str, list[Matched]] = {}
    lacking: dict[str, list[str]] = {}
    for trial in records.confirmed:
        try:
            run = _run(records, trial, truth)
        except DataError as error:
            lacking.setdefault(str(error), []).append(trial.name)
        else:
            runs.setdefault(trial.arm, []).append(run)
    return runs, left_out(lacking)


def _run(records: StudyResults, trial: Trial, truth: Mapping[str, Any]) -> Matched:
    """One run's stored detections set against the truth.

    Raises:
        DataError: They are missing, damaged, of another split or other data.
    """
    detections, metric = stored_detections(records, trial, truth), records.primary_metric.rpartition("/")[2]
    try:
        matched = match(detections, truth, metric)
    except READ_ERRORS as error:
        raise DataError(f"detections.json.gz cannot be used: {error}") from error
    value, recorded = _value(matched), trial.result(records.primary_metric)
    if recorded is None or math.isnan(value):
        raise DataError(f"{records.primary_metric} is not defined")
    if abs(value - recorded) > LARGEST_GAP:
        raise DataError(
            f"the detections give {number(value)} and the record says {number(recorded)}; the boxes are not those of "
            "the run"
        )
    return matched


def _value(matched: Matched) -> float:
    """The metric on the data themselves."""
    return float(resampled(matched, np.ones((1, len(matched.images)), dtype=np.int32))[0])
