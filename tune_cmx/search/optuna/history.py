"""Trials of optuna's storage in memory, where draws leave nothing behind in the storage."""

from collections.abc import Sequence

import optuna
from optuna.storages import InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState


class History:
    """A study that follows another one, trial by trial; made afresh it would cost a draw more than TPE itself does.

    Args:
        directions: Of the objectives.
    """

    def __init__(self, directions: Sequence[StudyDirection]) -> None:
        self._memory = InMemoryStorage()
        self.study = optuna.create_study(storage=self._memory, directions=directions)
        self._study_id = self._memory.get_study_id_from_name(self.study.study_name)
        self._known: dict[int, tuple[int, TrialState]] = {}
        """By a trial's number: its id here, and its state when it was copied last."""

    def follow(self, trial: FrozenTrial) -> None:
        """Copy a trial that is new or has ended since."""
        stored, state = self._known.get(trial.number, (None, None))
        if state == trial.state:
            return
        if stored is None:
            stored = self._memory.create_new_trial(self._study_id, template_trial=trial)
        else:
            for step, value in trial.intermediate_values.items():
                self._memory.set_trial_intermediate_value(stored, step, value)
            for name, attribute in trial.system_attrs.items():
                self._memory.set_trial_system_attr(stored, name, attribute)
            self._memory.set_trial_state_values(stored, trial.state, trial.values)
        self._known[trial.number] = stored, trial.state
