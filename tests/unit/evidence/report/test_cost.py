"""What arms cost, and the study against the exhaustive grid."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tune_cmx.evidence.report.page import Page
from tune_cmx.evidence.report.sections.cost import cost_section, full_grid, lost_words, milliseconds
from tune_cmx.evidence.results.reading import read_study

if TYPE_CHECKING:
    from conftest import StudyWriter


def section(writer: StudyWriter) -> str:
    page = Page()
    cost_section(page, read_study(writer.write()))
    return page.text()


def cells(text: str) -> dict[str, list[str]]:
    """Rows of all tables by their first cell."""
    lines = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    return {line[0].strip(): [cell.strip() for cell in line[1:]] for line in lines}


def test_hours_against_the_grid_with_one_seed_and_with_all(undecided: StudyWriter) -> None:
    """Search 6 + 6 + 2 epochs, confirmation 9 x 6, of 10 s each; the grid is 3 arms x 6 epochs, on 1 and on 3 seeds."""
    text = section(undecided)
    found = cells(text)
    assert found["search"] == ["3", "14", "0.039", "21 %"]
    assert found["confirm"] == ["9", "54", "0.150", "79 %"]
    assert found["every configuration in full, 1 seed"] == ["3", "18", "0.050", "26 %"]
    assert found["every configuration in full, 3 seeds"] == ["9", "54", "0.150", "79 %"]
    assert (
        "The study took 68 epochs. That is 126 % of the 54 epochs of the exhaustive grid with the baseline, 3 seeds."
        in text
    )


@pytest.mark.parametrize(
    ("devices", "name"),
    [(["cpu, 2 threads"], "CPU-hours"), (["NVIDIA A100"], "GPU-hours"), (["NVIDIA A100", "cpu"], "device-hours")],
)
def test_hours_are_called_what_they_are(writer: StudyWriter, devices: list[str], name: str) -> None:
    for n, device in enumerate(devices):
        writer.trial(f"s-{n}", "stages-1", "search", device=device)
    text = section(writer)
    assert name in text
    assert ("do not predict GPU-hours" in text) == (name == "CPU-hours")


def test_an_arm_of_the_grid_that_was_not_trained_takes_the_mean(writer: StudyWriter) -> None:
    writer.trial("s-1", "stages-1", "search", seconds=120.0)
    writer.trial("s-4", "stages-4", "search", seconds=240.0)
    grid = full_grid(read_study(writer.write()), 1)
    assert grid is not None
    assert grid.epochs == 18
    assert grid.hours == pytest.approx((120 + 240 + 180) / 3600)


def test_a_tpe_search_has_no_grid(undecided: StudyWriter) -> None:
    undecided.study["searcher"] = {"kind": "tpe", "trials": 3}
    text = section(undecided)
    assert "A TPE search has no grid" in text
    assert "the exhaustive grid" not in text


def test_a_searcher_that_is_not_recorded_is_not_taken_for_a_grid(undecided: StudyWriter) -> None:
    undecided.study["searcher"] = {}
    text = section(undecided)
    assert "of every configuration that was drawn with the baseline" in text
    assert "The searcher is not recorded" in text


def test_failed_and_repeated_epochs_are_counted(writer: StudyWriter) -> None:
    twice = [
        {"seconds": 40.0, "first_epoch": 1, "last_epoch": 4},
        {"seconds": 40.0, "first_epoch": 3, "last_epoch": 6},
        {"seconds": 0.0, "first_epoch": 7, "last_epoch": None},
    ]
    writer.trial("s-1", "stages-1", "search", lineage=twice)
    writer.trial("s-4", "stages-4", "search", epochs=2, status="failed")
    words = lost_words(read_study(writer.write()))
    assert "1 failed trial took 2 epochs, 20 s" in words
    assert "2 epochs trained more than once: s-1" in words
    assert any(line.startswith("1 trial resumed after an interruption") for line in words)


def test_a_trial_paused_at_a_rung_was_not_interrupted(writer: StudyWriter) -> None:
    writer.study["early_stopping"]["variant"] = "promote"
    sessions = [{"first_epoch": 1, "last_epoch": 2}, {"first_epoch": 3, "last_epoch": 6}]
    writer.trial("s-1", "stages-1", "search", lineage=sessions)
    assert lost_words(read_study(writer.write())) == []


def test_flops_stand_there_where_records_hold_them(undecided: StudyWriter) -> None:
    assert "FLOPs are not recorded" in section(undecided)
    undecided.trial("s-g", "stages-1", "search", gflops=12.34, milliseconds=7.0)
    found = cells(section(undecided))
    assert found["configuration"][2] == "GFLOPs"
    assert found["stages 1"][:4] == ["60,014,945", "59,992,000", "12.3", "7.0"]
    assert found["baseline"][2:4] == ["-", "-"]


def test_full_run_is_of_confirmed_runs(undecided: StudyWriter) -> None:
    undecided.trial("confirm-slow", "baseline", seed=900, test=30.0, seconds=100.0)
    assert cells(section(undecided))["baseline"][-1] == "70 s ± 20 s"


def test_milliseconds_are_the_median_over_epochs(writer: StudyWriter) -> None:
    writer.trial("s-1", "stages-1", "search", milliseconds=5.0)
    path = writer.folder / "trials" / "s-1" / "metrics.csv"
    path.write_text(path.read_text().replace(",5.0\n", ",500.0\n", 1))
    (trial,) = read_study(writer.write()).trials
    assert milliseconds(trial) == 5.0


def test_several_processes_count_as_many_devices(writer: StudyWriter) -> None:
    writer.trial("s-1", "stages-1", "search", device="2 x NVIDIA A100")
    path = writer.folder / "trials" / "s-1" / "config.json"
    path.write_text(path.read_text().replace('"processes": 1', '"processes": 2'))
    found = cells(section(writer))
    assert found["phase"][2] == "GPU-hours"
    assert found["search"][2] == "0.033"


def test_no_epoch_yet(writer: StudyWriter) -> None:
    assert section(writer) == "\n"
