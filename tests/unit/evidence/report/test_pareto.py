"""mAP against parameters: who is surpassed, by what, and in which words."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from tune_cmx.evidence.report.page import Page
from tune_cmx.evidence.report.sections.pareto import pareto_section
from tune_cmx.evidence.results.reading import read_study

if TYPE_CHECKING:
    from conftest import StudyWriter


def section(writer: StudyWriter, *, drawn: bool = False) -> str:
    records = read_study(writer.write())
    place = writer.folder / "report" if drawn else None
    (writer.folder / "report").mkdir(exist_ok=True)
    page = Page()
    pareto_section(page, records, place)
    return page.text()


def table(text: str) -> dict[str, list[str]]:
    lines = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    return {line[1].strip(): [cell.strip() for cell in line[2:]] for line in lines}


def cost(millions: int) -> dict[str, Any]:
    return {"parameters": {"total": millions * 1_000_000, "active": 1}}


@pytest.fixture
def priced(writer: StudyWriter) -> StudyWriter:
    """Stages 1 are above the baseline with fewer parameters; stages 4 are small and low."""
    writer.arm("baseline", [30.0, 31.0], **cost(60))
    writer.arm("stages-1", [33.0, 35.0], **cost(50))
    writer.arm("stages-4", [20.0, 21.0], **cost(40))
    return writer


def test_who_is_surpassed(priced: StudyWriter) -> None:
    found = table(section(priced))
    assert found["baseline"][0] == "stages 1"
    assert found["stages 1"] == ["none", "2", "34.00 ± 1.41", "50,000,000"]
    assert found["stages 4"][0] == "none"


def test_it_is_drawn_and_claims_nothing(priced: StudyWriter) -> None:
    priced.trial("s-1", "stages-1", "search", val=31.0, **cost(50))
    text = section(priced, drawn=True)
    assert "Observed means are no verdicts" in text
    assert not re.search(r"\b(best|better|worse|significant)\b", text, re.I)
    assert "](pareto.png)" in text
    assert (priced.folder / "report" / "pareto.png").is_file()
    assert not (priced.folder / "report" / "objectives.png").exists()


def test_times_are_not_compared(priced: StudyWriter) -> None:
    assert not re.search(r"\b(time|ms|hours)\b", section(priced))


def test_the_pareto_front_of_search_trials_is_one_sentence(priced: StudyWriter) -> None:
    priced.trial("s-1", "stages-1", "search", val=31.0, **cost(50))
    priced.trial("s-4", "stages-4", "search", val=30.0, **cost(40))
    text = section(priced)
    assert "Pareto front of 2 search trials with one run each" in text
    assert "against parameters: stages 1, stages 4." in text


def test_a_search_trial_that_was_stopped_early_is_no_point(priced: StudyWriter) -> None:
    stop = {"epoch": 2, "rung": 2, "value": 9.5, "cutoff": 10.25}
    priced.trial("s-1", "stages-1", "search", val=99.0, epochs=2, status="stopped", stopped=stop)
    assert "search trial" not in section(priced)


def test_without_results_there_is_no_section(writer: StudyWriter) -> None:
    assert section(writer) == "\n"
