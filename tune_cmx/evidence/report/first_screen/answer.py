"""The study's answer in one sentence, whose words say no more than the verdict."""

from collections.abc import Hashable, Mapping
from typing import Any

import pandas as pd

from tune_cmx.evidence.report.metric_text import title
from tune_cmx.evidence.results.floor import CLEAR, Learning
from tune_cmx.evidence.results.selection import selected_arm
from tune_cmx.evidence.results.study_results import StudyResults
from tune_cmx.evidence.wording import count, interval, listed, number, p_value, signed, unit


def answer_text(study: StudyResults, arms: pd.DataFrame, learning: Learning) -> str:
    """One sentence on the selected configuration; a second one where the verdict on another differs."""
    if not study.confirmed:
        return _nothing_confirmed(study)
    if learning.nothing:
        return _nothing_learnt(study, learning)
    selected = selected_arm(study, arms)
    if selected is None:
        return "Only the baseline has complete confirmation runs, so there is nothing to compare it with."
    row = arms[arms["arm"] == selected].iloc[0].to_dict()
    row["baseline_n"] = int((arms.loc[arms["arm"] == study.baseline, "n"]).sum())
    return " ".join([_about(study, row), *_others(study, arms, row)])


def _nothing_confirmed(study: StudyResults) -> str:
    search = study.of_phase("search")
    done = sum(trial.status in ("complete", "stopped") for trial in search)
    ended = f"{done} of {count(len(search), 'search trial')} ended"
    return f"No answer yet: no configuration has a complete confirmation run ({ended})."


def _nothing_learnt(study: StudyResults, learning: Learning) -> str:
    metric = study.primary_metric
    floor = f"{number(learning.floor)}{unit(metric)} of {title(metric)}"
    answer = (
        f"Nothing was learnt: no configuration has a 95 % interval above the floor of {floor}, or a mean {CLEAR:g} "
        "points above it."
    )
    if learning.commonest is None:
        return answer
    return f"{answer} A detector that returns the commonest box on each image reaches {number(learning.commonest)}."


def _about(study: StudyResults, row: Mapping[Hashable, Any]) -> str:
    label, metric, verdict = row["label"], title(study.primary_metric), row["verdict"]
    n, baseline_n = row["n"], row["baseline_n"]
    runs = f"n = {n} each" if n == baseline_n else f"n = {n}, baseline {baseline_n}"
    if verdict in ("SUPPORTED", "CONTRADICTED", "INCONCLUSIVE"):
        figures = (
            f"({signed(row['difference'])}{unit(study.primary_metric)}, 95 % interval "
            f"{interval((row['ci95_low'], row['ci95_high']))}, adjusted p {p_value(row['adjusted_p'])}, {runs})"
        )
    if verdict == "SUPPORTED":
        return f"{label} is above the baseline in {metric} {figures}: SUPPORTED."
    if verdict == "CONTRADICTED":
        return f"{label} is below the baseline in {metric} {figures}: CONTRADICTED."
    if verdict == "INCONCLUSIVE":
        return f"No significant difference between {label} and the baseline in {metric} {figures}: INCONCLUSIVE."
    if verdict == "INSUFFICIENT_REPLICATION":
        return (
            f"No claim about {label} against the baseline in {metric} is possible ({runs}): INSUFFICIENT_REPLICATION."
        )
    return f"{label} cannot be compared with the baseline in {metric}: {verdict}."


def _others(study: StudyResults, arms: pd.DataFrame, selected: Mapping[Hashable, Any]) -> list[str]:
    """Configurations that are above or below the baseline, where the selected one is not."""
    others = arms[(arms["arm"] != selected["arm"]) & (arms["arm"] != study.baseline)]
    words = {"SUPPORTED": "Above", "CONTRADICTED": "Below"}
    return [
        f"{side} the baseline: {listed(others[others['verdict'] == verdict]['label'])} ({verdict})."
        for verdict, side in words.items()
        if verdict != selected["verdict"] and (others["verdict"] == verdict).any()
    ]
