"""Frames drawn small, with what is there and what was found."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from region_reader import RegionReader

from tune_cmx.config.trial import DataConfig
from tune_cmx.data.dataset import PairedDataset
from tune_cmx.data.ground_truth import ground_truth
from tune_cmx.data.prepare import Prepared, prepare
from tune_cmx.data.readers import READERS, open_data
from tune_cmx.data.synthetic import synthesize
from tune_cmx.training.tensorboard.pictures import FRAMES, Picture, Pictures


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    folder = tmp_path_factory.mktemp("pictures")
    root = synthesize(folder / "set", images=18, size=64, sequences=6, seed=0)
    return prepare(DataConfig(root=str(root)), folder / "prepared")


def _pictures(prepared: Prepared, modalities: tuple[str, ...] = ("rgb", "thermal", "event")) -> Pictures:
    ids = prepared.split.train
    dataset = PairedDataset(prepared.data, ids, modalities, augment=None, seed=0)
    return Pictures(dataset, ground_truth(prepared.data, ids, prepared.audit.sizes))


def _pixels(picture: Picture) -> np.ndarray[Any, Any]:
    image = Image.open(io.BytesIO(picture.jpeg))
    assert image.format == "JPEG"
    assert image.size == (picture.width, picture.height)
    return np.asarray(image).astype(int)


def _found(prepared: Prepared, id: str, **changes: Any) -> dict[str, Any]:
    place = prepared.split.train.index(id)
    return {"image_id": place, "category_id": 1, "bbox": [8.0, 8.0, 48.0, 48.0], "score": 0.9, **changes}


def test_the_same_frames_come_each_time_and_take_a_few_kib(prepared: Prepared) -> None:
    first, second = _pictures(prepared).draw([]), _pictures(prepared).draw([])
    assert first == second
    assert len(first) == FRAMES
    assert list(first) == [id for id in prepared.split.train if id in first]
    assert all(len(picture.jpeg) < 12 * 1024 for picture in first.values())


@pytest.mark.parametrize(("modalities", "panels"), [(("rgb",), 1), (("thermal", "event"), 2), (("rgb", "event"), 2)])
def test_every_band_is_shown(prepared: Prepared, modalities: tuple[str, ...], panels: int) -> None:
    for picture in _pictures(prepared, modalities).draw([]).values():
        assert picture.width == panels * picture.height  # frames are square


def test_detections_are_drawn_on_every_band_of_their_frame_alone(prepared: Prepared) -> None:
    pictures = _pictures(prepared)
    before = pictures.draw([])
    id, *others = before
    after = pictures.draw([_found(prepared, id)])
    assert [after[other] == before[other] for other in others] == [True] * len(others)
    changed = np.abs(_pixels(after[id]) - _pixels(before[id])).sum(axis=2) > 60
    height = before[id].height
    side, top = round(height * 8 / 64), slice(round(height * 16 / 64), round(height * 48 / 64))
    for panel in range(3):
        assert changed[top, panel * height + side].mean() > 0.9, "the left side of the box"


def test_weak_detections_are_left_out(prepared: Prepared) -> None:
    pictures = _pictures(prepared)
    before = pictures.draw([])
    id = next(iter(before))
    assert pictures.draw([_found(prepared, id, score=0.1)]) == before


def test_nothing_is_drawn_from_the_global_generators(prepared: Prepared) -> None:
    import torch

    state = torch.get_rng_state(), np.random.get_state()[1].tolist()  # noqa: NPY002  # the global one is meant
    _pictures(prepared).draw([])
    assert torch.equal(torch.get_rng_state(), state[0])
    assert np.random.get_state()[1].tolist() == state[1]  # noqa: NPY002


def test_ignore_regions_are_grey_and_an_image_with_them_alone_is_not_chosen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(READERS, "folders", RegionReader())
    root = synthesize(tmp_path / "set", images=6, size=64, sequences=3, seed=0)
    ids = sorted(path.stem for path in (root / "labels").iterdir())
    both, alone = "0 0.75 0.75 0.3 0.3\nignore 0 0.3 0.3 0.4 0.4\n", "ignore 0 0.3 0.3 0.4 0.4\n"
    for place, id in enumerate(ids):
        (root / "labels" / f"{id}.txt").write_text(both if place < 2 else alone)
    data = open_data(root)
    dataset = PairedDataset(data, ids, ("thermal",), augment=None, seed=0)
    pictures = Pictures(dataset, ground_truth(data, ids, dict.fromkeys(ids, (64, 64)))).draw([])
    assert list(pictures) == ids[:2]
    for picture in pictures.values():
        edge, top = round(160 * 0.1), slice(30, 70)  # the left side of the region
        column = _pixels(picture)[top, edge]
        assert np.abs(column - 150).max() < 40


def test_a_part_without_objects_has_pictures_too(prepared: Prepared) -> None:
    ids = prepared.split.train
    dataset = PairedDataset(prepared.data, ids, ("rgb",), augment=None, seed=0)
    assert len(Pictures(dataset, {"annotations": []}).draw([])) == FRAMES
