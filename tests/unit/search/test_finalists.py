"""Which arms a search ends with, and which of them wins."""

import math
from collections.abc import Sequence

import pytest

from tune_cmx.search.finalists import SearchResult, finalists, rank, winner
from tune_cmx.smoothing import smoothed


def _result(arm: str, fraction: float, *values: float) -> SearchResult:
    return SearchResult(arm, fraction, values)


@pytest.mark.parametrize(
    ("values", "smooth_epochs", "expected"),
    [
        ([7], 3, 7),
        ([1, 7], 3, 7),  # half of two epochs is one
        ([1, 2, 7], 3, 7),
        ([1, 2, 4, 8], 3, 6),
        ([1, 2, 3, 4, 5, 9], 3, 6),
        ([0, 0, 0, 0, 0, 0, 0, 3, 6, 9], 3, 6),
        ([1, 2, 3, 9], 1, 9),
    ],
)
def test_the_mean_reaches_back_to_half_at_most(values: Sequence[float], smooth_epochs: int, expected: float) -> None:
    assert smoothed(values, smooth_epochs) == pytest.approx(expected)


def test_a_mean_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="needs the value of one epoch"):
        smoothed([], 3)


def test_the_furthest_trained_come_first_then_the_highest() -> None:
    results = [
        _result("early and high", 0.2, 0, 99),
        _result("far and low", 0.6, 0, 1, 2, 10, 11, 12),
        _result("far and high", 0.6, 0, 1, 2, 20, 21, 22),
        _result("never begun", 0.0),
    ]
    assert finalists(results, 3, 2) == ["far and high", "far and low"]
    assert finalists(results, 3, 9) == ["far and high", "far and low", "early and high"]


def test_one_lucky_epoch_does_not_make_a_finalist() -> None:
    lucky, steady = _result("lucky", 1.0, 0, 0, 0, 10, 10, 16), _result("steady", 1.0, 0, 0, 0, 13, 13, 13)
    assert finalists([lucky, steady], 3, 1) == ["steady"]
    assert finalists([lucky, steady], 1, 1) == ["lucky"]


def test_ties_stay_in_the_order_in_which_they_were_drawn() -> None:
    assert finalists([_result(arm, 1.0, 5) for arm in "cab"], 1, 3) == ["c", "a", "b"]


def test_an_undefined_metric_is_below_every_other() -> None:
    results = [_result("undefined", 1.0, 5, math.nan), _result("low", 1.0, 0, -3)]
    assert [result.arm for result in rank(results, 1)] == ["low", "undefined"]


def test_the_winner_has_the_highest_mean_over_its_confirmation_runs() -> None:
    confirmed = {"a": [[10, 12], [10, 10]], "b": [[10, 20], [10, 3]], "c": [[10, 9], [10, 9]]}
    assert winner(confirmed, [], 1) == "b"


def test_the_search_run_counts_half_a_run() -> None:
    confirmed = {"a": [[10], [10]], "b": [[11], [11]]}
    assert winner(confirmed, [_result("a", 0.6, 14.1), _result("b", 0.6, 10)], 1) == "a"
    assert winner(confirmed, [_result("a", 0.6, 13.9), _result("b", 0.6, 10)], 1) == "b"


def test_the_search_run_does_not_count_where_it_is_not_comparable() -> None:
    confirmed = {"a": [[10.0]], "b": [[11.0]]}
    assert winner(confirmed, [_result("a", 1.0, 99), _result("b", 0.6, 0)], 1) == "b"
    assert winner(confirmed, [_result("a", 0.6, 99)], 1) == "b"


def test_nobody_wins_where_nothing_was_confirmed() -> None:
    assert winner({}, [_result("a", 1.0, 5)], 1) is None
    assert winner({"a": []}, [_result("a", 1.0, 5)], 1) is None
