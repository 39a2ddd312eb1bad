"""`best` names the run of median validation score of the selected configuration, and takes its model out."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest
from complete_run import change, complete_run

import tune_cmx
from tune_cmx.data.synthetic import synthesize
from tune_cmx.inference.model_folder import leave_model
from tune_cmx.state.model_state import read_model_state

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Refusal, Run

RUNS = {"selected": [(30.0, 20.0), (32.0, 10.0), (31.0, 15.0)], "baseline": [(29.0, 40.0)], "other": [(33.0, 33.0)]}
"""mAP on val and test by seed; the median by val is seed 1002."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of five confirmed runs that were never trained."""
    root = tmp_path_factory.mktemp("best")
    images = synthesize(root / "set", images=24, size=64, sequences=6, seed=0)
    for arm, scores in RUNS.items():
        for place, pair in enumerate(scores):
            folder = root / "study" / "trials" / f"confirm-{arm}-s{1000 + place}"
            run, prepared = complete_run(folder, images, arm=arm, scores=pair, seed=1000 + place)
            leave_model(run, prepared)
    study = {
        "form": 2,
        "study": "fusions",
        "baseline": "baseline",
        "arms": {arm: {"label": arm.upper(), "values": {}, "config": {}} for arm in RUNS},
        "status": "complete",
        "factors": ["model.fusion"],
        "early_stopping": {"metric": "val/mAP", "compare_at": "epoch", "smooth_epochs": 1},
        "selection": {
            "split": "val",
            "metric": "val/mAP",
            "finalists": ["selected", "other"],
            "winner": "selected",
        },
    }
    (root / "study" / "study.json").write_text(json.dumps(study))
    return root / "study"


@pytest.fixture
def study(made: Path, tmp_path: Path) -> Path:
    """A copy of its own, so that it may be spoilt."""
    return shutil.copytree(made, tmp_path / "study")


def test_the_median_run_of_the_selected_configuration_is_named(study: Path, run: Run) -> None:
    code, text, _ = run("best", study)
    assert code == 0
    assert (
        "selected configuration: SELECTED; the run of median validation score of 3 runs, not the highest by test"
        in (text)
    )
    last = text.splitlines()[-1]
    assert last.startswith("run: confirm-selected-s1002; seed 1002; val mAP 31.00; test mAP 15.00; ")
    assert last.endswith("--export DIR")


def test_its_model_is_taken_out_with_the_mean_of_its_configuration(study: Path, run: Run, tmp_path: Path) -> None:
    code, text, _ = run("best", study, "--export", tmp_path / "out", "--license", "mit")
    assert code == 0
    assert text.splitlines()[-1].endswith(f"model: {tmp_path / 'out'}")
    assert "no test-set bootstrap interval" in text  # these runs store no detections
    state = read_model_state(tmp_path / "out" / "model.json")
    assert (state.name, state.license) == ("confirm-selected-s1002", "mit")
    assert state.chosen_from is not None
    assert (state.chosen_from.study, state.chosen_from.configuration, state.chosen_from.n) == ("fusions", "SELECTED", 3)
    assert (state.chosen_from.metric, state.chosen_from.mean) == ("test/mAP", 15.0)
    assert state.chosen_from.interval is not None
    assert state.chosen_from.interval[0] < 15 < state.chosen_from.interval[1]
    card = (tmp_path / "out" / "README.md").read_text()
    assert (
        "From the study fusions, configuration SELECTED: the run of median validation score of 3 confirmation" in card
    )
    shutil.rmtree(study)
    assert tune_cmx.load(tmp_path / "out", device="cpu").classes == ("object",)


def test_one_run_is_taken_out_with_its_interval(study: Path, run: Run, tmp_path: Path) -> None:
    images = json.loads((study / "trials" / "confirm-other-s1000" / "config.json").read_text())["data"]["root"]
    trial, prepared = complete_run(tmp_path / "single" / "trials" / "trial", images, phase="single")
    assert leave_model(trial, prepared)
    code, text, _ = run("best", trial.folder, "--export", tmp_path / "out")
    assert code == 0
    assert "run: trial; seed 0; val mAP 1.00; test mAP " in text.splitlines()[-1]
    state = read_model_state(tmp_path / "out" / "model.json")
    assert state.chosen_from is None
    assert state.metrics["test"]["mAP"].unit == "images"  # the test part has fewer than ten sequences


def test_a_run_of_an_earlier_version_gets_its_model_from_the_data(study: Path, run: Run, tmp_path: Path) -> None:
    shutil.rmtree(study / "trials" / "confirm-selected-s1002" / "model")
    assert run("best", study, "--export", tmp_path / "out")[0] == 0
    assert read_model_state(tmp_path / "out" / "model.json").name == "confirm-selected-s1002"


def test_a_model_is_not_replaced_unasked(study: Path, run: Run, refusal: Refusal, tmp_path: Path) -> None:
    assert run("best", study, "--export", tmp_path / "out")[0] == 0
    assert "a model is there; add --force" in refusal("best", study, "--export", tmp_path / "out")
    assert run("best", study, "--export", tmp_path / "out", "--force")[0] == 0


def test_another_winner_after_confirmation_is_said(study: Path, run: Run) -> None:
    content = json.loads((study / "study.json").read_text())["selection"]
    change(study / "study.json", selection={**content, "winner": "other"})
    assert "after confirmation, OTHER has the higher validation mean" in run("best", study)[1]


def test_a_study_without_a_selection_is_refused(study: Path, refusal: Refusal) -> None:
    change(study / "study.json", selection={}, status="searching")
    assert "that the search selected (status: searching); let the search end" in refusal("best", study)
    for place in (study / "trials").iterdir():
        change(place / "trial.json", status="interrupted")
    assert "no configuration has a complete confirmation run" in refusal("best", study)
    assert "this trial is not complete (status: interrupted)" in refusal("best", place)
    assert "neither study.json nor trial.json is in it" in refusal("best", study / "trials")
    assert "there is no such folder" in refusal("best", study / "nowhere")
