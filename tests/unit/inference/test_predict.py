"""Prediction on arrays and paths is what an evaluation computes, and what cannot be meant is refused."""

import gzip
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from complete_run import change
from PIL import Image

import tune_cmx as tc
from tune_cmx.errors import ConfigError, DataError
from tune_cmx.inference.trained_detector import TrainedDetector
from tune_cmx.training.run_folder import RunFolder


@pytest.fixture(scope="module")
def detector(model: Path) -> TrainedDetector:
    return tc.load(model, device="cpu")


@pytest.fixture(scope="module")
def pair(images: Path) -> dict[str, Any]:
    """Paths of one moment."""
    id = sorted(path.stem for path in (images / "rgb").iterdir())[0]
    return {name: images / name / f"{id}.png" for name in ("rgb", "thermal")}


def arrays(paths: dict[str, Any]) -> dict[str, Any]:
    return {name: np.asarray(Image.open(path)) for name, path in paths.items()}


def test_predictions_are_the_stored_detections_of_the_evaluation(
    detector: TrainedDetector, run: RunFolder, images: Path
) -> None:
    stored = json.loads(gzip.decompress((run.folder / "detections.json.gz").read_bytes()))
    ids = json.loads((run.folder / "model" / "split.json").read_text())["test"]
    given = {name: [images / name / f"{id}.png" for id in ids] for name in ("rgb", "thermal")}
    found = [one for place, each in enumerate(detector.predict(**given)) for one in each.to_coco(place)]  # type: ignore[arg-type]
    assert len(found) == len(stored) > 10
    for mine, theirs in zip(found, stored, strict=True):
        assert (mine["image_id"], mine["category_id"]) == (theirs["image_id"], theirs["category_id"])
        assert mine["bbox"] == pytest.approx(theirs["bbox"], abs=1e-4)
        assert mine["score"] == pytest.approx(theirs["score"], abs=1e-4)


def test_paths_arrays_and_lists_give_the_same(detector: TrainedDetector, pair: dict[str, Any]) -> None:
    by_path, by_array = detector.predict(**pair), detector.predict(**arrays(pair))
    by_text = detector.predict(**{name: str(path) for name, path in pair.items()})
    first, second = detector.predict(rgb=[pair["rgb"]] * 2, thermal=[pair["thermal"]] * 2)
    for found in (by_array, by_text, first, second):
        np.testing.assert_allclose(found.boxes, by_path.boxes, atol=1e-4)
        assert found.classes == by_path.classes
    assert by_path.boxes.shape == (len(by_path), 4)
    assert (by_path.height, by_path.width) == (64, 64)
    assert list(by_path.scores) == sorted(by_path.scores, reverse=True)
    assert set(by_path.classes) == {"object"}


def test_bands_may_be_repeated_and_floats_are_from_0_to_1(detector: TrainedDetector, pair: dict[str, Any]) -> None:
    plain = arrays(pair)
    thermal = plain["thermal"]
    three = np.repeat(thermal[:, :, None], 3, axis=2)
    wide = {"rgb": plain["rgb"].astype(np.float64) / 255, "thermal": thermal.astype(np.uint16) * 257}
    for other in ({**plain, "thermal": three}, {**plain, "thermal": thermal[:, :, None]}, wide):
        np.testing.assert_allclose(detector.predict(**other).boxes, detector.predict(**plain).boxes, atol=1e-3)


def test_a_higher_score_leaves_the_weaker_ones_out(detector: TrainedDetector, pair: dict[str, Any]) -> None:
    every = detector.predict(**pair)
    limit = float(np.median(every.scores))
    some = detector.predict(**pair, score=limit)
    assert some.scores.tolist() == [score for score in every.scores.tolist() if score > limit]
    assert len(detector.predict(**pair, score=0.001)) >= len(every) == len(detector.predict(**pair))


def test_what_cannot_be_meant_is_refused(detector: TrainedDetector, pair: dict[str, Any]) -> None:
    plain = arrays(pair)
    rgb, thermal = plain["rgb"], plain["thermal"]
    refused: list[tuple[dict[str, Any], str]] = [
        ({"rgb": rgb}, "thermal: is missing; the detector needs rgb, thermal. It was trained without modality dropout"),
        ({"rgb": rgb, "thermal": None}, "thermal: is None; It was trained without modality dropout"),
        ({**plain, "event": thermal}, "event: the detector sees rgb, thermal only; leave event out"),
        ({"rgb": [rgb], "thermal": thermal}, "rgb has 1, thermal has one image"),
        ({"rgb": [rgb], "thermal": [thermal] * 2}, "rgb has 1, thermal has 2"),
        ({**plain, "score": 0.0}, "score: must be above 0"),
        ({"rgb": rgb, "thermal": thermal[:32]}, "rgb 64 x 64 and thermal 64 x 32 pixels; .* need one size"),
        ({"rgb": rgb.transpose(2, 0, 1), "thermal": thermal}, r"rgb: shape is \(3, 64, 64\); H x W x 3 is needed"),
        ({"rgb": rgb.astype(np.float32), "thermal": thermal}, "floats must be from 0 to 1"),
        ({"rgb": rgb, "thermal": Path("nowhere.png")}, "thermal nowhere.png: cannot be read"),
        ({"rgb": rgb > 3, "thermal": thermal}, "numbers are bool"),
    ]
    for given, words in refused:
        with pytest.raises((ConfigError, DataError), match=words):
            detector.predict(**given)


def test_a_missing_modality_is_shown_as_its_mean_after_modality_dropout(
    model: Path, tmp_path: Path, pair: dict[str, Any]
) -> None:
    copied = Path(shutil.copytree(model, tmp_path / "copied"))
    content = json.loads((copied / "model.json").read_text())
    content["config"]["data"]["augment"]["modality_dropout"] = 0.2
    change(copied / "model.json", config=content["config"])
    detector = tc.load(copied, device="cpu")
    with pytest.raises(ConfigError, match="trained with modality dropout: thermal=None shows the training mean"):
        detector.predict(rgb=pair["rgb"])
    with pytest.raises(ConfigError, match="every modality is None"):
        detector.predict(rgb=None, thermal=None)
    found = detector.predict(rgb=pair["rgb"], thermal=None)
    mean = np.full((64, 64), content["modalities"]["thermal"]["mean"][0], dtype=np.float32)
    np.testing.assert_allclose(found.boxes, detector.predict(rgb=pair["rgb"], thermal=mean).boxes, atol=1e-4)


def test_raw_pixels_of_another_type_than_the_range_are_refused(
    model: Path, tmp_path: Path, pair: dict[str, Any]
) -> None:
    copied = Path(shutil.copytree(model, tmp_path / "copied"))
    modalities = json.loads((copied / "model.json").read_text())["modalities"]
    modalities["thermal"] |= {"number_type": "uint16", "scale": {"kind": "percentile", "low": 7000.0, "high": 9000.0}}
    change(copied / "model.json", modalities=modalities)
    detector = tc.load(copied, device="cpu")
    with pytest.raises(DataError, match="thermal: uint8 pixels; the training images are uint16 with the range 7000 to"):
        detector.predict(**pair)
    raw = 7000 + 5 * np.asarray(Image.open(pair["thermal"])).astype(np.uint16)
    by_type, by_float = (detector.predict(rgb=pair["rgb"], thermal=one) for one in (raw, raw.astype(np.float32)))
    np.testing.assert_allclose(by_type.boxes, by_float.boxes, atol=1e-4)
