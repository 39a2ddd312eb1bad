"""`tune-cmx show`: the first screen of the report, in the terminal."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Run = Callable[..., tuple[int, str, str]]
    Refusal = Callable[..., str]


def test_the_first_screen_in_the_terminal(run: Run, study: Path) -> None:
    code, output, error = run("show", study)
    assert (code, error) == (0, "")
    assert "Where should CSSA replace FRM+FFM?" in output
    assert "stages 1 is above the baseline in test mAP" in output
    row = next(line for line in output.splitlines() if line.startswith("stages 1  "))
    assert row.split("  ")[0] == "stages 1"
    assert row.split()[-1] == "SUPPORTED"
    assert "+3.10" in row
    assert f"tune-cmx report {study}" in output
    assert f"tune-cmx robustness {study}" in output


def test_the_object_has_the_figures_of_the_report(run: Run, study: Path) -> None:
    run("report", study)
    content = json.loads(run("show", study, "--json")[1])
    page = (study / "report" / "report.md").read_text()
    assert content["answer"] in page
    assert content["next"]["command"] in page
    assert content["report"] == str(study / "report" / "report.html")
    baseline, first, _ = content["configurations"]
    assert (baseline["verdict"], baseline["difference"]) == ("baseline", None)
    assert first["difference"] == pytest.approx(3.1)
    assert first["interval"][0] < 3.1 < first["interval"][1]
    assert (content["hours_of"], content["learnt"]) == ("CPU-hours", True)


def test_nothing_is_compared_where_nothing_was_learnt(run: Run, study: Path) -> None:
    for file in study.glob("trials/confirm-*/final_results.json"):
        content = json.loads(file.read_text())
        content["results_by_split"]["test"]["mAP"] = content["results"]["mAP"] = 0.01
        file.write_text(json.dumps(content))
    assert "Nothing was learnt" in run("show", study)[1]
    found = json.loads(run("show", study, "--json")[1])
    assert not found["learnt"]
    assert {(one["difference"], one["verdict"]) for one in found["configurations"]} == {(None, None)}


def test_an_unfinished_study_says_how_far_it_is(run: Run, study: Path) -> None:
    content = json.loads((study / "study.json").read_text())
    (study / "study.json").write_text(json.dumps({**content, "status": "interrupted"}))
    (study / "trials" / "confirm-stages-4-102" / "trial.json").unlink()
    output = run("show", study)[1]
    assert "not complete: interrupted; 11 of 12 trials" in output
    assert "confirm-stages-4-102/trial.json is missing" in output


def test_what_is_no_study_is_refused(refusal: Refusal, tmp_path: Path) -> None:
    assert "no study.json here" in refusal("show", tmp_path)
