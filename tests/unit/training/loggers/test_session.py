"""The loggers of a session: who hears what, and that none of them can end a trial."""

import logging
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

from tune_cmx.config.trial import TrialConfig
from tune_cmx.errors import ConfigError
from tune_cmx.training.loggers import DEFAULT, LOGGERS, LoggedTrial, Logger, Row, Status, require_loggers
from tune_cmx.training.loggers.session import LoggedSession
from tune_cmx.training.tensorboard.events import TrialBoard
from tune_cmx.training.tensorboard.pictures import Picture
from tune_cmx.training.tensorboard.pr_curves import THRESHOLDS, Counts

ROWS = [{"epoch": epoch, "fraction": epoch / 3, "train/loss": 1 / epoch, "val/mAP": 10.0 * epoch} for epoch in (1, 2)]


def _content(folder: Path) -> list[Any]:
    """What its event files say, without times and the writer's name."""
    events = [event for file in sorted(folder.glob("events.*")) for event in EventFileLoader(str(file)).Load()]
    for event in events:
        event.ClearField("wall_time")
        event.ClearField("source_metadata")
    return [re.sub(r'start_time_secs.*|"[^"]*session_start_info.*', "", str(event)) for event in events]


class _Heard(Logger):
    """Notes each call; fails where it is told to."""

    calls: list[Any]
    fails: set[str]

    def begin(self, trial: LoggedTrial) -> None:
        self._note("begin", len(trial.history))

    def epoch(self, row: Row) -> None:
        self._note("epoch", int(row["epoch"]))

    def end(self, status: Status, results: Row) -> None:
        self._note("end", status, dict(results))

    def _note(self, name: str, *about: Any) -> None:
        self.calls.append((name, *about))
        if name in self.fails:
            raise RuntimeError(f"{name}:\n no  server")


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> type[_Heard]:
    """A logger of the table."""
    monkeypatch.setattr(_Heard, "calls", [], raising=False)
    monkeypatch.setattr(_Heard, "fails", set(), raising=False)
    monkeypatch.setitem(LOGGERS, "heard", _Heard)
    return _Heard


def test_tensorboard_gets_what_it_got_before_it_was_a_logger(tmp_path: Path, config: TrialConfig) -> None:
    picture = {"f01": Picture(jpeg=b"\xff\xd8", width=2, height=1)}
    ones = np.ones(THRESHOLDS, dtype=np.int64)
    curves = {"person": Counts(2 * ones, ones, objects=4)}
    values = {"model.fusion.stages": [2, 3]}
    board = TrialBoard(tmp_path / "direct", config, [], values, name="CSSA")
    trial = LoggedTrial(tmp_path / "logged", config, [], study="s", label="CSSA", values=values)
    with LoggedSession(DEFAULT, trial) as session:
        assert session.shows
        for row in ROWS:
            board.add(row)
            session.epoch({**row, "val/mAP_small": math.nan})
        board.show(2, picture, curves)
        session.show(2, picture, curves)
        session.results({"test/mAP": 1.0})
    board.close()
    direct, logged = _content(tmp_path / "direct"), _content(tmp_path / "logged")
    assert len(direct) > 8
    assert logged == direct


def test_a_logger_hears_of_each_epoch_and_how_it_ended(
    heard: type[_Heard], tmp_path: Path, config: TrialConfig
) -> None:
    with LoggedSession(["heard"], LoggedTrial(tmp_path, config, ROWS[:1])) as session:
        assert not session.shows
        session.epoch(ROWS[1])
        session.results({"test/mAP": 1.0})
    assert heard.calls == [("begin", 1), ("epoch", 2), ("end", "complete", {"test/mAP": 1.0})]
    for raised, status in ((KeyboardInterrupt, "paused"), (GeneratorExit, "paused"), (ValueError, "failed")):
        heard.calls.clear()
        with pytest.raises(raised), LoggedSession(["heard"], LoggedTrial(tmp_path, config, [])):
            raise raised
        assert heard.calls == [("begin", 0), ("end", status, {})]


def test_a_logger_that_fails_is_named_once_and_ends_nothing(
    heard: type[_Heard], tmp_path: Path, config: TrialConfig, caplog: pytest.LogCaptureFixture
) -> None:
    heard.fails |= {"epoch", "end"}
    folder = tmp_path / "stages-4-s0"
    with caplog.at_level(logging.WARNING), LoggedSession(["heard"], LoggedTrial(folder, config, [])) as session:
        for row in ROWS:
            session.epoch(row)
    (record,) = caplog.records
    assert record.getMessage() == (
        "stages-4-s0: logger heard failed: epoch: no server; the trial continues, and its run folder has all metrics"
    )
    assert [call[0] for call in heard.calls] == ["begin", "epoch", "epoch", "end"]


def test_a_logger_that_cannot_begin_begins_at_a_later_epoch(
    heard: type[_Heard], tmp_path: Path, config: TrialConfig
) -> None:
    heard.fails.add("begin")
    history: list[Row] = []
    with LoggedSession(["heard"], LoggedTrial(tmp_path, config, history)) as session:
        for row in ROWS:
            history.append(row)
            session.epoch(row)
            heard.fails.clear()
        history.append(ROWS[1])
        session.epoch({**ROWS[1], "epoch": 3})
    assert heard.calls == [("begin", 0), ("begin", 1), ("begin", 2), ("epoch", 3), ("end", "complete", {})]


def test_names_are_read_strictly() -> None:
    require_loggers(DEFAULT, "loggers")
    with pytest.raises(
        ConfigError, match=r"a.yaml: line 3: unknown logger 'tensorbord'. Known: .*mlflow, .*tensorboard"
    ):
        require_loggers(["tensorbord"], "a.yaml: line 3")
    with pytest.raises(ConfigError, match=r"--logger: names 'tensorboard' twice; name each logger once"):
        require_loggers(["tensorboard", "tensorboard"], "--logger")
