"""A study's report, made from its folder; the data are asked for example frames alone."""

from pathlib import Path

import pandas as pd

from tune_cmx.evidence.report.first_screen.answer import answer_text
from tune_cmx.evidence.report.first_screen.statements import claims_section
from tune_cmx.evidence.report.html import html_text
from tune_cmx.evidence.report.imported import imported_page, is_imported
from tune_cmx.evidence.report.latex import latex_tables
from tune_cmx.evidence.report.page import Page
from tune_cmx.evidence.report.plots import plot_arms, plot_curves
from tune_cmx.evidence.report.sections.by_class import by_class_section
from tune_cmx.evidence.report.sections.by_factor import factors_section
from tune_cmx.evidence.report.sections.cost import cost_section
from tune_cmx.evidence.report.sections.examples import examples_section
from tune_cmx.evidence.report.sections.importance import importance_section
from tune_cmx.evidence.report.sections.main_result import arms_section, side_by_side
from tune_cmx.evidence.report.sections.modality_loss import robustness_section
from tune_cmx.evidence.report.sections.object_sizes import sizes_section
from tune_cmx.evidence.report.sections.pareto import front_section
from tune_cmx.evidence.report.sections.run_details import (
    confirmation_section,
    failures_section,
    protocol_section,
)
from tune_cmx.evidence.report.sections.search_phases import phases_section
from tune_cmx.evidence.report.sections.search_trials import search_section
from tune_cmx.evidence.report.sections.test_set_interval import data_interval_section
from tune_cmx.evidence.report.stamps import stamps
from tune_cmx.evidence.report.warnings.every import warnings
from tune_cmx.evidence.results.comparison import compare_arms
from tune_cmx.evidence.results.reading import read_study
from tune_cmx.evidence.results.study_claims import evaluate_study_claims
from tune_cmx.evidence.results.study_results import StudyResults, trials_table
from tune_cmx.evidence.wording import count

ARMS_PLOT = "arms.png"
CURVES_PLOT = "curves.png"


def write_report(study_folder: Path) -> Path:
    """Write `report.md`, `report.html`, `tables.tex`, `trials.csv` and the pictures into the study's `report/`.

    An unfinished study has a report too; it says what is missing.

    Returns:
        The path of `report.md`; the other files lie beside it.

    Raises:
        DataError: The folder holds no study.
        ConfigError: One of the study's claims cannot be read.
    """
    records = read_study(study_folder)
    place = records.folder / "report"
    place.mkdir(exist_ok=True)
    page = imported_page(records) if is_imported(records) else study_page(records, compare_arms(records), place)
    trials_table(records).to_csv(place / "trials.csv", index=False)
    path = place / "report.md"
    path.write_text(page.text(), encoding="utf-8")
    (place / "report.html").write_text(html_text(_title(records), page.parts, place), encoding="utf-8")
    (place / "tables.tex").write_text(latex_tables(page.parts), encoding="utf-8")
    return path


def study_page(records: StudyResults, arms: pd.DataFrame, place: Path | None) -> Page:
    """The report's parts, in the order in which they are read.

    Args:
        records: A study.
        arms: Its arms as `compare_arms` gives them.
        place: The report's folder, which receives the pictures; None: without them, and without example detections.
    """
    claims = evaluate_study_claims(records)
    page = Page(stamps=stamps(records))
    page.heading(_title(records), level=1)
    if records.study.question:
        page.paragraph(records.study.question)
    if records.study.status != "complete":
        page.paragraph(f"**The study is not complete (status: {records.study.status or 'unknown'}).**")
    page.heading("Answer")
    page.paragraph(answer_text(records, arms, claims))
    found = warnings(records)
    if found:
        page.paragraph(f"{count(len(found), 'warning')} to read with it: [Warnings](#warnings).")
    _results(page, records, arms, place)
    claims_section(page, records, arms, claims)
    failures_section(page, records)
    page.heading("Warnings")
    page.bullets(map(str, found) if found else ["None."])
    protocol_section(page, records)
    if place is not None:
        examples_section(page, records, place)
    return page


def _results(page: Page, records: StudyResults, arms: pd.DataFrame, place: Path | None) -> None:
    drawn = place is not None and plot_arms(records, arms, page.stamps, place / ARMS_PLOT)
    arms_section(page, records, arms, ARMS_PLOT if drawn else None)
    side_by_side(page, records, arms)
    data_interval_section(page, records)
    factors_section(page, records, arms, place)
    by_class_section(page, records, arms)
    sizes_section(page, records, arms)
    robustness_section(page, records, arms)
    cost_section(page, records, place)
    drawn = place is not None and plot_curves(records, page.stamps, place / CURVES_PLOT)
    search_section(page, records, CURVES_PLOT if drawn else None)
    phases_section(page, records)
    confirmation_section(page, records)
    front_section(page, records, place)
    importance_section(page, records, place)


def _title(records: StudyResults) -> str:
    return records.study.study
