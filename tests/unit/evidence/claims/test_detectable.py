"""What numbers of seeds can detect, what more of them cost, and how uncertain a needed number is."""

import math
from typing import Any

import pytest
from scipy import special

from tune_cmx.evidence.claims.evaluate import evaluate_claim
from tune_cmx.evidence.statistics.power import (
    detectable_difference,
    detectable_margin,
    sd_interval,
    seeds_for_margin,
    seeds_to_detect,
    seeds_without_spread,
)

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
    return 1 - float(special.nctdtr(freedom, shift, special.stdtrit(freedom, 1 - alpha / 2)))


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
    assert seeds_without_spread(paired, 0.05) == n


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("n", [2, 3, 6, 12, 200])
@pytest.mark.parametrize("alpha", [0.05, 0.05 / 12])
def test_the_detectable_difference_has_the_power(n: int, alpha: float, paired: bool) -> None:
    assert power(n, detectable_difference(n, 2.0, paired, alpha) / 2.0, paired, alpha) == pytest.approx(0.8, abs=1e-6)


def test_the_detectable_difference_of_the_textbook() -> None:
    """The way back from Cohen's 17 a group and 10 pairs: a little less than one sd."""
    assert detectable_difference(17, 1.0, False, 0.05) == pytest.approx(0.9908, abs=1e-3)
    assert detectable_difference(10, 1.0, True, 0.05) == pytest.approx(0.9963, abs=1e-3)
    assert seeds_for_margin(detectable_margin(12, 0.3, True) * 1.0001, 0.3, True) == 12


def test_a_needed_number_from_three_seeds_is_7_to_80_where_34_are_needed() -> None:
    """Over the sampling distribution of the sd (chi-square, 4 degrees of freedom), 5th to 95th percentile."""
    effect = next(step / 1000 for step in range(600, 800) if seeds_to_detect(step / 1000, 1.0, False, 0.05) == 34)
    ends = [math.sqrt(special.chdtri(4, 1 - share) / 4) for share in (0.05, 0.95)]
    assert [seeds_to_detect(effect, float(sd), False, 0.05) for sd in ends] == [7, 80]


def test_the_interval_of_a_standard_deviation() -> None:
    """Four degrees of freedom: sqrt(4 / 9.4877) and sqrt(4 / 0.7107)."""
    assert sd_interval(1.0, 4) == pytest.approx((0.6493, 2.3724), abs=1e-4)


def listed(found: dict[str, Any]) -> list[tuple[int, float]]:
    return [(entry["n"], entry["difference"]) for entry in found["numbers"]["detectable"]]


def test_an_open_question_says_what_n_2n_and_4n_seeds_detect() -> None:
    """sd 0.42622, unpaired: 3.0709, 1.7955 and 1.1968 sd; whatever difference was observed."""
    for shift in (0.0, 0.2, -0.3):
        found = evaluate_claim(SUPERIORITY, [*arm("a", [value + shift for value in A]), *arm("b", B)])
        assert found["verdict"] == "INCONCLUSIVE"
        assert [n for n, _ in listed(found)] == [3, 6, 12]
        assert [gap for _, gap in listed(found)] == pytest.approx([1.30889, 0.765293, 0.510111], rel=1e-4)
        assert (
            "3 seeds can detect a true difference of 1.31 mAP points (80 % power, p 0.05), "
            "6 seeds 0.77 mAP points, 12 seeds 0.51 mAP points" in found["why"]
        )
        assert "seeds_needed" not in found["numbers"]


def test_a_decided_comparison_has_the_numbers_too() -> None:
    found = evaluate_claim(SUPERIORITY, [*arm("a", [93.6, 92.9, 93.7]), *arm("b", B)])
    assert found["verdict"] == "SUPPORTED"
    assert listed(found)[0][1] == pytest.approx(1.30889, rel=1e-4)
    assert "can detect" not in found["why"]


def test_shared_seeds_count_by_the_spread_of_their_differences() -> None:
    """Differences 0.2, 0.8, -0.3: sd 0.55076; three pairs detect 3.2640 sd."""
    found = evaluate_claim(SUPERIORITY, [*arm("a", [83.4, 83.2, 82.7], True), *arm("b", [83.2, 82.4, 83.0], True)])
    assert listed(found)[0][1] == pytest.approx(3.26404 * 0.550757, rel=1e-4)


def test_more_arms_on_record_take_the_first_step_of_holm() -> None:
    others = [row for name in "cdef" for row in arm(name, [82.5, 83.1, 82.7])]
    found = evaluate_claim(SUPERIORITY, [*arm("a", A), *arm("b", B), *others])
    assert listed(found)[0][1] == pytest.approx(detectable_difference(3, 0.426224, False, 0.01), rel=1e-4)
    assert "80 % power, p 0.05 / 5" in found["why"]


HOURS: dict[str, tuple[dict[str, Any], dict[str, Any], list[float | None], str]] = {
    "runs of both sides": ({"hours": 2.0}, {"hours": 4.0}, [0, 18, 54], "18.0 GPU-hours more"),
    "GPUs count": ({"hours": 2.0, "gpus": 4}, {"hours": 2.0, "gpus": 4}, [0, 48, 144], "48.0 GPU-hours more"),
    "seconds": ({"seconds": 3600.0}, {"cumulative_seconds": 7200.0}, [0, 9, 27], "9.0 GPU-hours more"),
    "as they are": (
        {"gpu_hours": 0.5, "hours": 1.0},
        {"gpu_hours": 0.5, "hours": 1.0},
        [0, 3, 9],
        "3.0 GPU-hours more",
    ),
    "on no GPU": ({"gpu_hours": 0.0, "hours": 1.0}, {"gpu_hours": 0.0, "hours": 1.0}, [None] * 3, "6.0 CPU-hours more"),
    "of small runs": ({"hours": 0.005}, {"hours": 0.005}, [0, 0.03, 0.09], "0.030 GPU-hours more"),
    "not known of the baseline": ({"hours": 2.0}, {}, [None] * 3, ""),
    "of the last segment only": ({"hours": 2.0, "resumed": True}, {"hours": 2.0}, [None] * 3, ""),
}


@pytest.mark.parametrize(("of_a", "of_b", "hours", "words"), HOURS.values(), ids=HOURS)
def test_the_price_of_the_runs_not_there_yet(
    of_a: dict[str, Any], of_b: dict[str, Any], hours: list[float | None], words: str
) -> None:
    found = evaluate_claim(SUPERIORITY, [*arm("a", A, **of_a), *arm("b", B, **of_b)])
    assert [entry["gpu_hours"] for entry in found["numbers"]["detectable"]] == hours
    assert words in found["why"]
    assert ("-hours" in found["why"]) is bool(words)


def test_a_margin_takes_a_number_that_is_as_uncertain_as_the_sd() -> None:
    asked = {**SUPERIORITY, "kind": "equivalence", "margin": 0.25}
    found = evaluate_claim(asked, [*arm("a", A), *arm("b", B)])
    sd = 0.426224
    ends = [seeds_for_margin(0.25, sd * factor, False) for factor in (0.6493052, 2.3723556)]
    assert found["numbers"]["seeds_needed"] == seeds_for_margin(0.25, sd, False)
    assert found["numbers"]["seeds_needed_range"] == ends
    assert listed(found)[0][1] == pytest.approx(detectable_margin(3, sd, False), rel=1e-4)
    assert f"0.25 points takes {ends[0]} to {ends[1]} seeds (90 % interval" in found["why"]
    assert "3 seeds can show a margin of" in found["why"]


def test_best_is_judged_by_the_rival_that_is_open() -> None:
    rows = [*arm("a", A, hours=1.0), *arm("b", B, hours=3.0), *arm("c", [70.1, 70.2, 70.0], hours=9.0)]
    found = evaluate_claim({"kind": "best", "metric": "mAP", "treatment": {"arm": "a"}}, rows)
    assert (found["verdict"], found["numbers"]["rival"]) == ("INCONCLUSIVE", "b")
    assert listed(found)[0][1] == pytest.approx(detectable_difference(3, 0.426224, False, 0.025), rel=1e-4)
    assert found["numbers"]["detectable"][1]["gpu_hours"] == 3 * (1 + 3)


def test_value_and_ratio_say_what_they_detect() -> None:
    value = {"kind": "value", "metric": "mAP", "treatment": {"arm": "a"}, "value": 83.4, "tolerance": 0.1}
    found = evaluate_claim(value, arm("a", A, hours=2.0))
    assert found["verdict"] == "INCONCLUSIVE"
    assert listed(found)[0][1] == pytest.approx(3.26404 * 0.435890, rel=1e-4)
    assert "3 seeds can detect a true distance from the value of 1.42 mAP points" in found["why"]
    ratio = {**SUPERIORITY, "kind": "ratio", "value": 1.0, "tolerance": 0.001}
    found = evaluate_claim(ratio, [*arm("a", A), *arm("b", B)])
    assert listed(found)[0][1] == pytest.approx(1.30889 / 83.1, rel=0.02)
    assert "can detect a true distance from the ratio of 0.0158" in found["why"]


def test_an_unknown_metric_is_counted_in_its_own_measure() -> None:
    rows = [
        {"arm": name, "seed": seed, "FPPI": value}
        for name, values in (("a", (0.11, 0.13, 0.12)), ("b", (0.12, 0.12, 0.13)))
        for seed, value in enumerate(values)
    ]
    found = evaluate_claim({**SUPERIORITY, "metric": "FPPI", "direction": "lower"}, rows)
    assert "difference -0.003333, 95 % interval -0.03202 to 0.02535" in found["why"]
    assert "3 seeds can detect a true difference of 0.03769 (80 % power, p 0.05), 6 seeds 0.01656" in found["why"], (
        found["why"]
    )


def test_without_spread_no_difference_is_promised() -> None:
    found = evaluate_claim(SUPERIORITY, [*arm("a", [83.0] * 3, True), *arm("b", [82.0] * 3, True)])
    assert (found["verdict"], found["numbers"]["detectable"]) == ("INCONCLUSIVE", [])
    assert "only the exact test decides; it needs at least 6 seeds" in found["why"]


def test_two_runs_that_differ_widely_detect_nothing() -> None:
    found = evaluate_claim(SUPERIORITY, [*arm("a", [90.0, 60.0]), *arm("b", [80.0, 50.0])])
    assert "2 seeds can detect a true difference of more than 100 mAP points" in found["why"]


def test_more_seeds_after_a_pilot_are_a_new_confirmation() -> None:
    """This one keeps the pilot's sd, 0.55603 of differences, and its three degrees of freedom."""
    baseline = [30.0] * 8
    differences = [-0.2, 0.8, 0.0, 0.9, 0.35, 0.4, 0.3, 0.45]
    above = [c + d for c, d in zip(baseline, differences, strict=True)]
    rows = [*arm("a", above, True, hours=1.0), *arm("b", baseline, True, hours=1.0)]
    found = evaluate_claim(SUPERIORITY, rows, pilot=[0, 1, 2, 3])
    assert found["verdict"] == "INCONCLUSIVE"
    wanted = [
        detectable_difference(8, 0.55603, True, 0.05, 3),
        *(detectable_difference(n, 0.55603, True, 0.05) for n in (16, 32)),
    ]
    assert [gap for _, gap in listed(found)] == pytest.approx(wanted, rel=1e-4)
    assert [entry["gpu_hours"] for entry in found["numbers"]["detectable"]] == [0, 32, 64]
