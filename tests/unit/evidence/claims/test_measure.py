"""Average precision as fractions from 0 to 1, beside points from 0 to 100."""

from typing import Any

import pytest

from tune_cmx.errors import ConfigError
from tune_cmx.evidence.claims.evaluate import evaluate_claim
from tune_cmx.evidence.claims.run_table import Table

Rows = list[dict[str, Any]]
HIGH, LOW = (53.1, 52.7, 53.4), (51.0, 51.2, 50.9)
SIDES = {"metric": "mAP", "treatment": {"arm": "a"}, "baseline": {"arm": "b"}}
SUPERIORITY: dict[str, Any] = {"kind": "superiority", **SIDES}
EQUIVALENCE: dict[str, Any] = {"kind": "equivalence", **SIDES}
VALUE: dict[str, Any] = {"kind": "value", "metric": "mAP", "treatment": {"arm": "a"}}


def rows(scale: float = 1.0, high: tuple[float, ...] = HIGH) -> Rows:
    """Three runs each of two configurations."""
    return [
        {"arm": arm, "seed": seed, "mAP": value * scale}
        for arm, values in (("a", high), ("b", LOW))
        for seed, value in enumerate(values)
    ]


@pytest.mark.parametrize(
    "claim",
    [SUPERIORITY, {**EQUIVALENCE, "margin": 1.0}, {**VALUE, "value": 53.0, "tolerance": 2.0}],
    ids=["superiority", "equivalence", "value"],
)
def test_fractions_give_the_verdict_of_points_and_numbers_in_fractions(claim: dict[str, Any]) -> None:
    small = {key: value / 100 if key in ("margin", "value", "tolerance") else value for key, value in claim.items()}
    points, fractions = evaluate_claim(claim, rows()), evaluate_claim(small, rows(0.01))
    assert fractions["verdict"] == points["verdict"]
    key = "mean" if claim["kind"] == "value" else "difference"
    assert fractions["numbers"][key] == pytest.approx(points["numbers"][key] / 100)
    assert "mAP is read as fractions" in fractions["why"]
    assert "points" not in fractions["why"]
    assert "read as fractions" not in points["why"]


def test_what_more_seeds_detect_is_in_fractions_too() -> None:
    close = (52.0, 50.2, 51.5)
    points, fractions = (evaluate_claim(SUPERIORITY, rows(scale, close)) for scale in (1.0, 0.01))
    assert (points["verdict"], fractions["verdict"]) == ("INCONCLUSIVE", "INCONCLUSIVE")
    for own, other in zip(points["numbers"]["detectable"], fractions["numbers"]["detectable"], strict=True):
        assert other["difference"] == pytest.approx(own["difference"] / 100, rel=1e-4)
    assert "points" not in fractions["why"]


@pytest.mark.parametrize(
    ("claim", "scale", "said"),
    [
        ({**EQUIVALENCE, "margin": 1.0}, 0.01, "margin: 1, but the rows have mAP as fractions.*margin: 0.01 for 1 p"),
        ({**SUPERIORITY, "margin": 0.5}, 0.01, "margin: 0.5, but the rows have mAP as fractions.*margin: 0.005"),
        ({**VALUE, "value": 0.5, "tolerance": 1}, 0.01, "tolerance: 1, but the rows.*up to 0.1"),
        ({**VALUE, "value": 53}, 0.01, "value: 53, but the rows have mAP as fractions.*value: 0.53"),
        (
            {**VALUE, "value": 0.53},
            1.0,
            r"value: 0.53, but the rows have mAP in points \(from 50.9 to 53.4\).*value: 53",
        ),
    ],
)
def test_a_bound_in_the_other_measure_is_an_error(claim: dict[str, Any], scale: float, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        evaluate_claim(claim, rows(scale))


def test_a_fraction_among_points_is_an_error_that_names_the_run() -> None:
    mixed = [*rows()[:5], {**rows()[5], "mAP": 0.509}]
    found = evaluate_claim(SUPERIORITY, mixed)
    assert (found["verdict"], found["numbers"]) == ("DATA_ERROR", {"offending_arm": "b"})
    assert "b, seed 2: its mAP is 0.509, a fraction" in found["why"]


def test_a_run_that_learnt_nothing_has_zero_in_both_measures() -> None:
    assert evaluate_claim(SUPERIORITY, [*rows()[:5], {**rows()[5], "mAP": 0.0}])["verdict"] == "INCONCLUSIVE"


def test_rows_known_to_be_in_points_stay_so_however_low() -> None:
    found = evaluate_claim({**EQUIVALENCE, "margin": 1.0}, Table(rows(0.01), in_points=True))
    assert found["verdict"] == "EQUIVALENT"
    assert "read as fractions" not in found["why"]


def test_a_tolerance_on_a_ratio_has_no_measure() -> None:
    claim = {"kind": "ratio", **SIDES, "value": 1.04, "tolerance": 0.2}
    assert evaluate_claim(claim, rows(0.01))["verdict"] == "SUPPORTED"
