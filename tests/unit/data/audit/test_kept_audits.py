"""An image that did not change is not read again, and what is kept of it is never taken for another's."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tune_cmx.config.trial import DataConfig
from tune_cmx.data.audit import KeptAudits, audit, kept, read_set, whole_set
from tune_cmx.data.audit.one_image import audit_image
from tune_cmx.data.prepare import prepare
from tune_cmx.data.readers import open_data
from tune_cmx.errors import DataError


@pytest.fixture(autouse=True)
def old_files(monkeypatch):
    """Files that were written a moment ago are taken for old ones."""
    monkeypatch.setattr("tune_cmx.data.audit.signatures._UNSURE_NS", -(10**18))


@pytest.fixture
def read(tmp_path, monkeypatch):
    """Read a set with the kept audits; the result must be that of a reading without them."""
    ids: list[str] = []

    def noted(data, image):
        ids.append(image.id)
        return audit_image(data, image)

    def one(root, **settings):
        data = open_data(root, **settings)
        ids.clear()
        monkeypatch.setattr(whole_set, "audit_image", noted)
        found, labels = read_set(data, kept=KeptAudits(data, tmp_path / "audits"))
        monkeypatch.setattr(whole_set, "audit_image", audit_image)
        fresh, fresh_labels = read_set(data)
        assert found == fresh
        assert found.fingerprint == audit(data).fingerprint
        for id, own in fresh_labels.items():
            assert labels[id].pixels == own.pixels
            for name in ("boxes", "classes", "ignore"):
                np.testing.assert_array_equal(getattr(labels[id], name), getattr(own, name), strict=True)
        return sorted(ids)

    return one


def test_nothing_is_read_a_second_time(folders, read):
    root = folders(labels={"a": "0 0.5 0.5 0.5 0.5\n0 0.1 0.1 0.1 0.1\n", "b": "", "c": "0 0.3 0.3 0.2 0.2\n"})
    assert read(root) == ["a", "b", "c"]
    assert read(root) == []


def test_a_changed_label_is_read_again_alone(folders, read):
    root = folders()
    read(root)
    (root / "labels/b.txt").write_text("0 0.5 0.5 0.5 0.4\n")  # as long as before
    assert read(root) == ["b"]
    assert read(root) == []
    (root / "labels/b.txt").unlink()
    assert read(root) == ["b"]


def test_an_image_of_the_same_size_and_time_is_read_again(folders, read):
    flat = np.full((8, 12), 7, dtype=np.uint8)
    root = folders(images={"thermal/a": flat})
    read(root)
    path = root / "thermal/a.png"
    status, other = path.stat(), bytearray(path.read_bytes())
    folders(images={"thermal/a": flat + 1}, name="other")
    other = (root.parent / "other/thermal/a.png").read_bytes()
    assert len(other) == status.st_size
    path.write_bytes(other)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert read(root) == ["a"]


def test_partners_that_were_swapped_are_read_again(packed, read):
    draw = np.random.default_rng(0)
    root = packed({id: draw.integers(0, 255, (8, 12, 5), dtype=np.uint8) for id in "abc"})
    read(root)
    first, second, aside = root / "images/a.npy", root / "images/b.npy", root / "aside"
    for path in (first, second):
        os.utime(path, ns=(1, 1))
    read(root)
    first.rename(aside)
    second.rename(first)
    aside.rename(second)
    assert read(root) == ["a", "b"]


def test_an_image_that_came_or_went(folders, read):
    root = folders(("a", "b", "c", "d"))
    gone = {path: path.read_bytes() for path in root.rglob("d.*")}
    read(root)
    for path in gone:
        path.unlink()
    assert read(root) == []
    for path, content in gone.items():
        path.write_bytes(content)
    assert read(root) == ["d"]


def test_other_classes_and_other_bands_have_files_of_their_own(folders, packed, read, tmp_path):
    root = folders(classes=("person", "car"), labels={"a": "0 0.5 0.5 0.5 0.5\n1 0.2 0.2 0.1 0.1\n", "b": "", "c": ""})
    read(root)
    assert read(root, classes={"car": "ignore"}) == ["a", "b", "c"]
    assert read(root, classes={"car": None}) == ["a", "b", "c"]
    assert read(root, classes={"car": "ignore"}) == []
    assert read(root) == []
    draw = np.random.default_rng(0)
    root = packed({id: draw.integers(0, 60000, (8, 12, 5), dtype=np.uint16) for id in "abc"})
    assert read(root) == ["a", "b", "c"]
    assert read(root, bands={"rgb": [2, 1, 0], "thermal": [4]}) == ["a", "b", "c"]
    assert read(root) == []
    assert len(list((tmp_path / "audits").glob("*.npz"))) == 5


def test_remarks_extremes_and_regions_are_kept(folders, read):
    draw = np.random.default_rng(0)
    images = {f"thermal/{id}": draw.integers(0, 9000, (8, 12)).astype(np.uint16) for id in "abc"}
    images |= {f"rgb/{id}": draw.integers(0, 255, (8, 12), dtype=np.uint8) for id in "ab"}
    root = folders(images=images, modalities=("rgb", "thermal"), classes=None, labels={})
    (root / "labels").rmdir()
    boxes = [{"image_id": number, "category_id": 1, "bbox": [1, 1, 5, 5], "iscrowd": number % 2} for number in range(3)]
    listed = {
        "images": [{"id": number, "file_name": f"{id}.png"} for number, id in enumerate("abc")],
        "categories": [{"id": 1, "name": "person"}],
        "annotations": boxes,
    }
    (root / "labels.json").write_text(json.dumps(listed))
    assert read(root) == ["a", "b", "c"]
    assert read(root) == []
    boxes[1]["bbox"][0] = 2
    (root / "labels.json").write_text(json.dumps(listed))
    assert read(root) == ["b"]


def test_an_image_with_a_problem_is_not_kept(folders, read):
    root = folders(labels={"a": "0 0.5 0.5 0.5 0.5\n", "b": "7 0.5 0.5 0.5 0.5\n", "c": ""})
    with pytest.raises(DataError, match=r"b\.txt:1: class is 7"):
        read(root)
    with pytest.raises(DataError, match=r"b\.txt:1: class is 7"):
        read(root)
    (root / "labels/b.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    assert read(root) == ["b"]


def test_a_file_that_changed_a_moment_ago_is_not_kept(folders, read, monkeypatch):
    monkeypatch.setattr("tune_cmx.data.audit.signatures._UNSURE_NS", 2 * 10**9)
    root = folders()
    assert read(root) == ["a", "b", "c"]
    assert read(root) == ["a", "b", "c"]


@pytest.mark.parametrize("damage", ["shorter", "one byte", "empty", "other"])
def test_a_damaged_file_is_ignored_and_written_again(folders, read, tmp_path, damage):
    root = folders()
    read(root)
    (path,) = (tmp_path / "audits").glob("*.npz")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    changed = {"shorter": path.read_bytes()[:-9], "one byte": bytes(content), "empty": b"", "other": b"x" * 999}
    path.write_bytes(changed[damage])
    assert read(root) == ["a", "b", "c"]
    assert read(root) == []


def test_another_version_of_the_code_reads_all(folders, read, monkeypatch):
    root = folders()
    read(root)
    monkeypatch.setattr(kept, "reading_code", lambda reader: "another")  # noqa: ARG005  # as the function is called
    assert read(root) == ["a", "b", "c"]


def test_the_files_that_were_used_last_are_kept(folders, read, tmp_path, monkeypatch):
    monkeypatch.setattr(kept, "FILES", 2)
    roots = [folders(name=f"set{number}") for number in range(3)]
    for age, root in enumerate(roots):
        read(root)
        for path in (tmp_path / "audits").glob("*.npz"):
            os.utime(path, (path.stat().st_mtime - 60 * (3 - age),) * 2)
    assert len(list((tmp_path / "audits").iterdir())) == 2
    assert [read(root) for root in roots[1:]] == [[], []]
    assert read(roots[0]) == ["a", "b", "c"]


def test_a_folder_that_cannot_be_written_is_a_warning(folders, read, tmp_path, caplog):
    (tmp_path / "audits").write_text("a file in place of the folder")
    assert read(folders()) == ["a", "b", "c"]
    assert "the audit cannot be kept" in caplog.text


def test_processes_may_keep_at_once(folders, read, tmp_path):
    root = folders(tuple(f"f{number}" for number in range(20)))
    data = open_data(root)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: read_set(data, kept=KeptAudits(data, tmp_path / "audits"))[0], range(16)))
    assert all(one == found[0] for one in found)
    assert read(root) == []
    assert [path.suffix for path in (tmp_path / "audits").iterdir()] == [".npz"]


def test_the_boxes_of_some_images(folders, tmp_path):
    data = open_data(folders())
    assert KeptAudits(data, tmp_path / "audits").labels(["b"]) == {}
    _, labels = read_set(data, kept=KeptAudits(data, tmp_path / "audits"))
    found = KeptAudits(data, tmp_path / "audits").labels(["c", "b"])
    assert sorted(found) == ["b", "c"]
    np.testing.assert_array_equal(found["b"].boxes, labels["b"].boxes)


def test_prepared_data_are_the_same_with_and_without(folders, tmp_path, monkeypatch):
    root = folders(tuple(f"f{number:02d}" for number in range(40)))
    monkeypatch.setattr("tune_cmx.storage.cache.audit_folder", lambda: tmp_path / "audits")
    config = DataConfig(root=str(root))
    first = prepare(config, tmp_path / "first")
    monkeypatch.setattr(whole_set, "audit_image", None)  # it is not called
    again = prepare(config, tmp_path / "again")
    assert again == replace(first, folder=again.folder)
    prepare(config, tmp_path / "first")
    for path in (tmp_path / "first").iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()


def test_labels_that_changed_after_the_preparation_are_noticed(folders, tmp_path, monkeypatch):
    root = folders(tuple(f"f{number:02d}" for number in range(40)))
    monkeypatch.setattr("tune_cmx.storage.cache.audit_folder", lambda: tmp_path / "audits")
    config = DataConfig(root=str(root))
    split = prepare(config, tmp_path / "first").split
    (Path(root) / f"labels/{split.test[0]}.txt").write_text("0 0.5 0.5 0.4 0.5\n")
    with pytest.raises(DataError, match="differ from those of the data"):
        prepare(config, tmp_path / "first")
