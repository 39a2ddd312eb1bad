"""Event files as TensorBoard reads them."""

import math
import re
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2

from tune_cmx.config.trial import FusionConfig, ModelConfig, ScheduleConfig, StageFusion, TrialConfig
from tune_cmx.training.board import TrialBoard, columns

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
    TrialBoard(tmp_path, config, []).close()
    row = _hparams(tmp_path)
    assert (row["fusion"], row["stages"], row["switching_threshold"]) == ("cssa", "2+3", 0.3)
    assert row["schedule"].startswith("3 epochs, batch 2, sgd 0.02")
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


def test_columns_of_a_preset() -> None:
    config = TrialConfig(schedule=ScheduleConfig(preset="aggressive", curve="cosine"))
    shown = columns(config)
    assert shown["schedule"] == "aggressive: 15 epochs, batch 16, sgd 0.02, cosine"
    assert (shown["fusion"], shown["stages"]) == ("frm_ffm", "1+2+3+4")


def test_columns_of_one_stream() -> None:
    shown = columns(TrialConfig(model=ModelConfig(streams="thermal")))
    assert "thermal" in shown.values()
    assert "stages" not in shown


def test_columns_of_fusions_chosen_stage_by_stage() -> None:
    stages = tuple(StageFusion(kind=kind) for kind in ("add", "add", "cssa", "frm_ffm"))
    shown = columns(TrialConfig(model=ModelConfig(fusion=FusionConfig(per_stage=stages))))
    assert (shown["fusion"], shown["stages"]) == ("mixed", "add / add / cssa / frm_ffm")
