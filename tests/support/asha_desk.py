"""ASHA as Ray's controller would drive it, without workers and without a clock."""

import random
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler

from tune_cmx.config.space import EarlyStopping
from tune_cmx.search.schedulers import build_scheduler

FULL = 16
VALUES = {f"t{number:02d}": float(number) for number in range(27)}


def asha_settings(**changed: Any) -> EarlyStopping:
    """Rungs 2 and 4 of 8 epochs, and of 16 one at 8 too; the upper third goes on, in full at last."""
    keys = {"reduction_factor": 3, "spacing": 2, "last": 1, "first": "new"}
    return EarlyStopping(**{**keys, **changed})


def build_asha(settings: EarlyStopping, log: Path | None = None, *, places: int = 1, **search: Any) -> Any:
    arguments: dict[str, Any] = {"metric": "m", "full": FULL, "log": log, "slots": lambda: places, **search}
    return build_scheduler(settings, **arguments)


def ray_trial(name: str) -> Trial:
    return Trial("train", stub=True, trial_id=name, config={"trial": {"name": name, "arm": f"arm-{name}"}})


class Desk:
    """Ray's controller and its workers: places, epochs that are reported again after a pause, no clock."""

    def __init__(
        self,
        scheduler: Any,
        values: Mapping[str, float],
        *,
        places: int = 1,
        full: int = FULL,
        done: Mapping[str, int] | None = None,
        failing: Mapping[str, int] | None = None,
    ) -> None:
        self.scheduler, self.values, self.places, self.full = scheduler, values, places, full
        self.done = dict(done or {})
        """Epochs on the record of each trial."""
        self.failing = failing or {}
        self.search_alg = SimpleNamespace(is_finished=lambda: True)
        self.starts: list[str] = []
        self.most = 0
        self.trials = {name: ray_trial(name) for name in values}
        self._reported: dict[str, int] = {}
        self._order = {name: place for place, name in enumerate(values)}
        self._at_work: list[Trial] = []
        """Those that run, and some that did."""
        for trial in self.trials.values():
            scheduler.on_trial_add(self, trial)

    def stop_trial(self, trial: Trial) -> None:
        assert trial.status == Trial.PAUSED
        self.scheduler.on_trial_remove(self, trial)
        trial.set_status(Trial.TERMINATED)

    def run(self, until: Callable[[], bool] = lambda: False) -> "Desk":
        """Report until all is over, or until something holds, as if the driver were killed there."""
        self._fill()
        while (running := self._running()) and not until():
            for trial in running:
                if until():
                    break
                self._report(trial)
                self._fill()
        return self

    def decided(self) -> list[tuple[str, float, str]]:
        return [(one.trial, one.rung, one.decision) for one in self.scheduler.decided.values()]

    def _running(self) -> list[Trial]:
        self._at_work = [trial for trial in self._at_work if trial.status == Trial.RUNNING]
        return sorted(self._at_work, key=lambda trial: self._order[trial.trial_id])

    def _fill(self) -> None:
        while len(self._running()) < self.places and (trial := self.scheduler.choose_trial_to_run(self)) is not None:
            assert trial.status == Trial.PAUSED
            trial.set_status(Trial.RUNNING)
            self._at_work.append(trial)
            self._reported[trial.trial_id] = 0
            self.starts.append(trial.trial_id)
        self.most = max(self.most, len(self._running()))

    def _report(self, trial: Trial) -> None:
        name = trial.trial_id
        self._reported[name] += 1
        epoch = self._reported[name]
        self.done[name] = max(self.done.get(name, 0), epoch)
        result = {"m": self.values[name], "epoch": epoch, "fraction": epoch / self.full, "gpu_seconds": 10.0 * epoch}
        if self.failing.get(name) == epoch:
            result |= {"m": -1.0, "failed": "loss is nan"}
        decision = self.scheduler.on_trial_result(self, trial, result)
        over = epoch == self.full or "failed" in result
        if decision == TrialScheduler.PAUSE:
            trial.set_status(Trial.PAUSED)
        elif over or decision == TrialScheduler.STOP:
            self.scheduler.on_trial_complete(self, trial, result)
            trial.set_status(Trial.TERMINATED)


def arrivals(order: str) -> dict[str, float]:
    names = sorted(VALUES, key=lambda name: VALUES[name], reverse=order == "falling")
    if order == "random":
        random.Random(0).shuffle(names)
    return {name: VALUES[name] for name in names}
