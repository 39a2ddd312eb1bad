"""Claims and their verdicts: the worked cases, then what they leave out."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tune_cmx.errors import ConfigError
from tune_cmx.evidence.claims.evaluate import evaluate_claim

CASES = json.loads((Path(__file__).parents[3] / "golden" / "claims.json").read_text())
SUPERIORITY = {"kind": "superiority", "metric": "mAP", "treatment": {"arm": "A"}, "baseline": {"arm": "B"}}
EQUIVALENCE = {**SUPERIORITY, "kind": "equivalence", "margin": 0.5}
BEST = {"kind": "best", "metric": "mAP", "treatment": {"arm": "A"}, "among": "arm"}
RATIO = {**SUPERIORITY, "kind": "ratio", "metric": "hours"}
VALUE = {"kind": "value", "metric": "mAP", "treatment": {"arm": "A"}}


def runs(
    arm: str, values: Sequence[float | None], first_seed: int | None = None, **fields: Any
) -> list[dict[str, Any]]:
    """Rows of one arm; seeds count from `first_seed`, unknown without."""
    return [
        {
            "arm": arm,
            "epochs": 15,
            "lr": 0.02,
            "run_id": f"{arm}-{place}",
            "mAP": value,
            "seed": None if first_seed is None else first_seed + place,
            **fields,
        }
        for place, value in enumerate(values)
    ]


@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
def test_worked_case(case: dict[str, Any]) -> None:
    found = evaluate_claim(case["claim"], case["rows"])
    assert found["verdict"] == case["expected"]["verdict"]
    assert found["why"]
    for name, wanted in case["expected"]["numbers"].items():
        tolerance = 0.01 if name.endswith("_p") or name == "p" else 0.02
        got = found["numbers"][name]
        assert got == (wanted if isinstance(wanted, str) or _words(wanted) else pytest.approx(wanted, abs=tolerance))


def _words(value: Any) -> bool:
    return isinstance(value, list) and any(isinstance(entry, str) for entry in value)


@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
def test_a_data_frame_gives_the_same_answer_as_rows(case: dict[str, Any]) -> None:
    assert evaluate_claim(case["claim"], pd.DataFrame(case["rows"])) == evaluate_claim(case["claim"], case["rows"])


@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
def test_other_names_give_the_same_verdict(case: dict[str, Any]) -> None:
    """Nothing is keyed to an id or to an arm's name."""
    names = sorted({row["arm"] for row in case["rows"]} | {"frm_ffm"}, key=len, reverse=True)
    text = json.dumps({"claim": case["claim"], "rows": case["rows"]})
    for place, name in enumerate(names):
        text = text.replace(f'"{name}"', f'"zz_{place:02d}"')
    renamed = json.loads(text.replace("cssa_*", "zz_*"))
    assert evaluate_claim(renamed["claim"], renamed["rows"])["verdict"] == case["expected"]["verdict"]


def test_answers_can_be_written_as_json() -> None:
    for case in CASES:
        json.dumps(evaluate_claim(case["claim"], case["rows"]), allow_nan=False)


def test_shared_seeds_are_paired() -> None:
    """Differences 0.4, 0.5, 0.6, 0.5: mean 0.5, sd 0.0816; runs vary by far more than that."""
    found = evaluate_claim(SUPERIORITY, [*runs("A", [80.4, 83.5, 81.6, 84.5], 1), *runs("B", [80, 83, 81, 84], 1)])
    assert found["verdict"] == "SUPPORTED"
    assert found["numbers"]["n_pairs"] == 4
    assert found["numbers"]["sign_flip_p"] == pytest.approx(2 / 16)
    assert found["numbers"]["ci95"] == pytest.approx([0.370, 0.630], abs=1e-3)


def test_unknown_seeds_are_not_paired() -> None:
    found = evaluate_claim(SUPERIORITY, [*runs("A", [80.4, 83.5, 81.6, 84.5]), *runs("B", [80, 83, 81, 84])])
    assert found["verdict"] == "INCONCLUSIVE"
    assert "n_pairs" not in found["numbers"]


def test_a_seed_too_few_ends_the_pairing() -> None:
    found = evaluate_claim(SUPERIORITY, [*runs("A", [80.4, 83.5, 81.6], 1), *runs("B", [80, 83, 81, 84], 1)])
    assert "permutation_p" in found["numbers"]
    assert found["numbers"]["n_per_arm"] == 3


def test_match_on_pairs_single_runs_of_many_arms() -> None:
    """Six configurations, each with and without the option, one run each, none of them a replicate of another."""
    gaps = [0.3, 0.6, 0.5, 0.4, 0.7, 0.5]
    rows = []
    for place, gap in enumerate(gaps):
        rows += runs(f"on-{place}", [80 + place + gap], stages=place, option=True)
        rows += runs(f"off-{place}", [80 + place], stages=place, option=False)
    claim = {**SUPERIORITY, "treatment": {"option": True}, "baseline": {"option": False}}
    paired = evaluate_claim({**claim, "match_on": ["stages"], "factor": ["option"]}, rows)
    assert paired["verdict"] == "SUPPORTED"
    assert paired["numbers"]["n_pairs"] == 6
    assert paired["numbers"]["sign_flip_p"] == pytest.approx(2 / 64)
    assert paired["numbers"]["difference"] == pytest.approx(0.5)
    unmatched = evaluate_claim({**claim, "factor": ["option"]}, rows)
    assert (unmatched["verdict"], unmatched["numbers"]["mismatched_fields"]) == ("NOT_COMPARABLE", ["stages"])


def test_match_on_leaves_out_what_has_no_partner_and_says_so() -> None:
    rows = [*runs("A", [81, 82], stages=1), *runs("B", [80], stages=1), *runs("C", [90], stages=2, option=1)]
    claim = {**SUPERIORITY, "match_on": ["stages"]}
    assert evaluate_claim(claim, rows)["verdict"] == "INSUFFICIENT_REPLICATION"
    more = [*runs("A", [81], stages=1), *runs("A", [82.5], stages=2, run_id="x"), *runs("A", [9], stages=3, run_id="y")]
    more += [*runs("B", [80], stages=1), *runs("B", [81], stages=2, run_id="z")]
    found = evaluate_claim(claim, more)
    assert found["numbers"]["n_pairs"] == 2
    assert "1 run left out: no partner" in found["why"]


def test_runs_of_several_arms_are_no_replicates() -> None:
    rows = [*runs("A1", [83, 84], k=1), *runs("A2", [83, 84], k=2), *runs("B", [80, 81], k=1)]
    for row in rows:
        row["fusion"] = "b" if row["arm"] == "B" else "a"
    claim = {**SUPERIORITY, "treatment": {"fusion": "a"}, "factor": ["fusion", "k"]}
    assert evaluate_claim(claim, rows)["verdict"] == "NOT_COMPARABLE"


def test_other_arms_on_record_count_as_comparisons() -> None:
    """p is 0.02 alone; with four more arms on record it is not below 0.05, whatever the claim says of them."""
    rows = [*runs("A", [83.6, 83.9, 83.2, 84.1]), *runs("B", [82.9, 83.0, 82.4, 83.3])]
    alone = evaluate_claim(SUPERIORITY, rows)
    assert (alone["verdict"], alone["numbers"]["comparisons"]) == ("SUPPORTED", 1)
    others = [row for arm in "CDEF" for row in runs(arm, [82.5, 83.1, 82.7, 83.3], factor_value=arm)]
    among_five = evaluate_claim(SUPERIORITY, rows + others)
    assert (among_five["verdict"], among_five["numbers"]["comparisons"]) == ("INCONCLUSIVE", 5)
    assert among_five["numbers"]["adjusted_p"] == pytest.approx(5 * alone["numbers"]["p"], rel=1e-4)


def test_single_runs_and_stopped_runs_are_no_comparisons() -> None:
    rows = [*runs("A", [83.1, 83.4, 83.0]), *runs("B", [82.2, 82.5, 82.1]), *runs("C", [70])]
    rows += runs("D", [60, 61, 62], status="stopped")
    assert evaluate_claim(SUPERIORITY, rows)["numbers"]["comparisons"] == 1


def test_the_other_direction_contradicts() -> None:
    rows = [*runs("A", [80.1, 80.4, 80.0]), *runs("B", [82.2, 82.5, 82.1])]
    assert evaluate_claim(SUPERIORITY, rows)["verdict"] == "CONTRADICTED"


def test_less_time_is_superior() -> None:
    rows = [*runs("A", [80, 80], hours=1.0), *runs("B", [80, 80], hours=2.0)]
    for place, row in enumerate(rows):
        row["hours"] += 0.001 * (place % 2)
    claim = {**SUPERIORITY, "metric": "hours"}
    found = evaluate_claim(claim, rows)
    assert found["verdict"] == "SUPPORTED"
    assert "; times depend on the load of the machine" in found["why"]


@given(
    st.lists(st.floats(75, 90), min_size=2, max_size=5),
    st.lists(st.floats(75, 90), min_size=2, max_size=5),
)
def test_swapping_the_sides_turns_the_verdict_over(first: list[float], second: list[float]) -> None:
    rows = [*runs("A", first), *runs("B", second)]
    turned = {**SUPERIORITY, "treatment": {"arm": "B"}, "baseline": {"arm": "A"}}
    over = {"SUPPORTED": "CONTRADICTED", "CONTRADICTED": "SUPPORTED", "INCONCLUSIVE": "INCONCLUSIVE"}
    assert evaluate_claim(turned, rows)["verdict"] == over[evaluate_claim(SUPERIORITY, rows[::-1])["verdict"]]


def test_equivalence_is_contradicted_outside_the_margin() -> None:
    rows = [*runs("A", [85.1, 85.2, 85.0]), *runs("B", [82.2, 82.3, 82.1])]
    assert evaluate_claim(EQUIVALENCE, rows)["verdict"] == "CONTRADICTED"


def test_the_same_function_on_the_same_seeds_is_equivalent() -> None:
    rows = [*runs("A", [81, 82, 83], 0), *runs("B", [81, 82, 83], 0)]
    assert evaluate_claim(EQUIVALENCE, rows)["verdict"] == "EQUIVALENT"
    assert evaluate_claim(SUPERIORITY, rows)["verdict"] == "INCONCLUSIVE"


def test_two_runs_without_any_spread_support_nothing() -> None:
    found = evaluate_claim(SUPERIORITY, [*runs("A", [83, 83]), *runs("B", [80, 80])])
    assert found["verdict"] == "INCONCLUSIVE"
    assert "no spread" in found["why"]


def test_inconclusive_says_what_its_seeds_can_detect() -> None:
    found = evaluate_claim(SUPERIORITY, [*runs("A", [83.6, 82.9, 83.7]), *runs("B", [83.2, 82.4, 83.0])])
    assert [entry["n"] for entry in found["numbers"]["detectable"]] == [3, 6, 12]
    assert "3 seeds can detect" in found["why"]


def test_best_needs_every_rival_below() -> None:
    rows = [*runs("A", [84.1, 84.2, 84.0]), *runs("B", [82.1, 82.2, 82.0]), *runs("C", [80.1, 80.3, 80.0])]
    won = evaluate_claim(BEST, rows)
    assert (won["verdict"], won["numbers"]["comparisons"], won["numbers"]["rival"]) == ("SUPPORTED", 2, "B")
    near = evaluate_claim(BEST, [*rows, *runs("D", [84.0, 84.1, 84.1])])
    assert (near["verdict"], near["numbers"]["rival"]) == ("INCONCLUSIVE", "D")
    lost = evaluate_claim({**BEST, "treatment": {"arm": "C"}}, rows)
    assert (lost["verdict"], lost["numbers"]["rival"]) == ("CONTRADICTED", "A")


def test_best_of_repeated_runs_is_not_refuted_by_one_lucky_run() -> None:
    rows = [*runs("A", [84.1, 84.2, 84.0]), *runs("B", [84.3])]
    assert evaluate_claim(BEST, rows)["verdict"] == "INSUFFICIENT_REPLICATION"


def test_best_with_no_rival_is_blocked() -> None:
    assert evaluate_claim(BEST, runs("A", [84.1, 84.2]))["verdict"] == "BLOCKED"


def test_best_of_one_candidate_is_no_choice() -> None:
    rows = [*runs("A1", [84.1, 84.2, 84.0]), *runs("B", [82.1, 82.2, 82.0])]
    assert evaluate_claim({**SUPERIORITY, "treatment": {"best_of": "A*"}}, rows)["verdict"] == "SUPPORTED"


def test_the_words_of_best_count_the_rivals() -> None:
    rows = [*runs("A", [84.1, 84.2, 84.0]), *runs("B", [82.1, 82.2, 82.0]), *runs("C", [80.1, 80.3, 80.0])]
    assert evaluate_claim(BEST, rows)["why"].startswith("better than each of 2 rivals; nearest rival: against B: ")
    near = [*rows, *runs("D", [84.0, 84.1, 84.1])]
    assert evaluate_claim(BEST, near)["why"].startswith("of 3 rivals, 1 is not significantly different; against D: ")
    two = [*runs("A", [84.1, 84.2, 84.0]), *runs("D", [84.0, 84.1, 84.1])]
    assert evaluate_claim(BEST, two)["why"].startswith("no significant difference from the only rival, D; ")


def test_a_value_and_its_interval_have_the_same_digits() -> None:
    found = evaluate_claim({**VALUE, "value": 83.78, "tolerance": 0.5}, runs("A", [83.7, 83.8, 83.9]))
    assert found["why"] == "mean 83.80 points, 90 % interval 83.63 to 83.97, claimed 83.28 to 84.28"


@pytest.mark.parametrize(("metric", "hosts", "warned"), [("hours", 2, True), ("hours", 1, False), ("mAP", 2, False)])
def test_times_from_several_hosts_carry_a_warning(metric: str, hosts: int, warned: bool) -> None:
    rows = [
        {**row, "hours": 1.0 + 0.1 * place, "host": f"node{place % hosts}"}
        for place, row in enumerate([*runs("A", [84.1, 84.2, 84.0]), *runs("B", [82.1, 82.2, 82.0])])
    ]
    why = evaluate_claim({**SUPERIORITY, "metric": metric}, rows)["why"]
    assert ("from 2 hosts (node0, node1), so their times differ by the machine too" in why) is warned


def test_ratio_of_repeated_runs() -> None:
    rows = [*runs("A", [80, 80], hours=1.0), *runs("B", [80, 80], hours=4.0)]
    for place, row in enumerate(rows):
        row["hours"] *= 1 + 0.001 * place
    assert evaluate_claim(RATIO, rows)["verdict"] == "DESCRIPTIVE_ONLY"
    assert evaluate_claim({**RATIO, "value": 0.25, "tolerance": 0.02}, rows)["verdict"] == "SUPPORTED"
    assert evaluate_claim({**RATIO, "value": 0.5, "tolerance": 0.02}, rows)["verdict"] == "CONTRADICTED"
    assert evaluate_claim({**RATIO, "value": 0.5}, rows)["verdict"] == "CONTRADICTED"


def test_value_of_repeated_runs() -> None:
    rows = runs("A", [83.7, 83.8, 83.9])
    assert evaluate_claim(VALUE, rows)["verdict"] == "DESCRIPTIVE_ONLY"
    assert evaluate_claim({**VALUE, "value": 83.78, "tolerance": 0.5}, rows)["verdict"] == "SUPPORTED"
    assert evaluate_claim({**VALUE, "value": 83.78, "tolerance": 0.1}, rows)["verdict"] == "INCONCLUSIVE"
    assert evaluate_claim({**VALUE, "value": 90.0}, rows)["verdict"] == "CONTRADICTED"
    assert evaluate_claim(VALUE, runs("A", [83.7]))["verdict"] == "INSUFFICIENT_REPLICATION"


def test_the_split_named_in_the_metric_is_the_one_reported() -> None:
    rows = runs("A", [None, None], selected_on="val", reported_on="test")
    for place, row in enumerate(rows):
        row.update({"val/mAP": 80.0 + place, "test/mAP": 79.0 + place})
    assert evaluate_claim({**VALUE, "metric": "val/mAP"}, rows)["verdict"] == "SELECTION_BIASED"
    assert evaluate_claim({**VALUE, "metric": "test/mAP"}, rows)["verdict"] == "DESCRIPTIVE_ONLY"


def test_an_unknown_value_differs_from_a_known_one_but_not_from_another_unknown() -> None:
    first, second = runs("A", [83.1, 83.4]), runs("B", [82.2, 82.5])
    with_nan = [*({**row, "k": float("nan")} for row in first), *second]
    assert evaluate_claim(SUPERIORITY, with_nan)["verdict"] != "NOT_COMPARABLE"
    found = evaluate_claim(SUPERIORITY, [*({**row, "k": 3} for row in first), *second])
    assert (found["verdict"], found["numbers"]["mismatched_fields"]) == ("NOT_COMPARABLE", ["k"])


def test_a_section_named_as_factor_covers_the_fields_below_it() -> None:
    rows = [
        *runs("A", [83.1, 83.4], **{"model.fusion.kind": "cssa"}),
        *runs("B", [82, 82.5], **{"model.fusion.kind": "add"}),
    ]
    assert evaluate_claim(SUPERIORITY, rows)["verdict"] == "NOT_COMPARABLE"
    assert evaluate_claim({**SUPERIORITY, "factor": "model.fusion"}, rows)["verdict"] == "INCONCLUSIVE"
    nested = {**SUPERIORITY, "treatment": {"model.fusion": {"kind": "cssa"}}, "factor": "model.fusion"}
    assert evaluate_claim(nested, rows)["verdict"] == "INCONCLUSIVE"


@pytest.mark.parametrize(
    ("field", "value"),
    [("mAP", None), ("mAP", float("inf")), ("mAP", "83.4"), ("mAP", -1.0), ("mAP", 103.0), ("status", "failed")],
)
def test_damaged_record(field: str, value: Any) -> None:
    rows = [*runs("A", [83.1, 83.4]), *runs("B", [82.2, 82.5])]
    rows[3][field] = value
    found = evaluate_claim(SUPERIORITY, rows)
    assert (found["verdict"], found["numbers"]) == ("DATA_ERROR", {"offending_arm": "B"})
    assert "B-1" in found["why"]


def test_a_record_counted_twice() -> None:
    rows = [*runs("A", [83.1, 83.4], 0), *runs("B", [82.2, 82.5], 0)]
    assert evaluate_claim(SUPERIORITY, [*rows, dict(rows[0])])["verdict"] == "DATA_ERROR"
    assert evaluate_claim(SUPERIORITY, [*rows, {**rows[0], "run_id": "copy"}])["verdict"] == "DATA_ERROR"
    assert evaluate_claim(SUPERIORITY, rows)["verdict"] != "DATA_ERROR"


@pytest.mark.parametrize(
    ("fields", "damaged"),
    [
        ({"resumed": True}, True),
        ({"resumed": True, "seconds": 3600.0}, False),
        ({"resumed": False}, False),
        ({"notes": "continued from epoch 7"}, True),
        ({"Remarks": "part 2 of 2"}, True),
        ({"comments": "picked up again after a power cut", "cumulative_seconds": 3600.0}, False),
        ({"epochs_logged": "12-15"}, True),
        ({"epochs_logged": "1-7,8-15"}, False),
        ({"epochs_logged": 15}, False),
        ({"epochs_logged": 14}, True),
        ({"epochs_logged": "some"}, True),
        ({"hours": 0.0}, True),
    ],
)
def test_time_over_a_part_of_the_run(fields: dict[str, Any], damaged: bool) -> None:
    rows = [*runs("A", [80], **{"hours": 1.0, **fields}), *runs("B", [80], hours=2.0)]
    assert (evaluate_claim(RATIO, rows)["verdict"] == "DATA_ERROR") is damaged
    if "hours" not in fields:
        points = evaluate_claim({**SUPERIORITY}, rows)
        assert points["verdict"] == "INSUFFICIENT_REPLICATION"


def test_the_word_baseline_stands_for_the_arm_given() -> None:
    rows = [*runs("A", [83.1, 83.4, 83.0]), *runs("B", [82.2, 82.5, 82.1])]
    claim = {**SUPERIORITY, "baseline": "baseline"}
    assert evaluate_claim(claim, rows, baseline="B") == evaluate_claim(SUPERIORITY, rows)
    assert evaluate_claim(claim, rows)["numbers"]["missing_arms"] == ["baseline"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "superority"}, "Did you mean 'superiority'"),
        ({"metrics": "mAP"}, "Did you mean 'metric'"),
        ({"metric": None}, "'metric' is missing"),
        ({"baseline": None}, "'baseline' is missing"),
        ({"kind": "equivalence"}, "'margin' is missing"),
        ({"margin": -1}, "margin must be a number above 0; got -1"),
        ({"treatment": ["A"]}, "treatment must be"),
        ({"treatment": {"epochs": 15}}, "share runs"),
        ({"match_on": ["stage"]}, "match_on names 'stage'"),
        ({"among": ["arm"]}, "among must be"),
    ],
)
def test_a_claim_that_cannot_be_read(change: dict[str, Any], message: str) -> None:
    rows = [*runs("A", [83.1, 83.4]), *runs("B", [82.2, 82.5])]
    with pytest.raises(ConfigError, match=message):
        evaluate_claim({**SUPERIORITY, **change}, rows)


def test_with_more_comparisons_less_can_be_detected() -> None:
    rows = [*runs("A", [83.6, 82.9, 83.7]), *runs("B", [83.2, 82.4, 83.0])]
    others = [row for arm in "CDEF" for row in runs(arm, [82.5, 83.1, 82.7])]
    alone, among_five = evaluate_claim(SUPERIORITY, rows), evaluate_claim(SUPERIORITY, rows + others)
    smallest = [found["numbers"]["detectable"][0]["difference"] for found in (alone, among_five)]
    assert smallest[0] < smallest[1]
