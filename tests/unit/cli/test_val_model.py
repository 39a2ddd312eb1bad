"""`val` gives the recorded metrics on the data of the training, and says what other data mean."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest
from complete_run import complete_run

from tune_cmx.data.synthetic import synthesize
from tune_cmx.inference.model_folder import leave_model

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Refusal, Run


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """48 images in 24 sequences, in daylight and at night."""
    root = synthesize(tmp_path_factory.mktemp("val") / "set", images=48, size=64, sequences=24, seed=0)
    head, *lines = (root / "sequences.csv").read_text().splitlines()
    named = [f"{line},{'day' if place % 2 else 'night'}" for place, line in enumerate(lines)]
    (root / "sequences.csv").write_text("\n".join([f"{head},condition", *named]) + "\n")
    return root


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, images: Path) -> Path:
    """A model folder far from its run, with weights that were never trained."""
    root = tmp_path_factory.mktemp("made")
    run, prepared = complete_run(root / "trials" / "run", images)
    folder = leave_model(run, prepared)
    assert folder is not None
    shutil.copytree(folder, root / "elsewhere")
    shutil.copy(run.folder / "final_results.json", root)
    return root / "elsewhere"


def answer(run: Run, *arguments: object) -> dict[str, Any]:
    code, text, error = run("val", *arguments, "--json", "--device", "cpu")
    assert code == 0, error
    found: dict[str, Any] = json.loads(text[text.index("{\n") :])
    return found


def test_the_recorded_metrics_come_out_again(model: Path, images: Path, run: Run) -> None:
    found = answer(run, model, "--data", images)
    recorded = json.loads((model.parent / "final_results.json").read_text())
    assert {name: one["value"] for name, one in found["metrics"].items()} == recorded["results"]
    assert {name: one["recorded"] for name, one in found["metrics"].items()} == recorded["results"]
    assert {name: one["boxes"] for name, one in found["by_class"].items()} == {
        name: one["boxes"] for name, one in recorded["by_class"].items()
    }
    assert found["same_data"]
    assert set(found["by_condition"]) == {"day", "night"}
    assert sum(one["images"] for one in found["by_sequence"].values()) == found["images"]
    assert (found["interval_over"], found["units"]) == ("sequences", len(found["by_sequence"]))


def test_the_table_says_that_they_are_equal(model: Path, images: Path, run: Run) -> None:
    code, text, _ = run("val", model, "--data", images, "--device", "cpu")
    assert code == 0
    assert "the metrics are those that were recorded" in text
    last = text.splitlines()[-1]
    assert last.startswith(f"test of {images}: ")
    assert "ms an image on cpu" in last


def test_all_images_have_intervals_and_a_warning(model: Path, images: Path, run: Run) -> None:
    code, text, _ = run("val", model, "--data", images, "--split", "all", "--device", "cpu")
    assert code == 0
    assert "of 48 were trained on, so the values are too high" in text
    assert "interval: test-set bootstrap over 24 sequences" in text
    assert "4 more: --json prints all" in text


def test_a_split_file_names_the_images(model: Path, images: Path, run: Run, tmp_path: Path) -> None:
    ids = sorted(path.stem for path in (images / "rgb").iterdir())
    (tmp_path / "own.json").write_text(json.dumps({"train": ids[:20], "val": ids[20:30], "test": ids[30:]}))
    found = answer(run, model, "--data", images, "--split", tmp_path / "own.json")
    assert found["images"] == len(ids) - 30
    assert all(one["recorded"] is None for one in found["metrics"].values())


def test_other_data_need_a_split(model: Path, run: Run, refusal: Refusal, tmp_path: Path) -> None:
    other = synthesize(tmp_path / "other", images=12, size=64, sequences=6, seed=7)
    assert "score every image with --split all" in refusal("val", model, "--data", other)
    assert "needs val, test, all or the path of a split file; got 'nothing'" in refusal(
        "val", model, "--data", other, "--split", "nothing"
    )
    found = answer(run, model, "--data", other, "--split", "all")
    assert (found["images"], found["same_data"]) == (12, False)
    (other / "classes.txt").write_text("truck\n")
    assert "its classes are truck; the model has object" in refusal("val", model, "--data", other)
    assert answer(run, model, "--data", other, "--split", "all", "--classes", "truck=object")["images"] == 12
    shutil.rmtree(other / "thermal")
    assert "no thermal images, which the model sees" in refusal("val", model, "--data", other)


def test_the_official_split_of_other_data_is_taken(model: Path, run: Run, tmp_path: Path) -> None:
    other = synthesize(tmp_path / "other", images=12, size=64, sequences=6, seed=7)
    ids = sorted(path.stem for path in (other / "rgb").iterdir())
    for name in ("rgb", "thermal", "event", "labels"):
        for place, id in enumerate(ids):
            part = other / name / ("train" if place < 8 else "test")
            part.mkdir(exist_ok=True)
            path = next((other / name).glob(f"{id}.*"))
            path.rename(part / path.name)
    assert answer(run, model, "--data", other)["images"] == 4
