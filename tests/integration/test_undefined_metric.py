"""A metric that the validation images do not define is an error of the trial, never a free pass."""

from __future__ import annotations

import io
import json
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from tune_cmx.config.study import read_study
from tune_cmx.data.prepare import prepare
from tune_cmx.errors import TrialError
from tune_cmx.search.cluster import Resources, ray_cluster
from tune_cmx.search.console import StudyConsole
from tune_cmx.search.runner import run_study
from tune_cmx.search.study_folder import open_folder

if TYPE_CHECKING:
    from conftest import Tiny

pytestmark = pytest.mark.slow  # whole studies


def test_a_search_without_validation_boxes_is_refused_and_its_trials_would_fail(tiny: Tiny) -> None:
    data = tiny.folder / "set"
    shutil.copytree(tiny.data, data)
    names = sorted(path.stem for path in (data / "labels").glob("*.txt"))
    parts = {"train": names[:12], "val": names[12:16], "test": names[16:]}
    for name in parts["val"]:
        (data / "labels" / f"{name}.txt").write_text("")
    split = tiny.folder / "split.json"
    split.write_text(json.dumps(parts))
    tiny = replace(tiny, data=data)
    space = tiny.space(search={"model.fusion.stages": {"choice": [[1], [2]]}})
    assert tiny.search(space, "--split", str(split)) == 2
    assert "no validation image has a box, so val/mAP is not defined" in " ".join(tiny.log().split())
    assert not tiny.records()
    study = read_study(space, overrides={"data.root": str(data), "data.split": str(split)})
    prepared = prepare(study.baseline.config.data, tiny.folder / "tiny" / "data")
    opened = open_folder(tiny.folder / "tiny", study, prepared, space)
    resources = Resources(None, 1, 0, None, device="cpu", threads=1, workers=0)
    with ray_cluster(resources), pytest.raises(TrialError, match=r"every trial .* failed.*val/mAP is nan"):
        run_study(opened, resources, StudyConsole(Console(file=io.StringIO()), "val/mAP"))
    states = {name: record.state() for name, record in tiny.records().items()}
    assert set(states) == {"search-stages-1-s0", "search-stages-2-s0"}
    for state in states.values():
        assert (state.status, state.epochs) == ("failed", 1)
        assert "val/mAP is nan at epoch 1: the validation images do not define it" in state.reason
