"""Seeds that would settle an open question, and their GPU-hours."""

import math
from typing import Any

import pytest
from scipy import stats

from tune_cmx.evidence.claims.evaluate import evaluate_claim
from tune_cmx.evidence.statistics.difference import seeds_for_margin, seeds_to_detect

SUPERIORITY = {"kind": "superiority", "metric": "mAP", "treatment": {"arm": "a"}, "baseline": {"arm": "b"}}
A, B = [83.6, 82.9, 83.7], [83.2, 82.4, 83.0]
"""sd 0.43589 and 0.41633, root mean square 0.42622."""


def arm(name: str, values: list[float], seeds: bool = False, **fields: Any) -> list[dict[str, Any]]:
    return [
        {"arm": name, "run_id": f"{name}{place}", "seed": place if seeds else None, "mAP": value, **fields}
        for place, value in enumerate(values)
    ]


def power(n: int, effect: float, paired: bool, alpha: float) -> float:
    """By scipy's noncentral t; `effect` in sd."""
    freedom, shift = (n - 1, effect * math.sqrt(n)) if paired else (2 * n - 2, effect * math.sqrt(n / 2))
    return float(stats.nct.sf(stats.t.isf(alpha / 2, freedom), freedom, shift))


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("effect", [0.06, 0.5, 1.2, 8.0, 200.0])
@pytest.mark.parametrize("alpha", [0.05, 0.05 / 12])
def test_the_number_has_the_power_and_one_less_has_not(effect: float, alpha: float, paired: bool) -> None:
    n = seeds_to_detect(effect, 1.0, paired, alpha)
    assert n is not None
    assert power(n, effect, paired, alpha) >= 0.8 - 1e-9
    assert n == 2 or power(n - 1, effect, paired, alpha) < 0.8


def test_numbers_of_the_textbook() -> None:
    """Effect of one sd, two-sided 0.05, power 0.8: 17 a group, or 10 pairs (Cohen's tables)."""
    assert seeds_to_detect(1, 1, paired=False, alpha=0.05) == 17
    assert seeds_to_detect(-1, 1, paired=True, alpha=0.05) == 10


def test_numbers_that_no_budget_has() -> None:
    assert seeds_to_detect(0, 1, paired=True, alpha=0.05) is None
    assert seeds_to_detect(0.001, 1, paired=True, alpha=0.05) is None
    assert seeds_for_margin(0.001, 1, paired=False) is None


def test_a_narrower_margin_needs_more_seeds() -> None:
    near, far = seeds_for_margin(0.2, 0.3, False), seeds_for_margin(0.5, 0.3, False)
    assert near is not None
    assert far is not None
    assert near > far


@pytest.mark.parametrize(("paired", "n"), [(True, 6), (False, 4)])
def test_without_spread_the_exact_p_sets_the_number(paired: bool, n: int) -> None:
    """2/2⁶ = 0.031 and 2/70 = 0.029 are the first below 0.05."""
    assert seeds_to_detect(0.5, 0.0, paired, 0.05) == n


def test_half_a_point_whatever_the_difference_observed() -> None:
    """0.5 / 0.42622 = 1.1731 sd, unpaired, 0.05: 13 an arm."""
    for shift in (0.0, 0.2, -0.3):
        found = evaluate_claim(SUPERIORITY, [*arm("a", [value + shift for value in A]), *arm("b", B)])
        assert found["verdict"] == "INCONCLUSIVE"
        assert (found["numbers"]["seeds_needed"], found["numbers"]["seeds_needed_for"]) == (13, 0.5)
        assert (
            "about 13 seeds an arm would settle a true difference of 0.5 points, with 80 % power at p 0.05"
            in found["why"]
        )


def test_shared_seeds_count_by_the_spread_of_their_differences() -> None:
    """Differences 0.2, 0.8, -0.3: sd 0.55076; 0.9078 sd in pairs: 12."""
    found = evaluate_claim(SUPERIORITY, [*arm("a", [83.4, 83.2, 82.7], True), *arm("b", [83.2, 82.4, 83.0], True)])
    assert found["numbers"]["seeds_needed"] == seeds_to_detect(0.5, 0.550757, True, 0.05) == 12


def test_more_arms_on_record_need_the_first_step_of_holm() -> None:
    others = [row for name in "cdef" for row in arm(name, [82.5, 83.1, 82.7])]
    found = evaluate_claim(SUPERIORITY, [*arm("a", A), *arm("b", B), *others])
    assert found["numbers"]["seeds_needed"] == seeds_to_detect(0.5, 0.426224, False, 0.01)
    assert "p 0.05 / 5, Holm's first step" in found["why"]


HOURS: dict[str, tuple[dict[str, Any], dict[str, Any], float | None]] = {
    "ten more runs a side": ({"hours": 2.0}, {"hours": 4.0}, 10 * 2 + 10 * 4),
    "GPUs count": ({"hours": 2.0, "gpus": 4}, {"hours": 2.0, "gpus": 4}, 20 * 2 * 4),
    "seconds": ({"seconds": 3600.0}, {"cumulative_seconds": 7200.0}, 10 * 1 + 10 * 2),
    "GPU-hours as they are": ({"gpu_hours": 0.5, "hours": 1.0}, {"gpu_hours": 0.5, "hours": 1.0}, 10),
    "on no GPU": ({"gpu_hours": 0.0, "hours": 1.0}, {"gpu_hours": 0.0, "hours": 1.0}, None),
    "not known of the baseline": ({"hours": 2.0}, {}, None),
    "of the last segment only": ({"hours": 2.0, "resumed": True}, {"hours": 2.0}, None),
}


@pytest.mark.parametrize(("of_a", "of_b", "hours"), HOURS.values(), ids=HOURS)
def test_gpu_hours_of_the_runs_not_there_yet(of_a: dict[str, Any], of_b: dict[str, Any], hours: float | None) -> None:
    found = evaluate_claim(SUPERIORITY, [*arm("a", A, **of_a), *arm("b", B, **of_b)])
    assert found["numbers"].get("gpu_hours_needed") == hours
    assert ("GPU-hours for the 20 runs not there yet" in found["why"]) is (hours is not None)


def test_as_many_seeds_as_needed_were_run() -> None:
    """sd about 0.1: half a point is found by three seeds, and eight were run."""
    values = [83.0, 83.1, 82.9, 83.2, 83.0, 83.1, 82.9, 83.05]
    found = evaluate_claim(SUPERIORITY, [*arm("a", values, hours=1.0), *arm("b", values[::-1], hours=1.0)])
    assert found["numbers"]["seeds_needed"] < 8
    assert found["numbers"]["gpu_hours_needed"] == 0
    assert "as many were run, so what is open is a smaller difference" in found["why"]


def test_equivalence_also_says_what_its_margin_takes() -> None:
    asked = {**SUPERIORITY, "kind": "equivalence", "margin": 0.25}
    numbers = evaluate_claim(asked, [*arm("a", A), *arm("b", B)])["numbers"]
    assert numbers["seeds_needed"] == 13
    assert numbers["seeds_for_margin"] == seeds_for_margin(0.25, 0.426224, False)


def test_best_is_judged_by_the_rival_that_is_open() -> None:
    rows = [*arm("a", A, hours=1.0), *arm("b", B, hours=3.0), *arm("c", [70.1, 70.2, 70.0], hours=9.0)]
    found = evaluate_claim({"kind": "best", "metric": "mAP", "treatment": {"arm": "a"}}, rows)
    assert (found["verdict"], found["numbers"]["rival"]) == ("INCONCLUSIVE", "b")
    n = seeds_to_detect(0.5, 0.426224, False, 0.025)
    assert n is not None
    assert (found["numbers"]["seeds_needed"], found["numbers"]["gpu_hours_needed"]) == (n, 4 * (n - 3))


def test_value_and_ratio_name_their_seeds_too() -> None:
    value = {"kind": "value", "metric": "mAP", "treatment": {"arm": "a"}, "value": 83.4, "tolerance": 0.1}
    found = evaluate_claim(value, arm("a", A, hours=2.0))
    assert found["verdict"] == "INCONCLUSIVE"
    n = seeds_to_detect(0.5, 0.435890, True, 0.05)
    assert n is not None
    assert (found["numbers"]["seeds_needed"], found["numbers"]["gpu_hours_needed"]) == (n, 2 * (n - 3))
    ratio = {**SUPERIORITY, "kind": "ratio", "value": 1.0, "tolerance": 0.001}
    assert evaluate_claim(ratio, [*arm("a", A), *arm("b", B)])["numbers"]["seeds_needed"] == 13


def test_a_ratio_of_hours_counts_for_its_tolerance() -> None:
    rows = [{**row, "hours": 1 + 0.2 * (place % 3)} for place, row in enumerate([*arm("a", A), *arm("b", B)])]
    found = evaluate_claim({**SUPERIORITY, "kind": "ratio", "metric": "hours", "value": 1.0, "tolerance": 0.1}, rows)
    assert (found["verdict"], found["numbers"]["seeds_needed_for"]) == ("INCONCLUSIVE", 0.1)
    assert found["numbers"]["seeds_needed"] > 3


@pytest.mark.parametrize(("margin", "effect"), [(None, 0.2), (0.05, 0.05)])
def test_without_points_the_margin_or_the_difference_observed_counts(margin: float | None, effect: float) -> None:
    rows = [*arm("a", A), *arm("b", B)]
    for row, hours in zip(rows, [1.0, 2.0, 1.5, 1.2, 2.2, 1.7], strict=True):
        row["hours"] = hours
    found = evaluate_claim({**SUPERIORITY, "metric": "hours", "margin": margin}, rows)
    assert found["verdict"] == "INCONCLUSIVE"
    assert found["numbers"]["seeds_needed_for"] == pytest.approx(effect)


def test_a_pilots_few_degrees_of_freedom_do_not_raise_the_number() -> None:
    """A new confirmation has its own; only the pilot's sd, 0.56 of differences, stands in for the true one."""
    baseline = [30.0] * 8
    differences = [-0.2, 0.8, 0.0, 0.9, 0.35, 0.4, 0.3, 0.45]
    above = [c + d for c, d in zip(baseline, differences, strict=True)]
    rows = [*arm("a", above, True, hours=1.0), *arm("b", baseline, True, hours=1.0)]
    found = evaluate_claim(SUPERIORITY, rows, pilot=[0, 1, 2, 3])
    assert found["verdict"] == "INCONCLUSIVE"
    n = seeds_to_detect(0.5, 0.55603, True, 0.05)
    assert n is not None
    assert found["numbers"]["seeds_needed"] == n
    assert found["numbers"]["gpu_hours_needed"] == 2 * n, "a pilot fixed this confirmation's number: all runs are new"
    assert "in a new confirmation" in found["why"]
