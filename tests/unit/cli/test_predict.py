"""`predict` writes pictures, COCO results, a table and YOLO text, of a folder or of single files."""

from __future__ import annotations

import csv
import json
import shutil
from typing import TYPE_CHECKING

import pytest
from complete_run import complete_run
from PIL import Image

from tune_cmx.data.synthetic import synthesize
from tune_cmx.inference.model_folder import leave_model

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Refusal, Run


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthesize(tmp_path_factory.mktemp("predict") / "set", images=12, size=64, sequences=6, seed=0)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, images: Path) -> Path:
    """A model folder with weights that were never trained."""
    run, prepared = complete_run(tmp_path_factory.mktemp("made") / "trials" / "run", images, scores=(1, 2))
    folder = leave_model(run, prepared)
    assert folder is not None
    return folder


@pytest.fixture
def unlabelled(images: Path, tmp_path: Path) -> Path:
    """The images alone."""
    for name in ("rgb", "thermal"):
        shutil.copytree(images / name, tmp_path / "new" / name)
    return tmp_path / "new"


def test_a_folder_without_labels(model: Path, unlabelled: Path, run: Run, tmp_path: Path) -> None:
    code, text, _ = run("predict", model, unlabelled, "--out", tmp_path / "out", "--save-txt", "--device", "cpu")
    assert code == 0
    out = tmp_path / "out"
    last = text.splitlines()[-1]
    assert last.startswith("12 images, ")
    assert "images a second on cpu" in last
    assert last.endswith(f"results: {out}")
    found = json.loads((out / "detections.json").read_text())
    assert {one["image_id"] for one in found} <= set(range(12))
    assert set(found[0]) == {"image_id", "category_id", "bbox", "score", "file_name"}
    with (out / "detections.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(found)
    first, box = rows[0], found[0]["bbox"]
    assert (first["image"], first["class"]) == (found[0]["file_name"], "object")
    assert float(first["x2"]) == pytest.approx(box[0] + box[2], abs=0.01)
    ids = {path.stem for path in (unlabelled / "rgb").iterdir()}
    assert {path.stem for path in (out / "pictures").iterdir()} == {path.stem for path in (out / "labels").iterdir()}
    assert {path.stem for path in (out / "labels").iterdir()} == ids
    with Image.open(out / "pictures" / f"{first['image']}.jpg") as picture:
        assert picture.size == (128, 64)
    line = (out / "labels" / f"{first['image']}.txt").read_text().splitlines()[0].split()
    assert line[0] == "0"
    assert float(line[1]) == pytest.approx((box[0] + box[2] / 2) / 64, abs=1e-5)
    assert float(line[5]) == pytest.approx(found[0]["score"], abs=1e-5)


def test_single_files_and_a_run_folder(model: Path, images: Path, run: Run, tmp_path: Path) -> None:
    files = [f"--{name}={next((images / name).iterdir())}" for name in ("rgb", "thermal")]
    code, text, _ = run("predict", model.parent, *files, "--out", tmp_path / "out", "--no-pictures")
    assert (code, text.splitlines()[-1].startswith("1 image, ")) == (0, True)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"detections.json", "detections.csv"}


def test_what_cannot_be_predicted_is_refused(
    model: Path, unlabelled: Path, images: Path, refusal: Refusal, tmp_path: Path
) -> None:
    rgb = next((images / "rgb").iterdir())
    assert "name a folder of images, or single files" in refusal("predict", model)
    assert "not both" in refusal("predict", model, images, "--rgb", rgb)
    assert "--thermal: is missing; it sees rgb, thermal" in refusal("predict", model, "--rgb", rgb)
    assert "--event: the model does not see it" in refusal("predict", model, "--rgb", rgb, "--event", rgb)
    assert "no model.json here" in refusal("predict", images, images)
    assert "--score: must be above 0" in refusal("predict", model, images, "--score", "0")
    shutil.rmtree(unlabelled / "thermal")
    assert "no thermal images, which the model sees; the folder has rgb" in refusal("predict", model, unlabelled)
    (tmp_path / "predictions").mkdir(exist_ok=True)
    (tmp_path / "predictions" / "detections.json").write_text("[]")
    assert "choose another --out, or add --force" in refusal("predict", model, images)


def test_modalities_of_two_sizes_are_refused_with_the_image(model: Path, unlabelled: Path, refusal: Refusal) -> None:
    path = sorted((unlabelled / "thermal").iterdir())[0]
    Image.new("L", (32, 32)).save(path)
    assert f"{path.stem}: rgb 64 x 64 and thermal 32 x 32 pixels" in refusal("predict", model, unlabelled)
