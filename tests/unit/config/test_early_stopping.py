"""Where trials are compared, and what is refused."""

from typing import Any

import pytest
from pydantic import ValidationError

from tune_cmx.config.space import EarlyStopping


@pytest.mark.parametrize(
    ("keys", "full", "expected"),
    [
        ({}, 15, [2, 3, 5, 9]),
        ({}, 25, [2, 3, 5, 9, 15]),
        ({}, 3, []),
        ({"last": 1}, 15, [2, 3, 5, 9]),
        ({"spacing": None, "reduction_factor": 3, "last": 1}, 15, [2, 6]),
        ({"spacing": None, "reduction_factor": 3, "last": 1, "grace": 5}, 15, [5]),
        ({"spacing": 1.2, "last": 0.4}, 15, [2, 3, 4, 5, 6]),  # a rung that rounds to another's epoch is no rung
        ({"spacing": 2, "last": 0.5}, 16, [2, 4, 8]),
        ({"spacing": 2, "last": 0.49}, 16, [2, 4]),
        ({"compare_at": "fraction", "spacing": 2}, 1.0, [0.2, 0.4]),
        ({"compare_at": "fraction", "grace": 0.15, "spacing": 2}, 1.0, [0.15, 0.3, 0.6]),
        ({"compare_at": "fraction", "grace": 0.25, "spacing": 2, "last": 1}, 1.0, [0.25, 0.5]),
    ],
)
def test_rungs_end_where_the_search_ends(keys: dict[str, Any], full: float, expected: list[float]) -> None:
    assert EarlyStopping(**keys).rungs(full) == pytest.approx(expected)


def test_rungs_over_gpu_seconds_know_no_end() -> None:
    points = EarlyStopping(compare_at="gpu_seconds", grace=600, spacing=2).rungs(float("inf"))
    assert points[:3] == [600, 1200, 2400]
    assert points[-1] > 1e9


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"grace": 1}, "at least 2, with compare_at: epoch; got 1"),
        ({"grace": 2.5}, "whole number of epochs"),
        ({"compare_at": "fraction", "grace": 2}, "grace must be below 1"),
        ({"compare_at": "fraction", "last": 0.1}, "got last 0.1, grace 0.2"),
        ({"compare_at": "fraction", "grace": 0.7}, "last must be at least grace, the first rung; got last 0.6"),
        ({"compare_at": "fraction", "grace": 0.3, "brackets": 3}, r"brackets must be at most 2.*\(0.3, 0.495\); got 3"),
        ({"compare_at": "gpu_seconds", "last": 0.5}, "last can only be given with compare_at: epoch or fraction"),
        ({"variant": "stop", "first": "new"}, "first can only be given with variant: promote"),
        ({"variant": "pause"}, "'promote' or 'stop'"),
        ({"brackets": 0}, "greater than or equal to 1"),
        ({"spacing": 1}, "greater than 1"),
        ({"last": 0}, "greater than 0"),
        ({"last": 1.1}, "less than or equal to 1"),
        ({"rungs": [2, 4]}, "rungs"),
    ],
)
def test_refuses(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        EarlyStopping(**keys)


def test_every_bracket_needs_a_rung_of_its_own() -> None:
    four = EarlyStopping(brackets=4)
    four.refuse_empty_brackets(15)
    with pytest.raises(ValueError, match=r"brackets must be at most 3, one for each rung to begin at \(2, 3, 5\)"):
        four.refuse_empty_brackets(14)
    EarlyStopping(brackets=4, kind="none").refuse_empty_brackets(3)
