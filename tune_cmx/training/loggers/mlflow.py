"""MLflow, by its own client: one MLflow run for each trial, in the experiment of its study.

Its settings are MLflow's environment variables: `MLFLOW_TRACKING_URI` (needed), `MLFLOW_EXPERIMENT_NAME` (else the
study's name), and those of its server's login.
"""

import importlib.util
import json
import math
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tune_cmx.config.parse import dump, flatten
from tune_cmx.errors import ConfigError
from tune_cmx.training.loggers.base import LoggedTrial, Logger, Row, Status

if TYPE_CHECKING:
    from mlflow.entities import Metric
    from mlflow.tracking import MlflowClient

RUN_FILE = "mlflow.json"
"""In the run folder: the id of the trial's MLflow run. A resumed trial continues there."""
_URI = "MLFLOW_TRACKING_URI"
_EVERY_ROW = "seconds"
"""A column that each epoch has; its steps are the epochs that MLflow holds."""
_PARAMS, _METRICS = 100, 1000
"""MLflow takes no more in one request."""
_LONGEST_PARAM = 6000
_LIMITS = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
"""MLflow's defaults would hold the trial up for minutes an epoch where the server is down."""
_STATUS = {"complete": "FINISHED", "paused": "KILLED", "failed": "FAILED"}


class MlflowLogger(Logger):
    """One MLflow run a trial: its configuration, each epoch's metrics, and the final ones under `final/`."""

    @classmethod
    def require(cls) -> None:
        """Refuse a machine without MLflow's client or without an address."""
        if importlib.util.find_spec("mlflow") is None:
            raise ConfigError("logger mlflow: MLflow's client is not installed; run: pip install 'tune_cmx[mlflow]'")
        if not os.environ.get(_URI):
            raise ConfigError(
                f"logger mlflow: {_URI} is not set; set it to the address of your server, as in "
                f"export {_URI}=http://127.0.0.1:5000"
            )

    def begin(self, trial: LoggedTrial) -> None:
        self.require()
        self._client = _client()
        self._run = _known_run(self._client, trial.folder) or _new_run(self._client, trial)
        self._client.update_run(self._run, status="RUNNING")
        _complete_params(self._client, self._run, trial)
        held = {point.step for point in self._client.get_metric_history(self._run, _EVERY_ROW)}
        self._unsent = [row for row in trial.history if int(row["epoch"]) not in held]
        self._send()

    def epoch(self, row: Row) -> None:
        self._unsent.append(row)
        self._send()

    def end(self, status: Status, results: Row) -> None:
        self._send()
        final = _metrics({f"final/{name}": value for name, value in results.items()}, 0)
        if final:
            self._client.log_batch(self._run, metrics=final)
        self._client.set_terminated(self._run, _STATUS[status])

    def _send(self) -> None:
        """All rows that MLflow lacks; what cannot be sent now goes with the next epoch."""
        while self._unsent:
            row = self._unsent[0]
            metrics = _metrics(row, int(row["epoch"]))
            for part in _parts(metrics, _METRICS):
                self._client.log_batch(self._run, metrics=part)
            del self._unsent[0]


def _client() -> "MlflowClient":
    for name, value in (*_LIMITS.items(), ("MLFLOW_DISABLE_TELEMETRY", "true")):
        os.environ.setdefault(name, value)
    from mlflow.tracking import MlflowClient  # takes seconds

    return MlflowClient()


def _known_run(client: "MlflowClient", folder: Path) -> str | None:
    """The id of the run that an earlier session began; None: there is none, or this server does not hold it."""
    from mlflow.exceptions import MlflowException

    file = folder / RUN_FILE
    if not file.exists():
        return None
    run = str(json.loads(file.read_text(encoding="utf-8"))["run_id"])
    try:
        return run if client.get_run(run).info.lifecycle_stage == "active" else None
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None


def _new_run(client: "MlflowClient", trial: LoggedTrial) -> str:
    """Begin a run, and note its id in the run folder."""
    tags = {"tune_cmx.run_folder": trial.folder.name, "tune_cmx.study": trial.study, "configuration": trial.label}
    run = client.create_run(
        _experiment(client, os.environ.get("MLFLOW_EXPERIMENT_NAME") or trial.study or "tune_cmx"),
        run_name=trial.folder.name,
        tags={name: value for name, value in tags.items() if value is not None},
    )
    id = str(run.info.run_id)
    written = trial.folder / f"{RUN_FILE}.new"
    written.write_text(json.dumps({"run_id": id}) + "\n", encoding="utf-8")
    written.replace(trial.folder / RUN_FILE)
    return id


def _complete_params(client: "MlflowClient", run: str, trial: LoggedTrial) -> None:
    """Send what the run lacks of the trial's configuration. MLflow refuses another value, as of data that moved."""
    from mlflow.entities import Param

    held = client.get_run(run).data.params
    given = flatten(dump(trial.config)).items()
    for part in _parts([Param(name, _text(value)) for name, value in given if name not in held], _PARAMS):
        client.log_batch(run, params=part)


def _experiment(client: "MlflowClient", name: str) -> str:
    """The id of an experiment, which is made if there is none."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return str(client.create_experiment(name))
        except MlflowException:  # another trial has made it meanwhile
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    return str(found.experiment_id)


def _metrics(row: Row, step: int) -> "list[Metric]":
    """What of a row MLflow takes: finite numbers."""
    from mlflow.entities import Metric

    now = int(1000 * time.time())
    left_out = ("epoch", "fraction")
    return [
        Metric(name, value, now, step) for name, value in row.items() if name not in left_out and math.isfinite(value)
    ]


def _parts(items: Sequence[Any], size: int) -> Iterator[list[Any]]:
    for first in range(0, len(items), size):
        yield list(items[first : first + size])


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= _LONGEST_PARAM else f"{text[: _LONGEST_PARAM - 3]}..."
