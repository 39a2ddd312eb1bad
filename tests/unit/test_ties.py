"""Numbers that are equal but for rounding are equal wherever they are compared."""

import itertools
import math

import numpy as np
import pytest

from tune_cmx import ties
from tune_cmx.evidence.claims.evaluate import evaluate_claim
from tune_cmx.evidence.report.sections.pareto import ArmPoint, front
from tune_cmx.evidence.statistics.difference import compare_independent, compare_paired
from tune_cmx.search.finalists import SearchResult, finalists, winner
from tune_cmx.search.rungs import Rung
from tune_cmx.smoothing import smoothed
from tune_cmx.stein import paired_differences, seeds_wanted

VALUES = (0.1, 0.2, 0.3, 0.7)
LOW, HIGH = 0.3, 0.1 + 0.2
"""Equal, and apart in the last bit."""


def test_the_two_numbers_are_apart_in_the_last_bit() -> None:
    assert HIGH > LOW
    assert ties.key(HIGH) == ties.key(LOW)
    assert ties.at_least(LOW, HIGH)
    assert not ties.above(HIGH, LOW)
    assert ties.above(0.3001, HIGH)
    assert not ties.above(math.nan, 0.0)
    assert not ties.at_least(math.nan, 0.0)


def test_a_sum_does_not_depend_on_the_order() -> None:
    assert len({ties.total(order) for order in itertools.permutations(VALUES)}) == 1
    assert len({smoothed([0.0] * 4 + list(order), 4) for order in itertools.permutations(VALUES)}) == 1


@pytest.mark.parametrize(("first", "second", "found"), [(84.3, 84.1, 0.2), (0.11, 0.2, -0.09), (1e8 + 0.1, 1e8, 0.1)])
def test_a_difference_has_as_many_digits_as_its_terms(first: float, second: float, found: float) -> None:
    assert ties.difference(first, second) == found


def test_equal_values_at_a_rung_are_ranked_by_the_name_of_the_trial() -> None:
    rung = Rung()
    rung.add("b", HIGH)
    rung.add("a", LOW)
    assert [rung.rank(name) for name in "ab"] == [0, 1]
    assert rung.nth(1) == LOW


def test_equal_finalists_stay_in_the_order_given() -> None:
    results = [SearchResult("first", 1.0, [LOW]), SearchResult("second", 1.0, [HIGH])]
    assert finalists(results, 1, 2) == ["first", "second"]
    assert winner({"first": [[LOW], [1.0]], "second": [[HIGH], [1.0]]}, [], 1) == "first"


def test_fractions_that_differ_by_rounding_alone_are_equally_far() -> None:
    results = [SearchResult("first", LOW, [5.0]), SearchResult("second", HIGH, [4.0])]
    assert finalists(results, 1, 2) == ["first", "second"]


def test_equal_points_do_not_surpass_each_other() -> None:
    points = [ArmPoint("a", (LOW, 10.0), None, 1), ArmPoint("b", (HIGH, 10.0), None, 1)]
    assert front(points, ("test/mAP", "parameters")) == points


def test_exact_p_counts_every_rearrangement_that_ties_with_the_one_observed() -> None:
    """By hand: 2 of 8 sign patterns of three equal differences, 2 of 20 ways to choose the upper 3 of 6."""
    differences = paired_differences({0: 0.11, 1: 0.12, 2: 0.11}, {0: 0.2, 1: 0.21, 2: 0.2}, range(3))
    assert compare_paired(differences).exact_p == 0.25
    assert compare_paired(differences).no_spread
    assert compare_independent([0.3, 0.2, 0.1], [0.6, 0.5, 0.4]).exact_p == 0.1
    large = np.array([3e8, 2e8, 1e8]) + 0.1
    assert compare_independent(large, large + 3e8).exact_p == 0.1


def test_no_seed_is_added_for_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pilot's sd is 1 and t is set to 3: (3 / 0.3)² is 100, and in floats may be a little more."""
    monkeypatch.setattr("tune_cmx.stein.t_quantile", lambda *_: 3.0)
    assert seeds_wanted([-1.0, 0.0, 1.0], LOW) == seeds_wanted([-1.0, 0.0, 1.0], HIGH) == 100


def test_a_margin_is_not_crossed_by_rounding() -> None:
    """Without spread the interval is the difference 0.3 itself: on the margin, neither inside nor outside."""
    rows = [{"arm": arm, "seed": seed, "mAP": value} for arm, value in (("a", 83.3), ("b", 83.0)) for seed in range(3)]
    claim = {"kind": "equivalence", "metric": "mAP", "treatment": "a", "baseline": "b"}
    verdicts = {evaluate_claim({**claim, "margin": margin}, rows)["verdict"] for margin in (LOW, HIGH)}
    assert verdicts == {"INCONCLUSIVE"}
