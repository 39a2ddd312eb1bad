"""Parameters, FLOPs and file sizes are the same in all runs of a configuration: no test, one run is enough."""

from typing import Any

import pytest

from tune_cmx.evidence.claims.evaluate import evaluate_claim

SIDES: dict[str, Any] = {"treatment": {"arm": "a"}, "baseline": {"arm": "b"}}
SMALL, LARGE = 43_400_000, 60_100_000


def arm(name: str, *counts: float, metric: str = "params_total", **fields: Any) -> list[dict[str, Any]]:
    return [{"arm": name, "seed": seed, metric: count, **fields} for seed, count in enumerate(counts)]


def verdict(kind: str, rows: list[dict[str, Any]], metric: str = "params_total", **keys: Any) -> str:
    sides = {"treatment": {"arm": "a"}} if kind in ("best", "value") else SIDES
    return str(evaluate_claim({"kind": kind, "metric": metric, **sides, **keys}, rows)["verdict"])


TWO = [*arm("a", SMALL), *arm("b", LARGE)]
CASES: dict[str, tuple[str, list[dict[str, Any]], dict[str, Any], str]] = {
    "fewer parameters, from one run each": ("superiority", TWO, {}, "SUPPORTED"),
    "fewer parameters, from several": (
        "superiority",
        [*arm("a", *[SMALL] * 3), *arm("b", *[LARGE] * 2)],
        {},
        "SUPPORTED",
    ),
    "more parameters": ("superiority", [*arm("a", LARGE), *arm("b", SMALL)], {}, "CONTRADICTED"),
    "a tie is not superior": ("superiority", [*arm("a", SMALL), *arm("b", SMALL)], {}, "CONTRADICTED"),
    "by one of 43 million": ("superiority", [*arm("a", SMALL), *arm("b", SMALL + 1)], {}, "SUPPORTED"),
    "inside the margin": ("equivalence", [*arm("a", SMALL), *arm("b", SMALL + 10)], {"margin": 10}, "EQUIVALENT"),
    "outside the margin": ("equivalence", TWO, {"margin": 10}, "CONTRADICTED"),
    "the smallest of three": ("best", [*TWO, *arm("c", SMALL + 1)], {}, "SUPPORTED"),
    "a tie is not the smallest": ("best", [*TWO, *arm("c", SMALL)], {}, "CONTRADICTED"),
    "a smaller one": ("best", [*TWO, *arm("c", SMALL - 1, SMALL - 1)], {}, "CONTRADICTED"),
    "the ratio claimed": ("ratio", TWO, {"value": 0.72, "tolerance": 0.005}, "SUPPORTED"),
    "another ratio": ("ratio", TWO, {"value": 0.8, "tolerance": 0.005}, "CONTRADICTED"),
    "a ratio without a claim": ("ratio", TWO, {}, "DESCRIPTIVE_ONLY"),
    "the number claimed": ("value", TWO, {"value": SMALL}, "SUPPORTED"),
    "the number claimed in millions": ("value", TWO, {"value": 43e6, "tolerance": 5e5}, "SUPPORTED"),
    "another number": ("value", TWO, {"value": 44e6, "tolerance": 5e5}, "CONTRADICTED"),
    "runs of one configuration differ": (
        "superiority",
        [*arm("a", SMALL, SMALL + 1), *arm("b", LARGE)],
        {},
        "DATA_ERROR",
    ),
    "no run of the baseline": ("superiority", arm("a", SMALL), {}, "BLOCKED"),
    "another backbone": (
        "superiority",
        [*arm("a", SMALL, backbone="mit_b0"), *arm("b", LARGE, backbone="mit_b1")],
        {},
        "NOT_COMPARABLE",
    ),
    "the smallest of several may be chosen": (
        "superiority",
        [*arm("c1", SMALL), *arm("c2", LARGE + 1), *arm("b", LARGE)],
        {"treatment": {"best_of": "c*"}},
        "SUPPORTED",
    ),
}


@pytest.mark.parametrize(("kind", "rows", "keys", "expected"), CASES.values(), ids=CASES)
def test_exact_metrics_are_compared_without_a_test(
    kind: str, rows: list[dict[str, Any]], keys: dict[str, Any], expected: str
) -> None:
    assert verdict(kind, rows, **keys) == expected


OTHER_NAMES = (
    *("num_parameters", "n_params", "trainable_params", "Params (M)", "MFLOPs", "file_size_bytes"),
    *("checkpoint_size", "weights_mb", "FLOPs (G)"),
)


@pytest.mark.parametrize(
    "metric", ["params_M", "gflops", "GFLOPs", "FLOPs", "model_size_mb", "file size", *OTHER_NAMES]
)
def test_whatever_the_count(metric: str) -> None:
    assert verdict("superiority", [*arm("a", 1.5, metric=metric), *arm("b", 2.5, metric=metric)], metric) == "SUPPORTED"


def test_pairs_are_compared_pair_by_pair() -> None:
    rows = [
        *arm("a", 10, backbone="s"),
        *arm("b", 12, backbone="s"),
        *arm("a", 30, backbone="l"),
        *arm("b", 31, backbone="l"),
        *arm("a", 99, backbone="xl"),
    ]
    rows = [{**{k: v for k, v in row.items() if k != "params_total"}, "gflops": row["params_total"]} for row in rows]
    found = evaluate_claim({"kind": "superiority", "metric": "gflops", **SIDES, "match_on": "backbone"}, rows)
    assert (found["verdict"], found["numbers"]["difference"]) == ("SUPPORTED", -1.5)


def test_the_reason_says_the_numbers_and_that_no_test_is_needed() -> None:
    found = evaluate_claim({"kind": "superiority", "metric": "params_total", **SIDES}, TWO)
    assert found["numbers"] == {"difference": SMALL - LARGE, "n_per_arm": 1}
    assert "43,400,000 against 60,100,000, difference -16,700,000" in found["why"]
    assert "no test is needed" in found["why"]


@pytest.mark.parametrize(
    ("kind", "metric", "values", "keys", "words"),
    [
        ("superiority", "gflops", (0.12, 0.14), {}, "0.12 GFLOP against 0.14 GFLOP, difference -0.02 GFLOP"),
        ("superiority", "params_M", (60.01, 60.02), {}, "60.01 M against 60.02 M, difference -0.01 M"),
        ("equivalence", "flops", (1.25, 1.5), {"margin": 1}, "1.2 FLOP against 1.5 FLOP, difference -0.2 FLOP"),
        ("value", "gflops", (0.12, 0.14), {"value": 0.14}, "gflops 0.12 GFLOP, claimed 0.14"),
    ],
)
def test_values_that_differ_print_unlike(
    kind: str, metric: str, values: tuple[float, float], keys: dict[str, Any], words: str
) -> None:
    rows = [*arm("a", values[0], metric=metric), *arm("b", values[1], metric=metric)]
    sides = {"treatment": {"arm": "a"}} if kind == "value" else SIDES
    assert words in evaluate_claim({"kind": kind, "metric": metric, **sides, **keys}, rows)["why"]


def test_unequal_counts_of_one_configuration_print_unlike() -> None:
    rows = [*arm("a", 0.12, 0.14, metric="gflops"), *arm("b", 1.0, metric="gflops")]
    found = evaluate_claim({"kind": "superiority", "metric": "gflops", **SIDES}, rows)
    assert "0.12 GFLOP, 0.14 GFLOP" in found["why"]


@pytest.mark.parametrize("count", [-5, 0])
def test_a_count_is_above_zero(count: int) -> None:
    rows = [*arm("a", count), *arm("b", LARGE)]
    found = evaluate_claim({"kind": "superiority", "metric": "params_total", **SIDES}, rows)
    assert (found["verdict"], f"its params_total is {count}, not above 0" in found["why"]) == ("DATA_ERROR", True)
