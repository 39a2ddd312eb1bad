"""Event files as TensorBoard reads them."""

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2
from tensorboard.util import tensor_util
from torch.utils.tensorboard import SummaryWriter

from tune_cmx.config.trial import FusionConfig, ModelConfig, ScheduleConfig, StageFusion, TrialConfig
from tune_cmx.training.tensorboard.events import TrialBoard, columns, is_shown
from tune_cmx.training.tensorboard.pictures import Picture
from tune_cmx.training.tensorboard.pr_curves import THRESHOLDS, Counts

JPEG = b"\xff\xd8 as it was encoded"

HISTORY = [
    {"epoch": epoch, "fraction": epoch / 3, "train/loss": 1 / epoch, "val/mAP": 10.0 * epoch} for epoch in (1, 2, 3)
]


def _age(folder: Path) -> None:
    """Date the one event file back: the next session of a trial begins seconds later, and names are read in order."""
    (file,) = folder.glob("events.*")
    file.rename(file.with_name(re.sub(r"tfevents\.\d+", "tfevents.1000000000", file.name)))


def _read(folder: Path) -> EventAccumulator:
    events = EventAccumulator(str(folder))
    events.Reload()
    return events


def _points(folder: Path, tag: str) -> list[tuple[int, float]]:
    return [(point.step, round(point.value, 6)) for point in _read(folder).Scalars(tag)]


def _hparams(folder: Path) -> dict[str, Any]:
    metadata = _read(folder).SummaryMetadata("_hparams_/session_start_info")
    data = plugin_data_pb2.HParamsPluginData.FromString(metadata.plugin_data.content)
    cells = data.session_start_info.hparams
    return {name: getattr(value, value.WhichOneof("kind")) for name, value in cells.items()}


def test_a_scalar_an_epoch(tmp_path: Path, config: TrialConfig) -> None:
    board = TrialBoard(tmp_path, config, [])
    for row in HISTORY:
        board.add({**row, "val/mAP_small": math.nan})
    board.close()
    assert _points(tmp_path, "val/mAP") == [(1, 10.0), (2, 20.0), (3, 30.0)]
    assert _read(tmp_path).Tags()["scalars"] == ["train/loss", "val/mAP"]


@pytest.mark.parametrize("written", [0, 1, 2])
def test_each_epoch_once_after_a_resumption(tmp_path: Path, config: TrialConfig, written: int) -> None:
    """A session died behind so many epochs; the next begins with what the checkpoint knows, here 2."""
    board = TrialBoard(tmp_path, config, [])
    for row in HISTORY[:written]:
        board.add(row)
    board.close()
    _age(tmp_path)
    again = TrialBoard(tmp_path, config, HISTORY[:2])
    again.add(HISTORY[2])
    again.close()
    assert len(list(tmp_path.glob("events.*"))) == 2
    assert _points(tmp_path, "val/mAP") == [(1, 10.0), (2, 20.0), (3, 30.0)]


def test_an_epoch_that_no_checkpoint_knows_is_taken_back(tmp_path: Path, config: TrialConfig) -> None:
    board = TrialBoard(tmp_path, config, [])
    board.add({**HISTORY[0], "val/mAP": 99.0})
    board.close()
    _age(tmp_path)
    again = TrialBoard(tmp_path, config, [])
    again.add(HISTORY[0])
    again.close()
    assert _points(tmp_path, "val/mAP") == [(1, 10.0)]


def test_a_row_of_the_hparams_table_from_the_start(tmp_path: Path, config: TrialConfig) -> None:
    TrialBoard(tmp_path, config, [], {"model.fusion.stages": [2, 3]}, name="CSSA at stages 2, 3").close()
    assert _hparams(tmp_path) == {
        "configuration": "CSSA at stages 2, 3",
        "seed": "0",
        "fusion": "CSSA",
        "stages": "2, 3",
    }
    experiment = plugin_data_pb2.HParamsPluginData.FromString(
        _read(tmp_path).SummaryMetadata("_hparams_/experiment").plugin_data.content
    ).experiment
    assert "val/mAP" in {info.name.tag for info in experiment.metric_infos}


def test_the_row_stays_after_a_resumption(tmp_path: Path, config: TrialConfig) -> None:
    TrialBoard(tmp_path, config, []).close()
    _age(tmp_path)
    before = _hparams(tmp_path)
    TrialBoard(tmp_path, config, HISTORY[:2]).close()
    assert _hparams(tmp_path) == before


def test_columns_in_a_study_are_its_factors_alone(config: TrialConfig) -> None:
    searched = {"model.fusion.stages": [2, 3], "model.fusion.options.switching_threshold": 0.3, "schedule.lr": 0.02}
    assert columns(config, searched) == {
        "seed": "0",
        "fusion": "CSSA",
        "stages": "2, 3",
        "switching_threshold": 0.3,
        "lr": 0.02,
    }
    assert columns(config, {"schedule": {"epochs": 3, "curve": "cosine"}, "data.augment.scale": [0.5, 2.0]}) == {
        "seed": "0",
        "epochs": 3,
        "curve": "cosine",
        "scale": "0.5, 2",
    }
    searched = {"data.augment.thermal_noise": 0.25, "data.augment.registration_jitter": 4}
    assert columns(config, searched) == {"seed": "0", "thermal_noise": 0.25, "registration_jitter": 4}


def test_columns_of_a_baseline_that_replaces_the_fusion() -> None:
    baseline = {"model.fusion": {"kind": "frm_ffm"}}
    assert columns(TrialConfig(), baseline) == {"seed": "0", "fusion": "FRM+FFM", "stages": "1, 2, 3, 4"}


def test_columns_of_a_preset_outside_a_study() -> None:
    config = TrialConfig(schedule=ScheduleConfig(preset="aggressive", curve="cosine"))
    shown = columns(config, {})
    assert shown["schedule"] == "aggressive: 15 epochs, batch 16, sgd 0.02, cosine"
    assert (shown["fusion"], shown["stages"]) == ("FRM+FFM", "1, 2, 3, 4")


def test_columns_of_one_stream() -> None:
    shown = columns(TrialConfig(model=ModelConfig(streams="thermal")), {})
    assert "thermal" in shown.values()
    assert "stages" not in shown


def test_columns_of_fusions_chosen_stage_by_stage() -> None:
    stages = tuple(StageFusion(kind=kind) for kind in ("add", "add", "cssa", "frm_ffm"))
    shown = columns(TrialConfig(model=ModelConfig(fusion=FusionConfig(per_stage=stages))), {})
    assert (shown["fusion"], shown["stages"]) == ("mixed", "mean fusion / mean fusion / CSSA / FRM+FFM")


@pytest.mark.parametrize(("epochs", "shown"), [(1, [1]), (3, [1, 2, 3]), (5, [2, 4, 5]), (15, [4, 8, 12, 15])])
def test_pictures_come_a_few_times_and_at_the_end(epochs: int, shown: list[int]) -> None:
    assert [epoch for epoch in range(1, epochs + 1) if is_shown(epoch, epochs)] == shown


def _show(board: TrialBoard, epoch: int, *, right: int = 2) -> None:
    picture = Picture(jpeg=JPEG, width=2, height=1)
    ones = np.ones(THRESHOLDS, dtype=np.int64)
    board.show(epoch, {"f01": picture}, {"person": Counts(right * ones, ones, objects=4)})


def test_pictures_are_shown_as_they_are(tmp_path: Path, config: TrialConfig) -> None:
    board = TrialBoard(tmp_path, config, [])
    _show(board, 2)
    board.close()
    (image,) = _read(tmp_path).Images("detections/f01")
    assert (image.step, image.width, image.height, image.encoded_image_string) == (2, 2, 1, JPEG)


def test_curves_are_precision_over_recall(tmp_path: Path, config: TrialConfig) -> None:
    board = TrialBoard(tmp_path, config, [])
    _show(board, 2)
    board.close()
    events = _read(tmp_path)
    assert events.SummaryMetadata("val_iou_50/person").plugin_data.plugin_name == "pr_curves"
    (point,) = events.Tensors("val_iou_50/person")
    rows = tensor_util.make_ndarray(point.tensor_proto)
    assert rows.shape == (6, THRESHOLDS)
    assert rows[:, 0].tolist() == pytest.approx([2, 1, 0, 2, 2 / 3, 0.5])


def test_pictures_stay_after_a_resumption(tmp_path: Path, config: TrialConfig) -> None:
    """Those of an epoch that is trained again are replaced."""
    board = TrialBoard(tmp_path, config, [])
    for row in HISTORY:
        board.add(row)
        _show(board, int(row["epoch"]))
    board.close()
    _age(tmp_path)
    again = TrialBoard(tmp_path, config, HISTORY[:2])
    _show(again, 3, right=1)
    again.close()
    events = _read(tmp_path)
    assert [image.step for image in events.Images("detections/f01")] == [1, 2, 3]
    curves = {point.step: tensor_util.make_ndarray(point.tensor_proto) for point in events.Tensors("val_iou_50/person")}
    assert {step: rows[0, 0] for step, rows in curves.items()} == {1: 2, 2: 2, 3: 1}
    assert _points(tmp_path, "val/mAP") == [(1, 10.0), (2, 20.0)]


def test_a_torn_file_is_completed(tmp_path: Path, config: TrialConfig) -> None:
    """As of a process killed in the middle of a write, when the checkpoint was whole already."""
    board = TrialBoard(tmp_path, config, [])
    for row in HISTORY[:2]:
        board.add(row)
    board.close()
    (file,) = tmp_path.glob("events.*")
    file.write_bytes(file.read_bytes()[:-7])
    _age(tmp_path)
    TrialBoard(tmp_path, config, HISTORY[:2]).close()
    assert _points(tmp_path, "val/mAP") == [(1, 10.0), (2, 20.0)]
    assert _points(tmp_path, "train/loss") == [(1, 1.0), (2, 0.5)]


def test_what_a_third_session_finds(tmp_path: Path, config: TrialConfig) -> None:
    """The second took the first's epochs back, and died before its own were on the disk."""
    for number, (history, rows) in enumerate([([], HISTORY), ([], []), (HISTORY[:1], HISTORY[1:])]):
        board = TrialBoard(tmp_path, config, history)
        for row in rows:
            board.add(row)
        board.close()
        (latest,) = set(tmp_path.glob("events.*")) - set(tmp_path.glob("events.out.tfevents.100000000?.*"))
        latest.rename(latest.with_name(re.sub(r"tfevents\.\d+", f"tfevents.100000000{number}", latest.name)))
    assert _points(tmp_path, "val/mAP") == [(1, 10.0), (2, 20.0), (3, 30.0)]


def test_a_disk_that_fails_leaves_a_picture_out_and_no_scalar(
    tmp_path: Path, config: TrialConfig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    board = TrialBoard(tmp_path, config, [])

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(SummaryWriter, "add_pr_curve_raw", full)
        _show(board, 1)
    assert "the pictures of epoch 1 are left out" in caplog.text
    _age(tmp_path)
    board.add(HISTORY[0])
    board.close()
    assert _points(tmp_path, "val/mAP") == [(1, 10.0)]
