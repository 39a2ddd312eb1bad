"""What `tune-cmx report` says about failed trials."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tune_cmx.cli.output import out
from tune_cmx.cli.study import show_report

if TYPE_CHECKING:
    from conftest import StudyWriter


def test_failed_trials_are_counted_by_their_state(undecided: StudyWriter) -> None:
    undecided.trial("s-9", "stages-4", "search", epochs=1, status="failed", reason="out of memory")
    folder = undecided.write()
    file = folder / "trials" / "s-9" / "trial.json"
    file.write_text(json.dumps(json.loads(file.read_text()), separators=(",", ":")))
    with out.capture() as captured:
        show_report(folder, None)
    assert "1 trial failed" in captured.get()
