"""Claims at the edges: which check speaks first, which fields are protocol, which runs are counted and paired."""

from typing import Any

import pytest

from tune_cmx.errors import ConfigError, DataError
from tune_cmx.evidence.claims.evaluate import evaluate_claim
from tune_cmx.evidence.claims.run_table import Table

Rows = list[dict[str, Any]]


def arm(name: str | None, *values: Any, metric: str = "mAP", seeds: list[Any] | None = None, **fields: Any) -> Rows:
    """A row a value, of one protocol; seeds are unknown unless given."""
    known: dict[str, Any] = {"epochs": 15, "lr": 0.02} | ({} if name is None else {"arm": name})
    of_seed = seeds or [None] * len(values)
    return [{**known, "seed": of_seed[place], metric: value, **fields} for place, value in enumerate(values)]


def claim(kind: str = "superiority", metric: str = "mAP", **keys: Any) -> dict[str, Any]:
    sides: dict[str, Any] = {"treatment": {"arm": "a"}}
    sides |= {} if kind in ("best", "value") else {"baseline": {"arm": "b"}}
    return {"kind": kind, "metric": metric, **sides, **keys}


HIGH, LOW = (83.1, 83.4, 83.0), (82.2, 82.5, 82.1)
ON_TEST = {"selected_on": "test", "reported_on": "test"}

ORDER: dict[str, tuple[dict[str, Any], Rows, str, dict[str, Any]]] = {
    "no row of the baseline stands before a damaged one of the treatment": (
        claim(),
        arm("a", None, 83.0),
        "BLOCKED",
        {"missing_arms": ["b"]},
    ),
    "both arms missing": (claim(), arm("c", 83.0), "BLOCKED", {"missing_arms": ["a", "b"]}),
    "no rows at all": (claim("value"), [], "BLOCKED", {"missing_arms": ["a"]}),
    "a damaged rival stands before a higher one": (
        claim("best"),
        [*arm("a", 83.0), *arm("b", 84.0), *arm("c", None)],
        "DATA_ERROR",
        {"offending_arm": "c"},
    ),
    "a damaged arm that the claim does not speak of is no matter": (
        claim(),
        [*arm("a", *HIGH), *arm("b", *LOW), *arm("c", None, "83", 83.0)],
        "SUPPORTED",
        {"comparisons": 1},
    ),
    "a higher single run refutes the best one under any protocol": (
        claim("best"),
        [*arm("a", 83.0), *arm("b", 84.0, lr=0.5)],
        "CONTRADICTED",
        {"overall_max": 84.0, "overall_max_arm": "b"},
    ),
    "the highest value on record may be of an arm with several runs": (
        claim("best"),
        [*arm("a", 83.0), *arm("b", 84.0), *arm("c", 85.0, 82.0)],
        "CONTRADICTED",
        {"overall_max": 85.0, "overall_max_arm": "c"},
    ),
    "the best time is the shortest": (
        claim("best", "hours"),
        [*arm("a", 4.0, metric="hours"), *arm("b", 3.0, metric="hours")],
        "CONTRADICTED",
        {"overall_min": 3.0, "overall_min_arm": "b"},
    ),
    "a higher arm of several runs does not refute without a test": (
        claim("best"),
        [*arm("a", 83.0), *arm("b", 84.0, 84.1)],
        "INSUFFICIENT_REPLICATION",
        {"n_per_arm": 1},
    ),
    "a ratio of single runs is arithmetic, biased or not": (
        claim("ratio"),
        [*arm("a", 40.0, **ON_TEST, epochs=30), *arm("b", 80.0, **ON_TEST)],
        "DESCRIPTIVE_ONLY",
        {"ratio": 0.5, "mismatched_fields": ["epochs"]},
    ),
    "a ratio of one run over several is compared, and lacks runs": (
        claim("ratio"),
        [*arm("a", 40.0), *arm("b", 80.0, 81.0)],
        "INSUFFICIENT_REPLICATION",
        {"n_per_arm": 1},
    ),
    "protocol stands before selection": (
        claim(),
        [*arm("a", *HIGH, **ON_TEST, epochs=25), *arm("b", *LOW)],
        "NOT_COMPARABLE",
        {"mismatched_fields": ["epochs"]},
    ),
    "selection stands before replication": (
        claim(),
        [*arm("a", 83.0, **ON_TEST), *arm("b", 82.0)],
        "SELECTION_BIASED",
        {"selected_on": "test"},
    ),
    "a single run on one side": (claim(), [*arm("a", 83.0), *arm("b", *LOW)], "INSUFFICIENT_REPLICATION", {}),
}


@pytest.mark.parametrize(("asked", "rows", "verdict", "numbers"), ORDER.values(), ids=ORDER)
def test_which_check_speaks_first(asked: dict[str, Any], rows: Rows, verdict: str, numbers: dict[str, Any]) -> None:
    found = evaluate_claim(asked, rows)
    assert found["verdict"] == verdict, found["why"]
    assert numbers.items() <= found["numbers"].items()


PROTOCOL: dict[str, tuple[dict[str, Any], dict[str, Any], list[str]]] = {
    "results": ({"hours": 3.0, "params_M": 60, "small": 1, "train_loss": 0.2, "milliseconds": 9}, {"hours": 4.0}, []),
    "results by split": ({"val/mAP": 3.0, "train/loss": 0.3}, {"val/mAP": 4.0}, []),
    "bookkeeping": ({"exp_id": "x", "study": "s", "notes": "n", "source": "t"}, {"notes": "m"}, []),
    "a setting": ({"batch": 2}, {"batch": 16}, ["batch"]),
    "a value unknown on one side": ({"split": "v1"}, {}, ["split"]),
    "a value unknown on both": ({"split": None}, {}, []),
    "a weight of a loss is a setting": ({"loss_weight": 1.0}, {"loss_weight": 2.0}, ["loss_weight"]),
    "a loss by its path is a setting": ({"model.loss": "focal"}, {"model.loss": "ce"}, ["model.loss"]),
    "lists": ({"stages": [1, 2]}, {"stages": [1]}, ["stages"]),
    "mappings": ({"fusion": {"kind": "add"}}, {"fusion": {"kind": "cssa"}}, ["fusion"]),
    "equal lists": ({"stages": [1, 2]}, {"stages": [1, 2]}, []),
    "epochs written as text": ({"epochs": "15"}, {"epochs": 15}, []),
    "yes and 1 are one value": ({"shared": True}, {"shared": 1}, []),
}


@pytest.mark.parametrize(("of_a", "of_b", "fields"), PROTOCOL.values(), ids=PROTOCOL)
def test_which_fields_are_protocol(of_a: dict[str, Any], of_b: dict[str, Any], fields: list[str]) -> None:
    found = evaluate_claim(claim(), [*arm("a", *HIGH, **of_a), *arm("b", *LOW, **of_b)])
    assert found["verdict"] == ("NOT_COMPARABLE" if fields else "SUPPORTED")
    assert found["numbers"].get("mismatched_fields", []) == fields


def test_the_reason_shows_the_values_that_differ_and_the_factor_that_a_filter_suggests() -> None:
    rows = [*arm("a", *HIGH, shared=True), *arm("b", *LOW, shared=False)]
    asked = {**claim(), "treatment": {"shared": True}, "baseline": {"shared": False}}
    assert "shared (True, False)" in evaluate_claim(asked, rows)["why"]
    assert "if the claim is about shared, name it as `factor`" in evaluate_claim(asked, rows)["why"]
    assert evaluate_claim({**asked, "factor": "shared"}, rows)["verdict"] == "SUPPORTED"


@pytest.mark.parametrize(
    ("metric", "verdict"),
    [
        *[(metric, "SUPPORTED") for metric in ("mAP_50", "test/mAP", "AP", "test/AP75", "small")],
        *[(metric, "CONTRADICTED") for metric in ("hours", "val/milliseconds", "milliseconds", "train_loss")],
        *[(metric, "CONTRADICTED") for metric in ("loss", "train/loss", "gpu_hours", "total_time_hours")],
    ],
)
def test_a_higher_value_of_any_metric(metric: str, verdict: str) -> None:
    """The metric itself is a result, whatever its name."""
    found = evaluate_claim(claim(metric=metric), [*arm("a", *HIGH, metric=metric), *arm("b", *LOW, metric=metric)])
    assert found["verdict"] == verdict


def test_an_unnamed_metric_does_not_divide_runs_without_arms() -> None:
    rows = [*arm(None, *HIGH, metric="fps", fusion="x"), *arm(None, *LOW, metric="fps", fusion="y")]
    asked = {
        **claim(metric="fps", direction="higher"),
        "treatment": {"fusion": "x"},
        "baseline": {"fusion": "y"},
        "factor": ["fusion"],
    }
    assert evaluate_claim(asked, rows)["verdict"] == "SUPPORTED"


def test_runs_of_one_arm_that_differ_in_the_factor_are_no_replicates() -> None:
    rows = [*arm("a", 83.1, 83.2, k=1), *arm("a", 83.4, k=2), *arm("b", *LOW, k=1)]
    found = evaluate_claim(claim(factor=["k"]), rows)
    assert (found["verdict"], found["numbers"]["mismatched_fields"]) == ("NOT_COMPARABLE", ["k"])


def test_arms_alike_in_all_but_their_names_are_no_replicates() -> None:
    rows = [*arm("a1", 83.1, kind="x"), *arm("a2", 83.4, kind="x"), *arm("b", *LOW, kind="y")]
    found = evaluate_claim({**claim(factor=["kind"]), "treatment": {"kind": "x"}}, rows)
    assert (found["verdict"], found["numbers"]["mismatched_fields"]) == ("NOT_COMPARABLE", ["arm"])


SELECTION: dict[str, tuple[str, dict[str, Any], str]] = {
    "on another split": ("mAP", {"selected_on": "val", "reported_on": "test"}, "SUPPORTED"),
    "on this split": ("mAP", ON_TEST, "SELECTION_BIASED"),
    "on this split by another metric": ("val/mAP_50", {"selected_on": "val/mAP"}, "SELECTION_BIASED"),
    "the metric's split is not the row's": ("test/mAP", {"selected_on": "val", "reported_on": "val"}, "SUPPORTED"),
    "times are of no split": ("hours", {**ON_TEST}, "CONTRADICTED"),
    "where it was reported is not known": ("mAP", {"selected_on": "test"}, "SUPPORTED"),
}


@pytest.mark.parametrize(("metric", "fields", "verdict"), SELECTION.values(), ids=SELECTION)
def test_chosen_where_reported(metric: str, fields: dict[str, Any], verdict: str) -> None:
    rows = [*arm("a", *HIGH, metric=metric, **fields), *arm("b", *LOW, metric=metric)]
    assert evaluate_claim(claim(metric=metric), rows)["verdict"] == verdict


def test_the_baseline_is_not_among_those_chosen_from() -> None:
    rows = [row for name in "abcd" for row in arm(name, *HIGH, **ON_TEST)]
    assert evaluate_claim(claim(), rows)["numbers"]["n_candidates"] == 3


def test_a_metric_with_its_split_is_found_in_rows_that_report_on_it() -> None:
    rows = [*arm("a", *HIGH, reported_on="test"), *arm("b", *LOW, reported_on="test")]
    assert evaluate_claim(claim(metric="test/mAP"), rows)["verdict"] == "SUPPORTED"
    with pytest.raises(ConfigError, match=r"no row has a column 'val/mAP', its metric.*Did you mean 'mAP'"):
        evaluate_claim(claim(metric="val/mAP"), rows)


PAIRING: dict[str, tuple[list[Any], list[Any], dict[str, Any], int | None]] = {
    "all seeds shared": ([0, 1, 2], [2, 1, 0], {}, 3),
    "as text": (["0", "1", "2"], [0, 1, 2.0], {}, 3),
    "some shared": ([0, 1, 2], [1, 2, 3], {}, None),
    "one more on one side": ([0, 1, 2], [0, 1, 2, 3], {}, None),
    "one not known": ([0, 1, None], [0, 1, None], {}, None),
    "none known": ([None] * 3, [None] * 3, {}, None),
    "one seed run twice": ([0, 1, 1], [0, 1, 1], {}, None),
    "matched on seeds, as far as they go": ([0, 1, 2], [1, 2, 3], {"match_on": ["seed"]}, 2),
    "an unknown seed has no partner": ([0, 1, None], [0, 1, None], {"match_on": "seed"}, 2),
}


@pytest.mark.parametrize(("of_a", "of_b", "keys", "pairs"), PAIRING.values(), ids=PAIRING)
def test_which_runs_are_paired(of_a: list[Any], of_b: list[Any], keys: dict[str, Any], pairs: int | None) -> None:
    values = (83.1, 83.4, 83.0, 83.7)
    rows = [*arm("a", *values[: len(of_a)], seeds=of_a), *arm("b", *values[: len(of_b)], seeds=of_b)]
    numbers = evaluate_claim(claim(**keys), [{**row, "run_id": place} for place, row in enumerate(rows)])["numbers"]
    assert numbers.get("n_pairs") == pairs
    assert ("sign_flip_p" in numbers) is (pairs is not None)
    assert ("permutation_p" in numbers) is (pairs is None)


def test_a_seed_with_two_values_is_an_error_that_names_both() -> None:
    rows = [*arm("a", 53.39, 60.0, 53.1, seeds=[0, 0, 1]), *arm("b", *LOW, seeds=[0, 1, 2])]
    found = evaluate_claim(claim(), rows)
    assert (found["verdict"], found["numbers"]) == ("DATA_ERROR", {"offending_arm": "a"})
    assert "seed 0 of a has two rows with different mAP (53.39, 60)" in found["why"]


@pytest.mark.parametrize(
    "change",
    [{"run_id": "x"}, {"fold": 2}, {"stages": [2]}, {"epoch": 14}, {"seed": None}],
    ids=lambda change: next(iter(change)),
)
def test_two_rows_that_differ_in_more_than_their_values_are_two_runs(change: dict[str, Any]) -> None:
    both = [
        {"run_id": f"{name}-{place}"} if "run_id" in change else {"fold": 1, "stages": [1], "epoch": 15}
        for name in "ab"
        for place in range(3)
    ]
    rows = [*arm("a", *HIGH, seeds=[0, 0, 1]), *arm("b", *LOW, seeds=[0, 1, 2])]
    rows = [{**row, **fields} for row, fields in zip(rows, both, strict=True)]
    rows[1] |= change
    assert evaluate_claim(claim(), rows)["verdict"] != "DATA_ERROR"


def test_unknown_seeds_alone_give_no_pairs_to_match() -> None:
    found = evaluate_claim(claim(match_on=["seed"]), [*arm("a", *HIGH), *arm("b", *LOW)])
    assert (found["verdict"], found["numbers"]["n_per_arm"]) == ("INSUFFICIENT_REPLICATION", 0)


def test_a_value_has_nothing_to_match() -> None:
    rows = arm("a", *HIGH, stages=1)
    assert evaluate_claim(claim("value", match_on=["stages"], value=90.0), rows)["verdict"] == "CONTRADICTED"


def test_six_matched_pairs_pass_the_gate_at_the_smallest_exact_p() -> None:
    """Gaps of 0.3 to 0.7 over six configurations: sign-flip p 2/64, and the paired t decides."""
    rows = []
    for place, gap in enumerate([0.3, 0.6, 0.5, 0.4, 0.7, 0.5]):
        rows += [
            *arm(f"x{place}", 80 + place + gap, k=place, on=True),
            *arm(f"y{place}", 80.0 + place, k=place, on=False),
        ]
    asked = {**claim(match_on=["k"], factor=["on"]), "treatment": {"on": True}, "baseline": {"on": False}}
    found = evaluate_claim(asked, rows)
    assert (found["verdict"], found["numbers"]["n_pairs"], found["numbers"]["comparisons"]) == ("SUPPORTED", 6, 1)
    assert found["numbers"]["sign_flip_p"] == pytest.approx(2 / 64)


def test_rivals_are_those_whose_field_is_known() -> None:
    rows = [*arm("a", 83.0, k=0.5), *arm("b", 82.0, k=0.3), *arm("c", 84.0)]
    asked = claim("best", among="k", factor=["k"])
    assert evaluate_claim(asked, rows)["verdict"] == "INSUFFICIENT_REPLICATION"
    assert evaluate_claim({**asked, "among": "arm"}, rows)["verdict"] == "CONTRADICTED"


def test_arms_named_by_numbers() -> None:
    rows = [{**row, "arm": 5} for row in arm("a", *HIGH)]
    asked = {**claim(), "treatment": {"arm": "5"}}
    assert evaluate_claim(asked, [*rows, *arm("b", *LOW)])["verdict"] == "SUPPORTED"


@pytest.mark.parametrize(
    ("values", "verdict", "p"),
    [
        (([83.0] * 3, [82.0] * 3), "INCONCLUSIVE", 2 / 20),
        (([83.0] * 4, [82.0] * 4), "SUPPORTED", 2 / 70),
        (([82.0] * 4, [83.0] * 4), "CONTRADICTED", 2 / 70),
        (([82.0] * 4, [82.0] * 4), "INCONCLUSIVE", 1.0),
    ],
)
def test_without_any_spread_the_exact_p_decides(
    values: tuple[list[float], list[float]], verdict: str, p: float
) -> None:
    found = evaluate_claim(claim(), [*arm("a", *values[0]), *arm("b", *values[1])])
    assert found["verdict"] == verdict
    assert found["numbers"]["p"] == pytest.approx(p, abs=1e-5)


def test_a_superiority_with_a_margin_may_end_as_equivalence() -> None:
    rows = [*arm("a", 83.0, 83.1, 83.05, 82.95), *arm("b", 83.02, 83.08, 83.0, 82.98)]
    assert evaluate_claim(claim(margin=0.5), rows)["verdict"] == "EQUIVALENT"
    assert evaluate_claim(claim(), rows)["verdict"] == "INCONCLUSIVE"


def test_a_table_answers_many_claims_as_rows_would() -> None:
    rows = [
        row
        for name, shift in zip("abcd", (0.0, 0.4, 1.0, -2.0), strict=True)
        for row in arm(name, *[v + shift for v in LOW], reported_on="test")
    ]
    table = Table(rows)
    for name in "acd":
        for metric in ("mAP", "test/mAP"):
            asked = {**claim(metric=metric), "treatment": name}
            assert evaluate_claim(asked, table) == evaluate_claim(asked, rows)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": ["best"]}, "unknown kind"),
        ({"metric": 5}, "metric must be the name of one field; got 5"),
        ({"factor": 5}, "factor must be a field's name or a list of them; got 5"),
        ({"match_on": [1]}, "match_on must be a field's name"),
        ({"margin": float("inf")}, "margin must be a number above 0; got inf"),
        ({"margin": "0.5"}, "margin must be a number above 0; got '0.5'"),
        ({"kind": "best"}, r"kind best does not take 'baseline' \(superiority, equivalence, ratio take it\)"),
        (
            {"kind": "value", "baseline": None, "margin": 1},
            "kind value does not take 'margin'.*Keys of value: metric, t",
        ),
        ({"value": 5}, r"does not take 'value' \(ratio, value take it\)"),
        (
            {"among": "arm"},
            r"does not take 'among' \(best takes it\). Keys of superiority: metric, treatment, baseline",
        ),
        ({"kind": "equivalence", "margin": 1, "tolerance": 1}, "kind equivalence does not take 'tolerance'"),
        ({"value": True}, "value must be a number; got True"),
        ({"kind": "best", "baseline": None, "among": "thresold"}, "among names 'thresold', which no row has"),
    ],
)
def test_a_claim_of_the_wrong_types(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        evaluate_claim({**claim(), **change}, [*arm("a", *HIGH), *arm("b", *LOW)])


@pytest.mark.parametrize("epochs", ["fifteen", True, [15]])
def test_epochs_that_are_no_number(epochs: Any) -> None:
    with pytest.raises(DataError, match="row 4: epochs must be a number; got"):
        evaluate_claim(claim(), [*arm("a", *HIGH), *arm("b", *LOW, epochs=epochs)])


def epochs(name: str, first: float, **fields: Any) -> Rows:
    return [
        {"arm": name, "epochs": 15, "epoch": epoch, "mAP": first + 0.1 * epoch, **fields} for epoch in range(11, 16)
    ]


@pytest.mark.parametrize("match_on", [None, ["epoch"]])
@pytest.mark.parametrize("fields", [{}, {"seed": 0}, {"run_id": "x"}])
def test_epochs_of_one_run_are_no_replicates(fields: dict[str, Any], match_on: list[str] | None) -> None:
    found = evaluate_claim(claim(match_on=match_on), [*epochs("a", 83.0, **fields), *epochs("b", 82.0, **fields)])
    assert (found["verdict"], found["numbers"]["n_per_arm"]) == ("INSUFFICIENT_REPLICATION", 1)


def test_of_each_run_the_last_epoch_counts() -> None:
    rows = [row for seed, noise in enumerate((0.0, 0.1, 0.2)) for row in epochs("a", 83.0 + noise, seed=seed)]
    rows += [row for seed, noise in enumerate((0.0, 0.2, 0.1)) for row in epochs("b", 82.0 + noise, seed=seed)]
    found = evaluate_claim(claim(), rows)
    last = evaluate_claim(claim(), [row for row in rows if row["epoch"] == 15])
    assert found == last
    assert (found["verdict"], found["numbers"]["n_pairs"]) == ("SUPPORTED", 3)


def test_hours_that_contradict_their_cumulative_seconds() -> None:
    rows = [*arm("a", 4.0, metric="hours"), *arm("b", 0.88, metric="hours", resumed=True, cumulative_seconds=14652)]
    found = evaluate_claim(claim("ratio", "hours"), rows)
    assert (found["verdict"], found["numbers"]) == ("DATA_ERROR", {"offending_arm": "b"})
    named = [{**row, "total_time_hours": row["hours"], "hours": None} for row in rows]
    assert evaluate_claim(claim("ratio", "total_time_hours"), named)["verdict"] == "DATA_ERROR"
    rows[1]["hours"] = 4.07
    assert evaluate_claim(claim("ratio", "hours"), rows)["verdict"] == "DESCRIPTIVE_ONLY"
