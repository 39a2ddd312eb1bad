"""ASHA on Ray's scheduler interface, with a memory, in two variants: one stops trials at rungs, one pauses them.

Ray's own ASHAScheduler decides as the stopping one does (a test holds the two together), but Ray saves no scheduler: a
restored search judges by empty rungs (ray-project/ray#30838). Here each decision is appended to `rungs.jsonl` beside
the run folders as it is made, and a resumed search starts from there. Ray has no promoting variant
(ray-project/ray#32634).
"""

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from tune_cmx import ties
from tune_cmx.config.space import EarlyStopping
from tune_cmx.search.cluster import ClusterSlots
from tune_cmx.search.rungs import CONTINUE, PAUSE, STOP, RungMemory, place_in_rung
from tune_cmx.state.rung_log import Decision


def trial_facts(trial: Trial) -> Mapping[str, Any]:
    """What the runner told Ray about a trial: its name, configuration and run folder."""
    facts: Mapping[str, Any] = trial.config["trial"]
    return facts


def build_scheduler(
    config: EarlyStopping,
    *,
    metric: str,
    full: float,
    log: Path | None,
    phase: str = "search",
    seed: int = 0,
    slots: Callable[[], int] | None = None,
) -> "RecordedASHA | PromotingASHA | None":
    """The scheduler that a search-space file asks for; None where trials are not stopped early.

    Args:
        config: The file's `early_stopping`.
        metric: The name in the reports of what trials are compared on.
        full: The end of a schedule in the unit of `compare_at`; infinite for GPU-seconds.
        log: Where decisions are kept, and read from if the search was begun before; None: nowhere.
        phase: The search, of those that share the log.
        seed: Deals the brackets.
        slots: `promote` only: how many trials may run or wait for a place at once; by default what the cluster holds
            and one more. The promoting variant decides what runs next, so Ray's own `max_concurrent_trials` must not
            be set beside it: Ray counts paused trials there, and would wait for them for ever.
    """
    if config.kind == "none":
        return None
    if config.variant == "stop":
        return RecordedASHA(config, metric=metric, full=full, log=log, phase=phase, seed=seed)
    return PromotingASHA(config, metric=metric, full=full, log=log, phase=phase, seed=seed, slots=slots)


class _ASHA(FIFOScheduler):
    """What both variants share."""

    _supports_buffered_results = False

    def __init__(
        self,
        config: EarlyStopping,
        *,
        metric: str,
        full: float,
        log: Path | None,
        phase: str = "search",
        seed: int = 0,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._metric = metric  # Ray refuses reports without it
        self._memory = RungMemory(config, metric=metric, full=full, log=log, phase=phase, seed=seed)

    @property
    def decided(self) -> Mapping[str, Decision]:
        """What was decided last about each trial, by the trial's name."""
        return self._memory.latest

    def contents(self, rung: float, bracket: int = 0) -> Mapping[str, float]:
        """The value of each trial at a rung, by the trial's name."""
        return self._memory.rungs[bracket, rung].values


class RecordedASHA(_ASHA):
    """Stop a trial at a rung whose value is below the upper 1/reduction_factor of those that came before.

    The stopping variant of ASHA (Li et al., arXiv:1810.05934), as in Ray: the first to arrive continues, and
    no stopped trial is resumed. Which trials it keeps depends on the order of arrival. A report that says `failed`
    enters no rung.
    """

    def on_trial_result(self, _controller: Any, trial: Trial, result: Mapping[str, Any]) -> str:
        """Decide at the highest rung that the trial has reached, if it was not compared there before."""
        memory = self._memory
        place = None if result.get("failed") else memory.due(trial_facts(trial)["name"], result)
        if place is None:
            return str(TrialScheduler.CONTINUE)
        cutoff = memory.rungs[place].percentile(1 - 1 / memory.config.reduction_factor)
        over = result["fraction"] >= 1  # a rung over GPU-seconds may lie behind the last epoch: nothing is left to stop
        stops = cutoff is not None and ties.above(cutoff, result[memory.metric]) and not over
        if memory.ends(place):
            cutoff, stops = None, True
        memory.decide(memory.decision(trial_facts(trial), place, result, cutoff, STOP if stops else CONTINUE))
        return str(TrialScheduler.STOP if stops else TrialScheduler.CONTINUE)


class PromotingASHA(_ASHA):
    """Pause each trial at a rung, and resume it when it is among the best 1/reduction_factor of the rung.

    The promoting variant of ASHA (Li et al., arXiv:1810.05934, algorithm 2). With `first: promotion`, as published,
    a promotable trial of the highest rung comes first, then a new trial. With `first: new`, all new trials start before
    one is resumed, so the order of arrival hardly matters. When no trial is new and none can be promoted, the paused
    rest is stopped. A rung too small for a promotion, as in a small study, promotes its best trial. At the rung where
    the search ends every trial is stopped.

    Every trial is held as paused from the moment it is added, because Ray starts pending trials by itself, in the
    order of adding. A resumed trial reports its earlier epochs once more, from its run folder; they change nothing.
    A report that says `failed` enters no rung.
    """

    def __init__(self, config: EarlyStopping, *, slots: Callable[[], int] | None = None, **search: Any) -> None:
        super().__init__(config, **search)
        self._slots = slots
        self._known: set[str] = set()
        self._new: deque[Trial] = deque()
        self._interrupted: deque[Trial] = deque()
        """Promoted by an earlier session, which ended before they did."""
        self._waiting: dict[tuple[int, float], list[tuple[float, str]]] = {
            place: [] for place in sorted(self._memory.rungs, key=lambda place: -place[1])
        }
        """The paused trials of this session at each rung, the last rung first, there the highest first."""
        self._paused: dict[str, Trial] = {}
        self._active: dict[str, Trial] = {}
        """Chosen, and running or about to."""

    def on_trial_add(self, controller: Any, trial: Trial) -> None:
        """Hold a new trial; one that Ray adds once more, after its worker was lost, goes its way."""
        name = trial_facts(trial)["name"]
        if name in self._known:
            return
        self._known.add(name)
        if self._slots is None:
            use: Any = trial.placement_group_factory
            self._slots = ClusterSlots(use.required_resources, ahead=1)
        trial.set_status(Trial.PAUSED)  # type: ignore[no-untyped-call]
        if getattr(trial, "storage", None) is not None:  # outside of an experiment a trial has none
            trial.init_local_path()  # type: ignore[no-untyped-call]  # else Ray's results fail over one never begun
        last = self._memory.latest.get(name)
        if last is None:
            self._new.append(trial)
        elif last.decision == CONTINUE:
            self._interrupted.append(trial)
        else:
            self._pause(trial, last)
            _tell_searcher(controller, trial, paused=True)

    def on_trial_result(self, controller: Any, trial: Trial, result: Mapping[str, Any]) -> str:
        """Pause the trial at the highest rung that it has reached, unless it is promotable at once."""
        if result.get("failed"):
            return str(TrialScheduler.CONTINUE)
        memory, name = self._memory, trial_facts(trial)["name"]
        if name in self._paused:  # its worker was lost while it was being paused, and Ray started it again
            again = memory.at(result) >= memory.latest[name].at
            return str(TrialScheduler.PAUSE if again else TrialScheduler.CONTINUE)
        place = memory.due(name, result)
        if place is None:
            return str(TrialScheduler.CONTINUE)
        if memory.ends(place):
            memory.decide(memory.decision(trial_facts(trial), place, result, None, STOP))
            return str(TrialScheduler.STOP)
        rung = memory.rungs[place]
        rung.add(name, float(result[memory.metric]))
        upper = rung.upper(memory.config.reduction_factor)
        promotable = rung.rank(name) < upper and not (self._new and memory.config.first == "new")
        over = result["fraction"] >= 1  # a rung over GPU-seconds may lie behind the last epoch: nothing is left to do
        continues = promotable or over
        decision = memory.decision(trial_facts(trial), place, result, rung.nth(upper), CONTINUE if continues else PAUSE)
        memory.decide(decision)
        if continues:
            return str(TrialScheduler.CONTINUE)
        self._pause(trial, decision)
        _tell_searcher(controller, trial, paused=True)
        return str(TrialScheduler.PAUSE)

    def choose_trial_to_run(self, controller: Any) -> Trial | None:
        """The next trial to run, if there is room; at the end of the search, stop what is paused."""
        freed = [name for name, trial in self._active.items() if trial.status not in (Trial.PENDING, Trial.RUNNING)]
        untouched = [name for name in freed if self._active[name].status == Trial.PAUSED and name not in self._paused]
        if untouched:  # chosen before, and Ray did not take it
            return self._active[untouched[0]]
        for name in freed:
            del self._active[name]
        pending = next((trial for trial in self._active.values() if trial.status == Trial.PENDING), None)
        if self._slots is not None and len(self._active) >= self._slots():
            return pending
        chosen = self._next(pending if freed else None)
        if chosen is None and not self._active and controller.search_alg.is_finished():
            chosen = self._promotable(at_least=1)
            if chosen is None:
                self._stop_rest(controller)
        if chosen is None:
            return pending
        self._active[trial_facts(chosen)["name"]] = chosen
        _tell_searcher(controller, chosen, paused=False)
        return chosen

    def on_trial_remove(self, _controller: Any, trial: Trial) -> None:
        """A paused or pending trial has ended."""
        self._forget(trial)

    def on_trial_complete(self, _controller: Any, trial: Trial, _result: Mapping[str, Any]) -> None:
        """A running trial has ended."""
        self._forget(trial)

    def debug_string(self) -> str:
        """One line for Ray's status."""
        paused, new = len(self._paused), len(self._new)
        return f"Promoting ASHA: {len(self._active)} active, {paused} paused, {new} not begun"

    def _pause(self, trial: Trial, decision: Decision) -> None:
        self._paused[decision.trial] = trial
        insort(self._waiting[decision.bracket, decision.rung], place_in_rung(decision.value, decision.trial))

    def _forget(self, trial: Trial) -> None:
        name = trial_facts(trial)["name"]
        self._active.pop(name, None)
        if self._paused.pop(name, None) is not None:
            last = self._memory.latest[name]
            waiting = self._waiting[last.bracket, last.rung]
            del waiting[bisect_left(waiting, place_in_rung(last.value, name))]

    def _promotable(self, at_least: int = 0) -> Trial | None:
        """Promote the best of the highest rung where one is due that Ray has finished pausing."""
        memory = self._memory
        for place, waiting in self._waiting.items():
            if memory.ends(place):
                continue
            rung = memory.rungs[place]
            upper = max(rung.upper(memory.config.reduction_factor), at_least)
            for _, name in waiting:
                if rung.rank(name) >= upper:
                    break
                trial = self._paused[name]
                if trial.status == Trial.PAUSED:
                    self._forget(trial)
                    memory.decide(replace(memory.latest[name], cutoff=rung.nth(upper), decision=CONTINUE))
                    return trial
        return None

    def _next(self, waiting: Trial | None) -> Trial | None:
        """The trial that gets a free place; `waiting` was chosen before and could use a worker just freed."""
        if self._memory.config.first == "new":
            return _held(self._interrupted) or waiting or _held(self._new) or self._promotable()
        return _held(self._interrupted) or self._promotable() or waiting or _held(self._new)

    def _stop_rest(self, controller: Any) -> None:
        waiting = [self._paused[name] for here in self._waiting.values() for _, name in here]
        rest = {trial_facts(trial)["name"]: trial for trial in waiting if trial.status == Trial.PAUSED}
        last = [self._memory.latest[name] for name in rest]
        self._memory.decide(*(self._stopped(decision) for decision in last if decision.decision != STOP))
        for trial in rest.values():
            controller.stop_trial(trial)

    def _stopped(self, last: Decision) -> Decision:
        rung = self._memory.rungs[last.bracket, last.rung]
        upper = max(rung.upper(self._memory.config.reduction_factor), 1)
        return replace(last, cutoff=rung.nth(upper), decision=STOP)


def _held(queue: deque[Trial]) -> Trial | None:
    """Take the first trial that is still held."""
    while queue:
        trial = queue.popleft()
        if trial.status == Trial.PAUSED:
            return trial
    return None


def _tell_searcher(controller: Any, trial: Trial, *, paused: bool) -> None:
    """A searcher that draws one by one gives a paused trial's place to another."""
    searcher = getattr(getattr(controller, "search_alg", None), "searcher", None)
    if searcher is not None:
        (searcher.on_pause if paused else searcher.on_unpause)(trial.trial_id)
