"""A metric that the validation frames do not define is an error of the trial, never a free pass."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Tiny

pytestmark = pytest.mark.slow  # whole studies


def test_trials_fail_and_say_so_where_no_validation_frame_has_a_box(tiny: Tiny) -> None:
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
    assert tiny.search(space, "--split", str(split)) != 0
    states = {name: record.state() for name, record in tiny.records().items()}
    assert set(states) == {"search-stages-1-s0", "search-stages-2-s0"}
    for state in states.values():
        assert (state["status"], state["epochs"]) == ("failed", 1)
        assert "val/mAP is nan at epoch 1: the validation frames do not define it" in state["reason"]
    assert "every trial of the search failed, the first with: val/mAP is nan" in " ".join(tiny.log().split())
