"""Ignore regions from the label file to the target and the ground truth: neither objects nor background."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from region_reader import RegionReader

from tune_cmx.config.trial import AugmentConfig, DataConfig
from tune_cmx.data.dataset import PairedDataset
from tune_cmx.data.ground_truth import ground_truth, keep_ground_truth
from tune_cmx.data.labels.base import Labels
from tune_cmx.data.labels.classes import ANY_CLASS, class_map
from tune_cmx.data.prepare import load_prepared, prepare
from tune_cmx.data.readers import READERS, PairedData, open_data
from tune_cmx.data.transforms import Geometry, apply_geometry, apply_to_regions, draw_geometry
from tune_cmx.errors import DataError
from tune_cmx.evidence.results.image_scores import Images

OBJECT, REGION = "0 0.5 0.25 0.5 0.5\n", "ignore 1 0.25 0.5 0.5 1\n"
LABELS = {"a": REGION + OBJECT + REGION, "b": REGION, "c": OBJECT, "d": ""}


@pytest.fixture
def root(folders: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of 8 rows and 12 columns."""
    monkeypatch.setitem(READERS, "folders", RegionReader())
    ids = [f"{number}{kind}" for number in range(6) for kind in LABELS]
    return folders(ids, labels={id: LABELS[id[1]] for id in ids}, classes=["person", "car"])


@pytest.fixture
def data(root: Path) -> PairedData:
    return open_data(root)


def target_of(data: PairedData, id: str, **settings: Any) -> dict[str, torch.Tensor]:
    return PairedDataset(data, [id], ["rgb"], **{"augment": None, "seed": 0, **settings})[0][1]


def test_labels_have_no_ignore_regions_unless_told() -> None:
    labels = Labels(np.zeros((2, 4)), np.array([0, 1]))
    assert labels.ignore.dtype == np.bool_
    assert labels.ignore.tolist() == [False, False]


def test_a_target_holds_objects_and_ignore_regions_apart(data: PairedData) -> None:
    target = target_of(data, "0a")
    assert target["boxes"].tolist() == [[3.0, 0.0, 9.0, 4.0]]
    assert target["labels"].tolist() == [1]
    assert target["ignore"].tolist() == [[0.0, 0.0, 6.0, 8.0]] * 2
    assert target["ignore"].dtype == torch.float32
    for id, counts in {"0b": (0, 0, 1), "0c": (1, 1, 0), "0d": (0, 0, 0)}.items():
        target = target_of(data, id)
        assert (len(target["boxes"]), len(target["labels"]), len(target["ignore"])) == counts
        assert target["ignore"].shape[1:] == (4,)


def test_ignore_regions_move_with_the_image(data: PairedData) -> None:
    augment = AugmentConfig(flip=1.0, scale=(1.0, 1.0))
    assert target_of(data, "0b", augment=augment)["ignore"].tolist() == [[6.0, 0.0, 12.0, 8.0]]


@given(seed=st.integers(0, 2**32), low=st.floats(0.3, 1), high=st.floats(1, 3))
def test_a_region_goes_where_a_box_goes_and_stays_however_little_is_visible(seed: int, low: float, high: float) -> None:
    height, width = 40, 56
    boxes = torch.tensor([[0.0, 0, 56, 40], [3, 4, 20, 30], [50, 30, 55, 38], [0, 0, 6, 7]])
    geometry = draw_geometry(AugmentConfig(scale=(low, high)), height, width, torch.Generator().manual_seed(seed))
    _, as_boxes, kept = apply_geometry(torch.zeros(1, height, width), boxes, geometry)
    regions = apply_to_regions(boxes, geometry, height, width)
    found = {tuple(region) for region in regions.tolist()}
    assert {tuple(box) for box in as_boxes.tolist()} <= found
    assert len(regions) >= int(kept.sum())
    assert ((regions[:, 2:] - regions[:, :2]) > 0).all()
    assert (regions >= 0).all()
    assert (regions[:, 2] <= width).all()
    assert (regions[:, 3] <= height).all()


def test_a_sliver_of_a_region_stays_where_a_box_would_be_dropped() -> None:
    left_half = Geometry(flip=False, top=0, left=0, height=40, width=28)
    box = torch.tensor([[27.0, 0, 47, 40]])
    assert len(apply_geometry(torch.zeros(1, 40, 56), box, left_half)[1]) == 0
    assert apply_to_regions(box, left_half, 40, 56).tolist() == [[54.0, 0.0, 56.0, 40.0]]
    assert apply_to_regions(torch.zeros(0, 4), left_half, 40, 56).shape == (0, 4)


def test_ground_truth_holds_them_as_crowd_boxes(data: PairedData) -> None:
    truth = ground_truth(data, ["0a"], {"0a": (8, 12)})
    assert [(box["category_id"], box["iscrowd"], box["bbox"]) for box in truth["annotations"]] == [
        (2, 1, [0.0, 0.0, 6.0, 8.0]),
        (1, 0, [3.0, 0.0, 6.0, 4.0]),
        (2, 1, [0.0, 0.0, 6.0, 8.0]),
    ]


def test_a_region_for_every_class_is_there_once_for_each(root: Path, tmp_path: Path) -> None:
    """A class that is named `ignore` makes such regions; in the set's counts each is one."""
    (root / "classes.txt").write_text("person\ncar\ndog\n")
    for path in (root / "labels").iterdir():
        path.write_text(OBJECT + "2 0.25 0.5 0.5 1\n")
    config = DataConfig(root=str(root), guard=0, classes={"dog": "ignore"})
    prepared = prepare(config, tmp_path / "kept")
    id = prepared.split.test[0]
    assert target_of(prepared.data, id)["ignore"].tolist() == [[0.0, 0.0, 6.0, 8.0]]
    truth = ground_truth(prepared.data, [id], prepared.audit.sizes)
    assert [(box["category_id"], box["iscrowd"]) for box in truth["annotations"]] == [(1, 0), (1, 1), (2, 1)]
    assert prepared.audit.ignored[id] == 1
    assert [len(own) for own in Images.of(truth).ignored] == [1]
    assert prepare(config, prepared.folder).audit == prepared.audit


def test_a_region_for_every_class_stays_one_when_classes_are_mapped() -> None:
    labels = Labels(np.array([[0.0, 0, 1, 1]] * 3), np.array([ANY_CLASS, 0, 1]), np.array([True, False, True]))
    found = labels.mapped(class_map(["person", "car"], "labels", {"car": None}))
    assert (found.classes.tolist(), found.ignore.tolist()) == ([ANY_CLASS, 0], [True, False])


def test_they_are_counted_apart_from_boxes(root: Path, tmp_path: Path) -> None:
    prepared = prepare(DataConfig(root=str(root), guard=0), tmp_path / "kept")
    found = prepared.audit
    assert (found.boxes["0a"], found.boxes["0b"], found.boxes["0c"]) == (1, 0, 1)
    assert (found.ignored["0a"], found.ignored["0b"]) == (2, 1)
    assert not {"0c", "0d"} & {*found.ignored}
    assert found.class_boxes == {"person": 12, "car": 0}
    assert found.negatives == 12  # b and d
    assert "class 'car' has no box" in found.warnings
    counts = prepared.summary()["counts"].values()
    assert [sum(part[name] for part in counts) for name in ("images", "boxes", "negatives", "ignored")] == [
        24,
        12,
        12,
        18,
    ]
    assert load_prepared(DataConfig(root=str(root)), prepared.folder).audit == found


def test_images_whose_boxes_are_all_ignored_cannot_be_learnt_from(root: Path, tmp_path: Path) -> None:
    for path in (root / "labels").iterdir():
        path.write_text(REGION)
    with pytest.raises(DataError, match="no image has a box"):
        prepare(DataConfig(root=str(root)), tmp_path / "kept")


def test_a_box_that_becomes_a_region_is_noticed(root: Path, data: PairedData, tmp_path: Path) -> None:
    config = DataConfig(root=str(root), guard=0)
    prepared = prepare(config, tmp_path / "kept")
    id = next(id for id in prepared.split.test if id.endswith("c"))
    (root / "labels" / f"{id}.txt").write_text("ignore " + OBJECT)
    with pytest.raises(DataError, match=f"the labels of 1 images changed .*, such as {id}"):
        prepare(config, prepared.folder)
    truth = ground_truth(data, prepared.split.test, prepared.audit.sizes)
    with pytest.raises(DataError, match=f"the boxes of 1 images differ from those of the data, such as {id}"):
        keep_ground_truth({"info": prepared.hashes(), **truth}, prepared.folder / "ground_truth_test.json.gz")


def test_crowd_boxes_of_coco_are_ignore_regions(folders: Callable[..., Path]) -> None:
    root = folders(["a"], labels={}, classes=None)
    (root / "labels").rmdir()
    boxes = [{"bbox": [1, 2, 3, 4], "iscrowd": 0}, {"bbox": [5, 0, 9, 9], "iscrowd": 1}]
    content = {
        "images": [{"id": 7, "file_name": "a.png", "height": 8, "width": 12}],
        "categories": [{"id": 3, "name": "person"}],
        "annotations": [{"id": n, "image_id": 7, "category_id": 3, **box} for n, box in enumerate(boxes)],
    }
    (root / "annotations.json").write_text(json.dumps(content))
    data = open_data(root)
    target = target_of(data, "a")
    assert target["boxes"].tolist() == [[1.0, 2.0, 4.0, 6.0]]
    assert target["ignore"].tolist() == [[5.0, 0.0, 12.0, 8.0]]  # crowds are drawn roughly; the region is clipped
    truth = ground_truth(data, ["a"], {"a": (8, 12)})
    assert [(box["iscrowd"], box["bbox"]) for box in truth["annotations"]] == [
        (0, [1.0, 2.0, 3.0, 4.0]),
        (1, [5.0, 0.0, 7.0, 8.0]),
    ]
