"""The report's view by class and by condition, beside the mean, with the number of boxes."""

from collections.abc import Callable, Mapping, Sequence

import pandas as pd

from tune_cmx.evidence.report.page import Page
from tune_cmx.evidence.results.box_counts import FEW_BOXES
from tune_cmx.evidence.results.study_results import StudyResults, Trial
from tune_cmx.evidence.wording import mean_sd
from tune_cmx.state.final_results import PartResults

Parts = Callable[[Trial], Mapping[str, PartResults]]


def by_class_section(page: Page, study: StudyResults, arms: pd.DataFrame) -> None:
    """mAP of each class and of each condition; nothing where there is one class and no condition.

    Args:
        page: Receives the section.
        study: A study.
        arms: As `compare_arms` gives them.
    """
    split = study.primary_metric.partition("/")[0]
    runs = {
        str(arm): [trial for trial in study.confirmed if trial.arm == arm and trial.reported_on == split]
        for arm in arms["arm"]
    }
    _section(page, study, runs, split, "class", lambda trial: trial.final.by_class)
    _section(page, study, runs, split, "condition", lambda trial: trial.final.by_condition)


def _section(
    page: Page, study: StudyResults, runs: Mapping[str, Sequence[Trial]], split: str, kind: str, of: Parts
) -> None:
    parts = {name: part for trials in runs.values() for trial in trials for name, part in of(trial).items()}
    if len(parts) < 2 and not (parts and kind == "condition"):
        return
    page.heading(f"Results by {kind}")
    page.paragraph(
        f"mAP on {split} in points, mean ± sd over confirmation runs; no verdict rests on it. A {kind} with fewer than "
        f"{FEW_BOXES} boxes is marked: one box moves its recall by more than a point."
    )
    rows = []
    for name, part in parts.items():
        mark = f" (unreliable: {part.boxes} boxes)" if part.boxes < FEW_BOXES else ""
        counts = [f"{part.boxes:,}"] if part.images is None else [f"{part.images:,}", f"{part.boxes:,}"]
        rows.append([f"{name}{mark}", *counts, *(_cell(trials, name, of) for trials in runs.values())])
    counted = ["boxes"] if kind == "class" else ["images", "boxes"]
    page.table([kind, *counted, *(f"{study.label(arm)} (n = {len(trials)})" for arm, trials in runs.items())], rows)


def _cell(trials: Sequence[Trial], name: str, of: Parts) -> str:
    values = [of(trial)[name].mAP for trial in trials if name in of(trial)]
    return mean_sd([value for value in values if value is not None])
