"""Studies whose arms are not all known from the file, from the search to the report."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Tiny

pytestmark = pytest.mark.slow  # whole studies
STAGES, THRESHOLD = "model.fusion.stages", "model.fusion.options.switching_threshold"
KIND = "model.fusion.kind"


def test_two_phases_and_as_many_seeds_as_the_precision_asks_for(tiny: Tiny) -> None:
    phases = [
        {"name": "stages", "fixed": {THRESHOLD: 0.5}, "search": {STAGES: {"choice": [[1], [4]]}}, "keep": 1},
        {"name": "thresholds", "search": {THRESHOLD: {"choice": [0.3, 0.5]}}},
    ]
    confirm = {"finalists": 1, "half_width": 0.001, "pilot_seeds": 2, "max_seeds": 3}
    space = tiny.space(search={}, phases=phases, early_stopping={"kind": "none"}, confirm=confirm)
    assert tiny.search(space) == 0, tiny.log()
    study = json.loads((tiny.folder / "tiny" / "study.json").read_text())
    first, second = study["phases"]
    assert [first["name"], second["name"]] == ["stages", "thresholds"]
    assert len(first["arms"]) == len(second["arms"]) == 2
    assert first["kept"][0] in second["arms"]  # its threshold is one of the second phase's, and was trained once
    assert len([name for name in tiny.records() if name.startswith("search-")]) == 3
    assert study["two_stage"]["seeds"] == study["confirm"]["seeds"] == 3
    assert study["two_stage"]["wanted"] > 3
    (finalist,) = study["selection"]["finalists"]
    assert study["selection"]["winner"] == finalist
    seeds = [name for name in tiny.records() if name.startswith(f"confirm-{finalist}-")]
    assert seeds == [f"confirm-{finalist}-s{seed}" for seed in (1000, 1001, 1002)]
    report = (tiny.folder / "tiny" / "report" / "report.md").read_text()
    assert "phase thresholds" in report.lower()
    assert "Stein" in report


def test_a_search_by_tpe_that_was_killed_draws_what_it_would_have_drawn(tiny: Tiny) -> None:
    model = {**tiny.fixed["model"], "fusion": {"elsewhere": "add"}}
    space = tiny.space(
        fixed={**tiny.fixed, "model": model},
        search={
            KIND: {"choice": ["cssa", "add"]},
            STAGES: {"choice": [[1], [2], [3], [4]]},
            THRESHOLD: {"uniform": [0.2, 0.8], "when": {KIND: "cssa"}},
        },
        searcher={"kind": "tpe", "trials": 3, "startup_trials": 1},
        confirm={"finalists": 1, "seeds": 1},
    )
    assert tiny.search(space, "--max-concurrent", "1") == 0, tiny.log()
    uninterrupted = {name: tiny.numbers(record) for name, record in tiny.records().items()}
    assert len([name for name in uninterrupted if name.startswith("search-")]) == 3

    (tiny.folder / "tiny").rename(tiny.folder / "uninterrupted")
    process = tiny.start(space, "--max-concurrent", "1")
    tiny.wait_until(lambda: sum(record.state().epochs > 0 for record in tiny.records().values()) == 2)
    os.kill(process.pid, signal.SIGKILL)
    process.wait(60)
    assert tiny.search(space, "--max-concurrent", "1", "--resume") == 0, tiny.log()
    assert {name: tiny.numbers(record) for name, record in tiny.records().items()} == uninterrupted
