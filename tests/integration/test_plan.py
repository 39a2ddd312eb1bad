"""A plan, held against the study that then runs."""

import io
import re
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from tune_cmx.cli import main
from tune_cmx.cli.output import out

if TYPE_CHECKING:
    from conftest import Tiny

pytestmark = pytest.mark.slow  # whole studies


def test_the_epochs_planned_are_those_that_are_then_trained(tiny: "Tiny", monkeypatch: pytest.MonkeyPatch) -> None:
    """By a probe; of four trials, about half pass the rung at epoch 2."""
    space = tiny.space(early_stopping={"reduction_factor": 2, "grace": 2, "last": 1, "smooth_epochs": 1})
    text = io.StringIO()
    monkeypatch.setattr(out, "__dict__", vars(Console(file=text, width=200, highlight=False)))
    with pytest.raises(SystemExit, match="0"):
        main(["plan", str(space), "--data", str(tiny.data), "--gpus", "0"])
    lines = text.getvalue().splitlines()
    assert any(line.startswith("times: a probe of ") and line.endswith("on this CPU") for line in lines)
    baseline = next(line for line in lines if line.startswith("probe: FRM+FFM (baseline): "))
    ((step_s, peak_gib),) = re.findall(r"([\d.e-]+) s per step of 4 images, peak memory ([\d.e-]+) GiB", baseline)
    assert 0 < float(step_s) < 60
    assert 0.01 < float(peak_gib) < 4
    assert any(
        re.match(r"memory: \d+ trials like the largest fit into 90% of the [\d.]+ GiB of this", line) for line in lines
    )
    found = re.search(r"epochs of the confirmation +(\d+) .*epochs in total +(\d+) ", text.getvalue(), re.DOTALL)
    assert found is not None
    planned_confirmation, planned = map(int, found.groups())
    assert tiny.search(space) == 0
    trained = [record.state() for record in tiny.records().values()]
    search = sum(state.epochs for state in trained if state.phase == "search")
    confirmed = sum(state.epochs for state in trained if state.phase == "confirm")
    assert confirmed == planned_confirmation
    assert planned == pytest.approx(search + confirmed, rel=0.15)
