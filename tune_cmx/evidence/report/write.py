"""A study's report, made from its folder; the data are read only for example images."""

from pathlib import Path

import pandas as pd

from tune_cmx.evidence.report.first_screen.answer import answer_text
from tune_cmx.evidence.report.first_screen.configurations import configurations_section, unranked_configurations
from tune_cmx.evidence.report.first_screen.detectable_section import detectable_section
from tune_cmx.evidence.report.first_screen.facts import facts_line
from tune_cmx.evidence.report.first_screen.next_step import next_section
from tune_cmx.evidence.report.first_screen.nothing_learnt import causes_section
from tune_cmx.evidence.report.first_screen.statements import statements_section
from tune_cmx.evidence.report.html import html_text
from tune_cmx.evidence.report.imported import imported_page, is_imported
from tune_cmx.evidence.report.latex import latex_tables
from tune_cmx.evidence.report.page import Page
from tune_cmx.evidence.report.sections.bootstrap_interval import bootstrap_interval_section
from tune_cmx.evidence.report.sections.by_class import by_class_section
from tune_cmx.evidence.report.sections.by_factor import factors_section
from tune_cmx.evidence.report.sections.cost import cost_section
from tune_cmx.evidence.report.sections.cut_names import cut_names_section
from tune_cmx.evidence.report.sections.examples import examples_section
from tune_cmx.evidence.report.sections.importance import importance_section
from tune_cmx.evidence.report.sections.modality_loss import robustness_section
from tune_cmx.evidence.report.sections.object_sizes import sizes_section
from tune_cmx.evidence.report.sections.pareto import pareto_section
from tune_cmx.evidence.report.sections.run_details import confirmation_section, failures_section, protocol_section
from tune_cmx.evidence.report.sections.search_phases import phases_section
from tune_cmx.evidence.report.sections.search_trials import search_section
from tune_cmx.evidence.report.sections.selected import selected_section
from tune_cmx.evidence.report.stamps import stamps
from tune_cmx.evidence.report.warnings.every import warnings
from tune_cmx.evidence.report.warnings.warning import Warning
from tune_cmx.evidence.results.comparison import compare_arms
from tune_cmx.evidence.results.floor import Learning, learning
from tune_cmx.evidence.results.reading import read_study
from tune_cmx.evidence.results.study_claims import evaluate_study_claims
from tune_cmx.evidence.results.study_results import StudyResults, trials_table

ALL_WARNINGS = "All warnings"
GRAVEST = 2


def write_report(study_folder: Path) -> Path:
    """Write `report.md`, `report.html`, `tables.tex`, `trials.csv` and the pictures into the study's `report/`.

    An unfinished study has a report too; it says what is missing.

    Returns:
        The path of `report.md`; the other files are beside it.

    Raises:
        DataError: The folder holds no study.
        ConfigError: One of the study's claims cannot be read.
    """
    study = read_study(study_folder)
    place = study.folder / "report"
    place.mkdir(exist_ok=True)
    page = imported_page(study) if is_imported(study) else study_page(study, compare_arms(study), place)
    trials_table(study).to_csv(place / "trials.csv", index=False)
    path = place / "report.md"
    path.write_text(page.text(), encoding="utf-8")
    (place / "report.html").write_text(html_text(_title(study), page.parts, place), encoding="utf-8")
    (place / "tables.tex").write_text(latex_tables(page.parts), encoding="utf-8")
    return path


def study_page(study: StudyResults, arms: pd.DataFrame, place: Path | None) -> Page:
    """The report's parts, in the order in which they are read.

    Args:
        study: A study.
        arms: Its arms as `compare_arms` gives them.
        place: The report's folder, which receives the pictures; None: without them, and without example detections.
    """
    learnt = learning(study)
    found = warnings(study, learnt)
    page = Page(stamps=stamps(study))
    _first_screen(page, study, arms, learnt, found, place)
    page.contents()
    if learnt.nothing:
        robustness_section(page, study, arms)
    else:
        _results(page, study, arms, place)
    search_section(page, study, place, ranked=not learnt.nothing)
    phases_section(page, study)
    if not learnt.nothing:
        importance_section(page, study)
    confirmation_section(page, study)
    cost_section(page, study)
    failures_section(page, study)
    if len(found) > GRAVEST:
        page.heading(ALL_WARNINGS)
        page.bullets(map(str, found))
    cut_names_section(page, study)
    protocol_section(page, study)
    if place is not None and study.confirmed and not learnt.nothing:
        examples_section(page, study, place)
    return page


def _first_screen(
    page: Page, study: StudyResults, arms: pd.DataFrame, learnt: Learning, found: list[Warning], place: Path | None
) -> None:
    """All that most readers need."""
    page.heading(_title(study), level=1)
    if study.state.question:
        page.paragraph(study.state.question)
    page.paragraph(facts_line(study))
    if study.state.status != "complete":
        page.paragraph(f"**The study is not complete (status: {study.state.status or 'unknown'}).**")
    page.heading("Answer")
    page.paragraph(answer_text(study, arms, learnt))
    if learnt.nothing:
        unranked_configurations(page, study, arms, learnt)
        causes_section(page, study, learnt)
    else:
        if not arms.empty:
            configurations_section(page, study, arms, place)
        statements_section(page, study, arms, evaluate_study_claims(study))
        detectable_section(page, study, arms)
    if found:
        page.heading("Gravest warnings" if len(found) > GRAVEST else "Warnings")
        page.bullets(map(str, found[:GRAVEST]))
    if len(found) > GRAVEST:
        page.paragraph(f"{len(found) - GRAVEST} more: [{ALL_WARNINGS}](#all-warnings).")
    next_section(page, study, arms, learnt)


def _results(page: Page, study: StudyResults, arms: pd.DataFrame, place: Path | None) -> None:
    selected_section(page, study, arms)
    bootstrap_interval_section(page, study)
    factors_section(page, study, arms, place)
    by_class_section(page, study, arms)
    sizes_section(page, study, arms)
    robustness_section(page, study, arms)
    pareto_section(page, study, place)


def _title(study: StudyResults) -> str:
    return study.state.study
