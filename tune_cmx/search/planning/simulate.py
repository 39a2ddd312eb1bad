"""The shipped scheduler over trials that nobody trains: an event loop in place of Ray's controller.

Cost and choice of a search depend on the order in which reports come. So time passes here as it would there.
The scheduler is not copied: it is called through the interface that Ray calls it by. `tune-cmx plan` and
scripts/replay.py rest on this.
"""

import heapq
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler

from tune_cmx.config.space import EarlyStopping
from tune_cmx.search.finalists import SearchResult
from tune_cmx.search.schedulers import PromotingASHA, build_scheduler
from tune_cmx.smoothing import smoothed

METRIC = "value"
"""The mean of the last epochs, in the reports."""


@dataclass(frozen=True)
class Course:
    """What a trial would report, were it trained in full."""

    name: str
    """No two alike."""
    arm: str
    values: Sequence[float]
    """The metric that trials are judged by, after each epoch of the schedule; not smoothed."""
    epoch_s: float = 1.0
    """Wall time of an epoch."""
    start_s: float = 0.0
    """From a free place to the first epoch; once more when a paused trial is resumed."""
    end_s: float = 0.0
    """From the last epoch of a trial that is not stopped to a free place."""


@dataclass(frozen=True)
class Simulation:
    """How the trials ended."""

    results: tuple[SearchResult, ...]
    """In the order given, each with the values of the epochs that were trained."""
    busy_s: float
    """Summed over the places: what the trials held, starts and ends included."""
    wall_s: float
    cut_short: frozenset[str]
    """Names of the trials that were not trained in full."""

    @property
    def epochs(self) -> int:
        """All that were trained."""
        return sum(len(result.values) for result in self.results)


def simulate(
    courses: Sequence[Course],
    stopping: EarlyStopping,
    *,
    full: float,
    slots: int,
    ahead: int = 1,
    share: float = 1.0,
    seed: int = 0,
) -> Simulation:
    """Run trials in the order given, as many at a time as there are places.

    Args:
        courses: What each would report.
        stopping: `kind: none` for trials in full, such as a confirmation.
        full: The end of a schedule in the unit of `compare_at`, as `plan.schedule_end` has it.
        slots: Places.
        ahead: How many more the promoting variant has wait for a place, as `ClusterSlots` has it.
        share: Of a GPU that a trial holds, where trials are compared at GPU-seconds.
        seed: Of the study: deals the brackets.
    """
    scheduler = build_scheduler(stopping, metric=METRIC, full=full, log=None, seed=seed, slots=lambda: slots + ahead)
    return simulate_under(scheduler, courses, smooth_epochs=stopping.smooth_epochs, slots=slots, share=share)


def simulate_under(
    scheduler: TrialScheduler | None,
    courses: Sequence[Course],
    *,
    smooth_epochs: int,
    slots: int,
    share: float = 1.0,
) -> Simulation:
    """Run trials in the order given under a scheduler at hand, such as Ray's own ASHA; one that pauses must be ours.

    Args:
        scheduler: Fresh; reads METRIC beside `epoch`, `fraction`, `seconds` and `gpu_seconds`. None: trials in full.
        courses: What each would report.
        smooth_epochs: The longest mean that METRIC is of.
        slots: Places.
        share: Of a GPU that a trial holds.
    """
    controller = _Controller(courses, scheduler)
    coming: list[tuple[float, int, _Stand]] = []
    """The next report of each running trial: when, a number that tells apart what comes at once, and the trial."""
    free, number, now_s, wall_s, busy_s = slots, 0, 0.0, 0.0, 0.0

    def begin() -> None:
        nonlocal free, number, busy_s
        while free and (trial := controller.start_next()) is not None:
            free, number = free - 1, number + 1
            first_s = trial.course.start_s + trial.course.epoch_s
            busy_s += first_s
            heapq.heappush(coming, (now_s + first_s, number, trial))

    begin()
    while coming:
        now_s, order, trial = heapq.heappop(coming)
        wall_s = max(wall_s, now_s)
        if trial.status == Trial.TERMINATED:  # complete, and now at its end
            free += 1
            begin()
            continue
        decision = trial.step(controller, smooth_epochs, share)
        if decision == TrialScheduler.CONTINUE:
            over = trial.epochs == len(trial.course.values)
            next_s = trial.course.end_s if over else trial.course.epoch_s
            busy_s += next_s
            heapq.heappush(coming, (now_s + next_s, order, trial))
        else:
            free += 1
        begin()
    assert all(trial.status == Trial.TERMINATED for trial in controller.trials)
    return Simulation(
        results=tuple(trial.result() for trial in controller.trials),
        busy_s=busy_s,
        wall_s=wall_s,
        cut_short=frozenset(trial.course.name for trial in controller.trials if not trial.complete),
    )


class _Stand:
    """What the scheduler sees of a trial."""

    def __init__(self, course: Course) -> None:
        self.course = course
        self.trial_id = course.name
        self.config = {"trial": {"name": course.name, "arm": course.arm}}
        self.status = Trial.PENDING
        self.epochs = 0
        self.seconds = 0.0

    def set_status(self, status: str) -> None:
        self.status = status

    @property
    def complete(self) -> bool:
        return self.epochs == len(self.course.values)

    def result(self) -> SearchResult:
        course = self.course
        return SearchResult(course.arm, self.epochs / len(course.values), tuple(course.values[: self.epochs]))

    def step(self, controller: "_Controller", smooth_epochs: int, share: float) -> str:
        """Report one more epoch: what the scheduler says to it, STOP too where there is nothing left to do."""
        self.epochs += 1
        self.seconds += self.course.epoch_s
        scheduler, decision = controller.scheduler, TrialScheduler.CONTINUE
        report = self._report(smooth_epochs, share) if scheduler else {}
        if scheduler:
            decision = scheduler.on_trial_result(controller, self, report)
        if self.complete:
            decision = TrialScheduler.CONTINUE
        if self.complete or decision == TrialScheduler.STOP:
            self.set_status(Trial.TERMINATED)
            if scheduler:
                scheduler.on_trial_complete(controller, self, report)
        elif decision == TrialScheduler.PAUSE:
            self.set_status(Trial.PAUSED)
        return str(decision)

    def _report(self, smooth_epochs: int, share: float) -> dict[str, Any]:
        return {
            METRIC: smoothed(self.course.values[: self.epochs], smooth_epochs),
            "epoch": self.epochs,
            "fraction": self.epochs / len(self.course.values),
            "seconds": self.seconds,
            "gpu_seconds": self.seconds * share,
        }


class _Controller:
    """What a scheduler may ask of Ray's controller, itself as the searcher included: all trials have been added."""

    def __init__(self, courses: Sequence[Course], scheduler: Any) -> None:
        self.trials = [_Stand(course) for course in courses]
        self.scheduler = scheduler  # typed as any: the stand-ins have what it asks for, and no more
        self.search_alg = self
        self._pending = deque(self.trials)
        for trial in self.trials if scheduler else ():
            self.scheduler.on_trial_add(self, trial)

    def is_finished(self) -> bool:
        return True

    def get_trials(self) -> Sequence[_Stand]:
        return self.trials

    def stop_trial(self, trial: _Stand) -> None:
        self.scheduler.on_trial_remove(self, trial)
        trial.set_status(Trial.TERMINATED)

    def start_next(self) -> _Stand | None:
        """The trial that Ray would give the free place to: one that waits for it, then what the scheduler chooses.

        The promoting variant chooses one ahead, as the runner has it, and does so as soon as there is one.
        """
        if not isinstance(self.scheduler, PromotingASHA):
            return self._pending.popleft() if self._pending else None
        self.look_ahead()
        waiting = next((trial for trial in self._pending if trial.status == Trial.PENDING), None)
        if waiting is not None:
            self._pending.remove(waiting)
            waiting.set_status(Trial.RUNNING)
            self.look_ahead()
        return waiting

    def look_ahead(self) -> None:
        """Let the scheduler choose as long as it chooses something new."""
        while (chosen := self.scheduler.choose_trial_to_run(self)) is not None and chosen.status == Trial.PAUSED:
            chosen.set_status(Trial.PENDING)
            self._pending.append(chosen)
