"""What a Ray worker runs: it trains the trial of a planned run folder and reports each epoch."""

import fcntl
import math
import os
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ray import tune

from tune_cmx.config.trial import DataConfig
from tune_cmx.data.prepare import Prepared, load_prepared
from tune_cmx.errors import StorageError, TrialError, TuneCmxError
from tune_cmx.old_form import TRIALS
from tune_cmx.smoothing import smoothed
from tune_cmx.storage import Mirror
from tune_cmx.storage.cache import worker_folder
from tune_cmx.training.run_folder import RunFolder

if TYPE_CHECKING:
    from tune_cmx.training.loop import EpochReport

WORST = -1.0
"""Reported by a trial that failed: Ray ends the experiment at a missing value."""


def smooth_name(metric: str) -> str:
    """The name of a metric's running mean in the reports."""
    return f"{metric}_smooth"


_PASSED_ON = ("device", "workers", "gpus", "shared_cache", "study")
"""Facts that `run_trial` takes."""
Trainable = Callable[[dict[str, Any]], None]
Reports = Generator["EpochReport", None, None]


def train(config: dict[str, Any], run: Callable[..., Reports] | None = None) -> None:
    """Train `config["trial"]`, facts from the runner (`TrialRunner`).

    An error of the trial goes into its run folder and its last report. It is not raised, because Ray would take it for
    a lost worker and try again.

    Args:
        config: Ray's; it holds nothing else.
        run: What replaces `run_trial` where nothing is to be trained.
    """
    import torch  # the driver, which names this function to Ray, needs no torch

    from tune_cmx.inference.model_folder import try_to_leave_model
    from tune_cmx.training.memory import limit_memory
    from tune_cmx.training.run import run_trial

    run = run or run_trial
    facts = config["trial"]
    os.environ.setdefault("TUNE_FUNCTION_THREAD_TIMEOUT_S", "60")  # to write a checkpoint out before the next trial
    torch.set_num_threads(facts["threads"])
    try:
        limit_memory(facts["gpus"] or 1, facts["device"])
        with _held_copy(facts) as (run_folder, data_folder, publish):
            prepared = _prepared(run_folder.config().data.model_dump_json(), str(data_folder))
            values: list[float] = []
            passed_on = {name: facts[name] for name in _PASSED_ON} | {"loggers": facts["loggers"].split()}
            with closing(run(run_folder, prepared, **passed_on)) as reports:
                for report in reports:
                    values.append(_judged(report, facts["metric"]))
                    publish()
                    tune.report(_payload(report, facts, smoothed(values, facts["smooth_epochs"])))
            try_to_leave_model(run_folder, prepared)
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


@contextmanager
def _held_copy(facts: dict[str, Any]) -> Iterator[tuple[RunFolder, Path, Callable[[], None]]]:
    """The run folder and the data's folder here, and what publishes the run folder to where the driver sees it.

    On a shared file system that is nothing. With storage named by a URI the run folder is a copy on this machine, which
    goes there after every epoch and at the end, however the trial ends.
    """
    if facts["storage"] is None:
        yield RunFolder(Path(facts["run_folder"])), Path(facts["data_folder"]), lambda: None
        return
    mirror = Mirror(worker_folder(facts["storage"]), facts["storage"])
    name = f"{TRIALS}/{facts['name']}"
    with _copy_of_mine(mirror.local / "locks" / facts["name"]):
        mirror.pull("data")
        mirror.pull(name)
        try:
            yield RunFolder(mirror.local / name), mirror.local / "data", lambda: mirror.push(name)
            mirror.push(name)
        except Exception:
            with suppress(StorageError):  # the first error is the one to tell
                mirror.push(name)
            raise


@contextmanager
def _copy_of_mine(lock: Path) -> Iterator[None]:
    """Wait for a worker of this machine that outlives its driver by some seconds, and still writes to the copy."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@lru_cache(maxsize=2)
def _prepared(data_json: str, folder: str) -> Prepared:
    """The data set, read once by a process that runs several trials."""
    return load_prepared(DataConfig.model_validate_json(data_json), Path(folder))


def _payload(report: "EpochReport", facts: dict[str, Any], smooth: float) -> dict[str, Any]:
    """What scheduler, searcher and screen ask for; each of a trial's metrics costs the driver memory until the end."""
    return {
        facts["metric"]: report.metrics[facts["metric"]],
        smooth_name(facts["metric"]): smooth,
        "epoch": report.epoch,
        "fraction": report.fraction,
        "seconds": report.seconds,
        "gpu_seconds": report.seconds * (facts["gpus"] or 1),
    }


def _judged(report: "EpochReport", metric: str) -> float:
    """The metric that the trial is stopped and selected on; without it, the trial would be judged by nothing."""
    value = report.metrics.get(metric, math.nan)
    if not math.isfinite(value):
        raise TrialError(f"{metric} is {value} at epoch {report.epoch}: the validation images do not define it")
    return value
