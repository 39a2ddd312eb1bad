"""A folder of studies, as researchers have it after some weeks."""

import json
import shutil
from pathlib import Path

import pytest
from study_writer import StudyWriter

OLD = Path(__file__).parents[3] / "golden" / "study_of_version_0.1.0"


def write_study(folder: Path, baseline: tuple[float, ...] = (30.0, 31.0, 32.0)) -> StudyWriter:
    """A complete study of three configurations; stages 1 lie above the baseline on every seed."""
    writer = StudyWriter(folder)
    writer.search()
    writer.arm("baseline", baseline)
    writer.arm("stages-1", [value + 3 + 0.1 * place for place, value in enumerate(baseline)])
    writer.arm("stages-4", [value - 1 + 0.7 * place for place, value in enumerate(baseline)])
    writer.write()
    return writer


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A complete study in runs/cssa."""
    return write_study(tmp_path / "runs" / "cssa").folder


@pytest.fixture
def runs(study: Path) -> Path:
    """runs with a study, one of version 0.1.0, two damaged ones, and a single run in a folder."""
    folder = study.parent
    shutil.copytree(OLD, folder / "old")
    (folder / "cut").mkdir()
    (folder / "cut" / "study.json").write_text('{"study": "cu')
    single = folder / "group" / "baseline"
    single.parent.mkdir()
    shutil.copytree(study / "trials" / "s-0", single)
    trial = json.loads((single / "trial.json").read_text())
    (single / "trial.json").write_text(json.dumps({**trial, "phase": "single", "id": "baseline"}))
    shutil.copytree(study, folder / "headless")
    (folder / "headless" / "study.json").unlink()
    return folder
