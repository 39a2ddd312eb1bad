"""A data set audited and split once, and read back by every trial."""

import json
import shutil
from pathlib import Path

import pytest

from tune_cmx.config.data.ranges import PixelRange, PixelRanges
from tune_cmx.config.trial import DataConfig
from tune_cmx.data.prepare import load_prepared, prepare
from tune_cmx.data.synthetic import synthesize
from tune_cmx.errors import DataError


@pytest.fixture
def config(tmp_path: Path) -> DataConfig:
    root = synthesize(tmp_path / "set", images=12, size=32, sequences=6, seed=0)
    return DataConfig(root=str(root))


def test_what_is_read_back_is_what_was_prepared(config: DataConfig, tmp_path: Path) -> None:
    first = prepare(config, tmp_path / "kept")
    again = load_prepared(config, tmp_path / "kept")
    assert (again.audit, again.split) == (first.audit, first.split)
    assert again.hashes() == first.hashes()
    assert set(again.split.statistics) == {"rgb", "thermal", "event"}


def test_a_folder_prepared_before_is_not_read_again(config: DataConfig, tmp_path: Path) -> None:
    prepare(config, tmp_path / "kept")
    done: list[int] = []
    prepare(config, tmp_path / "kept", progress=lambda images, _: done.append(images))
    assert done == []


def test_an_audit_of_version_0_1_0_is_read_with_the_classes_of_the_labels(config: DataConfig, tmp_path: Path) -> None:
    first = prepare(config, tmp_path / "kept")
    path, split = (tmp_path / "kept" / name for name in ("audit.json", "split.json"))
    names = ("sizes", "class_boxes", "negatives", "fingerprint", "warnings")
    old = {name: first.audit.to_json()[name] for name in names}
    old["sums"] = dict(first.audit.sums)
    path.write_text(json.dumps({**old, "boxes": first.audit.boxes}))
    content = json.loads(split.read_text())
    for modality, found in content["statistics"].items():
        content["statistics"][modality] = {name: found[name] for name in ("mean", "std")}
    split.write_text(json.dumps(content))
    fresh = prepare(config, tmp_path / "fresh")
    for again in (load_prepared(config, tmp_path / "kept"), prepare(config, tmp_path / "kept")):
        assert (again.audit.classes, again.audit.boxes) == (first.audit.classes, first.audit.boxes)
        assert again.hashes() == first.hashes()
        assert again.pixel_statistics(config.range)["thermal"].keys() == {"mean", "std"}
        plateau = PixelRanges(thermal=PixelRange(kind="plateau"))
        found = again.pixel_statistics(plateau)["thermal"]
        assert found == fresh.pixel_statistics(plateau)["thermal"]


def test_a_damaged_audit_is_named(config: DataConfig, tmp_path: Path) -> None:
    prepare(config, tmp_path / "kept")
    (tmp_path / "kept" / "audit.json").write_text('{"sizes": {')
    for read in (load_prepared, prepare):
        with pytest.raises(DataError, match=r"audit\.json: not valid JSON"):
            read(config, tmp_path / "kept")


def test_the_summary_counts_each_part(config: DataConfig, tmp_path: Path) -> None:
    summary = prepare(config, tmp_path / "kept").summary()
    assert sum(part["images"] for part in summary["counts"].values()) == 12
    labels = [path.read_text() for path in (Path(str(config.root)) / "labels").iterdir()]
    assert sum(part["boxes"] for part in summary["counts"].values()) == sum(text.count("\n") for text in labels)
    assert sum(part["negatives"] for part in summary["counts"].values()) == sum(not text for text in labels)


def test_images_that_a_given_split_leaves_out_are_counted_and_named(config: DataConfig, tmp_path: Path) -> None:
    drawn = prepare(config, tmp_path / "drawn")
    assert drawn.summary()["left_out"] == {"images": 0, "boxes": 0, "negatives": 0, "ignored": 0}
    left, *train = drawn.split.train
    given = {"train": train, "val": drawn.split.val, "test": drawn.split.test}
    (tmp_path / "given.json").write_text(json.dumps(given))
    config = config.model_copy(update={"split": str(tmp_path / "given.json")})
    summary = prepare(config, tmp_path / "kept").summary()
    boxes = drawn.audit.boxes[left]
    assert summary["left_out"] == {"images": 1, "boxes": boxes, "negatives": int(boxes == 0), "ignored": 0}
    text = f"the given split leaves out 1 of 12 images: {left}"
    assert {"kind": "left out", "text": text} in summary["warnings"]
    assert load_prepared(config, tmp_path / "kept").summary() == summary


def test_images_that_went_are_noticed(config: DataConfig, tmp_path: Path) -> None:
    prepare(config, tmp_path / "kept")
    for folder in ("rgb", "thermal", "event", "labels"):
        next((Path(str(config.root)) / folder).glob("s000_0000.*")).unlink()
    with pytest.raises(DataError, match=r"1 images were added or removed since .*, such as s000_0000"):
        load_prepared(config, tmp_path / "kept")


def test_another_split_than_the_one_prepared_is_refused(config: DataConfig, tmp_path: Path) -> None:
    kept = prepare(config, tmp_path / "kept")
    parts = {"train": kept.split.val, "val": kept.split.train, "test": kept.split.test}
    (tmp_path / "other.json").write_text(json.dumps(parts))
    with pytest.raises(DataError, match=r"other\.json: is not the split that .*kept was prepared with"):
        prepare(config.model_copy(update={"split": str(tmp_path / "other.json")}), tmp_path / "kept")
    prepare(config.model_copy(update={"split": str(kept.split_file)}), tmp_path / "kept")


def test_a_range_of_a_modality_that_the_data_lack_is_refused(config: DataConfig, tmp_path: Path) -> None:
    shutil.rmtree(Path(str(config.root)) / "thermal")
    prepared = prepare(config, tmp_path / "kept")
    with pytest.raises(DataError, match=r"data\.range\.thermal: the data have no thermal images, but rgb, event"):
        prepared.pixel_statistics(PixelRanges(thermal=PixelRange(kind="image")))


def test_a_modality_that_was_added_later_is_not_used(config: DataConfig, tmp_path: Path) -> None:
    event = Path(config.root or "") / "event"
    event.rename(tmp_path / "event")
    first = prepare(config, tmp_path / "kept")
    (tmp_path / "event").rename(event)
    for again in (load_prepared(config, tmp_path / "kept"), prepare(config, tmp_path / "kept")):
        assert set(again.data.bands) == {"rgb", "thermal"}
        assert (again.audit, again.hashes()) == (first.audit, first.hashes())
        assert set(again.pixel_statistics(PixelRanges())) == {"rgb", "thermal"}
