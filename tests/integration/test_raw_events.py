"""Sets with raw events train, in whatever way these become images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from event_sets import dsec_det, pedro

from tune_cmx.config.parse import parse_trial
from tune_cmx.config.study import read_study
from tune_cmx.data.prepare import load_prepared, prepare
from tune_cmx.search.check import check_study
from tune_cmx.training.run import run_trial
from tune_cmx.training.run_folder import RunFolder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import Tiny

SETS = {"dsec_det": (dsec_det, "rgb | event"), "pedro": (pedro, "event")}
SEARCH = {"data.events.representation": {"choice": ["count", "voxel_grid", "time_surface"]}}


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        yield


@pytest.mark.parametrize("name", SETS)
def test_a_set_trains_one_epoch(name: str, tiny: Tiny, tmp_path: Path) -> None:
    make, streams = SETS[name]
    root = make(tmp_path / "set")
    prepared = prepare(_config(tiny, root, streams).data, tmp_path / "prepared")
    assert prepared.split.how == "official"
    for events in (None, {"representation": "voxel_grid", "window": {"events": 200}}):
        config = _config(tiny, root, streams, **({} if events is None else {"events": events}))
        own = load_prepared(config.data, prepared.folder)
        folder = RunFolder.plan(tmp_path / f"run-{events is None}", config, arm="one", phase="single")
        reports = list(run_trial(folder, own))
        assert len(reports) == 1
        assert folder.state().status == "complete"
        assert 0 <= reports[0].metrics["val/mAP"] <= 100


def test_a_search_over_representations_builds_each_with_its_bands(tiny: Tiny, tmp_path: Path) -> None:
    root = dsec_det(tmp_path / "set")
    fixed = {**tiny.fixed, "model": {**tiny.fixed["model"], "streams": "rgb | event", "fusion": {"kind": "add"}}}
    space = tiny.space(fixed=fixed, search=SEARCH, baseline={"data.events.representation": "count"})
    study = read_study(space, overrides={"data.root": str(root)})
    checked = check_study(study, prepare(study.baseline.config.data, tmp_path / "prepared"))
    count, voxels, surface = (arm.parameters["total"] for arm in checked.arms)
    assert count == surface
    assert (voxels - count) % 3 == 0
    assert voxels > count


def _config(tiny: Tiny, root: Path, streams: str, **data: Any) -> Any:
    model = {**tiny.fixed["model"], "streams": streams, "fusion": {"kind": "frm_ffm"}}
    schedule = {**tiny.fixed["schedule"], "epochs": 1, "warmup_epochs": 0.0}
    content = {"model": model, "schedule": schedule, "data": {"root": str(root), **data}}
    return parse_trial({**content, "compute": tiny.fixed["compute"]}, source="test")
