"""A model folder of the smallest detector, with weights that were never trained."""

from pathlib import Path

import pytest
from complete_run import complete_run

from tune_cmx.data.synthetic import synthesize
from tune_cmx.inference.model_folder import leave_model
from tune_cmx.training.run_folder import RunFolder


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 images of 64 pixels in six sequences, of every modality."""
    return synthesize(tmp_path_factory.mktemp("images") / "set", images=24, size=64, sequences=6, seed=0)


@pytest.fixture(scope="session")
def run(images: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """With its model folder."""
    made, prepared = complete_run(tmp_path_factory.mktemp("study") / "trials" / "confirm-baseline-s1000", images)
    assert leave_model(made, prepared) == made.folder / "model"
    return made


@pytest.fixture(scope="session")
def model(run: RunFolder) -> Path:
    """A model folder."""
    return run.folder / "model"
