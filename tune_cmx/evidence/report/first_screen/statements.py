"""The report's claims: what the records allow to be said, what they do not, and what would change that."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from tune_cmx.evidence.claims.parsed_claim import Answer
from tune_cmx.evidence.report.page import Page
from tune_cmx.evidence.results.study_claims import resume_command
from tune_cmx.evidence.results.study_results import StudyResults
from tune_cmx.evidence.wording import count

CAN = "Can be claimed"
GROUPS = {
    CAN: ("SUPPORTED", "EQUIVALENT"),
    "Cannot be claimed": (
        *("CONTRADICTED", "NOT_COMPARABLE", "SELECTION_BIASED", "INSUFFICIENT_REPLICATION", "DESCRIPTIVE_ONLY"),
    ),
    "Open: these runs do not decide": ("INCONCLUSIVE",),
    "Blocked": ("BLOCKED", "DATA_ERROR"),
}


@dataclass(frozen=True)
class Statement:
    """A sentence with its verdict; `text` of a study's own claim is quoted, as its words are not the report's."""

    text: str
    verdict: str
    why: str


def claims_section(page: Page, records: StudyResults, arms: pd.DataFrame, claims: Sequence[tuple[str, Answer]]) -> None:
    """Each confirmed arm against the baseline, and each claim of the study, under what may be done with it."""
    page.heading("Claims")
    statements = [*_of_arms(records, arms), *(_of_study(text, found) for text, found in claims)]
    if not statements:
        page.paragraph(
            "Nothing can be claimed: no arm but the baseline has a confirmed run, and the study's file makes no "
            f"claims. To go on: `{resume_command()}`."
        )
        return
    own = count(len(claims), "claim") if claims else "no claims"
    page.paragraph(
        f"Each confirmed arm against the baseline on {records.primary_metric}, and {own} of the study's own file, "
        "in quotation marks."
    )
    said: dict[str, str] = {}
    for heading, verdicts in GROUPS.items():
        members = [statement for statement in statements if statement.verdict in verdicts]
        if members or heading == CAN:
            page.heading(heading, level=3)
            page.bullets([_words(statement, said) for statement in members] or ["Nothing yet."])


def _of_arms(records: StudyResults, arms: pd.DataFrame) -> list[Statement]:
    return [_of_arm(records, row) for row in arms.to_dict("records") if row["verdict"] != "baseline"]


def _of_arm(records: StudyResults, row: Mapping[Hashable, Any]) -> Statement:
    """Below the baseline is as good a finding as above it, so it can be claimed too."""
    verdict, subject = str(row["verdict"]), f"{row['label']} is above the baseline on {records.primary_metric}"
    if verdict == "CONTRADICTED":
        below = f"{row['label']} is below the baseline on {records.primary_metric}"
        return Statement(below, "SUPPORTED", f"that it is above is CONTRADICTED: {row['why']}")
    return Statement(subject, verdict, str(row["why"]))


def _of_study(text: str, found: Answer) -> Statement:
    return Statement(f"“{text}”", str(found["verdict"]), str(found["why"]))


def _words(statement: Statement, said: dict[str, str]) -> str:
    """The statement, its verdict and its reason; a reason that stands in `said` already is pointed to."""
    if statement.why in said:
        return f"{statement.text}: {statement.verdict}, for the reason given for {said[statement.why]}."
    said[statement.why] = statement.text
    unblock = _unblock(statement)
    return f"{statement.text}: {statement.verdict}. {_sentence(statement.why)}{f' {unblock}' if unblock else ''}"


def _sentence(words: str) -> str:
    return f"{words[:1].upper()}{words[1:]}{'' if words.endswith('.') else '.'}"


def _unblock(statement: Statement) -> str | None:
    """What to run or change; None: nothing is missing, or the reason says it."""
    match statement.verdict:
        case "INCONCLUSIVE":
            return "To settle it: a new confirmation with more seeds and another `seed`, if it can detect what matters."
        case "INSUFFICIENT_REPLICATION":
            return f"To unblock it: `confirm: {{seeds: N}}` with N of 2 or more, then `{resume_command()}`."
        case "SELECTION_BIASED":
            return (
                "To unblock it: confirm the chosen arm on fresh seeds (`confirm: {seeds: N}`) and claim it on a split "
                "that did not choose."
            )
        case "NOT_COMPARABLE":
            return (
                "To unblock it: train both sides with these fields alike, or name the field as the claim's `factor` if "
                "the claim is about it."
            )
        case "DESCRIPTIVE_ONLY":
            return "To unblock it: two or more runs a side under one protocol; until then it may be told, not claimed."
        case "CONTRADICTED":
            return "Nothing would unblock it: the records speak against it."
        case "DATA_ERROR":
            return f"To unblock it: remove or repair that record, then `{resume_command()}`."
        case _:
            return None
