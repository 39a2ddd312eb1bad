"""The study's answer in at most three sentences, whose words say no more than the verdicts."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import pandas as pd

from tune_cmx.evidence.claims.detectable import detectable_words
from tune_cmx.evidence.claims.parsed_claim import Answer
from tune_cmx.evidence.results.study_claims import resume_command
from tune_cmx.evidence.results.study_results import StudyResults
from tune_cmx.evidence.wording import count, interval, listed, p_value, signed, unit


def leading_arm(records: StudyResults, arms: pd.DataFrame) -> str | None:
    """The first finalist other than the baseline that has confirmed runs.

    None: no arm but the baseline has any. Without a selection on record it is the first arm of the table, which then
    was chosen by the figures it is judged by; `was_selected` tells.
    """
    confirmed = [str(arm) for arm in arms["arm"] if arm != records.baseline]
    chosen = [arm for arm in records.finalists if arm in confirmed]
    return next(iter([*chosen, *confirmed]), None)


def was_selected(records: StudyResults, arm: str) -> bool:
    """Whether the search chose the arm."""
    return arm in records.finalists


def answer_text(records: StudyResults, arms: pd.DataFrame, claims: Sequence[tuple[str, Answer]]) -> str:
    """Up to three sentences."""
    lead = leading_arm(records, arms)
    if not records.confirmed:
        return _nothing_confirmed(records)
    if lead is None:
        missing = "Only the baseline has complete confirmation runs, so there is nothing to compare it with."
        return f"{missing} To go on: `{resume_command()}`."
    row = arms[arms["arm"] == lead].iloc[0].to_dict()
    row["baseline_n"] = int((arms.loc[arms["arm"] == records.baseline, "n"]).sum())
    sentences = [_about(records, row), _of_the_rest(records, arms, lead), _of_the_claims(claims)]
    return " ".join(sentence for sentence in sentences if sentence)


def _nothing_confirmed(records: StudyResults) -> str:
    search = records.of_phase("search")
    done = sum(trial.status in ("complete", "stopped") for trial in search)
    return (
        "No arm has a complete confirmation run, so these records answer nothing yet: "
        f"{done} of {count(len(search), 'search trial')} ended. To go on: `{resume_command()}`."
    )


def _about(records: StudyResults, row: Mapping[Hashable, Any]) -> str:
    label, metric, verdict = row["label"], records.primary_metric, row["verdict"]
    if verdict in ("SUPPORTED", "CONTRADICTED", "INCONCLUSIVE"):
        n, baseline_n = row["n"], row["baseline_n"]
        runs = f"n = {n} each" if n == baseline_n else f"n = {n}, baseline {baseline_n}"
        figures = (
            f"({signed(row['difference'])}{unit(metric)}, 95 % interval "
            f"{interval((row['ci95_low'], row['ci95_high']))}, adjusted p {p_value(row['adjusted_p'])}, {runs})"
        )
    if verdict == "SUPPORTED":
        return f"On {metric}, {label} is above the baseline {figures}: SUPPORTED."
    if verdict == "CONTRADICTED":
        return f"On {metric}, {label} is below the baseline {figures}: CONTRADICTED."
    if verdict == "INCONCLUSIVE":
        more = f"; {words}" if (words := detectable_words(row["detectable"] or [], metric)) else ""
        return f"On {metric}, these runs do not tell {label} and the baseline apart {figures}: INCONCLUSIVE{more}."
    if verdict == "INSUFFICIENT_REPLICATION" and min(row["n"], row["baseline_n"]) < 2:
        return f"On {metric}, n = 1: no claim can be made of {label} against the baseline: INSUFFICIENT_REPLICATION."
    return f"On {metric}, nothing can be said of {label} against the baseline: {verdict} ({row['why']})."


def _of_the_rest(records: StudyResults, arms: pd.DataFrame, lead: str) -> str:
    others = arms[(arms["arm"] != lead) & (arms["arm"] != records.baseline)]
    if others.empty:
        return ""
    words = {"SUPPORTED": "above", "CONTRADICTED": "below", "INCONCLUSIVE": "not told apart"}
    found = [
        f"{words.get(str(verdict), str(verdict))} ({listed(others[others['verdict'] == verdict]['label'])})"
        for verdict in others["verdict"].unique()
    ]
    return f"Other confirmed arms against the baseline: {', '.join(found)}."


def _of_the_claims(claims: Sequence[tuple[str, Answer]]) -> str:
    if not claims:
        return ""
    verdicts = [found["verdict"] for _, found in claims]
    tally = [f"{verdicts.count(verdict)} {verdict}" for verdict in dict.fromkeys(verdicts)]
    return f"Claims of the study: {', '.join(tally)}."
