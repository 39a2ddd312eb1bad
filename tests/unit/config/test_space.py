"""The keys of a search-space file, and its domains."""

from typing import Any

import pytest

from tune_cmx.config.parse import validate
from tune_cmx.config.space import Claim, Confirm, EarlyStopping, StudyFile
from tune_cmx.errors import ConfigError


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
        ({"kind": "superiority", "metric": "test/mAP", "baseline": "baseline"}, "needs treatment"),
        ({"kind": "superiority", "metric": "test/mAP", "treatment": {"arm": "a"}}, "needs baseline"),
        ({"kind": "equivalence", "metric": "test/mAP", "treatment": "a", "baseline": "b"}, "needs margin"),
        ({"kind": "superiority", "metric": "test/map", "treatment": "a", "baseline": "b"}, "got 'test/map'"),
        ({"kind": "superiority", "metric": "train/mAP", "treatment": "a", "baseline": "b"}, "got 'train/mAP'"),
        ({"kind": "superior", "metric": "test/mAP"}, "'superiority'"),
    ],
)
def test_a_claim_that_could_never_be_answered_is_refused_before_the_search(content: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        validate(Claim, content, source="a.yaml")


@pytest.mark.parametrize("metric", ["test/mAP", "val/mAP_small", "mAP_50", "hours", "params_total"])
def test_claims_are_about_what_the_rows_hold(metric: str) -> None:
    content = {"kind": "superiority", "metric": metric, "treatment": {"arm": "a"}, "baseline": "baseline"}
    assert validate(Claim, content, source="a.yaml").metric == metric


def test_a_study_needs_its_name_and_a_baseline() -> None:
    with pytest.raises(ConfigError) as caught:
        validate(StudyFile, {}, source="a.yaml")
    assert str(caught.value).splitlines() == [f"a.yaml: {key}: is missing" for key in ("study", "baseline")]
    with pytest.raises(ConfigError, match=r"a\.yaml: study: .* got 'Über alles'"):
        validate(StudyFile, {"study": "Über alles", "search": {"a": 1}, "baseline": {"a": 1}}, source="a.yaml")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"seeds": 3, "half_width": 0.5}, "two ways to say how many seeds"),
        ({"pilot_seeds": 3}, "pilot_seeds go with half_width"),
        ({"half_width": 0.5, "pilot_seeds": 8, "max_seeds": 6}, "at least pilot_seeds, 8; got 6"),
        ({"half_width": 0}, "greater than 0"),
        ({"half_width": 0.5, "pilot_seeds": 1}, "greater than or equal to 2"),
    ],
)
def test_seeds_are_given_or_follow_from_a_precision(content: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        validate(Confirm, content, source="a.yaml")


@pytest.mark.parametrize(("content", "first"), [({}, 6), ({"seeds": 2}, 2), ({"half_width": 0.5}, 4)])
def test_the_seeds_that_are_trained_whatever_comes_out(content: dict[str, Any], first: int) -> None:
    assert validate(Confirm, content, source="a.yaml").first_seeds == first


def test_tpe_promotes_before_it_draws_more() -> None:
    content = {"study": "a", "search": {"schedule.lr": {"choice": [1]}}, "baseline": {"schedule.lr": 2}}
    tpe = {"kind": "tpe", "trials": 4}
    assert validate(StudyFile, content, source="a.yaml").early_stopping.first == "new"
    assert validate(StudyFile, {**content, "searcher": tpe}, source="a.yaml").early_stopping.first == "promotion"
    with pytest.raises(ConfigError, match="must be promotion with searcher tpe"):
        validate(StudyFile, {**content, "searcher": tpe, "early_stopping": {"first": "new"}}, source="a.yaml")
    for odd in ({"searcher": 3}, {"searcher": tpe, "early_stopping": 3}):
        with pytest.raises(ConfigError):
            validate(StudyFile, {**content, **odd}, source="a.yaml")
