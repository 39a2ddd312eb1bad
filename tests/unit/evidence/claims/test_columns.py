"""Which way a metric is better, and which columns of a table are results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tune_cmx import metrics
from tune_cmx.errors import ConfigError
from tune_cmx.evidence.claims.columns import named_columns
from tune_cmx.evidence.claims.evaluate import evaluate_claim

Rows = list[dict[str, Any]]
GOLDEN = Path(__file__).parents[3] / "golden"
CLAIM = {"kind": "superiority", "metric": "mAP", "treatment": {"arm": "a"}, "baseline": {"arm": "b"}}
HIGH, LOW = (83.1, 83.4, 83.0), (82.2, 82.4, 82.0)


def cases(name: str) -> list[Any]:
    return [pytest.param(case, id=case["id"]) for case in json.loads((GOLDEN / name).read_text())]


def table(metric: str = "mAP", **columns: tuple[Any, Any]) -> Rows:
    """Three runs an arm; a column has a value for each arm, or a list of three."""
    rows = []
    for arm, values, side in (("a", HIGH, 0), ("b", LOW, 1)):
        for seed, value in enumerate(values):
            others = {
                name: found[side][seed] if isinstance(found[side], list) else found[side]
                for name, found in columns.items()
            }
            rows.append({"arm": arm, "seed": seed, metric: value, **others})
    return rows


@pytest.mark.parametrize("case", [*cases("directions.json"), *cases("result_columns.json")])
def test_a_direction_is_asked_for_and_never_guessed(case: dict[str, Any]) -> None:
    claim, metric = case["claim"], case["claim"]["metric"]
    if metrics.find(metric) is None:
        with pytest.raises(
            ConfigError, match=f"metric '{metric}' is unknown, so the claim must say.*`direction: lower`"
        ):
            evaluate_claim(claim, case["rows"])
        claim = {**claim, "direction": "lower"}
    found = evaluate_claim(claim, case["rows"])
    if metric == "FPPI":  # its three differences are equal, so only the exact test speaks: 2 of 8 sign patterns
        assert (found["verdict"], found["numbers"]["p"]) == ("INCONCLUSIVE", 0.25)
    else:
        assert found["verdict"] == "SUPPORTED", found["why"]


def test_the_opposite_direction_contradicts() -> None:
    case = next(case for case in json.loads((GOLDEN / "directions.json").read_text()) if case["id"] == "ECE")
    found = evaluate_claim({**case["claim"], "direction": "higher"}, case["rows"])
    assert found["verdict"] == "CONTRADICTED"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"direction": "lower"}, "direction: lower, but higher mAP is better"),
        ({"metric": "hours", "direction": "higher"}, "direction: higher, but lower training time is better"),
        ({"metric": "ECE", "direction": "down"}, "direction must be lower or higher; got 'down'"),
        ({"metric": "ECE", "kind": "best", "baseline": None}, "metric 'ECE' is unknown, so the claim must say"),
        (
            {"metric": "ECE", "kind": "equivalence", "margin": 1, "treatment": {"best_of": "a*"}},
            "metric 'ECE' is unknown, so the claim must say",
        ),
    ],
)
def test_a_direction_that_does_not_fit(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        evaluate_claim({**CLAIM, **change}, table(change.get("metric", "mAP")))


@pytest.mark.parametrize("kind", ["equivalence", "ratio", "value"])
def test_kinds_that_need_no_direction_do_not_ask_for_one(kind: str) -> None:
    own = {"equivalence": ["baseline", "margin"], "ratio": ["baseline", "value"], "value": ["value"]}[kind]
    given = {"baseline": {"arm": "b"}, "margin": 2.0, "value": 1.0}
    claim = {"kind": kind, "metric": "ECE", "treatment": {"arm": "a"}, **{key: given[key] for key in own}}
    assert evaluate_claim(claim, table("ECE"))["verdict"] in ("EQUIVALENT", "CONTRADICTED")


COLUMNS: dict[str, tuple[dict[str, tuple[Any, Any]], list[str], list[str]]] = {
    "known to the table of metrics": ({"AP50": (97.0, 96.0), "hours": (1.0, 2.0)}, [], []),
    "an unknown number that varies within an arm": ({"FPS": ([21.0, 21.1, 21.2], [19.9, 20.0, 20.1])}, [], ["FPS"]),
    "several of them": ({"recall": ([1, 2, 3], [4, 5, 6]), "FPS": (20.0, [1, 2, 3])}, [], ["recall", "FPS"]),
    "a date by its name": ({"date": ("1 May", "2 May")}, [], []),
    "a date by its values": ({"trained": ("2026-05-01", "2026-05-02 10:00")}, [], []),
    "a host": ({"host": ("node1", "node2"), "hostname": (1, 2)}, [], []),
    "a path": ({"output_dir": ("runs/a", "runs/b"), "log path": ("x", "y")}, [], []),
    "notes and comments": ({"notes": ("x", "y"), "Comment": ("x", "y")}, [], []),
    "a date with slashes": ({"finished_at": ("03/01/2025", "04/01/2025 10:00")}, [], []),
    "a time of day": ({"started": ("08:20", "17:05:10")}, [], []),
    "where and by whom": ({"node": (1, 2), "user": ("x", "y"), "git_sha": ("a1", "b2"), "job_id": (7, 8)}, [], []),
    "log files, hosts and runs": ({"log_file": ("x", "y"), "hosts": ("x", "y"), "wandb_run": ("x", "y")}, [], []),
    "an absolute path": ({"artifact": ("/scratch/a/last.pt", "/scratch/b/last.pt")}, [], []),
    "shares that look like a time of day": ({"split": ("80:20", "70:30")}, ["split"], []),
    "a ratio that looks like a time of day": ({"aspect": ("16:10", "04:10")}, ["aspect"], []),
    "a setting with the prefix of a split": ({"train/lr": (0.1, 0.2)}, ["train/lr"], []),
    "one that varies within an arm": ({"train/lr": ([0.1, 0.2, 0.1], 0.1)}, ["train/lr"], []),
    "texts with the prefix of a split": (
        {"val/split": ("v1", "v2"), "test/set": ("day", "night")},
        ["test/set", "val/split"],
        [],
    ),
    "an unknown result of a split": ({"val/recall": ([1, 2, 3], [4, 5, 6])}, [], ["val/recall"]),
    "paths that are settings": (
        {"pretrained_path": ("imagenet", "none"), "data_path": ("x", "y")},
        ["data_path", "pretrained_path"],
        [],
    ),
    "a version that is a date": ({"dataset_version": ("2024-01-01", "2025-01-01")}, ["dataset_version"], []),
    "a word that holds `date`": ({"up-to-date": ("yes", "no")}, ["up-to-date"], []),
    "settings in other spellings": (
        {"Epochs": ([9, 8, 9], 9), "lr0": ([1, 2, 1], 1), "img_size": ([1, 2, 1], 1)},
        ["Epochs", "img_size", "lr0"],
        [],
    ),
    "an unknown number that is constant within each arm": ({"imgsz": (640, 800)}, ["imgsz"], []),
    "a setting that varies within an arm": ({"weight_decay": ([0.1, 0.2, 0.1], 0.1)}, ["weight_decay"], []),
    "a text that varies within an arm": ({"split": (["v1", "v2", "v1"], "v1")}, ["split"], []),
    "a number with `path` in its name": ({"drop_path": (0.1, 0.2)}, ["drop_path"], []),
    "a loss that is a name": ({"loss": ("focal", "cross-entropy")}, ["loss"], []),
    "a path of a configuration": ({"data.dir": ("x", "y")}, ["data.dir"], []),
}


@pytest.mark.parametrize(("columns", "protocol", "taken"), COLUMNS.values(), ids=COLUMNS)
def test_what_a_column_is(columns: dict[str, tuple[Any, Any]], protocol: list[str], taken: list[str]) -> None:
    found = evaluate_claim(CLAIM, table(**columns))
    assert found["verdict"] == ("NOT_COMPARABLE" if protocol else "SUPPORTED"), found["why"]
    assert found["numbers"].get("mismatched_fields", []) == protocol
    assert found["numbers"].get("taken_as_results", []) == taken
    assert all(name in found["why"] for name in taken)


def test_bookkeeping_in_which_the_configurations_differ_is_named() -> None:
    rows = table(host=("node1", "node2"), log_path=(["x", "y", "z"], "w"), user=("me", "me"))
    found = evaluate_claim(CLAIM, rows)
    assert found["numbers"]["not_compared"] == ["host"]
    assert "not compared: host (" in found["why"]
    assert evaluate_claim(CLAIM, rows, protocol=["host"])["numbers"]["mismatched_fields"] == ["host"]
    assert "not_compared" not in evaluate_claim({**CLAIM, "factor": ["host"]}, rows)["numbers"]


def test_a_file_may_say_what_a_column_is() -> None:
    rows = table(size=(20, 30), FPS=([21.0, 21.1, 21.2], [19.9, 20.0, 20.1]))
    assert evaluate_claim(CLAIM, rows)["numbers"]["mismatched_fields"] == ["size"]
    assert "name it in `results`" in evaluate_claim(CLAIM, rows)["why"]
    assert evaluate_claim(CLAIM, rows, results=["size"])["verdict"] == "SUPPORTED"
    assert evaluate_claim(CLAIM, rows, results=["size"], protocol=["FPS"])["numbers"]["mismatched_fields"] == ["FPS"]
    assert evaluate_claim(CLAIM, table(AP50=(97.0, 96.0)), protocol=["AP50"])["verdict"] == "NOT_COMPARABLE"
    with pytest.raises(ConfigError, match="'FPS' is named in `results` and in `protocol`"):
        evaluate_claim(CLAIM, rows, results=["FPS"], protocol=["FPS"])


def test_a_known_setting_is_offered_as_factor_and_never_as_a_result() -> None:
    why = evaluate_claim(CLAIM, table(**{"batch size": (15, 25)}, size=(20, 30)))["why"]
    assert "if the claim is about batch size, name it as `factor`" in why
    assert "if size is what came out of the runs, name it in `results`" in why
    with pytest.raises(ConfigError, match=r"case: results: 'epochs' says how a run was made.*factor"):
        named_columns({"results": ["FPS", "epochs"]}, "results", "case: ")
    assert named_columns({"protocol": ["epochs"]}, "protocol", "") == ("epochs",)


def test_a_column_that_the_claim_pairs_by_is_no_result() -> None:
    rows = table(fold=([1, 2, 3], [1, 2, 3]))
    found = evaluate_claim({**CLAIM, "match_on": ["fold"]}, rows)
    assert (found["numbers"]["n_pairs"], "taken_as_results" in found["numbers"]) == (3, False)
