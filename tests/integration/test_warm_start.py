"""A real search that begins with imported trials, and is taken up without their folder."""

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
import pytest

from tune_cmx.evidence.importer.collect import collect
from tune_cmx.evidence.importer.imported_study import write_import
from tune_cmx.search.optuna.journal import studies_of

if TYPE_CHECKING:
    from conftest import Tiny

pytestmark = pytest.mark.slow
TABLE = "exp_id,fusion,stages,mAP\na,cssa,1,11.5\nb,cssa,3,22.5\nc,cssa,1+2,33.5\n"
SEARCHER = {"kind": "tpe", "trials": 2, "startup_trials": 1}


def test_a_warm_search_tells_tpe_and_mixes_nothing_into_the_arms(tiny: "Tiny") -> None:
    (tiny.folder / "table.csv").write_text(TABLE)
    write_import(collect([tiny.folder / "table.csv"]), tiny.folder / "published")
    folder = tiny.folder / "tiny"
    space = tiny.space(searcher=SEARCHER)
    assert tiny.search(space, "--warm-start", str(tiny.folder / "published")) == 0, tiny.log()
    began_with = warm_start(folder)
    assert [used["values"] for used in began_with["used"]] == [
        {"model.fusion.stages": [1]},
        {"model.fusion.stages": [3]},
    ]
    assert [left["name"] for left in began_with["left_out"]] == ["published/c"]
    told = priors(folder)
    assert told == {"published/a": [11.5], "published/b": [22.5]}
    assert {record.state().phase for record in tiny.records().values()} == {"search", "confirm"}
    shutil.rmtree(tiny.folder / "published")
    assert tiny.search(space, "--resume") == 0, tiny.log()
    assert warm_start(folder) == began_with
    assert priors(folder) == told


def warm_start(folder: Path) -> dict[str, Any]:
    """What `study.json` says that the search began with."""
    content: dict[str, Any] = json.loads((folder / "study.json").read_text())["searcher"]["warm_start"]
    return content


def priors(folder: Path) -> dict[str, list[float]]:
    """What the storage has that no trial of this search found."""
    (study,) = studies_of(folder)
    complete = study.get_trials(states=(optuna.trial.TrialState.COMPLETE,))
    return {trial.user_attrs["prior"]: trial.values for trial in complete if "prior" in trial.user_attrs}
