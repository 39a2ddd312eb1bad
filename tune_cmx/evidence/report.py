"""A study's report, made from its records alone."""

from collections.abc import Collection
from pathlib import Path

import pandas as pd

from tune_cmx.evidence.answer import answer_text
from tune_cmx.evidence.caveats import stamps, warnings
from tune_cmx.evidence.compare import compare_arms
from tune_cmx.evidence.conduct import (
    confirmation_section,
    failures_section,
    hours_section,
    parameters_section,
    protocol_section,
)
from tune_cmx.evidence.front import front_section
from tune_cmx.evidence.markdown import Page
from tune_cmx.evidence.phases import phases_section
from tune_cmx.evidence.plots import plot_arms, plot_curves, plot_front
from tune_cmx.evidence.records import StudyRecords, read_study, trials_table
from tune_cmx.evidence.search_report import search_section
from tune_cmx.evidence.sections import arms_table, claims_table, side_by_side
from tune_cmx.evidence.study_claims import evaluate_study_claims

ARMS_PLOT = "arms.png"
CURVES_PLOT = "curves.png"
FRONT_PLOT = "front.png"


def write_report(study_folder: Path) -> Path:
    """Write `report/report.md`, `report/trials.csv` and the plots into the study's folder.

    An unfinished study has a report too; it says what is missing.

    Raises:
        DataError: The folder holds no study.
        ConfigError: One of the study's claims cannot be read.
    """
    records = read_study(study_folder)
    arms = compare_arms(records)
    place = records.folder / "report"
    place.mkdir(exist_ok=True)
    marks = stamps(records)
    drawn = {
        ARMS_PLOT: plot_arms(arms, records.primary_metric, marks, place / ARMS_PLOT),
        CURVES_PLOT: plot_curves(records, marks, place / CURVES_PLOT),
        FRONT_PLOT: plot_front(records, marks, place / FRONT_PLOT),
    }
    trials_table(records).to_csv(place / "trials.csv", index=False)
    path = place / "report.md"
    path.write_text(report_text(records, arms, [name for name, done in drawn.items() if done]), encoding="utf-8")
    return path


def report_text(records: StudyRecords, arms: pd.DataFrame, pictures: Collection[str] = ()) -> str:
    """The report in Markdown.

    Args:
        records: A study.
        arms: Its arms as `compare_arms` gives them.
        pictures: File names of the plots that stand beside the report.
    """
    claims = evaluate_study_claims(records)
    page = Page(stamps=stamps(records))
    page.heading(str(records.study.get("study", records.folder.name)), level=1)
    if records.study.get("question"):
        page.paragraph(str(records.study["question"]))
    if records.study.get("status") != "complete":
        page.paragraph(f"**The study is not complete (status: {records.study.get('status', 'unknown')}).**")
    page.heading("Answer")
    page.paragraph(answer_text(records, arms, claims))
    page.heading("Warnings")
    page.bullets(warnings(records) or ["None."])
    side_by_side(page, records, arms)
    arms_table(page, records, arms)
    if ARMS_PLOT in pictures:
        page.image(ARMS_PLOT, "Differences from the control with their 95 % intervals")
    claims_table(page, claims)
    search_section(page, records)
    if CURVES_PLOT in pictures:
        page.image(CURVES_PLOT, "Learning curves of the search, with a cross where a trial was stopped")
    phases_section(page, records)
    front_section(page, records, FRONT_PLOT if FRONT_PLOT in pictures else None)
    confirmation_section(page, records)
    failures_section(page, records)
    parameters_section(page, records)
    hours_section(page, records)
    protocol_section(page, records)
    return page.text()
