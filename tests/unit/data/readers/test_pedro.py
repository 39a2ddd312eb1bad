"""PEDRo as it lies on the disk."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from event_sets import pedro

from tune_cmx.config.data.events import EventsConfig, EventWindow
from tune_cmx.data.audit import audit
from tune_cmx.data.readers import open_data, read_image, read_labels
from tune_cmx.errors import DataError


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return pedro(tmp_path / "set")


def test_samples_parts_and_boxes_are_read(root) -> None:
    data = open_data(root)
    assert len(data.images) == 18
    assert data.images[1].id == "frame0000007"
    assert data.classes == ("person",)
    assert data.bands == {"event": (0, 1)}
    assert [sum(image.part == part for image in data.images) for part in ("train", "val", "test")] == [6, 6, 6]
    assert read_labels(data, data.images[1]).in_pixels(260, 346).round(6).tolist() == [[80, 40, 140, 160]]
    assert len(read_labels(data, data.images[0]).boxes) == 2


def test_the_events_lie_on_the_edges_of_the_box(root) -> None:
    image = read_image(open_data(root), open_data(root).images[1], ["event"])["event"]
    assert image.shape == (260, 346, 2)
    assert set(np.nonzero(image[:, :, 1])[1].tolist()) == {80}
    assert set(np.nonzero(image[:, :, 0])[1].tolist()) == {139}


def test_the_boxes_of_the_xml_files_are_the_same(root) -> None:
    text = audit(open_data(root))
    shutil.rmtree(root / "yolo")
    xml = audit(open_data(root))
    assert (xml.class_boxes, xml.sizes) == (text.class_boxes, text.sizes)
    assert xml.class_boxes == {"person": 24}


def test_another_window_and_representation(root) -> None:
    config = EventsConfig(representation="time_surface", window=EventWindow(events=10))
    data = open_data(root, events=config)
    assert 0 < np.count_nonzero(read_image(data, data.images[0], ["event"])["event"]) <= 10


def test_labels_without_a_sample_are_counted(root) -> None:
    (root / "numpy" / "train" / "frame0000007.npy").unlink()
    data = open_data(root)
    assert len(data.images) == 17
    assert data.remarks == ("label files in yolo/ that were not read, as they have no sample: train/frame0000007",)


def test_a_set_without_any_label_of_a_sample_is_refused(root) -> None:
    for part in ("train", "val", "test"):
        for path in (root / "yolo" / part).glob("*.txt"):
            path.rename(path.with_name(f"x{path.name}"))
    with pytest.raises(DataError, match=r"yolo: no label file for a sample"):
        open_data(root)


def test_equal_names_in_two_parts_are_two_images(root) -> None:
    for folder, suffix in (("numpy", "npy"), ("yolo", "txt")):
        (root / folder / "val" / f"frame0001000.{suffix}").rename(root / folder / "val" / f"frame0000000.{suffix}")
    data = open_data(root)
    assert len(data.images) == 18
    assert {image.id for image in data.images} >= {"train_frame0000000", "val_frame0000000"}
    assert audit(data).class_boxes == {"person": 24}


def test_a_corrupt_sample_is_named_by_the_audit(root) -> None:
    (root / "numpy" / "train" / "frame0000007.npy").write_bytes(b"nothing of the kind")
    with pytest.raises(DataError, match=r"frame0000007\.npy: corrupt, or no numpy array"):
        audit(open_data(root))
