"""Confirmation by interval width: intervals and p by Stein's two-stage rule, and what the report says of the number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pytest

from tune_cmx.evidence.claims.evaluate import evaluate_claim
from tune_cmx.evidence.report.write import study_page
from tune_cmx.evidence.results.comparison import compare_arms
from tune_cmx.evidence.results.reading import read_study
from tune_cmx.evidence.statistics.difference import compare_paired, compare_two_stage

if TYPE_CHECKING:
    from conftest import StudyWriter

PILOT = [100, 101, 102, 103]
SPREAD = [0.1, 0.5, 0.9, 0.5]
"""sd 0.326599; t(0.975, 3) is 3.182446."""
LATER = [0.7, 0.9]
BASELINE = [30.0, 31.0, 32.0, 30.5, 31.5, 30.2]
SUPERIORITY = {"kind": "superiority", "metric": "mAP", "treatment": {"arm": "A"}, "baseline": {"arm": "B"}}


@pytest.fixture
def confirmed(writer: StudyWriter) -> StudyWriter:
    """Four pilot seeds and two more; stages 1 differ from the baseline by `SPREAD` and `LATER`."""
    writer.search()
    writer.arm("baseline", BASELINE)
    writer.arm("stages-1", [c + d for c, d in zip(BASELINE, [*SPREAD, *LATER], strict=True)])
    by_arm = {"stages-1": {"sd": 0.326599, "wanted": 5}, "stages-4": {"sd": None, "wanted": None}}
    fixed = {"metric": "test/mAP", "half_width": 0.45, "pilot_seeds": PILOT, "seeds": 6, "wanted": 6, "by_arm": by_arm}
    writer.study["two_stage"] = fixed
    writer.study["confirm"] = {"finalists": 2, "seeds": 6, "half_width": 0.45, "pilot_seeds": 4, "max_seeds": 12}
    return writer


def report_of(writer: StudyWriter) -> str:
    records = read_study(writer.write())
    return study_page(records, compare_arms(records), None).text()


def warned(text: str) -> str:
    """From the first list of warnings on."""
    return text[text.index("arnings\n") :]


def section(text: str, heading: str) -> str:
    return text.split(f"## {heading}\n")[1].split("\n## ")[0]


def rows(arm: str, values: Sequence[float], first_seed: int = 100) -> list[dict[str, Any]]:
    return [{"arm": arm, "run_id": f"{arm}{n}", "seed": first_seed + n, "mAP": value} for n, value in enumerate(values)]


def test_interval_worked_by_hand() -> None:
    """Mean 0.6, half-width 3.182446 x 0.326599 / sqrt 6 = 0.424328; at 90 %, t 2.353363, 0.313785."""
    found = compare_two_stage(SPREAD, LATER)
    assert found.ci95 == pytest.approx((0.175672, 1.024328), abs=1e-5)
    assert found.ci90 == pytest.approx((0.286215, 0.913785), abs=1e-5)
    assert (found.n_pairs, found.pilot_pairs, found.freedom) == (6, 4, 3)
    assert found.exact_p == compare_paired([*SPREAD, *LATER]).exact_p


def test_differences_without_any_spread_are_judged_by_the_exact_p() -> None:
    found = compare_two_stage([1.0, 1.0, 1.0], [1.0])
    assert found.no_spread
    assert found.p == found.exact_p == pytest.approx(2 / 16)


def test_the_arms_of_a_study_by_its_pilot(confirmed: StudyWriter) -> None:
    row = compare_arms(read_study(confirmed.write())).set_index("arm").loc["stages-1"]
    assert [row["ci95_low"], row["ci95_high"]] == pytest.approx([0.175672, 1.024328], abs=1e-4)
    assert row["p"] == pytest.approx(0.02049, abs=1e-4)
    assert (row["n"], row["pairs"], row["pilot_pairs"], row["verdict"]) == (6, 6, 4, "SUPPORTED")


def test_without_a_pilot_on_record_everything_stays(confirmed: StudyWriter) -> None:
    confirmed.study["two_stage"] = None
    row = compare_arms(read_study(confirmed.write())).set_index("arm").loc["stages-1"]
    usual = compare_paired([*SPREAD, *LATER])
    assert [row["ci95_low"], row["ci95_high"]] == pytest.approx(list(usual.ci95), abs=1e-4)
    assert row["pilot_pairs"] is None
    assert "The pilot is not finished" in section(report_of(confirmed), "Confirmed configurations")


def test_seeds_that_one_side_lost_are_left_out(confirmed: StudyWriter) -> None:
    """Stages 4 lack the pilot's last seed and the second stage's last: three pilot pairs and one more."""
    for seed, value in zip([100, 101, 102, 104], [30.2, 31.1, 32.9, 31.9], strict=True):
        confirmed.trial(f"confirm-stages-4-{seed}", "stages-4", seed=seed, val=29.0, test=value)
    row = compare_arms(read_study(confirmed.write())).set_index("arm").loc["stages-4"]
    wanted = compare_two_stage([0.2, 0.1, 0.9], [0.4])
    assert [row["ci95_low"], row["ci95_high"]] == pytest.approx(list(wanted.ci95), abs=1e-4)
    assert (row["pairs"], row["pilot_pairs"]) == (4, 3)


def test_a_configuration_with_one_pilot_pair_makes_no_claim(confirmed: StudyWriter) -> None:
    confirmed.arm("stages-4", [31.0, 33.0, 32.0], first_seed=103)
    confirmed.study["selection"]["finalists"] = ["stages-4"]
    text = report_of(confirmed)
    assert "INSUFFICIENT_REPLICATION" in section(text, "Confirmed configurations")
    assert "1 pilot seed with a run on both sides" in text


def test_the_report_says_how_the_number_came_about(confirmed: StudyWriter) -> None:
    text = section(report_of(confirmed), "Confirmed configurations")
    assert "by Stein's two-stage t over shared seeds" in text
    assert "Stein's two-stage rule fixed the number of seeds once, at 6" in text
    assert "95 % interval of ± 0.45 points on test/mAP" in text
    assert "The pilot's 4 seeds gave stages 1 sd 0.33 (5 seeds wanted), stages 4 no sd (runs failed)" in text
    assert "The widest interval in the table is ± 0.42." in text
    assert "not reached" not in text


def test_the_report_says_that_the_maximum_bound(confirmed: StudyWriter) -> None:
    confirmed.study["two_stage"].update(wanted=23, half_width=0.2)
    confirmed.study["confirm"].update(max_seeds=6, half_width=0.2)
    text = report_of(confirmed)
    sentence = "The interval is wider than wanted: an interval of ± 0.2 points needs 23 seeds, and max_seeds allowed 6"
    assert sentence in section(text, "Confirmed configurations")
    assert sentence in warned(text)


def test_a_pilot_that_told_nothing_is_said(confirmed: StudyWriter) -> None:
    confirmed.study["two_stage"].update(wanted=None, by_arm={})
    assert "No pilot has two pairs with the baseline" in warned(report_of(confirmed))


def test_runs_short_of_the_number_are_warned_of(confirmed: StudyWriter) -> None:
    confirmed.study["two_stage"].update(seeds=9, wanted=9)
    warnings = warned(report_of(confirmed))
    assert "Fewer confirmation runs than the 9 planned: baseline (6), stages 1 (6)" in warnings


def test_holm_runs_over_the_two_stage_p() -> None:
    baseline, pilot = [30.0, 31.0, 32.0, 30.5, 31.5, 30.2], frozenset(PILOT)
    apart = [c + d for c, d in zip(baseline, [*SPREAD, *LATER], strict=True)]
    other = [c + d for c, d in zip(baseline, [0.2, -0.3, 0.4, -0.1, 0.1, 0.2], strict=True)]
    table = [*rows("A", apart), *rows("B", baseline), *rows("C", other)]
    numbers = evaluate_claim(SUPERIORITY, table, pilot=pilot)["numbers"]
    assert numbers["p"] == pytest.approx(0.02049, abs=1e-5)
    assert numbers["adjusted_p"] == pytest.approx(2 * numbers["p"], rel=1e-4)
    assert numbers["pilot_pairs"] == 4


def test_a_pilot_without_spread_is_said_where_later_runs_have_some() -> None:
    baseline = [30.0] * 6
    table = [*rows("A", [30.5] * 4 + [31.0, 29.0]), *rows("B", baseline)]
    found = evaluate_claim(SUPERIORITY, table, pilot=PILOT)
    assert found["verdict"] == "INCONCLUSIVE"
    assert "of all pairs, as the 4 pilot pairs have no spread" in found["why"]


def test_claims_that_match_on_other_fields_keep_their_own_pairs() -> None:
    table = [{**row, "lr": row["seed"]} for row in (*rows("A", [31.0, 31.5, 32.0]), *rows("B", [30.0, 31.0, 30.5]))]
    claim = {**SUPERIORITY, "match_on": ["lr"]}
    assert evaluate_claim(claim, table, pilot=PILOT) == evaluate_claim(claim, table)


@pytest.mark.parametrize("kind", ["best", "equivalence", "ratio"])
def test_every_kind_of_difference_keeps_the_pilots_freedom(kind: str) -> None:
    """With two pilot pairs and one degree of freedom the interval is wider than the usual one of five pairs."""
    baseline = [30.0, 31.0, 32.0, 30.5, 31.5]
    table = [*rows("A", [30.9, 31.4, 32.8, 31.0, 32.3]), *rows("B", baseline)]
    own = {"equivalence": {"margin": 0.1}, "best": {"baseline": None}}
    claim = {**SUPERIORITY, "kind": kind, **own.get(kind, {})}
    usual, by_pilot = evaluate_claim(claim, table), evaluate_claim(claim, table, pilot=[100, 101])
    widths = [found["numbers"]["ci95"][1] - found["numbers"]["ci95"][0] for found in (usual, by_pilot)]
    assert widths[1] > 1.5 * widths[0]
