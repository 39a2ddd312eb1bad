"""The keys of a search-space file, and its domains."""

from pathlib import Path
from typing import Any

import pytest

from tune_cmx.config.parse import validate
from tune_cmx.config.searchers import read_searcher
from tune_cmx.config.space import Claim, Confirm, EarlyStopping, StudyFile
from tune_cmx.config.study import read_study
from tune_cmx.errors import ConfigError
from tune_cmx.metrics import METRICS, Metric


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"grace": 1}, "whole number of epochs, at least 2"),
        ({"grace": 2.5}, "got 2.5"),
        ({"compare_at": "fraction", "grace": 2}, "below 1, the whole schedule"),
        ({"compare_at": "fraction", "grace": 1.0}, "below 1"),
        ({"reduction_factor": 1}, "must be above 1, to 100"),
        ({"metric": "test/mAP"}, "one of val/mAP, .*got 'test/mAP'"),
        ({"metric": "train/loss"}, "one of val/mAP, .*got 'train/loss'"),
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
        ({"seeds": 3, "half_width": 0.5}, "both set the number of seeds"),
        ({"pilot_seeds": 3}, "pilot_seeds: can only be given with half_width"),
        ({"half_width": 0.5, "pilot_seeds": 8, "max_seeds": 6}, "at least pilot_seeds, 8; got 6"),
        ({"half_width": 0}, "must be above 0, to 100"),
        ({"half_width": 0.5, "pilot_seeds": 1}, "must be from 2 to 1000"),
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


@pytest.fixture
def toy_metric(monkeypatch: pytest.MonkeyPatch) -> None:
    """A metric that one entry of the table adds."""
    toy = Metric("toy", "a toy", "points", "higher", score=float, selects=True)
    monkeypatch.setitem(METRICS, "toy", toy)


@pytest.mark.usefixtures("toy_metric")
def test_a_metric_of_the_table_can_be_chosen() -> None:
    assert validate(EarlyStopping, {"metric": "val/toy"}, source="a.yaml").metric == "val/toy"
    content = {"kind": "best", "treatment": "a", "metric": "test/toy"}
    assert validate(Claim, content, source="a.yaml").metric == "test/toy"
    searcher = {"kind": "tpe", "trials": 3, "objectives": ["val/toy", "parameters"]}
    assert read_searcher(searcher).optimised("val/toy") == ("val/toy", "parameters")


def test_an_unknown_selection_metric_is_refused_with_the_choices() -> None:
    with pytest.raises(ConfigError, match=r"metric: must be one of val/mAP, val/mAP_50, val/mAP_75; got 'val/toy'"):
        validate(EarlyStopping, {"metric": "val/toy"}, source="a.yaml")


RENAMED_SPACE = """study: a
search:
  schedule.lr: {choice: [0.1]}
control: {schedule.lr: 0.2}
claims:
  - {kind: superiority, treatment: {schedule.lr: 0.1}, control: control, metric: test/mAP}
"""


def test_a_renamed_key_is_an_error_that_names_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(RENAMED_SPACE)
    with pytest.raises(ConfigError) as found:
        read_study(path)
    assert str(found.value).splitlines() == [
        f"{path}:6: claims[1].control: this key is now called 'baseline'; rename it",
        f"{path}:4: control: this key is now called 'baseline'; rename it",
    ]


def test_the_old_word_for_a_side_of_a_claim_is_refused_too(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(RENAMED_SPACE.replace("control: {", "baseline: {").replace("control: c", "baseline: c"))
    with pytest.raises(ConfigError, match=r"a\.yaml:6: claims\[1\]\.baseline: 'control' is now called 'baseline'"):
        read_study(path)
