"""MLflow's own client, on a file store."""

import importlib.util
import json
import logging
import math
from pathlib import Path
from typing import Any

import pytest

from tune_cmx.config.trial import TrialConfig
from tune_cmx.errors import ConfigError
from tune_cmx.training.loggers import LoggedTrial, require_loggers
from tune_cmx.training.loggers.session import LoggedSession

ROWS = [
    {"epoch": epoch, "fraction": epoch / 3, "seconds": 2.0 * epoch, "val/mAP": 10.0 * epoch, "val/mAP_small": math.nan}
    for epoch in (1, 2, 3)
]


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The client of an empty store."""
    pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "store").as_uri())
    for name in ("MLFLOW_EXPERIMENT_NAME", "MLFLOW_HTTP_REQUEST_MAX_RETRIES", "MLFLOW_HTTP_REQUEST_TIMEOUT"):
        monkeypatch.delenv(name, raising=False)
    from mlflow.tracking import MlflowClient

    return MlflowClient()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run folder."""
    folder = tmp_path / "stages-4-s0"
    folder.mkdir()
    return folder


def _only_run(client: Any, experiment: str = "cssa-stages") -> Any:
    found = client.get_experiment_by_name(experiment)
    (run,) = client.search_runs([found.experiment_id])
    return run


def _points(client: Any, run: Any, name: str) -> list[tuple[int, float]]:
    return [(point.step, point.value) for point in client.get_metric_history(run.info.run_id, name)]


def test_a_trial_is_a_run_in_the_experiment_of_its_study(client: Any, folder: Path, config: TrialConfig) -> None:
    trial = LoggedTrial(folder, config, [], study="cssa-stages", label="CSSA at stage 4")
    with LoggedSession(["mlflow"], trial) as session:
        for row in ROWS:
            session.epoch(row)
        assert _only_run(client).info.status == "RUNNING"
        session.results({"test/mAP": 31.5, "test/mAP_small": math.nan})
    run = _only_run(client)
    assert (run.info.run_name, run.info.status) == ("stages-4-s0", "FINISHED")
    assert run.data.tags["configuration"] == "CSSA at stage 4"
    assert run.data.params["model.fusion.kind"] == "cssa"
    assert run.data.params["model.fusion.stages"] == "[2, 3]"
    assert _points(client, run, "val/mAP") == [(1, 10.0), (2, 20.0), (3, 30.0)]
    assert run.data.metrics["final/test/mAP"] == 31.5
    assert {*run.data.metrics} == {"seconds", "val/mAP", "final/test/mAP"}


@pytest.mark.parametrize("kept", [0, 1, 2])
def test_a_resumed_trial_continues_its_run(client: Any, folder: Path, config: TrialConfig, kept: int) -> None:
    """The server may lack epochs that the checkpoint has, or have one that was trained again."""
    session = LoggedSession(["mlflow"], LoggedTrial(folder, config, [], study="cssa-stages")).__enter__()
    for row in ROWS[:kept]:
        session.epoch(row)
    session.__exit__(KeyboardInterrupt, None, None)
    assert _only_run(client).info.status == "KILLED"
    with LoggedSession(["mlflow"], LoggedTrial(folder, config, ROWS[:2], study="cssa-stages")) as session:
        session.epoch(ROWS[2])
    run = _only_run(client)
    assert json.loads((folder / "mlflow.json").read_text()) == {"run_id": run.info.run_id}
    assert run.info.status == "FINISHED"
    assert _points(client, run, "val/mAP") == [(1, 10.0), (2, 20.0), (3, 30.0)]


def test_a_run_that_the_server_lost_is_begun_anew(client: Any, folder: Path, config: TrialConfig) -> None:
    trial = LoggedTrial(folder, config, ROWS[:1])
    (folder / "mlflow.json").write_text('{"run_id": "0123456789abcdef0123456789abcdef"}')
    with LoggedSession(["mlflow"], trial):
        pass
    first = _only_run(client, "tune_cmx")
    client.delete_run(first.info.run_id)
    with LoggedSession(["mlflow"], trial):
        pass
    assert _only_run(client, "tune_cmx").info.run_id != first.info.run_id


@pytest.mark.parametrize("at_begin", [False, True])
def test_epochs_that_could_not_be_sent_follow(
    client: Any, folder: Path, config: TrialConfig, caplog: pytest.LogCaptureFixture, at_begin: bool
) -> None:
    from mlflow.tracking import MlflowClient

    def refuse(*_: Any, **__: Any) -> None:
        raise ConnectionError("refused")

    history: list[dict[str, float]] = []
    session = LoggedSession(["mlflow"], LoggedTrial(folder, config, history, study="cssa-stages"))
    down = pytest.MonkeyPatch()
    if at_begin:
        down.setattr(MlflowClient, "log_batch", refuse)
    with session, caplog.at_level(logging.WARNING):
        down.setattr(MlflowClient, "log_batch", refuse)
        for row in ROWS:
            if row is ROWS[2]:
                down.undo()
            history.append(row)
            session.epoch(row)
    assert [record.getMessage() for record in caplog.records if "logger mlflow" in record.getMessage()] == [
        "stages-4-s0: logger mlflow failed: refused; the trial continues, and its run folder has all metrics"
    ]
    assert _points(client, _only_run(client), "val/mAP") == [(1, 10.0), (2, 20.0), (3, 30.0)]


def test_a_server_that_does_not_answer_ends_no_trial(
    client: Any,  # noqa: ARG001  # it sets the environment
    folder: Path,
    config: TrialConfig,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with caplog.at_level(logging.WARNING), LoggedSession(["mlflow"], LoggedTrial(folder, config, [])) as session:
        session.epoch(ROWS[0])
    said = [record.getMessage() for record in caplog.records if "logger mlflow failed" in record.getMessage()]
    assert len(said) == 1


def test_what_is_missing_is_said_before_anything_is_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "mlflow" else find(name))
    with pytest.raises(ConfigError, match=r"MLflow's client is not installed; run: pip install 'tune_cmx\[mlflow\]'"):
        require_loggers(["tensorboard", "mlflow"], "a.yaml: loggers")
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: object())
    with pytest.raises(ConfigError, match=r"MLFLOW_TRACKING_URI is not set; .*export MLFLOW_TRACKING_URI=http"):
        require_loggers(["mlflow"], "a.yaml: loggers")
