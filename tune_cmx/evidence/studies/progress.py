"""How far a study is."""

from collections.abc import Iterable

from tune_cmx.evidence.results.interval_width import seeds_planned
from tune_cmx.evidence.results.study_results import StudyResults, Trial

DONE = ("complete", "stopped", "imported")
"""States of a trial with a result: also one that early stopping ended."""


def trials_done(study: StudyResults) -> int:
    """Trials that have ended with a result."""
    return sum(trial.status in DONE for trial in study.trials)


def trials_planned(study: StudyResults) -> int:
    """Trials of search and confirmation together, as far as the study knows them yet."""
    if study.state.status in ("complete", "imported"):
        return len(study.trials)
    search = max(len(study.of_phase("search")), study.state.searcher.trials or 0)
    confirm = len(study.of_phase("confirm"))
    finalists = len({*study.finalists} - {study.baseline}) or study.state.confirm.finalists
    if finalists is not None:
        confirm = max(confirm, (finalists + 1) * (seeds_planned(study) or 0))
    return search + confirm


def last_day(trials: Iterable[Trial]) -> str | None:
    """The day on which a trial last ended, else was begun, such as `2026-11-29`, in UTC. None: no trial says it."""
    states = [trial.state for trial in trials]
    ends = [state.finished or (state.lineage[-1].ended if state.lineage else None) for state in states]
    known = [end for end in ends if end] or [state.created for state in states if state.created]
    last = max(known, default="")
    return last[:10] if last[:4].isdigit() else None
