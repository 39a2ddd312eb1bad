"""Intervals, exact p values and Holm's correction, against figures worked by hand."""

import math
from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tune_cmx.evidence.statistics.difference import (
    compare_independent,
    compare_paired,
    holm,
    mean_interval,
)

VALUES = st.integers(-400, 400).map(lambda value: value / 100)


def test_paired_t_interval_worked_by_hand() -> None:
    """Differences 1, 2, 3, 1, 2, 3: mean 2, squared deviations 4, sd sqrt(4/5), standard error 0.36515.

    t(0.975, 5) is 2.57058, so the half width is 0.93864; t(0.95, 5) is 2.01505, half width 0.73579.
    """
    found = compare_paired([1, 2, 3, 1, 2, 3])
    assert found.difference == pytest.approx(2)
    assert found.ci95 == pytest.approx((1.06136, 2.93864), abs=1e-5)
    assert found.ci90 == pytest.approx((1.26421, 2.73579), abs=1e-5)
    assert found.n_pairs == 6


def test_welch_interval_worked_by_hand() -> None:
    """1, 2, 3 against 4, 6, 8, 10: means 2 and 7, variances 1 and 20/3, standard error sqrt(1/3 + 5/3) = sqrt 2.

    Degrees of freedom 2² / ((1/3)²/2 + (5/3)²/3) = 4.0755; t(0.975, 4.0755) is 2.7556, half width 3.8970.
    """
    found = compare_independent([1, 2, 3], [4, 6, 8, 10])
    assert found.difference == pytest.approx(-5)
    assert found.ci95 == pytest.approx((-8.897, -1.103), abs=2e-3)
    assert found.n_pairs is None


def test_sign_flips_of_six_pairs_reach_no_lower_than_two_in_sixty_four() -> None:
    assert compare_paired([1, 2, 3, 1.5, 2.5, 0.5]).exact_p == pytest.approx(2 / 64)


def test_sign_flips_count_ties() -> None:
    """Differences 1, 1, -1: of the eight sign patterns all but none reach |sum| 1, so p is 1."""
    assert compare_paired([1, 1, -1]).exact_p == 1


def test_permutations_of_three_and_three() -> None:
    """Twenty ways to choose three of six; complete separation is reached by two of them."""
    assert compare_independent([4, 5, 6], [1, 2, 3]).exact_p == pytest.approx(2 / 20)


def test_permutations_of_unequal_groups() -> None:
    """3, 3 against 1, 2, 2: the difference of 4/3 is reached by one of the ten choices of two out of five."""
    assert compare_independent([3, 3], [1, 2, 2]).exact_p == pytest.approx(1 / 10)


def test_no_spread_falls_back_on_the_exact_p() -> None:
    found = compare_paired([0.9, 0.9, 0.9])
    assert found.no_spread
    assert found.p == found.exact_p == pytest.approx(2 / 8)
    assert found.ci95 == pytest.approx((0.9, 0.9))
    both = compare_independent([83.1, 83.1], [82.2, 82.2])
    assert both.no_spread
    assert both.p == pytest.approx(2 / 6)


def test_equal_runs_everywhere_give_p_one() -> None:
    assert compare_paired([0.0, 0.0, 0.0]).p == 1


def test_one_arm_without_spread_still_has_welch() -> None:
    found = compare_independent([83.2, 83.2, 83.2], [82.0, 82.5, 82.2])
    assert not found.no_spread
    assert math.isfinite(found.p)


def test_drawn_permutations_are_the_same_each_time_and_never_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tune_cmx.evidence.statistics.difference.EXACT_UP_TO", 20_000)
    high, low = [float(value) for value in range(20, 34)], [float(value) for value in range(14)]
    first, second = compare_independent(high, low), compare_independent(high, low)
    assert 0 < first.exact_p == second.exact_p < 1e-4


def test_holm_worked_by_hand() -> None:
    """0.01 x 3 = 0.03; 0.03 x 2 = 0.06; 0.04 x 1 = 0.04, raised to 0.06."""
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_never_lowers_a_p_and_keeps_their_order(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    assert all(p <= a <= 1 for p, a in zip(p_values, adjusted, strict=True))
    by_p = [adjusted[place] for place in sorted(range(len(p_values)), key=p_values.__getitem__)]
    assert by_p == sorted(by_p)


@settings(max_examples=30)
@given(st.lists(VALUES, min_size=2, max_size=6), st.lists(VALUES, min_size=2, max_size=6))
def test_intervals_and_p_are_scipys(first: list[float], second: list[float]) -> None:
    from scipy import stats  # here and not above: the import takes a second in each process that collects tests

    assume(min(np.ptp(first), np.ptp(second)) > 0.015)  # scipy warns of less
    ours, theirs = compare_independent(first, second), stats.ttest_ind(first, second, equal_var=False)
    assert ours.p == pytest.approx(theirs.pvalue, abs=1e-9)
    assert ours.ci95 == pytest.approx(tuple(theirs.confidence_interval(0.95)), abs=1e-6)
    paired = stats.ttest_1samp(first, 0.0)
    assert compare_paired(first).p == pytest.approx(paired.pvalue, abs=1e-9)
    assert compare_paired(first).ci90 == pytest.approx(tuple(paired.confidence_interval(0.90)), abs=1e-6)


@settings(max_examples=30)
@given(st.lists(VALUES, min_size=2, max_size=4), st.lists(VALUES, min_size=2, max_size=4))
def test_exact_p_are_those_counted_one_by_one(first: list[float], second: list[float]) -> None:
    both, k = [*first, *second], len(first)
    observed = abs(np.mean(first) - np.mean(second)) - 1e-9
    divisions = [set(chosen) for chosen in combinations(range(len(both)), k)]
    differences = [
        np.mean([both[place] for place in chosen])
        - np.mean([both[place] for place in range(len(both)) if place not in chosen])
        for chosen in divisions
    ]
    wanted = float(np.mean([abs(difference) >= observed for difference in differences]))
    assert compare_independent(first, second).exact_p == pytest.approx(wanted)
    flips = [
        abs(np.mean(np.multiply(signs, first))) >= abs(np.mean(first)) - 1e-9 for signs in product((1, -1), repeat=k)
    ]
    assert compare_paired(first).exact_p == pytest.approx(float(np.mean(flips)))


def test_interval_of_a_mean() -> None:
    """1, 2, 3: sd 1, standard error 0.57735, t(0.975, 2) = 4.30265, half width 2.48414."""
    assert mean_interval([1, 2, 3]) == pytest.approx((-0.48414, 4.48414), abs=1e-5)
    assert mean_interval([2, 2]) == (2, 2)
