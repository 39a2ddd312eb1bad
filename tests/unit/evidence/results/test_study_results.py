"""A study's folder read back, damage included."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tune_cmx.errors import DataError
from tune_cmx.evidence.report.write import write_report
from tune_cmx.evidence.results.reading import read_study
from tune_cmx.evidence.results.study_results import trials_table

if TYPE_CHECKING:
    from conftest import StudyWriter


def test_trials_with_their_results(undecided: StudyWriter) -> None:
    records = read_study(undecided.write())
    assert len(records.trials) == 12
    assert records.problems == ()
    assert len(records.confirmed) == 9
    trial = next(trial for trial in records.trials if trial.name == "confirm-stages-1-100")
    assert (trial.arm, trial.seed, trial.status) == ("stages-1", 100, "complete")
    assert (trial.result("test/mAP"), trial.result("val/mAP"), trial.result("mAP")) == (31.0, 30.0, 31.0)
    assert trial.result("test/mAP_small") is None
    assert trial.flat_config["model.fusion.stages"] == [1]
    assert "seed" not in trial.flat_config


def test_one_row_a_trial(undecided: StudyWriter) -> None:
    table = trials_table(read_study(undecided.write())).set_index("trial")
    assert len(table) == 12
    stopped = table.loc["s-4"]
    assert (stopped["status"], stopped["stopped_rung"], stopped["stopped_cutoff"], stopped["epochs"]) == (
        *("stopped", 2, 10.25, 2),
    )
    assert table.loc["confirm-stages-4-101", "test/mAP"] == 31.5
    assert table.loc["s-1", "model.fusion.stages"] == [1]


def test_mean_of_the_last_epochs(undecided: StudyWriter) -> None:
    """31 points at epoch 6 of 6, rising evenly: the mean over epochs 4, 5 and 6 is 31 x 5/6."""
    trial = next(trial for trial in read_study(undecided.write()).trials if trial.name == "s-1")
    assert trial.last("val/mAP") == pytest.approx(31)
    assert trial.last("val/mAP", 3) == pytest.approx(31 * 5 / 6)
    assert trial.last("val/mAP_small") is None


def test_search_and_unfinished_trials_are_no_replicates(undecided: StudyWriter) -> None:
    undecided.trial("confirm-lost", "baseline", seed=104, status="failed", reason="out of memory")
    assert {trial.phase for trial in read_study(undecided.write()).confirmed} == {"confirm"}
    assert "confirm-lost" not in {trial.name for trial in read_study(undecided.folder).confirmed}


def test_a_folder_that_is_no_study(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no study\.json here"):
        read_study(tmp_path)


def test_a_study_file_cut_short(writer: StudyWriter) -> None:
    (writer.write() / "study.json").write_text('{"study": ')
    with pytest.raises(DataError, match="not valid JSON"):
        read_study(writer.folder)


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("trial.json", "{", "trial.json: not valid JSON"),
        ("trial.json", None, "trial.json is missing"),
        ("config.json", "[]", "config.json: needs a JSON object"),
        ("final_results.json", None, "final_results.json is missing"),
        ("metrics.csv", "a,b\n1,2\n", "metrics.csv has no column epoch"),
        ("metrics.csv", "epoch,val/mAP\n1,2\n1,3\n", "metrics.csv has epochs more than once"),
    ],
)
def test_a_damaged_record_is_listed_and_the_rest_is_read(
    undecided: StudyWriter, name: str, content: str | None, problem: str
) -> None:
    path = undecided.write() / "trials" / "confirm-baseline-100" / name
    path.unlink() if content is None else path.write_text(content)
    records = read_study(undecided.folder)
    assert len(records.trials) >= 11
    assert any(f"confirm-baseline-100/{problem}" in found for found in records.problems)


def test_rungs_after_a_resume_count_once(undecided: StudyWriter) -> None:
    path = undecided.write() / "search" / "rungs.jsonl"
    path.write_text(path.read_text() * 2 + "{cut")
    records = read_study(undecided.folder)
    assert len(records.rungs) == 3
    assert any("rungs.jsonl, line 7" in problem for problem in records.problems)


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        ("final_results.json", '"mAP": 31.0', '"mAP": NaN', "mAP cannot be nan; it is left out"),
        ("final_results.json", '"mAP": 31.0', '"mAP": "high"', "mAP cannot be 'high'; it is left out"),
        ("trial.json", '"seed": 100', '"seed": "abc"', "seed cannot be 'abc'; it is left out"),
        ("config.json", '"schedule": {', '"schedule": 3, "was": {', "schedule cannot be 3; it is left out"),
        ("metrics.csv", "\n2,", "\ntwo,", "has cells that are no numbers; they are left out"),
    ],
)
def test_values_that_cannot_be_are_named_and_the_report_is_written(
    undecided: StudyWriter, file: str, old: str, new: str, said: str
) -> None:
    path = undecided.write() / "trials" / "confirm-stages-1-100" / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    assert any(said in problem for problem in read_study(undecided.folder).problems)
    assert write_report(undecided.folder).is_file()
