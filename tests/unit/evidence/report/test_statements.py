"""What may be written under every verdict, and words that no verdict allows."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from tune_cmx.evidence.report.write import study_page, write_report
from tune_cmx.evidence.results.comparison import compare_arms
from tune_cmx.evidence.results.reading import read_study
from tune_cmx.evidence.wording import clauses, listed_in_clause

if TYPE_CHECKING:
    from conftest import StudyWriter

FORBIDDEN = re.compile(
    r"\b(best|better|worse|worst|identical|(?<!No )significan\w*|superior|optimal|improve\w*|outperform\w*)\b"
    r"|\b(beats?|wins?)\b",
    re.I,
)
QUOTED = re.compile(r"“[^”]*”")
"""A claim's own words."""
STAGES_1 = {"treatment": "stages-1", "baseline": "baseline", "metric": "test/mAP"}


def report_of(writer: StudyWriter) -> str:
    records = read_study(writer.write())
    return study_page(records, compare_arms(records), None).text()


def claims_of(text: str) -> dict[str, str]:
    """The section's groups, by heading."""
    section = text.split("\n## What you may write\n")[1].split("\n## ")[0]
    return {part.partition("\n")[0]: part.partition("\n")[2] for part in section.split("### ")[1:]}


def supported(writer: StudyWriter) -> None:
    writer.arm("baseline", [30.0, 31.0, 32.0, 30.5])
    writer.arm("stages-1", [33.0, 34.1, 34.9, 33.6])


def contradicted(writer: StudyWriter) -> None:
    writer.arm("baseline", [33.0, 34.1, 34.9, 33.6])
    writer.arm("stages-1", [30.0, 31.0, 32.0, 30.5])
    writer.study["claims"] = [{"text": "stage 1 is the best", "kind": "superiority", **STAGES_1}]


def inconclusive(writer: StudyWriter) -> None:
    writer.arm("baseline", [30.0, 31.0, 32.0])
    writer.arm("stages-1", [31.0, 30.5, 33.5])
    writer.study["claims"] = [{"kind": "best", "treatment": "stages-1", "metric": "test/mAP"}]


def equivalent(writer: StudyWriter) -> None:
    writer.arm("baseline", [30.0, 31.0, 32.0, 30.5])
    writer.arm("stages-1", [30.1, 30.9, 32.1, 30.4])
    writer.study["claims"] = [{"text": "identical results", "kind": "equivalence", "margin": 1.0, **STAGES_1}]


def blocked(writer: StudyWriter) -> None:
    writer.arm("stages-1", [31.0, 32.0])


def single(writer: StudyWriter) -> None:
    writer.arm("baseline", [30.0, 31.0])
    writer.arm("stages-1", [34.0])


def biased(writer: StudyWriter) -> None:
    inconclusive(writer)
    writer.study["selection"] = {"split": "test", "metric": "test/mAP", "finalists": ["stages-1"]}


def not_comparable(writer: StudyWriter) -> None:
    writer.arm("baseline", [30.0, 31.0, 32.0])
    writer.arm("stages-1", [31.0, 30.5, 33.5], code_version="0.2.0")


def descriptive(writer: StudyWriter) -> None:
    single(writer)
    writer.study["claims"] = [{"kind": "ratio", **STAGES_1, "treatment": {"seed": 100, "arm": "stages-1"}}]
    writer.study["claims"][0]["baseline"] = {"seed": 100, "arm": "baseline"}


def damaged(writer: StudyWriter) -> None:
    supported(writer)
    writer.study["claims"] = [{"kind": "superiority", **STAGES_1, "metric": "test/mAP_small"}]


CASES: dict[str, tuple[Callable[[StudyWriter], None], str]] = {
    "SUPPORTED": (supported, "You may write"),
    "CONTRADICTED": (contradicted, "You may not write"),
    "INCONCLUSIVE": (inconclusive, "Undecided"),
    "EQUIVALENT": (equivalent, "You may write"),
    "BLOCKED": (blocked, "You may not write"),
    "INSUFFICIENT_REPLICATION": (single, "You may not write"),
    "SELECTION_BIASED": (biased, "You may not write"),
    "NOT_COMPARABLE": (not_comparable, "You may not write"),
    "DESCRIPTIVE_ONLY": (descriptive, "You may not write"),
    "DATA_ERROR": (damaged, "You may not write"),
}


@pytest.mark.parametrize("verdict", CASES)
def test_every_verdict_has_its_group_and_no_word_says_more(writer: StudyWriter, verdict: str) -> None:
    build, group = CASES[verdict]
    build(writer)
    text = report_of(writer)
    assert any(f": {verdict}" in line for line in claims_of(text)[group].splitlines())
    if group != "You may write" and verdict != "CONTRADICTED":
        assert re.search(r"More seeds|To unblock it: |--resume", claims_of(text)[group])
    found = FORBIDDEN.findall(QUOTED.sub("", text))
    assert not found, found


@pytest.mark.parametrize("build", [supported, inconclusive])
def test_no_word_of_a_whole_report_says_more_than_its_verdicts(
    writer: StudyWriter, build: Callable[[StudyWriter], None]
) -> None:
    writer.search()
    build(writer)
    place = write_report(writer.write()).parent
    page = re.sub(r"(?s)<style>.*?</style>|<[^>]*>", " ", (place / "report.html").read_text(encoding="utf-8"))
    for text in (page, (place / "report.md").read_text(encoding="utf-8"), (place / "tables.tex").read_text()):
        assert not FORBIDDEN.findall(QUOTED.sub("", text))


def test_below_the_baseline_can_be_claimed_and_the_opposite_cannot(writer: StudyWriter) -> None:
    contradicted(writer)
    groups = claims_of(report_of(writer))
    assert (
        "stages 1 is below the baseline in test mAP: SUPPORTED. That it is above is CONTRADICTED"
        in (groups["You may write"])
    )
    assert "“stage 1 is the best”: CONTRADICTED. " in groups["You may not write"]


def test_a_statement_has_the_figures_that_a_paper_needs(writer: StudyWriter) -> None:
    supported(writer)
    assert claims_of(report_of(writer))["You may write"].strip() == (
        "- stages 1 is above the baseline in test mAP: SUPPORTED. Difference +3.02 points, 95 % interval 2.87 to 3.18, "
        "adjusted p <0.001, n = 4."
    )


def test_a_remedy_is_given_once(writer: StudyWriter) -> None:
    inconclusive(writer)
    writer.arm("stages-4", [31.0, 30.6, 33.4])
    assert claims_of(report_of(writer))["Undecided"].count("More seeds in a new confirmation may decide it") == 1


def test_without_arms_and_claims_nothing_can_be_claimed(writer: StudyWriter) -> None:
    text = report_of(writer)
    assert "Nothing: no configuration except the baseline has a confirmed run" in text
    assert "### " not in text.split("\n## What you may write\n")[1].split("\n## ")[0]


def test_a_reason_names_configurations_by_their_labels_and_keeps_its_lists_whole(writer: StudyWriter) -> None:
    writer.study["arms"]["stages-1"]["label"] = "CSSA at stage 1, threshold 0.5"
    writer.arm("baseline", [30.0])
    writer.arm("stages-1", [34.0])
    by_filter = {**STAGES_1, "treatment": {"model.fusion.stages": [1]}, "text": "stage 1 is above"}
    writer.study["claims"] = [{"kind": "superiority", **by_filter}]
    lines = claims_of(report_of(writer))["You may not write"].splitlines()
    (own,) = [line for line in lines if "stage 1 is above" in line]
    assert "“CSSA at stage 1, threshold 0.5”" in own.partition("INSUFFICIENT_REPLICATION")[2]
    assert "baseline with a single run (n = 1)" in own
    assert not any("stages-1" in line or "model.fusion.stages=" in line or "\u00a0" in line for line in lines)


def test_a_list_with_semicolons_in_a_reason_is_one_clause() -> None:
    differ = f"the runs differ in {listed_in_clause(['epochs (15, 25)', 'lr (0.005, unknown)'])}"
    assert clauses(f"{differ}; name one") == ["the runs differ in epochs (15, 25); lr (0.005, unknown)", "name one"]


def test_single_runs_have_no_second_advice_beside_the_next_command(writer: StudyWriter) -> None:
    single(writer)
    text = claims_of(report_of(writer))["You may not write"]
    assert "To unblock it: two or more complete runs a side; the next command says how." in text
    assert "--resume" not in text
