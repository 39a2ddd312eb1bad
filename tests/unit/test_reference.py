"""docs/reference/ is what scripts/reference.py makes of the code, and its examples run."""

import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import get_args

import pytest

from tune_cmx.config.claims.declared import Claim
from tune_cmx.config.study import read_study
from tune_cmx.evidence.claims.evaluate import evaluate_claim
from tune_cmx.evidence.claims.form import KEYS, NEEDS
from tune_cmx.evidence.claims.validity import CHECKS

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "reference"


@pytest.fixture(scope="module")
def reference() -> Iterator[ModuleType]:
    """The script as a module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "scripts"))  # as Python does for a script
        yield importlib.import_module("reference")


@pytest.fixture(scope="module")
def claims(reference: ModuleType) -> ModuleType:  # noqa: ARG001  # it sets the path
    return importlib.import_module("reference_claims")


def test_the_committed_pages_are_those_that_the_script_makes(reference: ModuleType) -> None:
    stale = [
        name
        for name, text in reference.pages().items()
        if not (FOLDER / name).exists() or (FOLDER / name).read_text(encoding="utf-8") != text
    ]
    assert not stale, f"docs/reference is stale ({', '.join(stale)}); run: make reference"
    assert {path.name for path in FOLDER.glob("*.md")} == set(reference.PAGES)


def test_the_search_space_of_the_page_can_be_read() -> None:
    study = read_study(FOLDER / "examples" / "search_space.yaml")
    assert [arm.label for arm in study.arms.values()] == [
        "FRM+FFM (baseline)",
        "CSSA at stage 4, threshold 0.3",
        "CSSA at stage 4, threshold 0.5",
        "CSSA at stages 3, 4, threshold 0.3",
        "CSSA at stages 3, 4, threshold 0.5",
    ]
    assert study.claimed()


@pytest.mark.parametrize("kind", NEEDS)
def test_the_example_of_each_kind_of_claim_holds(kind: str, claims: ModuleType) -> None:
    (found,) = claims.answered(claims.example(kind))
    assert found["verdict"] in ("SUPPORTED", "EQUIVALENT"), found["why"]


def test_the_claims_file_of_the_page_is_answered(claims: ModuleType) -> None:
    (found,) = claims.answered(claims.EXAMPLE.read_text(encoding="utf-8"))
    assert (found["id"], found["verdict"]) == ("cssa-better", "SUPPORTED")


def test_a_claim_of_a_search_space_has_the_keys_and_kinds_of_any_claim() -> None:
    assert set(Claim.model_fields) == KEYS
    assert set(get_args(Claim.model_fields["kind"].annotation)) == set(NEEDS)


def test_the_page_has_the_checks_in_the_order_of_the_code(claims: ModuleType) -> None:
    page = claims.claims_page()
    order = page[page.index("These checks come first") : page.index("Otherwise the test decides")]
    verdicts = [line.split("|")[1].strip() for line in order.splitlines() if line.startswith("| ")][2:]
    assert verdicts == [(check.__doc__ or "").split(":")[0] for check in CHECKS]


def test_a_best_of_over_plain_rows_is_selection_biased() -> None:
    rows = [
        {"arm": arm, "seed": seed, "mAP": first + 0.1 * seed}
        for arm, first in (("cssa_1", 53.0), ("cssa_4", 52.0), ("frm_ffm", 51.0))
        for seed in range(3)
    ]
    claim = {"kind": "superiority", "metric": "mAP", "treatment": {"best_of": "cssa_*"}, "baseline": {"arm": "frm_ffm"}}
    assert evaluate_claim(claim, rows)["verdict"] == "SELECTION_BIASED"
