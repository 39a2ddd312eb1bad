"""Ranges and statistics of a training part, found from files in the true form."""

import json

import numpy as np
import pytest
from PIL import Image

from tune_cmx.config.data.ranges import PixelRange, PixelRanges
from tune_cmx.config.trial import DataConfig
from tune_cmx.data import pixel_statistics as module
from tune_cmx.data.audit import audit
from tune_cmx.data.pixel_range import scales_of
from tune_cmx.data.pixel_statistics import modality_statistics
from tune_cmx.data.prepare import load_prepared, prepare
from tune_cmx.data.readers import open_data
from tune_cmx.errors import DataError

IDS = ("a", "b", "c")
DRAW = np.random.default_rng(4)
RAW = {id: DRAW.integers(7000, 9000, (8, 12)).astype(np.uint16) for id in IDS}
KELVIN = {id: DRAW.normal(290, 10, (8, 12)).astype(np.float32) for id in IDS}
COUNTS = {id: DRAW.integers(-(10**6), 10**6, (8, 12)).astype(np.int32) for id in IDS}
TRAIN = ("a", "b")


@pytest.fixture
def found(folders):
    """Statistics of the thermal images of a set over its first two images."""

    def find(images, asked=None):
        root = folders(IDS, modalities=["thermal"])
        for id, pixels in images.items():
            (root / "thermal" / f"{id}.png").unlink()
            Image.fromarray(pixels).save(root / "thermal" / f"{id}.tif")
        data = open_data(root)
        return modality_statistics(data, audit(data), TRAIN, "thermal", asked)

    return find


def expected(images, low, high):
    scaled = np.clip((np.concatenate([images[id].ravel() for id in TRAIN]).astype(float) - low) / (high - low), 0, 1)
    return {"mean": [pytest.approx(scaled.mean(), rel=1e-5)], "std": [pytest.approx(scaled.std(), rel=1e-5)]}


@pytest.mark.parametrize("images", [RAW, KELVIN, COUNTS], ids=["uint16", "float32", "int32"])
def test_percentiles_of_the_training_part_are_the_default_of_raw_images(found, images):
    pixels = np.concatenate([images[id].ravel() for id in TRAIN])
    low, high = np.percentile(pixels, (0.1, 99.9))
    statistics = found(images)
    assert statistics["asked"] is None
    assert statistics["type"] == pixels.dtype.name
    assert statistics["scale"]["kind"] == "percentile"
    assert (statistics["scale"]["low"], statistics["scale"]["high"]) == pytest.approx((low, high))
    assert {key: statistics[key] for key in ("mean", "std")} == expected(images, low, high)
    assert statistics["outside"] == pytest.approx(((pixels < low) | (pixels > high)).mean())


@pytest.mark.parametrize("images", [RAW, KELVIN, COUNTS], ids=["uint16", "float32", "int32"])
def test_a_given_range(found, images):
    low, high = (7200, 8800) if images is RAW else (285, 300) if images is KELVIN else (-(10**5), 10**5)
    statistics = found(images, PixelRange(kind="fixed", low=low, high=high))
    assert {key: statistics[key] for key in ("mean", "std")} == expected(images, low, high)
    assert statistics["asked"]["kind"] == "fixed"


def test_images_of_8_bits_and_floats_from_0_to_1_keep_their_full_range(found):
    grey = {id: DRAW.integers(0, 256, (8, 12), dtype=np.uint8) for id in IDS}
    statistics = found(grey)
    assert statistics["scale"] == {"kind": "type", "low": 0, "high": 255, "plateau": None}
    assert {key: statistics[key] for key in ("mean", "std")} == expected(grey, 0, 255)


def test_floats_from_0_to_1_keep_their_full_range(found):
    assert found({id: (pixels - 200) / np.float32(200) for id, pixels in KELVIN.items()})["scale"]["kind"] == "type"


@pytest.mark.parametrize("kind", ["image", "plateau"])
def test_ranges_of_each_image(found, kind):
    statistics = found(RAW, PixelRange(kind=kind))
    scaled = [scales_of({"thermal": statistics})["thermal"].scaled(RAW[id][:, :, None]) for id in TRAIN]
    assert statistics["mean"] == [pytest.approx(np.mean(scaled), rel=1e-5)]
    assert statistics["std"] == [pytest.approx(np.std(scaled), rel=1e-5)]
    assert statistics["outside"] == 0


def test_images_that_are_nearly_constant_have_their_full_extent(found):
    sparse = {id: np.zeros((8, 120), dtype=np.uint16) for id in IDS}
    sparse["a"][0, 0] = 40
    labels_too = found(sparse, PixelRange(kind="percentile", low=5, high=95))
    assert (labels_too["scale"]["low"], labels_too["scale"]["high"]) == (0, 40)


@pytest.mark.parametrize(("images", "number_type"), [(COUNTS, "int32"), (KELVIN, "float32")])
def test_a_number_type_without_a_full_range_is_refused(found, images, number_type):
    with pytest.raises(DataError, match=rf"data\.range\.thermal: kind type needs .* these are {number_type} from"):
        found(images, PixelRange(kind="type"))


def test_a_range_in_other_units_is_refused(found):
    with pytest.raises(DataError, match=r"no pixel of the training part lies in 20\.\.40; give low and high in the"):
        found(KELVIN, PixelRange(kind="fixed", low=20, high=40))


def test_a_sample_stands_for_many_pixels(found, monkeypatch):
    monkeypatch.setattr(module, "SAMPLE", 4000)
    many = {id: DRAW.normal(290, 10, (64, 64)).astype(np.float32) for id in IDS}
    asked = PixelRange(kind="percentile", low=25, high=75)
    scale = found(many, asked)["scale"]
    exact = np.percentile(np.stack([many[id] for id in TRAIN]), (25, 75)).tolist()
    assert [scale["low"], scale["high"]] == pytest.approx(exact, abs=1)
    assert [scale["low"], scale["high"]] != exact


class TestPrepared:
    @pytest.fixture
    def config(self, folders):
        ids = [f"f{number:02d}" for number in range(24)]
        raw = {f"thermal/{id}": DRAW.integers(7000, 9000, (8, 12)).astype(np.uint16) for id in ids}
        return DataConfig(root=str(folders(ids, images=raw)), split_by="frame")

    def test_the_range_is_kept_with_the_split(self, config, tmp_path):
        first = prepare(config, tmp_path / "kept")
        stored = json.loads((tmp_path / "kept" / "split.json").read_text())["statistics"]
        assert stored["thermal"]["scale"]["kind"] == "percentile"
        again = load_prepared(config, tmp_path / "kept")
        assert again.pixel_statistics(config.range) == first.pixel_statistics(config.range) == stored

    def test_other_ranges_are_found_once_and_kept(self, config, tmp_path, monkeypatch):
        prepared = prepare(config, tmp_path / "kept")
        ranges = PixelRanges(thermal=PixelRange(kind="plateau"))
        found = prepared.pixel_statistics(ranges)
        assert found["thermal"]["scale"]["kind"] == "plateau"
        assert found["rgb"] == prepared.split.statistics["rgb"]
        monkeypatch.setattr("tune_cmx.data.prepare.modality_statistics", None)
        assert load_prepared(config, tmp_path / "kept").pixel_statistics(ranges) == found

    def test_progress_is_called_for_the_second_reading(self, config, tmp_path):
        calls = []
        prepared = prepare(config, tmp_path / "kept", progress=lambda done, total: calls.append((done, total)))
        train = len(prepared.split.train)
        assert calls == [(done, 24) for done in range(1, 25)] + [(done, train) for done in range(1, train + 1)]
