"""The configuration that the search selected."""

import pandas as pd

from tune_cmx.evidence.results.study_results import StudyResults


def selected_arm(study: StudyResults, arms: pd.DataFrame) -> str | None:
    """The first finalist other than the baseline that has confirmed runs.

    None: no arm but the baseline has any. Without a recorded selection it is the first arm of the table, which then
    was chosen by the figures it is judged by; `was_selected` tells.
    """
    confirmed = [str(arm) for arm in arms["arm"] if arm != study.baseline]
    chosen = [arm for arm in study.finalists if arm in confirmed]
    return next(iter([*chosen, *confirmed]), None)


def was_selected(study: StudyResults, arm: str) -> bool:
    """Whether the search chose the arm."""
    return arm in study.finalists
