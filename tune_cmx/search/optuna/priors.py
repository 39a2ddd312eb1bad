"""What TPE begins with: observations in the file, trials of --warm-start, the finished trials of an earlier search."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optuna.trial import TrialState

from tune_cmx.config.domains import Domains, refuse_outside
from tune_cmx.config.searchers import TpeSearcher
from tune_cmx.errors import ConfigError
from tune_cmx.search.optuna.journal import studies_of
from tune_cmx.search.warm_start import WarmSearcher

VALUES, TERMS = "values", "terms"
"""Attributes in the storage: of a trial, its searched values; of a search, what cannot change."""


@dataclass(frozen=True)
class Observation:
    """Searched values and what they reached."""

    place: str
    values: Mapping[str, Any]
    reached: Sequence[float]
    """The objectives, in their order."""


def observations_of(
    searcher: TpeSearcher, domains: Domains, objectives: Sequence[str]
) -> tuple[list[Observation], list[str]]:
    """All observations that a search begins with, and sentences on them for the user.

    Raises:
        ConfigError: A prior lies outside the space, or the study to continue has no storage or
            searched on other objectives.
    """
    found, notes = [], []
    for number, prior in enumerate(searcher.priors, 1):
        place = f"searcher.priors, number {number}"
        refuse_outside(domains, prior.values, place)
        found.append(Observation(place, prior.values, [prior.value]))
    if isinstance(searcher, WarmSearcher):
        warm = searcher.warm_start
        found += [Observation(trial.name, trial.values, [trial.value]) for trial in warm.used]
        left_out = f"; {len(warm.left_out)} more are left out" if warm.left_out else ""
        notes.append(f"the search begins with {len(warm.used)} trials of {', '.join(warm.folders)}{left_out}")
    if searcher.continues is not None:
        folder = Path(searcher.continues)
        earlier, outside = _earlier(folder, domains, objectives)
        left_out = f"; {outside} more do not fit this space" if outside else ""
        notes.append(f"the search begins with {len(earlier)} finished trials of {folder}{left_out}")
        found += earlier
    return found, notes


def _earlier(folder: Path, domains: Domains, objectives: Sequence[str]) -> tuple[list[Observation], int]:
    """The finished trials of an earlier study that fit this space, and how many do not."""
    found, outside = [], 0
    for study in studies_of(folder):
        if TERMS not in study.user_attrs:
            continue  # its process died before it had begun
        measured = study.user_attrs[TERMS]["objectives"]
        if measured != list(objectives):
            raise ConfigError(
                f"searcher.continues: {folder} searched on {', '.join(measured)}, this study does on "
                f"{', '.join(objectives)}; leave continues out, or search on the same"
            )
        for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
            place = f"{folder}, {study.study_name}, number {trial.number}"
            try:
                refuse_outside(domains, trial.user_attrs[VALUES], place)
            except ConfigError:
                outside += 1
            else:
                found.append(Observation(place, trial.user_attrs[VALUES], trial.values))
    return found, outside
