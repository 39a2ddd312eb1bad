"""A search's trials in optuna's storage, with the state that each run folder has.

| run folder | optuna |
|---|---|
| complete | COMPLETE with its values |
| stopped by ASHA | PRUNED: below every finished trial, the longer trained above the others |
| failed, or complete without a finite value | PRUNED and infeasible: below all others, so that its region is avoided |
| not over, as when paused | RUNNING |
| none, because its values were refused | FAIL, which TPE ignores |
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from tune_cmx.config.domains import Domains
from tune_cmx.config.parse import dump
from tune_cmx.config.searchers.tpe import TpeSearcher, possible_objectives
from tune_cmx.errors import ConfigError
from tune_cmx.search.optuna.distributions import distribution, parameter
from tune_cmx.search.optuna.history import History
from tune_cmx.search.optuna.journal import open_storage
from tune_cmx.search.optuna.priors import TERMS, VALUES, observations_of
from tune_cmx.state.trial_state import OVER

INDEX, RECORD, PRIOR = "index", "record", "prior"
"""Attributes of a trial in the storage: its place in the search, its run folder; where an observation is from."""

_DIRECTIONS = {"max": StudyDirection.MAXIMIZE, "min": StudyDirection.MINIMIZE}


@dataclass(frozen=True)
class Outcome:
    """What a trial's run folder says of it."""

    status: str
    """Of the run folder; complete also if the search ends every trial before its schedule does."""
    values: tuple[float, ...]
    """Of the objectives, in their order; read where the status is complete."""
    intermediate: Mapping[int, float]
    """The selection metric by epoch; read where the status is stopped."""


class TpeMemory:
    """Outlives the processes of a search; each trial is stored before it is trained.

    Args:
        domains: The space.
        searcher: What to begin with.
        study_name: The search's name in the storage.
        storage: The storage's file.
        seed: Of all draws.
        objectives: Their names.
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
        objectives: Sequence[str],
        outcome: Callable[[str], Outcome],
    ) -> None:
        self._domains, self._objectives, self._outcome = domains, objectives, outcome
        self.notes: list[str] = []
        """What the user should be told of the start, in sentences."""
        self._storage = open_storage(storage)
        directions = [_DIRECTIONS[possible_objectives()[name]] for name in objectives]
        self._study = optuna.create_study(
            study_name=study_name, storage=self._storage, directions=directions, load_if_exists=True
        )
        self._study_id = self._storage.get_study_id_from_name(study_name)
        self._begin(searcher, storage, seed)
        self._copy = History(directions)

    def own(self) -> list[FrozenTrial]:
        """The trials that this search asked for, refused ones too; of one that was tried again, the last."""
        trials = self._study.get_trials(deepcopy=False)
        own = {trial.user_attrs.get(RECORD, trial.number): trial for trial in trials if INDEX in trial.user_attrs}
        return list(own.values())

    def asked(self) -> list[dict[str, Any]]:
        """The searched values of all trials that this search asked for, over all its sessions, in their order."""
        return [trial.user_attrs[VALUES] for trial in self.own() if trial.state != TrialState.FAIL]

    def unfinished(self) -> Iterator[FrozenTrial]:
        """The trials of earlier sessions that are not over; those that ended since are reported to optuna."""
        for trial in self.own():
            name = trial.user_attrs.get(RECORD)
            if trial.state == TrialState.RUNNING:
                if name is None or not self.tell(self.id_of(trial), name):
                    yield trial
            elif name is not None and self._outcome(name).status not in OVER:  # it failed, and is tried again
                values, index = trial.user_attrs[VALUES], trial.user_attrs[INDEX]
                yield self._add(values, TrialState.RUNNING, {INDEX: index, VALUES: values, RECORD: name})

    def history(self) -> optuna.Study:
        """All that TPE may learn from; draws from it leave nothing behind in the storage."""
        last = {trial.number for trial in self.own()}
        for trial in self._study.get_trials(deepcopy=False):
            if trial.state != TrialState.FAIL and (PRIOR in trial.user_attrs or trial.number in last):
                self._copy.follow(trial)
        return self._copy.study

    def begin(self, index: int, values: Mapping[str, Any]) -> FrozenTrial:
        """Add the trial with this place in the search."""
        return self._add(values, TrialState.RUNNING, {INDEX: index, VALUES: values})

    def refuse(self, trial: FrozenTrial) -> None:
        """Of a trial that is not to be trained."""
        self._study.tell(trial.number, state=TrialState.FAIL)

    def id_of(self, trial: FrozenTrial) -> int:
        """The trial's id in the storage."""
        return self._storage.get_trial_id_from_study_id_trial_number(self._study_id, trial.number)

    def set_record(self, stored: int, name: str) -> None:
        """Name the run folder of the trial with this id."""
        self._storage.set_trial_user_attr(stored, RECORD, name)

    def note(self, stored: int, values: Mapping[int, float]) -> None:
        """Note the selection metric by epoch; an epoch that is known keeps its value."""
        known = self._storage.get_trial(stored).intermediate_values
        for epoch, value in values.items():
            if epoch not in known and math.isfinite(value):
                self._storage.set_trial_intermediate_value(stored, epoch, value)

    def tell(self, stored: int, name: str) -> bool:
        """Tell optuna how a trial ended; False if its run folder is not over."""
        outcome = self._outcome(name)
        if outcome.status not in OVER:
            return False
        number = self._storage.get_trial(stored).number
        if outcome.status == "complete" and all(map(math.isfinite, outcome.values)):
            self._study.tell(number, outcome.values)
            return True
        if outcome.status == "stopped" and len(self._objectives) == 1:
            self.note(stored, outcome.intermediate)
        else:
            short = _shortfall(outcome.intermediate if outcome.status == "stopped" else {})
            optuna.Trial(self._study, stored).set_constraint("unfinished", short)
        self._study.tell(number, state=TrialState.PRUNED)
        return True

    def _begin(self, searcher: TpeSearcher, storage: Path, seed: int) -> None:
        """Add priors to a new search; refuse to resume a search whose terms have changed."""
        terms: dict[str, Any] = {
            "search": {path: dump(domain) for path, domain in self._domains.items()},
            "objectives": list(self._objectives),
            "seed": seed,
            **{f"searcher.{key}": dump(searcher)[key] for key in ("startup_trials", "priors", "continues")},
        }
        kept: Mapping[str, Any] = self._study.user_attrs.get(TERMS, {})
        for key, value in terms.items():
            if kept and kept[key] != value:
                raise ConfigError(
                    f"{storage}: the search has changed since it began: {key} was {kept[key]}, and is {value} now; "
                    "put it back, or start a new study with another --output-dir"
                )
        if not kept:
            self._add_priors(searcher)
            self._study.set_metric_names(list(self._objectives))
            self._study.set_user_attr(TERMS, terms)

    def _add_priors(self, searcher: TpeSearcher) -> None:
        """Once each, also where a process died over it."""
        there = {trial.user_attrs.get(PRIOR) for trial in self._study.get_trials(deepcopy=False)}
        observations, notes = observations_of(searcher, self._domains, self._objectives)
        self.notes += notes
        for found in observations:
            if found.place not in there:
                attributes = {PRIOR: found.place, VALUES: dict(found.values)}
                self._add(found.values, TrialState.COMPLETE, attributes, found.reached)

    def _add(
        self,
        values: Mapping[str, Any],
        state: TrialState,
        attributes: dict[str, Any],
        reached: Sequence[float] | None = None,
    ) -> FrozenTrial:
        """Add a trial that the storage takes in one piece, so that no crash leaves half of it."""
        trial = create_trial(
            state=state,
            values=reached,
            params={path: parameter(self._domains[path], value) for path, value in values.items()},
            distributions={path: distribution(self._domains[path]) for path in values},
            user_attrs=attributes,
        )
        return self._storage.get_trial(self._storage.create_new_trial(self._study_id, template_trial=trial))


def _shortfall(values: Mapping[int, float]) -> float:
    """How far a trial is from being a finished one, above 0: by its epochs, then by its metric in points; 1 for none.

    With several objectives optuna keeps no intermediate values and ranks pruned trials by number, but infeasible ones
    by the sum of their violations.
    """
    epoch, value = max(values.items(), default=(0, 0.0))
    return 1 / (1 + epoch + (value / 101 if math.isfinite(value) else 0.0))
