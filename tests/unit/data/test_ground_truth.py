"""The ground truth that a study's folder keeps for its report."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tune_cmx import metrics
from tune_cmx.config.trial import DataConfig
from tune_cmx.data.ground_truth import ground_truth
from tune_cmx.data.prepare import Prepared, load_prepared, prepare
from tune_cmx.data.readers import open_data
from tune_cmx.errors import DataError
from tune_cmx.evaluation import evaluate, to_detections

IDS = [f"f{number}" for number in range(8)]


@pytest.fixture
def config(folders: Callable[..., Path]) -> DataConfig:
    sequences = {id: f"s{number // 2}" for number, id in enumerate(IDS)}
    return DataConfig(root=str(folders(IDS, sequences=sequences)), fractions=(0.5, 0.25, 0.25))


@pytest.fixture
def prepared(config: DataConfig, tmp_path: Path) -> Prepared:
    return prepare(config, tmp_path / "kept")


def kept(prepared: Prepared, part: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(
        gzip.decompress((prepared.folder / f"ground_truth_{part}.json.gz").read_bytes())
    )
    return content


def label(prepared: Prepared, part: str = "test") -> Path:
    """The label file of an image of that part."""
    return prepared.data.root / "labels" / f"{getattr(prepared.split, part)[0]}.txt"


def test_a_prepared_folder_holds_the_boxes_of_val_and_test(prepared: Prepared) -> None:
    for part, ids in (("val", prepared.split.val), ("test", prepared.split.test)):
        truth = kept(prepared, part)
        assert truth == {"info": prepared.hashes(), **ground_truth(prepared.data, ids, prepared.audit.sizes)}
        assert [image["file_name"] for image in truth["images"]] == list(ids)
        assert [image["id"] for image in truth["images"]] == list(range(len(ids)))
    assert sorted(path.name for path in prepared.folder.iterdir()) == [
        "audit.json", "ground_truth_test.json.gz", "ground_truth_val.json.gz", "split.json",
    ]  # fmt: skip


def test_it_scores_detections_as_a_trial_does(prepared: Prepared) -> None:
    truth = kept(prepared, "test")
    exact = [one for image in truth["images"] for one in to_detections(image["id"], [[3, 2, 9, 6]], [0.9], [1])]
    assert evaluate(exact, truth)["mAP"] == pytest.approx(100)
    assert set(evaluate([], truth)) == set(metrics.scored())


def test_images_have_their_sequence_where_it_is_known(prepared: Prepared, folders: Callable[..., Path]) -> None:
    paired = {image.id: image for image in prepared.data.images}
    images = kept(prepared, "test")["images"]
    assert [image["sequence"] for image in images] == [paired[image["file_name"]].sequence for image in images]
    unknown = open_data(folders(["a"], name="single"))
    assert "sequence" not in ground_truth(unknown, ["a"], {"a": (8, 12)})["images"][0]


def test_images_have_their_condition_where_it_is_known(folders: Callable[..., Path], tmp_path: Path) -> None:
    root = folders(IDS, sequences={id: f"s{number // 2}" for number, id in enumerate(IDS)}, name="conditions")
    rows = [f"{id},s{number // 2},{'day' if number < 6 else ''}\n" for number, id in enumerate(IDS)]
    (root / "sequences.csv").write_text("id,sequence,condition\n" + "".join(rows))
    found = prepare(DataConfig(root=str(root), fractions=(0.5, 0.25, 0.25)), tmp_path / "conditions_kept")
    images = [image for part in ("val", "test") for image in kept(found, part)["images"]]
    known = dict.fromkeys(IDS[:6], "day")
    assert [image.get("condition") for image in images] == [known.get(image["file_name"]) for image in images]
    assert found.audit.conditions == known
    assert load_prepared(DataConfig(root=str(root)), found.folder).audit == found.audit


def test_it_is_written_once(config: DataConfig, prepared: Prepared) -> None:
    before = (prepared.folder / "ground_truth_test.json.gz").stat()
    prepare(config, prepared.folder)
    after = (prepared.folder / "ground_truth_test.json.gz").stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_a_folder_prepared_by_an_earlier_version_receives_it(config: DataConfig, prepared: Prepared) -> None:
    expected = kept(prepared, "test")
    (prepared.folder / "ground_truth_test.json.gz").unlink()
    assert kept(prepare(config, prepared.folder), "test") == expected


@pytest.mark.parametrize("part", ["val", "test"])
def test_a_box_that_moved_is_noticed(config: DataConfig, prepared: Prepared, part: str) -> None:
    path = label(prepared, part)
    path.write_text("0 0.5 0.5 0.5 0.25\n")
    said = rf"ground_truth_{part}\.json\.gz: the boxes of 1 images differ from those of the data, such as {path.stem}"
    with pytest.raises(DataError, match=said):
        prepare(config, prepared.folder)


def test_a_box_that_went_is_noticed_even_before_the_truth_was_kept(config: DataConfig, prepared: Prepared) -> None:
    path = label(prepared)
    path.write_text("")
    (prepared.folder / "ground_truth_test.json.gz").unlink()
    with pytest.raises(
        DataError, match=rf"the labels of 1 images changed since .*kept was prepared, such as {path.stem}"
    ):
        prepare(config, prepared.folder)
    assert not (prepared.folder / "ground_truth_test.json.gz").exists()


def test_a_class_with_another_name_is_noticed(config: DataConfig, prepared: Prepared) -> None:
    (prepared.data.root / "classes.txt").write_text("bicycle\n")
    with pytest.raises(DataError, match=r"ground_truth_val\.json\.gz: has other classes than the data"):
        prepare(config, prepared.folder)


def test_a_damaged_file_is_named_with_what_to_do(config: DataConfig, prepared: Prepared) -> None:
    path = prepared.folder / "ground_truth_val.json.gz"
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(
        DataError, match=r"ground_truth_val\.json\.gz: is damaged: .*; remove it, and it is written again"
    ):
        prepare(config, prepared.folder)
