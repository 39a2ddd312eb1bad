"""What a Ray worker runs: one planned record, trained on and reported an epoch at a time."""

import math
from collections import deque
from contextlib import closing
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from ray import tune

from tune_cmx.config.trial import DataConfig
from tune_cmx.data.prepare import Prepared, load_prepared
from tune_cmx.errors import TuneCmxError
from tune_cmx.training.loop import EpochReport
from tune_cmx.training.record import TrialRecord
from tune_cmx.training.run import run_trial

WORST = -1.0
"""Reported where a metric is undefined, and by a trial that failed: Ray ends the experiment at a missing value."""


def smooth_name(metric: str) -> str:
    """The name of a metric's running mean in the reports."""
    return f"{metric}_smooth"


def train(config: dict[str, Any]) -> None:
    """Train `config["trial"]`, facts from the runner: record, data folder, device, threads, metric, gpus.

    An error of the trial is on its record and in its last report; it is not raised, for Ray would take it for a lost
    worker and try again.
    """
    facts = config["trial"]
    torch.set_num_threads(facts["threads"])
    record = TrialRecord(Path(facts["record"]))
    try:
        prepared = _prepared(record.config().data.model_dump_json(), facts["data_folder"])
        recent: deque[float] = deque(maxlen=facts["smooth_epochs"])
        with closing(run_trial(record, prepared, device=facts["device"], workers=facts["workers"])) as reports:
            for report in reports:
                recent.append(_finite(report.metrics[facts["metric"]]))
                tune.report(_payload(report, facts, math.fsum(recent) / len(recent)))
    except (TuneCmxError, OSError, ValueError) as error:
        tune.report(
            {
                "failed": str(error),
                "epoch": 0,
                "fraction": 0.0,
                "seconds": 0.0,
                "gpu_seconds": 0.0,
                facts["metric"]: WORST,
                smooth_name(facts["metric"]): WORST,
            }
        )


@lru_cache(maxsize=2)
def _prepared(data_json: str, folder: str) -> Prepared:
    """The data set, read once by a process that runs several trials."""
    return load_prepared(DataConfig.model_validate_json(data_json), Path(folder))


def _payload(report: EpochReport, facts: dict[str, Any], smooth: float) -> dict[str, Any]:
    """A report as Ray wants it: every metric, each a finite number."""
    return {
        **{name: _finite(value) for name, value in report.metrics.items()},
        smooth_name(facts["metric"]): smooth,
        "epoch": report.epoch,
        "fraction": report.fraction,
        "seconds": report.seconds,
        "gpu_seconds": report.seconds * (facts["gpus"] or 1),
    }


def _finite(value: float) -> float:
    return value if math.isfinite(value) else WORST
