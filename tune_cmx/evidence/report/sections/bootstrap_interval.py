"""The test-set bootstrap interval: what the differences would be on other images."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from tune_cmx import ties
from tune_cmx.errors import DataError
from tune_cmx.evidence.report.metric_text import title
from tune_cmx.evidence.report.page import Page
from tune_cmx.evidence.results.run_intervals import sequences_of
from tune_cmx.evidence.results.stored_detections import READ_ERRORS, left_out, stored_detections, stored_truth
from tune_cmx.evidence.results.study_results import StudyResults, Trial
from tune_cmx.evidence.statistics.bootstrap import FEWEST_UNITS, BootstrapInterval, paired_bootstrap, resampled
from tune_cmx.evidence.statistics.coco_matches import Matched, match
from tune_cmx.evidence.wording import count, interval, number, signed

LARGEST_GAP = 1.0
"""Points between a run's recorded value and the one from its stored detections. Older studies store boxes to a
hundredth of a pixel, which changes a match here and there. A larger gap means that the boxes are others."""


def bootstrap_interval_section(page: Page, study: StudyResults) -> None:
    """The difference of each configuration from the baseline with its interval; one sentence where there is none."""
    if not study.confirmed:
        return
    try:
        truth = stored_truth(study)
    except DataError as error:
        page.paragraph(f"No test-set bootstrap interval: {error}.")
        return
    runs, missing = _runs(study, truth)
    baseline = str(study.baseline)
    found = paired_bootstrap(runs, baseline, sequences_of(truth)) if baseline in runs and len(runs) > 1 else {}
    one = next(iter(found.values()), None)
    if one is None:
        lacking = "any other configuration" if baseline in runs else "the baseline"
        page.paragraph(f"No test-set bootstrap interval: no run of {lacking} has usable detections.")
    elif one.ci95 is None:
        split = study.primary_metric.partition("/")[0]
        few = f"the {split} set has {count(one.units, one.unit[:-1])}; at least {FEWEST_UNITS} are needed"
        page.paragraph(f"No test-set bootstrap interval: {few}.")
    else:
        page.heading("Test-set bootstrap interval")
        _table(page, study, {arm: len(runs[arm]) for arm in runs}, found)
    if missing:
        page.bullets(missing)


def _table(page: Page, study: StudyResults, runs: Mapping[str, int], found: Mapping[str, BootstrapInterval]) -> None:
    rows = [
        [study.label(arm), str(runs[arm]), signed(one.difference), interval(one.ci95)]
        for arm, one in sorted(found.items(), key=lambda entry: ties.key(-entry[1].difference))
    ]
    page.paragraph(
        f"How far a difference in {title(study.primary_metric)} (points) would move on other images of this kind, "
        f"with the runs held fixed. It does not cover other seeds, and no verdict rests on it. "
        f"{_how(study, next(iter(found.values())))}"
    )
    page.paragraph(f"The baseline has n = {runs[str(study.baseline)]}:")
    page.table(["configuration", "n", "difference", "95 % interval over images"], rows)


def _how(study: StudyResults, one: BootstrapInterval) -> str:
    """How the images were drawn."""
    split, _, metric = study.primary_metric.partition("/")
    words = (
        f"Paired bootstrap, percentile interval: {one.resamples:,} resamples of the {one.units:,} {split} {one.unit}."
    )
    if one.unit == "images":
        words += " Sequences are not known. Where images of one video are alike, the interval is too narrow."
    if one.undefined:
        words += f" {one.undefined:,} resamples have no box that {metric} counts and are left out."
    return words


def _runs(study: StudyResults, truth: Mapping[str, Any]) -> tuple[dict[str, list[Matched]], list[str]]:
    """The confirmed runs by arm, and of those that cannot be used what they lack."""
    runs: dict[str, list[Matched]] = {}
    lacking: dict[str, list[str]] = {}
    for trial in study.confirmed:
        try:
            run = _run(study, trial, truth)
        except DataError as error:
            lacking.setdefault(str(error), []).append(trial.name)
        else:
            runs.setdefault(trial.arm, []).append(run)
    return runs, left_out(lacking)


def _run(study: StudyResults, trial: Trial, truth: Mapping[str, Any]) -> Matched:
    """One run's stored detections matched with the ground truth.

    Raises:
        DataError: They are missing, damaged, of another split or other data.
    """
    detections, metric = stored_detections(study, trial, truth), study.primary_metric.rpartition("/")[2]
    try:
        matched = match(detections, truth, metric)
    except READ_ERRORS as error:
        raise DataError(f"detections.json.gz cannot be used: {error}") from error
    value, recorded = _value(matched), trial.result(study.primary_metric)
    if recorded is None or math.isnan(value):
        raise DataError(f"{study.primary_metric} is not defined")
    if abs(value - recorded) > LARGEST_GAP:
        raise DataError(
            f"the detections give {number(value)} and the run folder says {number(recorded)}, so the boxes are not "
            "those of the run"
        )
    return matched


def _value(matched: Matched) -> float:
    """The metric on the data themselves."""
    return float(resampled(matched, np.ones((1, len(matched.images)), dtype=np.int32))[0])
