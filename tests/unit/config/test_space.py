"""The keys of a search-space file, and its domains."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tune_cmx.config.parse import validate
from tune_cmx.config.space import Claim, EarlyStopping, Searcher, StudyFile, ends, parse_domain, sample
from tune_cmx.errors import ConfigError

LINES = {"search.schedule.lr": 7}


def domain(value: Any) -> Any:
    return parse_domain("schedule.lr", value, "a.yaml", LINES)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ([1, 2], "needs one of {choice, uniform, loguniform, int} with a list"),
        (0.1, "got 0.1"),
        ({"choise": [1]}, "needs one of"),
        ({"choice": [1], "int": [1, 2]}, "needs one of"),
        ({"choice": []}, "at least 1"),
        ({"choice": [1, 2, 1]}, "a value stands twice in choice"),
        ({"choice": [{"a": 1, "b": 2}, {"b": 2, "a": 1}]}, "a value stands twice in choice"),
        ({"uniform": [2, 1]}, r"lower end first; got \[2.0, 1.0\]"),
        ({"uniform": [1, 1]}, "lower end first"),
        ({"uniform": [1]}, r"search\.schedule\.lr\.uniform"),
        ({"uniform": [0, float("inf")]}, "finite"),
        ({"loguniform": [0.0, 1.0]}, "loguniform needs a lower end above 0; got 0.0"),
        ({"int": [1.5, 2]}, "valid integer"),
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
    assert ends(domain({"choice": [3, 1, 2]})) == (3, 1, 2)
    assert ends(domain({"loguniform": [1e-4, 1e-1]})) == (1e-4, 1e-1)
    assert ends(domain({"int": [2, 9]})) == (2, 9)


@pytest.mark.parametrize(
    "content", [{"kind": "random"}, {"kind": "grid", "trials": 3}, {"kind": "random", "trials": 0}]
)
def test_trials_go_with_random_and_only_there(content: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="trials"):
        validate(Searcher, content, source="a.yaml")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"grace": 1}, "whole number of epochs, at least 2"),
        ({"grace": 2.5}, "got 2.5"),
        ({"compare_at": "fraction"}, "below 1, the whole schedule"),
        ({"compare_at": "fraction", "grace": 1.0}, "below 1"),
        ({"reduction_factor": 1}, "greater than 1"),
        ({"metric": "test/mAP"}, "'val/mAP'"),
        ({"metric": "train/loss"}, "'val/mAP'"),
        ({"kind": "hyperband"}, "'asha' or 'none'"),
        ({"smooth": 3}, "Did you mean 'smooth_epochs'"),
    ],
)
def test_stopping_that_cannot_be_meant_is_refused(content: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        validate(EarlyStopping, content, source="a.yaml")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"kind": "superiority", "metric": "test/mAP", "control": "control"}, "needs treatment"),
        ({"kind": "superiority", "metric": "test/mAP", "treatment": {"arm": "a"}}, "needs control"),
        ({"kind": "equivalence", "metric": "test/mAP", "treatment": "a", "control": "b"}, "needs margin"),
        ({"kind": "superiority", "metric": "test/map", "treatment": "a", "control": "b"}, "got 'test/map'"),
        ({"kind": "superiority", "metric": "train/mAP", "treatment": "a", "control": "b"}, "got 'train/mAP'"),
        ({"kind": "superior", "metric": "test/mAP"}, "'superiority'"),
    ],
)
def test_a_claim_that_could_never_be_answered_is_refused_before_the_search(content: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        validate(Claim, content, source="a.yaml")


@pytest.mark.parametrize("metric", ["test/mAP", "val/mAP_small", "mAP_50", "hours", "params_total"])
def test_claims_are_about_what_the_rows_hold(metric: str) -> None:
    content = {"kind": "superiority", "metric": metric, "treatment": {"arm": "a"}, "control": "control"}
    assert validate(Claim, content, source="a.yaml").metric == metric


def test_a_study_needs_its_name_a_search_and_a_control() -> None:
    with pytest.raises(ConfigError) as caught:
        validate(StudyFile, {}, source="a.yaml")
    assert str(caught.value).splitlines() == [f"a.yaml: {key}: is missing" for key in ("study", "search", "control")]
    with pytest.raises(ConfigError, match=r"a\.yaml: study: .* got 'Über alles'"):
        validate(StudyFile, {"study": "Über alles", "search": {"a": 1}, "control": {"a": 1}}, source="a.yaml")
