"""The configuration that the search selected."""

import math

import pandas as pd

from tune_cmx import ties
from tune_cmx.evidence.results.study_results import StudyResults, Trial


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


def median_run(study: StudyResults, arm: str) -> Trial | None:
    """The confirmed run of median validation score, which stands for the configuration where one run is needed.

    The score is the selection metric on val. Of an even number of runs it is the lower of the two in the middle, and
    of equal scores the lowest seed's. Runs without a score count as lowest. Test is never looked at.

    Returns:
        None: the configuration has no confirmed run.
    """
    metric = f"val/{study.selection_metric.rpartition('/')[2]}"

    def order(trial: Trial) -> tuple[float, float, str]:
        value = trial.result(metric)
        seed = math.inf if trial.seed is None else trial.seed
        return -math.inf if value is None else ties.key(value), seed, trial.name

    runs = sorted((trial for trial in study.confirmed if trial.arm == arm), key=order)
    return runs[(len(runs) - 1) // 2] if runs else None
