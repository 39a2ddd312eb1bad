"""mAP against parameters and time: who is surpassed, by what, and in which words."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from tune_cmx.evidence.report.page import Page
from tune_cmx.evidence.report.sections.pareto import front_section
from tune_cmx.evidence.results.reading import read_study

if TYPE_CHECKING:
    from conftest import StudyWriter


def section(writer: StudyWriter, *, drawn: bool = False) -> str:
    records = read_study(writer.write())
    place = writer.folder / "report" if drawn else None
    (writer.folder / "report").mkdir(exist_ok=True)
    page = Page()
    front_section(page, records, place)
    return page.text()


def table(text: str) -> dict[str, list[str]]:
    lines = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    return {line[1].strip(): [cell.strip() for cell in line[2:]] for line in lines}


def cost(millions: int) -> dict[str, Any]:
    return {"parameters": {"total": millions * 1_000_000, "active": 1}}


@pytest.fixture
def priced(writer: StudyWriter) -> StudyWriter:
    """Stages 1 lie above the baseline with fewer parameters, but take longer; stages 4 are small, quick and low."""
    writer.arm("baseline", [30.0, 31.0], milliseconds=10.0, **cost(60))
    writer.arm("stages-1", [33.0, 35.0], milliseconds=12.0, **cost(50))
    writer.arm("stages-4", [20.0, 21.0], milliseconds=5.0, **cost(40))
    return writer


def test_who_is_surpassed_at_which_cost(priced: StudyWriter) -> None:
    found = table(section(priced))
    assert found["baseline"][:2] == ["stages 1", "none"]
    assert found["stages 1"] == ["none", "none", "2", "34.00 ± 1.41", "50,000,000", "12.00"]
    assert found["stages 4"][:2] == ["none", "none"]


def test_it_is_drawn_and_claims_nothing(priced: StudyWriter) -> None:
    priced.trial("s-1", "stages-1", "search", val=31.0, milliseconds=9.0, **cost(50))
    text = section(priced, drawn=True)
    assert "no arm on record is above it at fewer parameters" in text
    assert not re.search(r"\b(best|better|worse|significant)\b", text, re.I)
    assert "](pareto.png)" in text
    assert (priced.folder / "report" / "pareto.png").is_file()
    assert not (priced.folder / "report" / "front.png").exists()


def test_hours_stand_in_where_an_arm_has_no_milliseconds(priced: StudyWriter) -> None:
    priced.arm("other", [31.0, 32.0], seconds=3600.0, **cost(70))
    found = table(section(priced))
    assert found["arm"][-1] == "full run, h"
    assert found["other"][-1] == "1.000"


def test_search_trials_are_told_by_single_runs(priced: StudyWriter) -> None:
    priced.trial("s-1", "stages-1", "search", val=31.0, milliseconds=9.0, **cost(50))
    priced.trial("s-4", "stages-4", "search", val=30.0, milliseconds=9.5, **cost(40))
    text = section(priced)
    assert "Of 2 search trials" in text
    assert "at fewer parameters: stages 1, stages 4." in text
    assert "in less time: stages 1." in text


def test_a_search_trial_that_was_stopped_early_is_no_point(priced: StudyWriter) -> None:
    stop = {"epoch": 2, "rung": 2, "value": 9.5, "cutoff": 10.25}
    priced.trial("s-1", "stages-1", "search", val=99.0, epochs=2, status="stopped", stopped=stop, milliseconds=1.0)
    assert "search trial" not in section(priced)


def test_nothing_on_record(writer: StudyWriter) -> None:
    assert "No arm has a result" in section(writer)
