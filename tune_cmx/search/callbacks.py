"""Ray callbacks: what the driver sees of the trials goes to the screen and to the run folders."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune.experiment import Trial

from tune_cmx.old_form import TRIALS
from tune_cmx.search.console import StudyConsole
from tune_cmx.search.rungs import PAUSE, STOP
from tune_cmx.search.schedulers import PromotingASHA, RecordedASHA, trial_facts
from tune_cmx.search.study_folder import StudyFolder, mark_stopped
from tune_cmx.state.rung_log import Decision
from tune_cmx.state.trial_state import TRIAL_FILE
from tune_cmx.training.run_folder import RunFolder

_ASK_AGAIN_S = 2.0


class ClusterWatch(tune.Callback):
    """Ends a study like Ctrl-C if its cluster on this machine has died. Ray would wait for a node for ever."""

    def __init__(self) -> None:
        self._asked, self._ended = time.monotonic(), False

    def on_step_begin(self, iteration: int, trials: list[Trial], **_: Any) -> None:
        """Ask every few seconds."""
        if self._ended or time.monotonic() - self._asked < _ASK_AGAIN_S:
            return
        self._asked = time.monotonic()
        nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
        if not any(node["Alive"] for node in nodes):
            self._ended = True
            os.kill(os.getpid(), signal.SIGINT)


class StudyCallback(tune.Callback):
    """Shows each report, and notes in run folders what a trial cannot write itself: that it was stopped or lost.

    Args:
        opened: The study's folder.
        console: The screen.
        scheduler: What stops and pauses trials, if anything does.
        metric: The name in the reports of what is shown.
        losses: How often Ray restarts a trial whose worker was lost, without a new epoch in between.
    """

    def __init__(
        self,
        opened: StudyFolder,
        console: StudyConsole,
        scheduler: RecordedASHA | PromotingASHA | None,
        metric: str,
        losses: int,
    ) -> None:
        self._opened, self._console, self._scheduler = opened, console, scheduler
        self._metric, self._losses = metric, losses
        self._furthest: dict[str, int] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Ray pickles callbacks beside its snapshots; a terminal cannot be, and is not needed there."""
        return {}

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **_: Any) -> None:
        """A worker starts or resumes the trial."""
        self._console.begin(trial_facts(trial)["name"])

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **_: Any
    ) -> None:
        """An epoch, or the failure of the trial; the scheduler has decided about it already."""
        name, run_folder = self._record(trial)
        if "failed" in result:
            self._fail(run_folder, result["failed"])
            return
        self._opened.refresh(run_folder)
        self._console.epoch(name, result["epoch"], result[self._metric], result["seconds"])
        if result["epoch"] > self._furthest.get(name, 0):
            self._furthest[name] = result["epoch"]
            trial.run_metadata.num_failures = 0  # a trial that makes progress is not given up
        found = self._decided(name)
        if found is None or result["epoch"] != run_folder.state().epochs:  # an epoch of an earlier session, again
            return
        self._opened.publish_memory()
        if found.decision == PAUSE:
            reason = f"waits at rung {found.rung:g}"
            run_folder.update(status="paused", reason=reason)
            self._opened.publish(f"{TRIALS}/{name}/{TRIAL_FILE}")
            self._console.end(name, "paused", reason)

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **_: Any) -> None:
        """The trial ended by itself, or ASHA ended it."""
        name, run_folder = self._record(trial)
        self._opened.refresh(run_folder, whole=True)
        found = self._decided(name)
        if found is not None and found.decision == STOP:
            mark_stopped(run_folder, found)
            self._opened.publish(f"{TRIALS}/{name}/{TRIAL_FILE}")
        self._opened.publish_memory()
        state = run_folder.state()
        self._console.end(name, state.status, state.reason or "")

    def on_trial_recover(self, iteration: int, trials: list[Trial], trial: Trial, **_: Any) -> None:
        """Its worker was lost. Ray restarts it, and it resumes from its own checkpoint."""
        note = "its worker was lost; it will resume from its checkpoint"
        self._console.end(trial_facts(trial)["name"], "planned", note)

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **_: Any) -> None:
        """Its worker was lost too often."""
        name, run_folder = self._record(trial)
        times = f"{self._losses + 1} times without a new epoch in between"
        self._fail(run_folder, f"its worker ended {times}; see Ray's error.txt")
        self._console.end(name, "failed", run_folder.state().reason or "")

    def _record(self, trial: Trial) -> tuple[str, RunFolder]:
        facts = trial_facts(trial)
        return facts["name"], RunFolder(Path(facts["run_folder"]))

    def _decided(self, name: str) -> Decision | None:
        return self._scheduler.decided.get(name) if self._scheduler is not None else None

    def _fail(self, run_folder: RunFolder, reason: str) -> None:
        self._opened.refresh(run_folder)
        if not run_folder.over:
            run_folder.fail(reason)
            self._opened.publish(f"{TRIALS}/{run_folder.folder.name}/{TRIAL_FILE}")
