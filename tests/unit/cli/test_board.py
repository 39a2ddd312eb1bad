"""Where `tune-cmx board` looks, and what it refuses; tests/integration/test_board.py starts it."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tune_cmx.cli.board import logdir_of

if TYPE_CHECKING:
    from conftest import Refusal


def _study(folder: Path) -> Path:
    (folder / "trials").mkdir(parents=True)
    (folder / "study.json").write_text('{"form": 2}')
    return folder


def test_a_study_s_records_a_folder_of_studies_and_a_trial_by_itself(tmp_path: Path) -> None:
    study = _study(tmp_path / "runs" / "demo")
    assert logdir_of(study) == study / "trials"
    assert logdir_of(study.parent) == study.parent
    trial = tmp_path / "baseline"
    trial.mkdir()
    (trial / "trial.json").write_text("{}")
    assert logdir_of(trial) == trial


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("nowhere", "nowhere: there is no such folder; name a study's folder, as in runs/demo"),
        ("empty", "empty: no study is in it; name a study's folder"),
        ("above", "above: no study is in it; name a study's folder"),
        ("file://{here}/empty", "/empty: no study is there; name its folder"),
    ],
)
def test_a_folder_without_a_study_is_refused(place: str, said: str, refusal: "Refusal", tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    _study(tmp_path / "above" / "runs" / "demo")
    assert said in refusal("board", place.format(here=tmp_path))
