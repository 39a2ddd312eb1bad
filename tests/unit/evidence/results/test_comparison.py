"""A study's arms against its baseline, and its claims."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tune_cmx.evidence.results.comparison import compare_arms
from tune_cmx.evidence.results.reading import read_study
from tune_cmx.evidence.results.study_claims import evaluate_study_claim

if TYPE_CHECKING:
    from conftest import StudyWriter

CLAIM = {"kind": "superiority", "treatment": {"model.fusion.stages": [1]}, "baseline": "baseline", "metric": "test/mAP"}


def test_arms_against_the_baseline(decided: StudyWriter) -> None:
    """Stages 1: differences 3, 3.1, 2.9, 3.1: mean 3.025, sd 0.0957, t(0.975, 3) 3.18245, half width 0.1523."""
    table = compare_arms(read_study(decided.write())).set_index("arm")
    assert list(table.index) == ["baseline", "stages-1", "stages-4"]
    lead = table.loc["stages-1"]
    assert (lead["n"], lead["pairs"], lead["verdict"]) == (4, 4, "SUPPORTED")
    assert lead["mean"] == pytest.approx(33.9)
    assert lead["difference"] == pytest.approx(3.025)
    assert [lead["ci95_low"], lead["ci95_high"]] == pytest.approx([2.8727, 3.1773], abs=1e-4)
    assert lead["adjusted_p"] == pytest.approx(2 * lead["p"], rel=1e-4)
    assert lead["exact_p"] == pytest.approx(2 / 16)
    assert table.loc["stages-4", "verdict"] == "INCONCLUSIVE"
    assert table.loc["baseline", "verdict"] == "baseline"


def test_an_arm_below_the_baseline(writer: StudyWriter) -> None:
    writer.arm("baseline", [33.0, 34.1, 34.9, 33.6])
    writer.arm("stages-1", [30.0, 31.0, 32.0, 30.5])
    assert compare_arms(read_study(writer.write())).set_index("arm").loc["stages-1", "verdict"] == "CONTRADICTED"


def test_other_seeds_than_the_baseline_are_not_paired(writer: StudyWriter) -> None:
    writer.arm("baseline", [30.0, 31.0, 32.0])
    writer.arm("stages-1", [33.0, 34.1, 34.9], first_seed=500)
    row = compare_arms(read_study(writer.write())).set_index("arm").loc["stages-1"]
    assert row["pairs"] is None
    assert row["exact_p"] == pytest.approx(2 / 20)


def test_single_runs_and_other_code_get_no_test(writer: StudyWriter) -> None:
    writer.arm("baseline", [30.0, 31.0])
    writer.arm("stages-1", [33.0])
    writer.arm("stages-4", [33.0, 34.0], code_version="0.2.0")
    verdicts = compare_arms(read_study(writer.write())).set_index("arm")["verdict"]
    assert verdicts["stages-1"] == "INSUFFICIENT_REPLICATION"
    assert verdicts["stages-4"] == "NOT_COMPARABLE"
    writer.study["allow_differences"] = ["code_version"]
    assert compare_arms(read_study(writer.write())).set_index("arm").loc["stages-4", "verdict"] == "INCONCLUSIVE"


def test_without_a_baseline_arms_are_blocked(writer: StudyWriter) -> None:
    writer.arm("stages-1", [33.0, 34.0])
    assert list(compare_arms(read_study(writer.write()))["verdict"]) == ["BLOCKED"]


def test_claims_by_configuration_path(decided: StudyWriter) -> None:
    records = read_study(decided.write())
    assert evaluate_study_claim(records, CLAIM)["verdict"] == "SUPPORTED"
    section = {**CLAIM, "treatment": {"model.fusion": {"stages": [1], "kind": "cssa"}}}
    assert evaluate_study_claim(records, section)["verdict"] == "SUPPORTED"
    missing = evaluate_study_claim(records, {**CLAIM, "treatment": {"model.fusion.stages": [2]}})
    assert missing["verdict"] == "BLOCKED"
    assert "tune-cmx search" in missing["why"]


def test_the_finalist_chosen_by_search_stands_for_best_of_on_another_split(decided: StudyWriter) -> None:
    records = read_study(decided.write())
    best_of = {**CLAIM, "treatment": {"best_of": "stages-*"}}
    assert evaluate_study_claim(records, best_of)["verdict"] == "SUPPORTED"
    on_val = evaluate_study_claim(records, {**best_of, "metric": "val/mAP"})
    assert (on_val["verdict"], on_val["numbers"]["n_candidates"]) == ("SELECTION_BIASED", 2)


def test_a_finalist_chosen_among_more_is_biased_on_the_split_that_chose(decided: StudyWriter) -> None:
    decided.study["selection"]["finalists"] = ["stages-1"]
    records = read_study(decided.write())
    assert evaluate_study_claim(records, {**CLAIM, "metric": "val/mAP"})["verdict"] == "SELECTION_BIASED"
    assert evaluate_study_claim(records, CLAIM)["verdict"] == "SUPPORTED"


def test_hours_on_other_machines_do_not_compare(writer: StudyWriter) -> None:
    writer.arm("baseline", [30.0, 31.0], device="cpu")
    writer.arm("stages-1", [33.0, 34.0], device="gpu")
    records = read_study(writer.write())
    ratio = {**CLAIM, "kind": "ratio", "metric": "hours"}
    found = evaluate_study_claim(records, ratio)
    assert (found["verdict"], found["numbers"]["mismatched_fields"]) == ("NOT_COMPARABLE", ["device"])
    assert evaluate_study_claim(records, CLAIM)["verdict"] == "INCONCLUSIVE"


@pytest.mark.parametrize("metric", ["hours", "seconds"])
def test_a_claim_on_a_time_of_a_study_is_descriptive_as_the_load_is_not_on_record(
    writer: StudyWriter, metric: str
) -> None:
    for arm, seconds in (("baseline", [200.0, 210.0, 205.0]), ("stages-1", [100.0, 101.0, 103.0])):
        for seed, value in enumerate(seconds):
            writer.trial(f"confirm-{arm}-s{seed}", arm, seed=seed, test=30.0 + seed, seconds=value)
    found = evaluate_study_claim(read_study(writer.write()), {**CLAIM, "metric": metric})
    assert found["verdict"] == "DESCRIPTIVE_ONLY"
    assert found["numbers"]["difference"] < 0
    assert found["why"].endswith(
        "times depend on the load of the machine; a study does not record this load, so its times have no verdict"
    )
