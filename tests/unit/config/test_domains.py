"""Typed domains, and fields that are searched only where another has a certain value."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tune_cmx.config.domains import (
    Domains,
    extremes,
    grid,
    is_active,
    parse_domains,
    refuse_outside,
    sample,
    sample_all,
)
from tune_cmx.errors import ConfigError

LINES = {"search.schedule.lr": 7}


def domain(value: Any) -> Any:
    return parse_domains({"schedule.lr": value}, "a.yaml", LINES)["schedule.lr"]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ([1, 2], "needs one of {choice, uniform, loguniform, int} with a list"),
        (0.1, "got 0.1"),
        ({"choise": [1]}, "needs one of"),
        ({"choice": [1], "int": [1, 2]}, "needs one of"),
        ({"choice": []}, "at least 1"),
        ({"choice": [1, 2, 1]}, "choice has a value twice"),
        ({"choice": [{"a": 1, "b": 2}, {"b": 2, "a": 1}]}, "choice has a value twice"),
        ({"uniform": [2, 1]}, r"lower end first; got \[2.0, 1.0\]"),
        ({"uniform": [1, 1]}, "lower end first"),
        ({"uniform": [1]}, r"search\.schedule\.lr\.uniform"),
        ({"uniform": [0, float("inf")]}, "finite"),
        ({"loguniform": [0.0, 1.0]}, "loguniform needs a lower end above 0; got 0.0"),
        ({"int": [1.5, 2]}, "must be a whole number; got 1.5"),
    ],
)
def test_a_domain_that_cannot_be_drawn_from_is_refused_with_its_place(value: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        domain(value)
    assert str(caught.value).startswith("a.yaml:7: search.schedule.lr")


@given(st.integers(0, 2**32), st.floats(1e-6, 1.0), st.floats(1.001, 1000))
def test_draws_stay_within_their_range(seed: int, low: float, factor: float) -> None:
    draw = np.random.default_rng(seed)
    for kind in ("uniform", "loguniform"):
        assert low * (1 - 1e-12) <= sample(domain({kind: [low, low * factor]}), draw) <= low * factor * (1 + 1e-12)
    assert sample(domain({"int": [3, 5]}), draw) in (3, 4, 5)
    assert sample(domain({"choice": ["a", [1]]}), draw) in ("a", [1])


def test_both_ends_of_whole_numbers_are_drawn() -> None:
    draw = np.random.default_rng(0)
    assert {sample(domain({"int": [1, 3]}), draw) for _ in range(50)} == {1, 2, 3}


def test_the_ends_of_a_domain_are_what_check_builds() -> None:
    assert domain({"choice": [3, 1, 2]}).ends == (3, 1, 2)
    assert domain({"loguniform": [1e-4, 1e-1]}).ends == (1e-4, 1e-1)
    assert domain({"int": [2, 9]}).ends == (2, 9)


CONDITIONAL = {
    "kind": {"choice": ["cssa", "se_gated", "add"]},
    "threshold": {"choice": [0.3, 0.5], "when": {"kind": "cssa"}},
    "reduction": {"choice": [4, 8], "when": {"kind": ["se_gated"]}},
    "shared": {"choice": [True, False], "when": {"reduction": 8}},
}


def conditional() -> Any:
    return parse_domains(CONDITIONAL, "a.yaml", {})


def test_a_grid_has_a_field_only_where_its_condition_holds() -> None:
    assert grid(conditional()) == [
        {"kind": "cssa", "threshold": 0.3},
        {"kind": "cssa", "threshold": 0.5},
        {"kind": "se_gated", "reduction": 4},
        {"kind": "se_gated", "reduction": 8, "shared": True},
        {"kind": "se_gated", "reduction": 8, "shared": False},
        {"kind": "add"},
    ]


def test_so_has_a_random_draw() -> None:
    generator = np.random.default_rng(0)
    drawn = [sample_all(conditional(), generator) for _ in range(200)]
    assert all(values in grid(conditional()) for values in drawn)
    assert len({str(values) for values in drawn}) == 6


def test_each_end_comes_with_what_its_condition_asks_for() -> None:
    domains: Domains = conditional()
    cases = list(extremes(domains))
    assert [(path, value) for path, value, _ in cases] == [
        (path, value) for path, domain in domains.items() for value in domain.ends
    ]
    for path, value, values in cases:
        assert values[path] == value
        assert values in grid(conditional())


@pytest.mark.parametrize(
    ("when", "said"),
    [
        ({"lr": 0.1}, "lr is not an earlier choice"),
        ({"b": 1}, "b is not an earlier choice"),
        ({"a": 3}, r"a is never 3; a\.yaml: search\.a has \[1, 2\]"),
        ({"a": [1, 4]}, "a is never 4"),
    ],
)
def test_a_condition_names_an_earlier_choice_and_a_value_of_it(when: dict[str, Any], said: str) -> None:
    search = {"lr": {"uniform": [0, 1]}, "a": {"choice": [1, 2]}, "b": {"choice": [1], "when": when}}
    with pytest.raises(ConfigError, match=said):
        parse_domains(search, "a.yaml", {})


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"kind": "cssa"}, "threshold is missing"),
        ({"kind": "csa"}, r"kind is csa; the search has \['cssa', 'se_gated', 'add'\]"),
        ({"kind": "add", "threshold": 0.3}, "threshold is searched only where"),
        ({"kind": "add", "lr": 0.3}, "lr is not searched; the search has kind, threshold"),
    ],
)
def test_values_outside_the_space_are_refused(values: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        refuse_outside(conditional(), values, "a.yaml")


def test_values_of_the_space_are_not() -> None:
    for values in grid(conditional()):
        refuse_outside(conditional(), values, "a.yaml")
    assert not is_active(conditional()["shared"], {"kind": "se_gated", "reduction": 4})
