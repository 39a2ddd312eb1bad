"""Optuna's TPE (arXiv:2304.11127) as a Ray searcher, with a memory on disk.

Ray's own OptunaSearch is not used. It tells optuna of a trial that ASHA stopped as of a finished one, with the value
of its last epoch; ends the whole search where a report lacks the metric; never tells of a value that is not a number;
is resumed from Ray's snapshots alone; and cannot plan a run folder before its trial.

Here the run folders are the truth, and optuna's storage is the searcher's memory of them. Each draw is made from that
memory and a seed of its own, so a resumed search draws what it would have drawn without the interruption.
"""

import copy
import logging
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState
from ray.tune.search import Searcher

from tune_cmx.config.domains import Domains, is_active, sample_all
from tune_cmx.config.searchers import TpeSearcher
from tune_cmx.search.optuna.distributions import suggest, text
from tune_cmx.search.optuna.journal import quiet
from tune_cmx.search.optuna.known_trials import RECORD, Outcome, TpeMemory
from tune_cmx.search.optuna.priors import VALUES
from tune_cmx.seeding import derive

TPE_DRAWS, DRAWS, REFUSALS = 10, 1000, 30
"""Draws by TPE before random ones, draws in all, and refusals in a row, before the space counts as exhausted."""

_log = logging.getLogger(__name__)


class TpeSearch(Searcher):
    """Suggests trials to Ray. `propose` plans their run folders for the values that TPE draws.

    Args:
        domains: The space.
        searcher: How many trials, which objectives, what to begin with.
        study_name: The search's name in the storage.
        storage: The storage's file.
        seed: Of all draws.
        metric: The selection metric's name in the reports.
        propose: From searched values to the facts of their run folder, its `name` among them: planned now, or planned
            before and not over. None: these values are not to be trained here, and others are drawn.
        outcome: From a run folder's name to what the run folder says.

    Raises:
        ConfigError: The storage holds a search on other terms, a prior lies outside the space, or the study to continue
            has no storage or other objectives.
    """

    def __init__(
        self,
        domains: Domains,
        searcher: TpeSearcher,
        *,
        study_name: str,
        storage: Path,
        seed: int,
        metric: str,
        propose: Callable[[dict[str, Any]], Mapping[str, Any] | None],
        outcome: Callable[[str], Outcome],
    ) -> None:
        super().__init__()  # names no metric: Ray would end the search where a report lacks it
        self._domains, self._seed, self._selection = domains, seed, metric
        self._trials, self._startup = searcher.trials, searcher.startup_trials
        self._objectives = searcher.optimised(metric)
        self._propose = propose
        self.exhausted = False
        """Whether there is nothing more to draw."""
        self._slots: int | None = None
        self._live: dict[str, tuple[int, str]] = {}
        """What Ray has, by its id: the trial's id in the storage, and its run folder's name."""
        self._paused: set[str] = set()
        self._ended: list[tuple[int, str]] = []
        """What Ray says is over, until the run folders say so too."""
        with quiet():
            self._memory = TpeMemory(
                domains,
                searcher,
                study_name=study_name,
                storage=storage,
                seed=seed,
                objectives=self._objectives,
                outcome=outcome,
            )
            self._waiting = deque(self._memory.unfinished())
        self.notes = list(self._memory.notes)
        """What the user should be told, in sentences."""

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override]  # Ray's leaves FINISHED out
        """The next trial's facts; None while as many train as may; FINISHED when there is no other."""
        if self._slots is not None and len(self._live.keys() - self._paused) >= self._slots:
            return None
        self.settle()
        with quiet():
            facts = self._next(trial_id)
        return str(Searcher.FINISHED) if facts is None else {"trial": dict(facts)}

    def on_trial_result(self, trial_id: str, result: Mapping[str, Any]) -> None:
        """Note an epoch's value, for who watches; with several objectives optuna has no place for it."""
        value = result.get(self._selection)
        known = trial_id in self._live and len(self._objectives) == 1
        if known and value is not None and not result.get("failed"):
            self._memory.note(self._live[trial_id][0], {int(result["epoch"]): float(value)})

    def on_trial_complete(
        self,
        trial_id: str,
        result: Mapping[str, Any] | None = None,  # noqa: ARG002
        error: bool = False,  # noqa: ARG002
    ) -> None:
        """Ray is done with a trial. Its run folder says how it ended, perhaps a moment later."""
        self._paused.discard(trial_id)
        if trial_id in self._live:
            self._ended.append(self._live.pop(trial_id))
        self.settle()

    def settle(self) -> None:
        """Tell optuna of trials whose run folders are over by now; call it once more when Ray is done with all."""
        self._ended = [(stored, name) for stored, name in self._ended if not self._memory.tell(stored, name)]

    def asked(self) -> list[dict[str, Any]]:
        """The searched values of all trials that this search asked for, over all its sessions, in their order."""
        return self._memory.asked()

    def on_pause(self, trial_id: str) -> None:
        """A paused trial leaves its slot to another; for a scheduler that pauses to call."""
        self._paused.add(trial_id)

    def on_unpause(self, trial_id: str) -> None:
        """A paused trial resumes."""
        self._paused.discard(trial_id)

    def set_max_concurrency(self, max_concurrent: int) -> bool:
        """Take Ray's limit over: its own limiter counts paused trials, and would let no other start."""
        self._slots = max_concurrent
        return True

    def save(self, checkpoint_path: str) -> None:
        """Write nothing: the storage is on disk, and Ray's snapshots are not used."""

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Ray pickles the searcher beside its snapshots, with all that it calls."""
        return {}

    def _next(self, trial_id: str) -> Mapping[str, Any] | None:
        """The facts of the next run folder; None when there is no other."""
        for _ in range(REFUSALS):
            trial = self._waiting.popleft() if self._waiting else self._ask()
            if trial is None:
                break
            stored, known = self._memory.id_of(trial), trial.user_attrs.get(RECORD)
            facts = self._propose(copy.deepcopy(trial.user_attrs[VALUES]))
            others = {other.user_attrs.get(RECORD) for other in self._memory.own() if other.number != trial.number}
            if facts is None or facts["name"] in others:
                assert known is None, f"{known} is not over, but propose refuses its values"
                self._memory.refuse(trial)
                continue
            if known is None:
                self._memory.set_record(stored, facts["name"])
            self._live[trial_id] = (stored, facts["name"])
            return facts
        self.exhausted = True
        asked = len(self.asked())
        if asked < self._trials:
            self.notes.append(f"searcher.trials is {self._trials}, but the space has only {asked} different trials")
            _log.warning(self.notes[-1])
        return None

    def _ask(self) -> FrozenTrial | None:
        """A trial with values that none had before, now in the storage; None when there is no other."""
        index = len(self.asked())
        if index >= self._trials:
            return None
        taken = {text(trial.user_attrs[VALUES]) for trial in self._memory.own()}
        history = self._memory.history()
        generator = np.random.default_rng(derive(self._seed, "tpe", index))
        for draw in range(DRAWS):
            if draw < TPE_DRAWS:
                values = self._draw(history, derive(self._seed, "tpe", index, draw))
            else:
                values = sample_all(self._domains, generator)
            if text(values) not in taken:
                return self._memory.begin(index, values)
        return None

    def _draw(self, history: optuna.Study, seed: int) -> dict[str, Any]:
        """Values by TPE, trials that are running counted as bad ones, so that others are drawn far from them."""
        history.sampler = optuna.samplers.TPESampler(
            n_startup_trials=self._startup, multivariate=True, group=True, constant_liar=True, seed=seed % 2**32
        )
        trial = history.ask()
        values: dict[str, Any] = {}
        for path, domain in self._domains.items():
            if is_active(domain, values):
                values[path] = suggest(trial, path, domain)
        history.tell(trial, state=TrialState.FAIL)
        return values
