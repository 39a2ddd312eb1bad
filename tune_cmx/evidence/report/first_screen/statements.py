"""What a reader may write on the strength of this study, what not, and what would change that."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from tune_cmx.evidence.claims.parsed_claim import Answer
from tune_cmx.evidence.report.metric_text import title
from tune_cmx.evidence.report.page import Page
from tune_cmx.evidence.results.study_claims import resume_command
from tune_cmx.evidence.results.study_results import StudyResults
from tune_cmx.evidence.wording import clauses, interval, p_value, sentence, signed, unit

MAY = "You may write"
GROUPS = {
    MAY: ("SUPPORTED", "EQUIVALENT"),
    "You may not write": (
        *("CONTRADICTED", "NOT_COMPARABLE", "SELECTION_BIASED", "INSUFFICIENT_REPLICATION", "DESCRIPTIVE_ONLY"),
        *("BLOCKED", "DATA_ERROR"),
    ),
    "Undecided": ("INCONCLUSIVE",),
}
TO_UNBLOCK = {
    "INCONCLUSIVE": "More seeds in a new confirmation may decide it; the next section says how many detect what.",
    "INSUFFICIENT_REPLICATION": "To unblock it: two or more complete runs a side; the next command says how.",
    "SELECTION_BIASED": "To unblock it: confirm on fresh seeds (`confirm: {seeds: N}`), and compare on a split that "
    "did not choose.",
    "NOT_COMPARABLE": "To unblock it: train both sides with these fields alike. If the claim is about the field, name "
    "it as its `factor`.",
    "DESCRIPTIVE_ONLY": "To unblock it: two or more runs a side under one protocol, and a metric that is not a time. "
    "Until then, describe it; do not claim it.",
    "DATA_ERROR": f"To unblock it: remove or repair that run folder, then `{resume_command()}`.",
}


@dataclass(frozen=True)
class Statement:
    """A sentence with its verdict; `text` of a study's own claim is quoted, as its words are not the report's."""

    text: str
    verdict: str
    why: str


def statements_section(
    page: Page, study: StudyResults, arms: pd.DataFrame, claims: Sequence[tuple[str, Answer]]
) -> None:
    """Each confirmed configuration against the baseline, and each claim of the study, by what may be done with it."""
    page.heading("What you may write")
    statements = [
        *(_of_arm(study, row) for row in arms.to_dict("records") if row["verdict"] != "baseline"),
        *(Statement(f"“{text}”", str(found["verdict"]), str(found["why"])) for text, found in claims),
    ]
    if not statements:
        page.paragraph(
            "Nothing: no configuration except the baseline has a confirmed run, and the study's file makes no claims."
        )
        return
    if claims:
        page.paragraph("Claims of the study's own file are in quotation marks.")
    for heading, verdicts in GROUPS.items():
        members = [statement for statement in statements if statement.verdict in verdicts]
        if members or heading == MAY:
            page.heading(heading, level=3)
            page.bullets(_lines(members) or ["Nothing yet."])


def _of_arm(study: StudyResults, row: Mapping[Hashable, Any]) -> Statement:
    """Below the baseline is as good a finding as above it, so it can be claimed too."""
    verdict, metric = str(row["verdict"]), title(study.primary_metric)
    if verdict == "CONTRADICTED":
        below = f"{row['label']} is below the baseline in {metric}"
        return Statement(below, "SUPPORTED", f"that it is above is CONTRADICTED; {_figures(study, row)}")
    why = _figures(study, row) if verdict in ("SUPPORTED", "INCONCLUSIVE") else str(row["why"])
    return Statement(f"{row['label']} is above the baseline in {metric}", verdict, why)


def _figures(study: StudyResults, row: Mapping[Hashable, Any]) -> str:
    """Those of the table, as a sentence of a paper has them."""
    ends = interval((row["ci95_low"], row["ci95_high"]))
    return (
        f"difference {signed(row['difference'])}{unit(study.primary_metric)}, 95 % interval {ends}, adjusted p "
        f"{p_value(row['adjusted_p'])}, n = {row['n']}"
    )


def _lines(statements: Sequence[Statement]) -> list[str]:
    """A line for each statement, with its reason; then what would change it, once."""
    lines = []
    for statement in statements:
        why = " ".join(sentence(clause) for clause in clauses(statement.why))
        lines.append(f"{statement.text}: {statement.verdict}. {why}")
    return [*lines, *dict.fromkeys(TO_UNBLOCK[one.verdict] for one in statements if one.verdict in TO_UNBLOCK)]
