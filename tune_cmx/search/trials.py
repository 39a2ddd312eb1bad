"""Planned trials as Ray trials; each resumes where its run folder ends."""

import contextlib
import io
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from ray import tune
from ray.tune.error import TuneError
from ray.tune.experiment import Trial
from ray.tune.search import BasicVariantGenerator

from tune_cmx.errors import TuneCmxError
from tune_cmx.search.callbacks import ClusterWatch, StudyCallback
from tune_cmx.search.cluster import ClusterSlots, Resources, slots
from tune_cmx.search.console import StudyConsole
from tune_cmx.search.optuna.tpe import TpeSearch
from tune_cmx.search.planning.study_size import schedule_end
from tune_cmx.search.schedulers import build_scheduler, trial_facts
from tune_cmx.search.study_folder import StudyFolder
from tune_cmx.search.trainable import Trainable, smooth_name, train
from tune_cmx.training.run_folder import RunFolder

WORKER_LOSSES = 3
"""How often Ray restarts a trial whose worker or node was lost."""

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
    _joined: list[RunFolder] = field(default_factory=list)

    def run(self, phase: str, title: str, run_folders: Sequence[RunFolder], *, stopping: bool) -> bool:
        """Train what is not over; False if something is still not over at the end.

        Args:
            phase: Its name, under which the scheduler's decisions are kept.
            title: For people.
            run_folders: Planned.
            stopping: Whether weak trials are stopped early, as the study says.
        """
        waiting = [run_folder for run_folder in run_folders if not run_folder.over]
        if waiting:
            self._start(title, len(waiting))
            facts = [self._join(run_folder) for run_folder in waiting]
            self._tune(phase, stopping, facts)
        return all(run_folder.over for run_folder in run_folders)

    def run_drawn(self, phase: str, title: str, trials: int, searcher: Callable[["Join"], TpeSearch]) -> bool:
        """Train what a searcher draws as it goes; False if it was interrupted.

        Args:
            phase: Its name.
            title: For people.
            trials: How many it draws, at most.
            searcher: Makes it, given how a planned run folder joins the phase.
        """
        self._joined = []
        over = sum(run_folder.over for run_folder in self.opened.run_folders() if run_folder.state().phase == "search")
        at_once = self._start(title, trials - over)
        search = searcher(self._join)
        self._tune(phase, True, search=search, trials=trials, drawn_at_once=at_once)
        search.settle()
        for note in search.notes:
            self.console.say(note)
        drawn = search.exhausted or len(search.asked()) >= trials
        return drawn and all(run_folder.over for run_folder in self._joined)

    def _start(self, title: str, trials: int) -> int:
        at_once = slots(self.resources)
        self.console.start(title, trials, at_once)
        return at_once

    def _join(self, run_folder: RunFolder) -> Facts:
        """A trial joins the phase; what its worker must know."""
        self._joined.append(run_folder)
        state = run_folder.state()
        seed = f" (seed {state.seed})" if state.phase == "confirm" else ""
        self.console.add(run_folder.folder.name, f"{state.label}{seed}", state.epochs_planned or 0, state.epochs)
        stopping = self.opened.study.file.early_stopping
        return {
            "name": run_folder.folder.name,
            "arm": state.arm,
            "run_folder": str(run_folder.folder.resolve()),
            "data_folder": str(self.opened.prepared.folder.resolve()),
            "storage": self.opened.mirror.uri if self.opened.mirror else None,
            "metric": stopping.metric,
            "smooth_epochs": stopping.smooth_epochs,
            "device": self.resources.device,
            "threads": self.resources.threads,
            "workers": self.resources.workers,
            "shared_cache": self.resources.shared_cache,
            "loggers": " ".join(self.opened.study.file.loggers),  # Ray takes lists apart
            "study": self.opened.study.file.study,
            "gpus": self.resources.of_trial["GPU"],
        }

    def _tune(
        self,
        phase: str,
        stopping: bool,
        facts: Sequence[Facts] = (),
        search: TpeSearch | None = None,
        trials: int = 0,
        drawn_at_once: int | None = None,
    ) -> None:
        study = self.opened.study
        metric = smooth_name(study.file.early_stopping.metric)
        use = self.resources.of_trial
        reuse = self.resources.device == "cpu"  # a process keeps a GPU's memory, and a broken context
        # Ray keeps a worker, and a cluster grows, only while a trial waits for a place
        ahead = int(reuse or self.resources.address is not None)
        at_once = ClusterSlots(use, at_most=self.resources.at_most, ahead=ahead)
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
        most = None if promotes else self.resources.at_most  # Ray counts paused trials as running
        callback = StudyCallback(self.opened, self.console, scheduler, study.file.early_stopping.metric, WORKER_LOSSES)
        storage = self.opened.folder.resolve() / "search" / "ray"
        sessions = len(list(storage.glob(f"{phase}-*"))) if storage.exists() else 0
        tuner = tune.Tuner(
            tune.with_resources(self.trainable, {"cpu": use["CPU"], "gpu": use["GPU"]}),
            param_space={"trial": dict.fromkeys(facts[0])} if facts else {},
            tune_config=tune.TuneConfig(
                scheduler=scheduler,
                search_alg=search or _in_order(facts, most),
                num_samples=trials or len(facts),
                reuse_actors=reuse,
                max_concurrent_trials=drawn_at_once,
                trial_name_creator=_name,
                trial_dirname_creator=_name,
            ),
            run_config=tune.RunConfig(
                name=f"{phase}-{sessions + 1:02d}",
                storage_path=str(storage),
                callbacks=[callback] if self.resources.address else [callback, ClusterWatch()],
                failure_config=tune.FailureConfig(max_failures=WORKER_LOSSES),
                verbose=0,
            ),
        )
        try:
            # Ray announces itself on stdout even at verbose=0
            with contextlib.redirect_stdout(io.StringIO()), _without_the_interrupted():
                tuner.fit()
        except TuneError as error:
            if isinstance(error.__context__, TuneCmxError | OSError):  # what went wrong here, not a page on Ray
                raise error.__context__ from error
            raise
        finally:
            self.console.finish()
        self.opened.settle()


@contextlib.contextmanager
def _without_the_interrupted() -> Iterator[None]:
    """Ray's log without its list of trials that did not complete; the study's last lines say it."""

    def wanted(entry: logging.LogRecord) -> bool:
        return not str(entry.msg).startswith("Trials did not complete")

    log = logging.getLogger("ray.tune.tune")
    log.addFilter(wanted)
    try:
        yield
    finally:
        log.removeFilter(wanted)


Join = Callable[[RunFolder], Facts]


def _in_order(facts: Sequence[Facts], at_once: int | None) -> BasicVariantGenerator:
    """Trials one after the other. Of a grid of N trials Ray would copy the whole for each, which is N² copies."""
    return BasicVariantGenerator(points_to_evaluate=[{"trial": one} for one in facts], max_concurrent=at_once or 0)


def _name(trial: Trial) -> str:
    return str(trial_facts(trial)["name"])
