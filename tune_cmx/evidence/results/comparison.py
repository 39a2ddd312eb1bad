"""Each confirmed configuration of a study against the baseline."""

import statistics

import pandas as pd

from tune_cmx import ties
from tune_cmx.evidence.claims.rows import Row
from tune_cmx.evidence.claims.run_table import Table
from tune_cmx.evidence.results.floor import Learning
from tune_cmx.evidence.results.study_claims import evaluate_study_claim, study_rows
from tune_cmx.evidence.results.study_results import StudyResults

COLUMNS = (
    *("arm", "label", "n", "mean", "sd", "difference", "ci95_low", "ci95_high", "p", "adjusted_p", "exact_p"),
    *("pairs", "pilot_pairs", "verdict", "why", "detectable"),
)
_AGAINST_BASELINE = (
    *("difference", "ci95_low", "ci95_high", "p", "adjusted_p", "exact_p"),
    *("pairs", "pilot_pairs", "verdict", "why", "detectable"),
)
"""Columns that mean nothing where nothing was learnt."""


def compare_arms(study: StudyResults) -> pd.DataFrame:
    """One row a confirmed configuration: the baseline first, then by the mean of the primary metric, highest first.

    Returns:
        The columns of `COLUMNS`. p is of the two-sided t test (paired where the arm shares all seeds with the
        baseline; Stein's, with `pilot_pairs`, where a pilot fixed the number of seeds), `adjusted_p` is Holm's over all
        arms with two full runs, `exact_p` of sign flips or permutations. SUPPORTED says that the arm is above the
        baseline, CONTRADICTED that it is below. `detectable` lists, for n, 2n and 4n seeds, `n`, the smallest
        true `difference` found with 80 % power, and the `gpu_hours` or `cpu_hours` of the runs not there yet. Unknown
        numbers are None.
    """
    metric = study.primary_metric
    table = Table(study_rows(study, metric), in_points=True, complete=False)
    rows = [_arm_row(study, arm, runs, table, metric) for arm, runs in table.on(metric).arms.items()]
    arms = pd.DataFrame(rows, columns=list(COLUMNS), dtype=object)
    order = arms.assign(below=arms["arm"] != study.baseline, height=pd.to_numeric(arms["mean"]).map(ties.key))
    return arms.loc[order.sort_values(["below", "height"], ascending=[True, False], kind="stable").index]


def where_learnt(arms: pd.DataFrame, learning: Learning) -> pd.DataFrame:
    """The table as it is; where no configuration exceeds the floor, with the means alone and the rest None.

    Args:
        arms: As `compare_arms` gives them.
        learning: Of the same study.
    """
    return arms.assign(**dict.fromkeys(_AGAINST_BASELINE)) if learning.nothing else arms


def _arm_row(study: StudyResults, arm: str, runs: list[Row], table: Table, metric: str) -> dict[str, object]:
    values = [float(run[metric]) for run in runs if run.get(metric) is not None]
    row: dict[str, object] = {
        **dict.fromkeys(COLUMNS),
        "arm": arm,
        "label": study.label(arm),
        "n": len(runs),
        "mean": statistics.fmean(values) if values else None,
        "sd": statistics.stdev(values) if len(values) > 1 else None,
    }
    if arm == study.baseline:
        return {**row, "verdict": "baseline"}
    claim = {"kind": "superiority", "metric": metric, "treatment": {"arm": arm}, "baseline": "baseline"}
    found = evaluate_study_claim(study, claim, table)
    numbers = found["numbers"]
    low, high = numbers.get("ci95") or (None, None)
    return {
        **row,
        "difference": numbers.get("difference"),
        "ci95_low": low,
        "ci95_high": high,
        "p": numbers.get("p"),
        "adjusted_p": numbers.get("adjusted_p"),
        "exact_p": numbers.get("sign_flip_p", numbers.get("permutation_p")),
        "pairs": numbers.get("n_pairs"),
        "pilot_pairs": numbers.get("pilot_pairs"),
        "verdict": found["verdict"],
        "why": found["why"],
        "detectable": numbers.get("detectable"),
    }
