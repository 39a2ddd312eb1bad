"""Stein's two-stage rule: numbers worked by hand, what failed runs do to it, and its coverage by simulation."""

import dataclasses
import json
import math
import runpy
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tune_cmx.stein import estimate, fix_seeds, paired_differences, seeds_wanted, t_quantile

ROOT = Path(__file__).parents[2]
PILOT = (1000, 1001, 1002, 1003)
SPREAD = [0.1, 0.5, 0.9, 0.5]
"""Mean 0.5, squared deviations 0.32, sd sqrt(0.32 / 3) = 0.326599; t(0.975, 3) is 3.182446."""


def by_seed(values: list[float | None]) -> dict[int, float | None]:
    return dict(enumerate(values, PILOT[0]))


def test_number_of_seeds_worked_by_hand() -> None:
    """(3.182446 x 0.326599 / 0.3)² = 12.003, so 13; at 0.5 it is 4.32, so 5; at 0.6 it is 3.001, so the pilot's 4."""
    assert [seeds_wanted(SPREAD, width) for width in (0.3, 0.5, 0.6)] == [13, 5, 4]


def test_interval_and_p_keep_the_pilots_spread() -> None:
    """Two more differences of 0.7 and 0.9: mean 0.6 of six, half-width 3.182446 x 0.326599 / sqrt 6 = 0.424328.

    t = 0.6 x sqrt 6 / 0.326599 = 4.5; with
    x = t / sqrt 3 the two-sided p of 3 degrees of freedom is 1 - 2 / pi (atan x + x / (1 + x²)), 0.02049.
    """
    found = estimate(SPREAD, [0.7, 0.9])
    assert (found.n, found.freedom) == (6, 3)
    assert found.interval() == pytest.approx((0.6 - 0.424328, 0.6 + 0.424328), abs=1e-5)
    assert found.p == pytest.approx(0.02049, abs=1e-5)


def test_without_a_second_stage_it_is_the_usual_interval() -> None:
    found = estimate(SPREAD, [])
    half = t_quantile(0.975, 3) * float(np.std(SPREAD, ddof=1)) / 2
    assert found.interval() == pytest.approx((0.5 - half, 0.5 + half))


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=8), st.floats(0.2, 3))
def test_the_number_gives_the_width_and_one_less_would_not(differences: list[float], half_width: float) -> None:
    wanted = seeds_wanted(differences, half_width)
    half = t_quantile(0.975, len(differences) - 1) * float(np.std(differences, ddof=1))
    assert half / math.sqrt(wanted) <= half_width * (1 + 1e-9)
    assert wanted == len(differences) or half / math.sqrt(wanted - 1) > half_width * (1 - 1e-6)


def test_one_number_for_all_the_largest_that_an_arm_wants() -> None:
    baseline = by_seed([30.0, 31.0, 32.0, 30.5])
    steady = by_seed([30.5, 31.6, 32.5, 31.0])
    restless = by_seed([30.1, 31.5, 32.9, 31.0])
    fixed = fix_seeds({"a": steady, "b": restless}, baseline, pilot_seeds=PILOT, half_width=0.3, max_seeds=20)
    assert (fixed.seeds, fixed.wanted) == (13, 13)
    assert {arm: pilot.wanted for arm, pilot in fixed.by_arm.items()} == {"a": 4, "b": 13}
    assert fixed.by_arm["b"].sd == pytest.approx(0.326599, abs=1e-6)


def test_the_maximum_caps_the_number_and_the_wish_is_kept() -> None:
    arms = {"a": by_seed([0.1, 0.5, 0.9, 0.5])}
    fixed = fix_seeds(arms, by_seed([0.0] * 4), pilot_seeds=PILOT, half_width=0.3, max_seeds=12)
    assert (fixed.seeds, fixed.wanted) == (12, 13)


def test_a_pilot_without_spread_asks_for_no_more_seeds() -> None:
    """0.1 + 0.2 is not 0.3 in binary: rounding is no spread."""
    assert seeds_wanted([0.1 + 0.2, 0.3, 0.3], 1e-6) == 3


def test_a_pilot_without_spread_does_not_make_a_later_spread_certain() -> None:
    found = estimate([0.3, 0.3, 0.3], [1.0, -1.0])
    assert found.freedom == 4
    assert found.sd == pytest.approx(float(np.std([0.3, 0.3, 0.3, 1.0, -1.0], ddof=1)))


def test_seeds_lost_to_failed_runs_are_trained_in_addition() -> None:
    """Three pairs left, 0.1, 0.5, 0.9: sd 0.4, t(0.975, 2) 4.302653, (4.302653 x 0.4 / 0.6)² = 8.23: 9, and 1 lost."""
    arm = by_seed([0.1, 0.5, 0.9, math.nan])
    fixed = fix_seeds({"a": arm}, by_seed([0.0] * 4), pilot_seeds=PILOT, half_width=0.6, max_seeds=99)
    assert fixed.by_arm["a"].wanted == fixed.seeds == 10


@pytest.mark.parametrize("lost", [None, math.nan, math.inf])
def test_an_arm_with_one_pair_has_no_say(lost: float | None) -> None:
    arms = {"lame": by_seed([30.0, lost, lost, lost]), "a": by_seed([30.1, 30.5, 30.9, 30.5])}
    fixed = fix_seeds(arms, by_seed([30.0] * 4), pilot_seeds=PILOT, half_width=0.5, max_seeds=12)
    assert (fixed.by_arm["lame"].sd, fixed.by_arm["lame"].wanted) == (None, None)
    assert fixed.seeds == 5


def test_where_no_arm_has_a_say_the_pilots_seeds_remain() -> None:
    fixed = fix_seeds({"a": by_seed([1.0] * 4)}, {}, pilot_seeds=PILOT, half_width=0.5, max_seeds=12)
    assert (fixed.seeds, fixed.wanted) == (4, None)


def test_only_the_pilots_seeds_are_paired() -> None:
    assert paired_differences({1: 2.0, 2: 5.0, 3: 9.0}, {1: 1.0, 2: 2.0, 3: 3.0, 4: 4.0}, [2, 1, 4]) == [3.0, 1.0]


@pytest.mark.parametrize("differences", [[0.5], [0.5, math.nan], []])
def test_a_pilot_that_gives_no_spread_at_all_is_refused(differences: list[float]) -> None:
    with pytest.raises(ValueError, match="at least two finite numbers"):
        seeds_wanted(differences, 0.5)
    with pytest.raises(ValueError, match="at least two finite numbers"):
        estimate(differences, [])


def test_the_result_can_stand_in_study_json() -> None:
    fixed = fix_seeds(
        {"a": by_seed([0.1, 0.5, 0.9, 0.5])}, by_seed([0.0] * 4), pilot_seeds=PILOT, half_width=0.5, max_seeds=12
    )
    content = json.loads(json.dumps(dataclasses.asdict(fixed)))
    assert content["pilot_seeds"] == list(PILOT)
    assert content["by_arm"]["a"] == {"sd": pytest.approx(0.326599, abs=1e-6), "wanted": 5}


@pytest.mark.parametrize("most", [12, 4000])
def test_coverage_holds_where_adding_seeds_until_narrow_enough_covers_less(most: int) -> None:
    """sd 0.4, half-width 0.25, pilot of 4; 2,500 studies of each kind, so that chance moves coverage by 0.9 points."""
    draw, truth, half_width, studies = np.random.default_rng(2), 0.3, 0.25, 2500
    held = naive = 0
    for _ in range(studies):
        pilot = draw.normal(truth, 0.4, 4).tolist()
        seeds = min(seeds_wanted(pilot, half_width), most)
        low, high = estimate(pilot, draw.normal(truth, 0.4, seeds - 4).tolist()).interval()
        held += low <= truth <= high
        naive += _naive_covers(pilot, draw, truth, half_width, most)
    assert 0.94 <= held / studies <= 0.97
    assert naive / studies < 0.932


def _naive_covers(values: list[float], draw: np.random.Generator, truth: float, half_width: float, most: int) -> bool:
    n, total, squares = len(values), sum(values), sum(value**2 for value in values)
    while True:
        mean = total / n
        half = t_quantile(0.975, n - 1) * math.sqrt((squares - n * mean**2) / (n - 1) / n)
        if half <= half_width or n >= most:
            return abs(mean - truth) <= half
        value = draw.normal(truth, 0.4)
        n, total, squares = n + 1, total + value, squares + value**2


def test_the_calibration_prints_a_row_for_each_setting_and_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))  # as Python does for a script
    script = runpy.run_path(str(ROOT / "scripts" / "calibrate.py"))
    rows = script["two_stage_rows"](20, 0)
    assert len(rows) == 2 * 2 * 4
    assert [row for row in rows if "shipped" in row[2] and row[1] == "none" and row[-1] != "100"] == []


def test_the_coverage_on_record_is_what_the_rule_promises() -> None:
    page = (ROOT / "benchmarks" / "two_stage.md").read_text(encoding="utf-8")
    coverage = [float(line.split("|")[4]) for line in page.splitlines() if "two-stage, shipped" in line]
    assert len(coverage) == 8
    assert all(94 <= share <= 97 for share in coverage)
