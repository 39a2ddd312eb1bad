"""Planned against executed, and each deviation by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tune_cmx.evidence.report.page import Page
from tune_cmx.evidence.report.sections.planned import deviations, planned_section
from tune_cmx.evidence.results.reading import read_study

if TYPE_CHECKING:
    from conftest import StudyWriter


def cells(writer: StudyWriter) -> dict[str, list[str]]:
    page = Page()
    planned_section(page, read_study(writer.write()))
    lines = [line.strip("|").split("|") for line in page.text().splitlines() if line.startswith("|")]
    return {line[0].strip(): [cell.strip() for cell in line[1:]] for line in lines}


def found(writer: StudyWriter) -> list[str]:
    return deviations(read_study(writer.write()))


def test_a_study_that_went_as_planned(writer: StudyWriter) -> None:
    writer.trial("s-1", "stages-1", "search")
    writer.trial("s-4", "stages-4", "search")
    for arm in ("baseline", "stages-1", "stages-4"):
        writer.arm(arm, [30.0, 31.0, 32.0])
    rows = cells(writer)
    assert rows["phases"] == ["search, confirm", "search, confirm"]
    assert rows["search trials"] == ["2", "2"]
    assert rows["search epochs"] == ["at most 12", "12"]
    assert rows["arms confirmed"] == ["3", "3"]
    assert rows["seeds an arm"] == ["3", "3"]
    assert rows["confirmation runs"] == ["9", "9"]
    assert rows["confirmation epochs"] == ["54", "54"]
    assert found(writer) == []


def test_a_search_that_ends_before_the_schedule_plans_fewer_epochs(writer: StudyWriter) -> None:
    writer.study["early_stopping"].update(last=0.6, rungs=[2, 3])
    writer.trial("s-1", "stages-1", "search", epochs=3)
    writer.trial("s-4", "stages-4", "search", epochs=3)
    assert cells(writer)["search epochs"] == ["at most 6", "6"]


def test_missing_runs_are_named_by_arm_and_seed(undecided: StudyWriter) -> None:
    undecided.trial("confirm-bad", "baseline", seed=103, epochs=2, status="failed", reason="loss is nan")
    undecided.arm("stages-1", [33.0], first_seed=103)
    words = found(undecided)
    assert "confirm-bad: failed after 2 epochs, loss is nan" in words
    assert "baseline: no complete confirmation run on seed 103" in words
    assert "stages 4: no complete confirmation run on seed 103" in words
    assert not any(line.startswith("stages 1: no complete") for line in words)
    assert cells(undecided)["seeds an arm"] == ["3", "3 to 4"]


def test_seeds_that_were_never_begun(writer: StudyWriter) -> None:
    writer.study["confirm"]["seeds"] = 6
    writer.arm("baseline", [30.0, 31.0])
    writer.arm("stages-1", [30.0, 31.0])
    words = found(writer)
    assert "2 seeds of 6 planned were begun" in words
    assert "finalists without a complete confirmation run: stages 4" in words


def test_changed_code_and_device_are_named_with_their_trials(undecided: StudyWriter) -> None:
    undecided.trial("s-late", "stages-1", "search", created="t9", code_version="0.2.0", device="gpu")
    words = found(undecided)
    assert "the code changed 1 time between trials: 0.1.0+abc (12 trials), 0.2.0 (1 trial)" in words
    assert "the device changed 1 time between trials: cpu (12 trials), gpu (1 trial)" in words


def test_resumed_trials_and_allowed_differences(undecided: StudyWriter) -> None:
    sessions = [{"first_epoch": 1, "last_epoch": 2}, {"first_epoch": 3, "last_epoch": 6}]
    undecided.trial("s-again", "stages-1", "search", lineage=sessions)
    undecided.study["allow_differences"] = ["schedule.lr"]
    undecided.extra_arm("hot", "hot", {"schedule.lr": 0.5})
    words = found(undecided)
    assert "taken up again after an interruption: s-again" in words
    assert any(line.startswith("allowed by the file: schedule.lr") for line in words)


def test_an_unfinished_study(writer: StudyWriter) -> None:
    writer.study["status"] = "running"
    writer.trial("s-1", "stages-1", "search", epochs=1, status="running")
    assert found(writer)[:2] == ["the study has not ended: status running", "s-1: running after 1 epoch"]
    assert cells(writer)["seeds an arm"] == ["3", "-"]


def test_a_study_with_nothing_in_it(writer: StudyWriter) -> None:
    assert cells(writer)["search trials"] == ["2", "0"]
