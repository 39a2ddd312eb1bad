"""A study in memory that follows another: the same trials as one that is made afresh."""

from typing import Any

import optuna
import pytest
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from tune_cmx.search.optuna.history import History

ENDS: dict[str, dict[str, Any]] = {
    "complete": {"state": TrialState.COMPLETE, "values": [12.5]},
    "pruned": {"state": TrialState.PRUNED, "intermediate_values": {1: 3.0, 2: 4.0}},
    "infeasible": {"state": TrialState.PRUNED, "system_attrs": {"constraints": [0.5]}},
}


def _trial(**fields: Any) -> FrozenTrial:
    distributions: dict[str, BaseDistribution] = {"lr": FloatDistribution(0, 1)}
    return optuna.trial.create_trial(params={"lr": 0.25}, distributions=distributions, **fields)


def _seen(history: History) -> list[tuple[Any, ...]]:
    trials = [trial for trial in history.study.trials if trial.state != TrialState.FAIL]
    return [
        (trial.state, trial.params, trial.values, trial.intermediate_values, trial.system_attrs) for trial in trials
    ]


@pytest.mark.parametrize("end", ENDS)
def test_a_trial_that_ended_since_is_as_if_taken_over_at_its_end(end: str) -> None:
    followed, afresh = History([StudyDirection.MAXIMIZE]), History([StudyDirection.MAXIMIZE])
    other = _trial(state=TrialState.COMPLETE, values=[1.0])
    running, ended = _trial(state=TrialState.RUNNING), _trial(**ENDS[end])
    for number, trial in enumerate((running, other, ended)):
        trial.number = (0, 1, 0)[number]
        followed.follow(trial)
        followed.study.tell(followed.study.ask(), state=TrialState.FAIL)  # as a draw does
    for trial in (ended, other):
        afresh.follow(trial)
    assert _seen(followed) == _seen(afresh)
    assert len(_seen(followed)) == 2


def test_a_trial_is_taken_over_once() -> None:
    history = History([StudyDirection.MAXIMIZE])
    trial = _trial(state=TrialState.COMPLETE, values=[1.0])
    for _ in range(2):
        history.follow(trial)
    assert len(history.study.trials) == 1
