"""Claims that name a column or a configuration which the table does not have."""

from typing import Any

import pytest

from tune_cmx.errors import ConfigError
from tune_cmx.evidence.claims.evaluate import evaluate_claim
from tune_cmx.evidence.claims.run_table import Table

CLAIM: dict[str, Any] = {
    "kind": "superiority",
    "metric": "mAP",
    "treatment": {"arm": "cssa"},
    "baseline": {"arm": "frm_ffm"},
}
ROWS = [
    {"arm": arm, "seed": seed, "fusion": arm, "backbone": "mit_b1", "epochs": 15, "mAP": first + 0.1 * seed}
    for arm, first in (("cssa", 53.0), ("frm_ffm", 51.0))
    for seed in range(3)
]
COLUMNS = "Columns: arm, seed, fusion, backbone, epochs, mAP"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"metric": "mAPP", "direction": "higher"}, f"'mAPP', its metric. {COLUMNS}. Did you mean 'mAP'"),
        ({"metric": "test/mAP"}, f"'test/mAP', its metric. {COLUMNS}. Did you mean 'mAP'.*`reported_on: test`"),
        (
            {"treatment": {"fussion": "cssa"}},
            f"'fussion', which treatment filters by. {COLUMNS}. Did you mean 'fusion'",
        ),
        ({"baseline": {"model.fusion": {"kind": "x"}}}, "'model.fusion.kind', which baseline filters by"),
    ],
)
def test_a_column_that_no_row_has_is_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=f"no row has a column {said}"):
        evaluate_claim({**CLAIM, **change}, ROWS)


def test_a_study_may_still_run_what_a_filter_names() -> None:
    table = Table(ROWS, complete=False)
    assert evaluate_claim({**CLAIM, "treatment": {"threshold": 0.5}}, table)["verdict"] == "BLOCKED"


HAS = "configurations in the table: cssa, frm_ffm"
GIVEN = "tune-cmx train --data IMAGES --labels LABELS --backbone mit_b1 --epochs 15 --output-dir DIR"
BLOCKED: dict[str, tuple[dict[str, Any], str]] = {
    "a fusion": (
        {"treatment": {"arm": "concat"}},
        f"no run of concat; {HAS}. To run concat: {GIVEN} --fusion-type concat",
    ),
    "the guided fusion": (
        {"treatment": {"arm": "gaff"}},
        f"{GIVEN} --config FILE, where FILE has `model: {{fusion: {{kind: gaff",
    ),
    "a name that is no fusion": ({"treatment": {"arm": "csa"}}, f"no run of csa; {HAS}. Did you mean 'cssa'?"),
    "a filter": ({"treatment": {"fusion": "gate"}}, f"no run of fusion=gate; {HAS}."),
    "the word baseline beside another": (
        {"treatment": {"arm": "x"}, "baseline": "baseline"},
        f"no run of x, baseline; {HAS}; the word 'baseline' stands for none of them",
    ),
    "the word baseline": ({"baseline": "baseline"}, f"{HAS}; the word 'baseline' stands for none of them: name one"),
}


@pytest.mark.parametrize(("change", "said"), BLOCKED.values(), ids=BLOCKED)
def test_a_configuration_without_runs(change: dict[str, Any], said: str) -> None:
    found = evaluate_claim({**CLAIM, **change}, ROWS)
    assert found["verdict"] == "BLOCKED"
    assert said in found["why"]
    assert ("tune-cmx train" in found["why"]) is ("tune-cmx train" in said)
    assert "--fusion-type gaff" not in found["why"]
