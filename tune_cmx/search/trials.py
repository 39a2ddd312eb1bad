"""Planned records as Ray trials, each taken up where its record ends."""

import contextlib
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ray import tune
from ray.tune.experiment import Trial

from tune_cmx.search.cluster import Resources, slots
from tune_cmx.search.console import StudyConsole
from tune_cmx.search.keeper import RecordKeeper
from tune_cmx.search.optuna_search import TpeSearch
from tune_cmx.search.plan import schedule_end
from tune_cmx.search.schedulers import ClusterSlots, build_scheduler, trial_facts
from tune_cmx.search.study_folder import StudyFolder
from tune_cmx.search.trainable import Trainable, smooth_name, train
from tune_cmx.training.record import TrialRecord

WORKER_LOSSES = 3
"""How often a trial whose worker or node was lost is taken up again."""

Facts = dict[str, Any]
"""What a worker must know of a trial."""


@dataclass
class TrialRunner:
    """Runs the trials of one phase after the other."""

    opened: StudyFolder
    resources: Resources
    console: StudyConsole
    trainable: Trainable = train
    """What a worker runs."""
    _joined: list[TrialRecord] = field(default_factory=list)

    def run(self, phase: str, title: str, records: Sequence[TrialRecord], *, stopping: bool) -> bool:
        """Train what is not over; False if something is still not over at the end.

        Args:
            phase: Its name, under which the scheduler's decisions are kept.
            title: For people.
            records: Planned.
            stopping: Whether weak trials are stopped early, as the study says.
        """
        waiting = [record for record in records if not record.over]
        if waiting:
            processes = [record.config().schedule.processes for record in waiting]
            self._start(title, len(waiting), max(processes))
            facts = [self._join(record, count) for record, count in zip(waiting, processes, strict=True)]
            self._tune(phase, stopping, max(processes), {"trial": {"grid_search": _Planned(facts)}})
        return all(record.over for record in records)

    def run_drawn(self, phase: str, title: str, trials: int, searcher: Callable[["Join"], TpeSearch]) -> bool:
        """Train what a searcher draws as it goes; False if it was interrupted.

        Args:
            phase: Its name.
            title: For people.
            trials: How many it draws, at most.
            searcher: Makes it, given how a planned record joins the phase.
        """
        self._joined = []
        processes = self.opened.study.control.config.schedule.processes
        at_once = self._start(title, trials, processes)
        search = searcher(lambda record: self._join(record, record.config().schedule.processes))
        self._tune(phase, True, processes, {}, search, trials, at_once)
        search.settle()
        for note in search.notes:
            self.console.say(note)
        return all(record.over for record in self._joined)

    def _start(self, title: str, trials: int, processes: int) -> int:
        at_once = slots(self.resources, processes)
        self.console.start(title, trials, at_once)
        return at_once

    def _join(self, record: TrialRecord, processes: int) -> Facts:
        """A trial of so many processes joins the phase; what its worker must know."""
        self._joined.append(record)
        state = record.state()
        seed = f" (seed {state['seed']})" if state["phase"] == "confirm" else ""
        self.console.add(record.folder.name, f"{state['label']}{seed}", state["epochs_planned"], state["epochs"])
        stopping = self.opened.study.file.early_stopping
        return {
            "name": record.folder.name,
            "arm": state["arm"],
            "record": str(record.folder.resolve()),
            "data_folder": str(self.opened.prepared.folder.resolve()),
            "storage": self.opened.mirror.uri if self.opened.mirror else None,
            "metric": stopping.metric,
            "smooth_epochs": stopping.smooth_epochs,
            "device": self.resources.device,
            "threads": self.resources.threads,
            "workers": self.resources.workers,
            "gpus": self.resources.of_trial(processes)["gpu"],
        }

    def _tune(
        self,
        phase: str,
        stopping: bool,
        processes: int,
        space: Mapping[str, Any],
        search: TpeSearch | None = None,
        trials: int = 1,
        drawn_at_once: int | None = None,
    ) -> None:
        study = self.opened.study
        metric = smooth_name(study.file.early_stopping.metric)
        use = self.resources.of_trial(processes)
        reuse = self.resources.device == "cpu"  # a process keeps a card's memory, and a broken context
        at_once = ClusterSlots(
            {"CPU": use["cpu"], "GPU": use["gpu"]},
            at_most=self.resources.max_concurrent,
            ahead=int(reuse),  # Ray keeps a worker only while a trial waits for it
        )
        scheduler = None
        if stopping:
            scheduler = build_scheduler(
                study.file.early_stopping,
                metric=metric,
                full=schedule_end(study),
                log=self.opened.decisions,
                phase=phase,
                seed=study.file.seed,
                slots=at_once,
            )
        promotes = scheduler is not None and study.file.early_stopping.variant == "promote"
        storage = self.opened.folder.resolve() / "search" / "ray"
        sessions = len(list(storage.glob(f"{phase}-*"))) if storage.exists() else 0
        tuner = tune.Tuner(
            tune.with_resources(self.trainable, use),
            param_space=dict(space),
            tune_config=tune.TuneConfig(
                scheduler=scheduler,
                search_alg=search,
                num_samples=trials,
                reuse_actors=reuse,
                # Ray counts paused trials as running, and would wait for them
                max_concurrent_trials=drawn_at_once or (None if promotes else self.resources.max_concurrent),
                trial_name_creator=_name,
                trial_dirname_creator=_name,
            ),
            run_config=tune.RunConfig(
                name=f"{phase}-{sessions + 1:02d}",
                storage_path=str(storage),
                callbacks=[RecordKeeper(self.opened, self.console, scheduler, metric, WORKER_LOSSES)],
                failure_config=tune.FailureConfig(max_failures=WORKER_LOSSES),
                verbose=0,
            ),
        )
        with contextlib.redirect_stdout(io.StringIO()):  # Ray announces itself even at verbose=0
            tuner.fit()
        self.console.finish()
        self.opened.settle()


Join = Callable[[TrialRecord], Facts]


class _Planned(list[Facts]):
    """A grid that Ray takes as it is: it copies the whole grid for each trial of it, the square of their number."""

    def __deepcopy__(self, memo: dict[int, Any]) -> "_Planned":
        return self


def _name(trial: Trial) -> str:
    return str(trial_facts(trial)["name"])
