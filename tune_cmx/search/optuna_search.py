"""Optuna's TPE (arXiv:2304.11127) as a Ray searcher, with a memory on disk.

Ray's own OptunaSearch is not used. It tells optuna of a trial that ASHA stopped as of a finished one, with the value
of its last epoch; ends the whole search where a report lacks the metric; never tells of a value that is not a number;
is resumed from Ray's snapshots alone; and cannot plan a record before its trial.

Here the records are the truth, and optuna's storage is the searcher's memory of them. Each draw is made afresh from
that memory and a seed of its own, so a search that is taken up draws what it would have drawn undisturbed.

| record | optuna |
|---|---|
| complete | COMPLETE with its values |
| stopped by ASHA | PRUNED: below every finished trial, the longer trained above the others |
| failed, or complete without a finite value | PRUNED and infeasible: below all others, so that its region is avoided |
| not over, as when paused | RUNNING |
| none, for `propose` refused the values | FAIL, of which TPE takes no notice |
"""

import copy
import logging
import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial
from ray.tune.search import Searcher

from tune_cmx.config.domains import Domains, is_active, sample_all
from tune_cmx.config.parse import dump
from tune_cmx.config.space import OBJECTIVES
from tune_cmx.config.space import Searcher as SearcherConfig
from tune_cmx.errors import ConfigError
from tune_cmx.search.optuna_history import History
from tune_cmx.search.optuna_journal import open_storage, quiet
from tune_cmx.search.optuna_priors import TERMS, VALUES, observations_of
from tune_cmx.search.optuna_space import distribution, parameter, suggest, text
from tune_cmx.seeding import derive
from tune_cmx.training.record import OVER

TPE_DRAWS, DRAWS, REFUSALS = 10, 1000, 30
"""Draws by TPE before random ones, draws in all, and refusals in a row, before the space counts as exhausted."""
INDEX, RECORD, PRIOR = "index", "record", "prior"
"""Attributes of a trial in the storage: its place in the search, its record; where an observation is from."""

_DIRECTIONS = {"max": StudyDirection.MAXIMIZE, "min": StudyDirection.MINIMIZE}
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """What a trial's record says of it."""

    status: str
    """Of the record; complete also where the search itself ends before the schedule does, and every trial with it."""
    values: tuple[float, ...]
    """Of the objectives, in their order; read where the status is complete."""
    intermediate: Mapping[int, float]
    """The selection metric by epoch; read where the status is stopped."""


class TpeSearch(Searcher):
    """Suggests records to Ray that it has had planned for values drawn by TPE.

    Args:
        domains: The space.
        searcher: How many trials, which objectives, what to begin with.
        study_name: The search's name in the storage.
        storage: The storage's file.
        seed: Of all draws.
        metric: The selection metric's name in the reports.
        propose: From searched values to the facts of their record, its `name` among them: planned now, or planned
            before and not over. None: these values are not to be trained here, and others are drawn.
        outcome: From a record's name to what the record says.

    Raises:
        ConfigError: The storage holds a search on other terms, a prior lies outside the space, or the study to continue
            has no storage or other objectives.
    """

    def __init__(
        self,
        domains: Domains,
        searcher: SearcherConfig,
        *,
        study_name: str,
        storage: Path,
        seed: int,
        metric: str,
        propose: Callable[[dict[str, Any]], Mapping[str, Any] | None],
        outcome: Callable[[str], Outcome],
    ) -> None:
        super().__init__()  # names no metric: Ray would end the search where a report lacks it
        assert searcher.trials is not None
        self._domains, self._seed, self._selection = domains, seed, metric
        self._trials, self._startup = searcher.trials, searcher.startup_trials
        self._objectives = searcher.objectives or (metric,)
        self._propose, self._outcome = propose, outcome
        self.notes: list[str] = []
        """What the user should be told, in sentences."""
        self.exhausted = False
        """Whether there is nothing more to draw."""
        self._slots: int | None = None
        self._live: dict[str, tuple[int, str]] = {}
        """What Ray has, by its id: the trial's id in the storage, and its record's name."""
        self._paused: set[str] = set()
        self._ended: list[tuple[int, str]] = []
        """What Ray says is over, until the records say so too."""
        with quiet():
            self._storage = open_storage(storage)
            directions = [_DIRECTIONS[OBJECTIVES[name]] for name in self._objectives]
            self._study = optuna.create_study(
                study_name=study_name, storage=self._storage, directions=directions, load_if_exists=True
            )
            self._study_id = self._storage.get_study_id_from_name(study_name)
            self._begin(searcher, storage)
            self._waiting = deque(self._taken_up())
            self._copy = History(directions)

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override]  # Ray's leaves FINISHED out
        """The next record; None while as many train as may; FINISHED when there is no other."""
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
            self._note(self._live[trial_id][0], {int(result["epoch"]): float(value)})

    def on_trial_complete(
        self,
        trial_id: str,
        result: Mapping[str, Any] | None = None,  # noqa: ARG002
        error: bool = False,  # noqa: ARG002
    ) -> None:
        """Ray is done with a trial. How it ended its record says, perhaps a moment later."""
        self._paused.discard(trial_id)
        if trial_id in self._live:
            self._ended.append(self._live.pop(trial_id))
        self.settle()

    def settle(self) -> None:
        """Tell optuna of trials whose records are over by now; call it once more when Ray is done with all."""
        self._ended = [(stored, name) for stored, name in self._ended if not self._tell(stored, name)]

    def asked(self) -> list[dict[str, Any]]:
        """The searched values of all trials that this search asked for, over all its sessions, in their order."""
        return [trial.user_attrs[VALUES] for trial in self._own() if trial.state != TrialState.FAIL]

    def on_pause(self, trial_id: str) -> None:
        """A paused trial leaves its slot to another; for a scheduler that pauses to call."""
        self._paused.add(trial_id)

    def on_unpause(self, trial_id: str) -> None:
        """A paused trial goes on."""
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

    def _begin(self, searcher: SearcherConfig, storage: Path) -> None:
        """Add priors to a new search; see that one that is taken up is the one that it was."""
        terms: dict[str, Any] = {
            "search": {path: dump(domain) for path, domain in self._domains.items()},
            "objectives": list(self._objectives),
            "seed": self._seed,
            **{f"searcher.{key}": dump(searcher)[key] for key in ("startup_trials", "priors", "continues")},
        }
        kept: Mapping[str, Any] = self._study.user_attrs.get(TERMS, {})
        for key, value in terms.items():
            if kept and kept[key] != value:
                raise ConfigError(
                    f"{storage}: the search is not the one that it began as: {key} was {kept[key]}, is {value}; "
                    "put it back, or start a new study with another --output-dir"
                )
        if not kept:
            self._add_priors(searcher)
            self._study.set_metric_names(list(self._objectives))
            self._study.set_user_attr(TERMS, terms)

    def _add_priors(self, searcher: SearcherConfig) -> None:
        """Once each, also where a process died over it."""
        there = {trial.user_attrs.get(PRIOR) for trial in self._study.get_trials(deepcopy=False)}
        observations, notes = observations_of(searcher, self._domains, self._objectives)
        self.notes += notes
        for found in observations:
            if found.place not in there:
                attributes = {PRIOR: found.place, VALUES: dict(found.values)}
                self._add(self._trial(found.values, TrialState.COMPLETE, attributes, found.reached))

    def _own(self) -> list[FrozenTrial]:
        """The trials that this search asked for, refused ones too; of one that was tried again, the last."""
        trials = self._study.get_trials(deepcopy=False)
        own = {trial.user_attrs.get(RECORD, trial.number): trial for trial in trials if INDEX in trial.user_attrs}
        return list(own.values())

    def _taken_up(self) -> Iterator[FrozenTrial]:
        """The trials of earlier sessions that are not over; optuna is told of those that ended since."""
        for trial in self._own():
            name = trial.user_attrs.get(RECORD)
            if trial.state == TrialState.RUNNING:
                if name is None or not self._tell(self._id(trial), name):
                    yield trial
            elif name is not None and self._outcome(name).status not in OVER:  # it failed, and is tried again
                values, index = trial.user_attrs[VALUES], trial.user_attrs[INDEX]
                yield self._add(self._trial(values, TrialState.RUNNING, {INDEX: index, VALUES: values, RECORD: name}))

    def _trial(
        self,
        values: Mapping[str, Any],
        state: TrialState,
        attributes: dict[str, Any],
        reached: Sequence[float] | None = None,
    ) -> FrozenTrial:
        """A trial that the storage takes in one piece, so that no crash leaves half of it."""
        return create_trial(
            state=state,
            values=reached,
            params={path: parameter(self._domains[path], value) for path, value in values.items()},
            distributions={path: distribution(self._domains[path]) for path in values},
            user_attrs=attributes,
        )

    def _add(self, trial: FrozenTrial) -> FrozenTrial:
        return self._storage.get_trial(self._storage.create_new_trial(self._study_id, template_trial=trial))

    def _id(self, trial: FrozenTrial) -> int:
        return self._storage.get_trial_id_from_study_id_trial_number(self._study_id, trial.number)

    def _note(self, stored: int, values: Mapping[int, float]) -> None:
        known = self._storage.get_trial(stored).intermediate_values
        for epoch, value in values.items():
            if epoch not in known and math.isfinite(value):
                self._storage.set_trial_intermediate_value(stored, epoch, value)

    def _tell(self, stored: int, name: str) -> bool:
        """Tell optuna how a trial ended; False if its record is not over."""
        outcome = self._outcome(name)
        if outcome.status not in OVER:
            return False
        number = self._storage.get_trial(stored).number
        if outcome.status == "complete" and all(map(math.isfinite, outcome.values)):
            self._study.tell(number, outcome.values)
            return True
        if outcome.status == "stopped" and len(self._objectives) == 1:
            self._note(stored, outcome.intermediate)
        else:
            short = _shortfall(outcome.intermediate if outcome.status == "stopped" else {})
            optuna.Trial(self._study, stored).set_constraint("unfinished", short)
        self._study.tell(number, state=TrialState.PRUNED)
        return True

    def _next(self, trial_id: str) -> Mapping[str, Any] | None:
        """The facts of the next record; None when there is no other."""
        for _ in range(REFUSALS):
            trial = self._waiting.popleft() if self._waiting else self._ask()
            if trial is None:
                break
            stored, known = self._id(trial), trial.user_attrs.get(RECORD)
            facts = self._propose(copy.deepcopy(trial.user_attrs[VALUES]))
            others = {other.user_attrs.get(RECORD) for other in self._own() if other.number != trial.number}
            if facts is None or facts["name"] in others:
                assert known is None, f"{known} is not over, but propose refuses its values"
                self._study.tell(trial.number, state=TrialState.FAIL)
                continue
            if known is None:
                self._storage.set_trial_user_attr(stored, RECORD, facts["name"])
            self._live[trial_id] = (stored, facts["name"])
            return facts
        self.exhausted = True
        asked = len(self.asked())
        if asked < self._trials:
            self.notes.append(f"searcher.trials asks for {self._trials}, but the space has only {asked} different ones")
            _log.warning(self.notes[-1])
        return None

    def _ask(self) -> FrozenTrial | None:
        """A trial with values that none had before, now in the storage; None when there is no other."""
        index = len(self.asked())
        if index >= self._trials:
            return None
        taken = {text(trial.user_attrs[VALUES]) for trial in self._own()}
        history = self._history()
        generator = np.random.default_rng(derive(self._seed, "tpe", index))
        for draw in range(DRAWS):
            if draw < TPE_DRAWS:
                values = self._draw(history, derive(self._seed, "tpe", index, draw))
            else:
                values = sample_all(self._domains, generator)
            if text(values) not in taken:
                return self._add(self._trial(values, TrialState.RUNNING, {INDEX: index, VALUES: values}))
        return None

    def _history(self) -> optuna.Study:
        """All that TPE may learn from."""
        last = {trial.number for trial in self._own()}
        for trial in self._study.get_trials(deepcopy=False):
            if trial.state != TrialState.FAIL and (PRIOR in trial.user_attrs or trial.number in last):
                self._copy.follow(trial)
        return self._copy.study

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


def _shortfall(values: Mapping[int, float]) -> float:
    """How far a trial is from being a finished one, above 0: by its epochs, then by its metric in points; 1 for none.

    With several objectives optuna keeps no intermediate values and ranks pruned trials by number, but infeasible ones
    by the sum of their violations.
    """
    epoch, value = max(values.items(), default=(0, 0.0))
    return 1 / (1 + epoch + (value / 101 if math.isfinite(value) else 0.0))
