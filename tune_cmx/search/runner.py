"""A study from its planned trials to its confirmed arms, on Ray Tune.

Records are the truth: what a record says is over is not run again, and a trial that is not over goes on from its own
checkpoint. So a search is taken up by planning the same trials again, without Ray's snapshots.
"""

import contextlib
import io
import logging
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune.experiment import Trial

from tune_cmx.config.study import CONTROL
from tune_cmx.errors import ConfigError, TrialError
from tune_cmx.search.console import StudyConsole
from tune_cmx.search.plan import schedule_end
from tune_cmx.search.schedulers import RecordedASHA, trial_facts
from tune_cmx.search.study_folder import StudyFolder, finalists, mark_stopped
from tune_cmx.search.trainable import smooth_name, train
from tune_cmx.training.record import TrialRecord

WORKER_LOSSES = 3
"""How often a trial whose worker or node was lost is taken up again."""


@dataclass(frozen=True)
class Resources:
    """What a trial may use, and where Ray runs."""

    address: str | None
    """Of a running cluster; None: a cluster of this machine alone, for as long as the study runs."""
    cpus_per_trial: float
    gpus_per_trial: float
    max_concurrent: int | None
    device: str
    threads: int
    workers: int
    """Loader processes of a trial."""


def run_study(opened: StudyFolder, resources: Resources, console: StudyConsole, *, before_s: float = 0.0) -> bool:
    """Search, choose the finalists, confirm them with the control.

    Args:
        opened: The study's folder.
        resources: What each trial gets.
        console: Shows the progress.
        before_s: Wall time that earlier sessions of the study took.

    Returns:
        Whether all is done; False after an interruption, and the study can be taken up again.
    """
    began = time.monotonic()
    study = opened.study
    opened.settle()

    def note(status: str, chosen: Sequence[str] = ()) -> None:
        opened.write(status=status, finalists=list(chosen), seconds=before_s + time.monotonic() - began)

    with _ray(resources.address) as slots_for:
        slots = slots_for(resources)
        runner = _Phases(opened, resources, console, slots)
        searched = [opened.plan(study.arms[name], study.file.seed, "search") for name in study.searched]
        note("searching")
        if not runner.run("search", searched):
            note("interrupted")
            return False
        stopping = study.file.early_stopping
        if all(record.state()["status"] == "failed" for record in searched):
            note("failed")
            raise TrialError(f"every trial of the search failed, the first with: {searched[0].state()['reason']}")
        chosen = finalists(searched, stopping.metric, stopping.smooth_epochs, study.file.confirm.finalists)
        note("confirming", chosen)
        confirmed = dict.fromkeys([CONTROL, *chosen, *study.claimed()])
        repeats = [
            opened.plan(study.arms[name], seed, "confirm") for seed in study.confirm_seeds() for name in confirmed
        ]
        if not runner.run("confirm", repeats):
            note("interrupted", chosen)
            return False
    note("complete", chosen)
    return True


@dataclass
class _Phases:
    """Runs planned records as Ray trials."""

    opened: StudyFolder
    resources: Resources
    console: StudyConsole
    slots: int

    def run(self, phase: str, records: Sequence[TrialRecord]) -> bool:
        """Train what is not over; False if something is still not over at the end."""
        open_records = [record for record in records if not record.over]
        if open_records:
            self._announce(phase, open_records)
            self._tune(phase, open_records)
            self.console.finish()
        self.opened.settle()
        return all(record.over for record in records)

    def _announce(self, phase: str, records: Sequence[TrialRecord]) -> None:
        labels = {}
        for record in records:
            state = record.state()
            arm = self.opened.study.arms[state["arm"]]
            seed = f" (seed {state['seed']})" if phase == "confirm" else ""
            labels[record.folder.name] = (f"{arm.label}{seed}", state["epochs_planned"], state["epochs"])
        title = {"search": "Search", "confirm": "Confirmation on fresh seeds, in full"}[phase]
        self.console.start(title, labels, self.slots)

    def _tune(self, phase: str, records: Sequence[TrialRecord]) -> None:
        stopping = self.opened.study.file.early_stopping
        metric = smooth_name(stopping.metric)
        asha = phase == "search" and stopping.kind == "asha"
        scheduler = None
        if asha:
            scheduler = RecordedASHA(
                stopping, metric=metric, full=schedule_end(self.opened.study), log=self.opened.decisions
            )
        storage = self.opened.folder.resolve() / "search" / "ray"
        sessions = len(list(storage.glob(f"{phase}-*"))) if storage.exists() else 0
        use = {"cpu": self.resources.cpus_per_trial, "gpu": self.resources.gpus_per_trial}
        tuner = tune.Tuner(
            tune.with_resources(train, use),
            param_space={"trial": tune.grid_search([self._facts(record) for record in records])},
            tune_config=tune.TuneConfig(
                scheduler=scheduler,
                reuse_actors=self.resources.device == "cpu",  # a process keeps a card's memory, and a broken context
                max_concurrent_trials=self.resources.max_concurrent,
                trial_name_creator=_name,
                trial_dirname_creator=_name,
            ),
            run_config=tune.RunConfig(
                name=f"{phase}-{sessions + 1:02d}",
                storage_path=str(storage),
                callbacks=[RecordKeeper(self.console, self.opened.decisions, metric)],
                failure_config=tune.FailureConfig(max_failures=WORKER_LOSSES),
                verbose=0,
            ),
        )
        with contextlib.redirect_stdout(io.StringIO()):  # Ray announces itself even at verbose=0
            tuner.fit()

    def _facts(self, record: TrialRecord) -> dict[str, Any]:
        stopping = self.opened.study.file.early_stopping
        return {
            "name": record.folder.name,
            "arm": record.state()["arm"],
            "record": str(record.folder.resolve()),
            "data_folder": str(self.opened.prepared.folder.resolve()),
            "metric": stopping.metric,
            "smooth_epochs": stopping.smooth_epochs,
            "device": self.resources.device,
            "threads": self.resources.threads,
            "workers": self.resources.workers,
            "gpus": self.resources.gpus_per_trial,
        }


def _name(trial: Trial) -> str:
    return str(trial_facts(trial)["name"])


class RecordKeeper(tune.Callback):
    """Shows each report, and puts on the records what a trial cannot write itself: that it was stopped or lost."""

    def __init__(self, console: StudyConsole, decisions: Path, metric: str) -> None:
        self._console, self._decisions, self._metric = console, decisions, metric

    def __getstate__(self) -> dict[str, Any]:
        """Ray pickles callbacks beside its snapshots; a terminal cannot be, and is not needed there."""
        return {}

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **_: Any) -> None:
        """A worker takes the trial up."""
        self._console.begin(trial_facts(trial)["name"])

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **_: Any
    ) -> None:
        """An epoch, or the failure of the trial."""
        facts = trial_facts(trial)
        if "failed" in result:
            record = TrialRecord(Path(facts["record"]))
            if not record.over:
                record.update(status="failed", reason=result["failed"])
            return
        self._console.epoch(facts["name"], result["epoch"], result[self._metric], result["seconds"])

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **_: Any) -> None:
        """The trial ended by itself, or ASHA ended it."""
        facts = trial_facts(trial)
        record = TrialRecord(Path(facts["record"]))
        mark_stopped(record, self._decisions)
        state = record.state()
        self._console.end(facts["name"], state["status"], state["reason"] or "")

    def on_trial_recover(self, iteration: int, trials: list[Trial], trial: Trial, **_: Any) -> None:
        """Its worker was lost; Ray starts it again, and it goes on from its own checkpoint."""
        self._console.end(trial_facts(trial)["name"], "planned", "its worker was lost, it goes on from its checkpoint")

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **_: Any) -> None:
        """Its worker was lost too often."""
        facts = trial_facts(trial)
        record = TrialRecord(Path(facts["record"]))
        if not record.over:
            record.update(status="failed", reason=f"its worker ended {WORKER_LOSSES + 1} times; see Ray's error.txt")
        self._console.end(facts["name"], "failed", record.state()["reason"])


@contextmanager
def _ray(address: str | None) -> Iterator[Any]:
    """Ray for the length of a study. SIGTERM, as `ray job stop` sends it, ends the study like Ctrl-C."""
    for name, value in {
        "RAY_USAGE_STATS_ENABLED": "0",
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
        "RAY_CHDIR_TO_TRIAL_DIR": "0",
        "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    }.items():
        os.environ.setdefault(name, value)
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        options["include_dashboard"] = False
    try:
        ray.init(address or "local", **options)
    except ConnectionError as error:
        raise ConfigError(f"--address: no Ray cluster at '{address}': {error}") from error
    main = threading.current_thread() is threading.main_thread()
    previous = signal.signal(signal.SIGTERM, lambda *_: os.kill(os.getpid(), signal.SIGINT)) if main else None

    def slots(resources: Resources) -> int:
        have: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
        fits = [
            int(have.get(kind, 0) / need + 1e-9)
            for kind, need in (("CPU", resources.cpus_per_trial), ("GPU", resources.gpus_per_trial))
            if need
        ]
        if min(fits) < 1:
            asked = f"{resources.cpus_per_trial:g} CPUs and {resources.gpus_per_trial:g} GPUs"
            raise ConfigError(
                f"a trial asks for {asked}; the cluster has {have.get('CPU', 0):g} and {have.get('GPU', 0):g}; "
                "lower --cpus-per-trial or --gpus-per-trial"
            )
        return min([*fits, resources.max_concurrent or fits[0]])

    try:
        yield slots
    finally:
        if main:
            signal.signal(signal.SIGTERM, previous)
        ray.shutdown()
