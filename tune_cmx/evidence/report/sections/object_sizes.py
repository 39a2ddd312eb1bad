"""mAP by object size, and the number of boxes that it rests on."""

import statistics
from collections.abc import Sequence

import pandas as pd

from tune_cmx.evidence.report.page import Page
from tune_cmx.evidence.results.box_counts import FEW_BOXES, size_counts
from tune_cmx.evidence.results.study_results import StudyResults, Trial
from tune_cmx.evidence.wording import count, mean_sd, signed

SIZES = ("small", "medium", "large")


def sizes_section(page: Page, study: StudyResults, arms: pd.DataFrame) -> None:
    """mAP by object size, on the split that configurations are compared on; nothing without results there.

    Args:
        page: Receives the section.
        study: A study.
        arms: As `compare_arms` gives them.
    """
    split = study.primary_metric.partition("/")[0]
    runs = {str(arm): [trial for trial in study.confirmed if trial.arm == arm] for arm in arms["arm"]}
    if not any(trial.results.get(split) for trials in runs.values() for trial in trials):
        return
    page.heading("Object sizes")
    counts = size_counts(study, split)
    page.paragraph(_introduction(split, counts))
    baseline = runs.get(str(study.baseline), [])
    header = ["configuration", "n"]
    for size in SIZES:
        few = f" (unreliable: {count(counts[size], 'box')})" if counts and counts[size] < FEW_BOXES else ""
        header += [f"{size}{few}", f"difference, {size}"]
    rows = [["boxes", "", *(cell for size in SIZES for cell in (_boxes(counts, size), ""))]]
    for arm, trials in runs.items():
        cells = [study.label(arm), str(len(trials))]
        for size in SIZES:
            metric = f"{split}/mAP_{size}"
            gap = None if arm == study.baseline else _gap(trials, baseline, metric)
            cells += [mean_sd(_known(trials, metric)), signed(gap)]
        rows.append(cells)
    page.table(header, rows)


def _introduction(split: str, counts: dict[str, int] | None) -> str:
    known = (
        f"A size with fewer than {FEW_BOXES} boxes is unreliable: one box changes recall there by more than a point."
        if counts
        else f"How many boxes each size has is unknown: data/ground_truth_{split}.json.gz is missing or damaged."
    )
    return (
        f"{split} mAP in points, means over seeds ± sd. Small boxes have an area below 32×32 pixels, large ones from "
        f"96×96 on. Differences are from the baseline and are not tested. {known}"
    )


def _boxes(counts: dict[str, int] | None, size: str) -> str:
    return "unknown" if counts is None else f"{counts[size]:,}"


def _known(trials: Sequence[Trial], metric: str) -> list[float]:
    return [value for trial in trials if (value := trial.result(metric)) is not None]


def _gap(trials: Sequence[Trial], baseline: Sequence[Trial], metric: str) -> float | None:
    ours, theirs = _known(trials, metric), _known(baseline, metric)
    return statistics.fmean(ours) - statistics.fmean(theirs) if ours and theirs else None
