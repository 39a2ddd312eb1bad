"""A checkpoint of the earlier group in use, and its row in a table of results."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from group_checkpoints import of_shapes, saved, seen, shapes_of_nano, with_cssa, without_random_numbers

from tune_cmx.config.trial import DataConfig
from tune_cmx.data.prepare import Prepared, prepare
from tune_cmx.data.synthetic import synthesize
from tune_cmx.errors import ConfigError
from tune_cmx.inference.group_detector import (
    RANGES,
    add_row,
    near_in_train,
    refuse_other_bands,
    result_row,
    trained_detector,
)
from tune_cmx.metrics import scored
from tune_cmx.models.group_checkpoint import GroupCheckpoint, build_as_trained, read_group_checkpoint

CPU = torch.device("cpu")
POINTS = dict.fromkeys(scored(), 80.125) | {"mAP_large": float("nan")}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """Twelve images of three sequences; every fourth is test, and no file names a validation part."""
    folder = tmp_path_factory.mktemp("set")
    synthesize(folder / "set", images=12, size=32, sequences=3, form="npy")
    ids = sorted(path.stem for path in (folder / "set/images").iterdir())
    split = folder / "split.json"
    split.write_text(json.dumps({"train": [id for at, id in enumerate(ids) if at % 4], "test": ids[::4]}))
    return prepare(DataConfig(root=str(folder / "set"), split=str(split), range=RANGES), folder / "data")


@pytest.fixture
def checkpoint(tmp_path: Path) -> GroupCheckpoint:
    tensors = seen(of_shapes(with_cssa(shapes_of_nano())), unused=(2, 3))
    return read_group_checkpoint(saved(tensors, tmp_path / "exp_005.pth"), threshold=0.3)


def test_pixels_of_255_become_their_normalised_values(tmp_path: Path) -> None:
    found = read_group_checkpoint(saved(without_random_numbers(shapes_of_nano()), tmp_path / "b.pth"))
    detector = trained_detector(found, ["person"], CPU)
    white = torch.full((5, 32, 32), 255.0)
    scaled = torch.cat([white[:3] / 255, white[3:] / 255])
    (wanted,) = build_as_trained(found, white=255.0).transform([white])[0].tensors
    (own,) = detector.network.transform([scaled])[0].tensors
    torch.testing.assert_close(own, wanted)
    assert list(detector.modalities) == ["rgb", "thermal", "event"]
    assert detector.modalities["rgb"].means == pytest.approx([0.485 / 255, 0.456 / 255, 0.406 / 255])


def test_other_classes_than_those_of_the_checkpoint_are_refused(checkpoint: GroupCheckpoint) -> None:
    with pytest.raises(ConfigError, match=r"exp_005\.pth: has 1 classes; the data have 2: person, car"):
        trained_detector(checkpoint, ["person", "car"], CPU)


def test_data_without_events_are_refused(checkpoint: GroupCheckpoint) -> None:
    with pytest.raises(ConfigError, match="needs event; the data have rgb, thermal"):
        refuse_other_bands(checkpoint, {"rgb": (0, 1, 2), "thermal": (3,)})
    with pytest.raises(ConfigError, match="takes 1 bands of event; the data have 2"):
        refuse_other_bands(checkpoint, {"rgb": (0, 1, 2), "thermal": (3,), "event": (4, 5)})


def test_every_test_image_between_images_of_train_is_counted_as_leaked(prepared: Prepared) -> None:
    assert prepared.split.notes  # a part of train became val
    assert near_in_train(prepared, "test") == 1.0
    alone = replace(prepared.split, train=prepared.split.train[-1:], val=(), notes=())
    assert near_in_train(replace(prepared, split=alone), "test") == 0.0


def test_the_row_says_that_it_is_a_single_run_on_a_leaked_split(
    prepared: Prepared, checkpoint: GroupCheckpoint, tmp_path: Path
) -> None:
    row = result_row(checkpoint, POINTS, "test", prepared, 43_423_089)
    assert row["exp_id"] == f"{tmp_path.name}-exp_005"
    assert (row["fusion"], row["stages"], row["elsewhere"], row["threshold"]) == ("cssa", "2+3", "frm_ffm", "0.3")
    assert (row["mAP"], row["mAP_large"], row["params_M"]) == ("80.1250", "", "43.423089")
    assert row["notes"].startswith("single run; leaked split (100% of the test images have an image of train next")


def test_rows_are_added_to_one_file(prepared: Prepared, checkpoint: GroupCheckpoint, tmp_path: Path) -> None:
    row, file = result_row(checkpoint, POINTS, "test", prepared, 1), tmp_path / "rows.csv"
    for _ in range(2):
        add_row(file, row)
    with file.open(newline="") as text:
        assert list(csv.DictReader(text)) == [row, row]
    with pytest.raises(ConfigError, match=r"rows\.csv: has other columns than exp_id, fusion"):
        add_row(file, {**row, "more": ""})
