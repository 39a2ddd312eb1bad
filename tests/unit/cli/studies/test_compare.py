"""`tune-cmx compare`: several studies, side by side, never ranked."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from study_writer import StudyWriter

if TYPE_CHECKING:
    from collections.abc import Callable

    Run = Callable[..., tuple[int, str, str]]
    Refusal = Callable[..., str]
OLD = Path(__file__).parents[3] / "golden" / "study_of_version_0.1.0"


@pytest.fixture
def other(tmp_path: Path) -> StudyWriter:
    """A study of other configurations under the same protocol; its values lie far above those of `study`."""
    writer = StudyWriter(tmp_path / "runs" / "other")
    writer.study["study"] = "other"
    writer.arm("baseline", [50.0, 51.0, 52.0])
    writer.arm("stages-4", [51.0, 50.5, 53.5])
    writer.write()
    return writer


def compared(run: Run, *folders: Path) -> dict[str, Any]:
    code, output, error = run("compare", *folders, "--json")
    assert code == 0, error
    content: dict[str, Any] = json.loads(output)
    return content


def test_studies_of_one_protocol_are_described_and_not_ranked(run: Run, study: Path, other: StudyWriter) -> None:
    code, output, error = run("compare", study, other.folder)
    assert (code, error) == (0, "")
    rows = [line.split("  ")[0] for line in output.splitlines() if "test/mAP" in line]
    assert rows == ["cssa-stages", "cssa-stages", "cssa-stages", "other", "other"]  # not the higher values first
    text = " ".join(output.split())
    assert "descriptive: No protocol field differs" in text
    assert not re.search(r"\b(better|best|wins?)\b", text)
    assert compared(run, study, other.folder)["same_protocol"] is True


def test_studies_of_one_name_are_told_apart_by_their_folders(run: Run, study: Path, other: StudyWriter) -> None:
    other.study["study"] = "cssa-stages"
    other.write()
    rows = [line.split("  ")[0] for line in run("compare", study, other.folder)[1].splitlines() if "test/mAP" in line]
    assert rows == [str(study)] * 3 + [str(other.folder)] * 2


def test_verdicts_are_of_the_study_itself(run: Run, study: Path, other: StudyWriter) -> None:
    first, second = compared(run, study, other.folder)["studies"]
    shown = json.loads(run("show", study, "--json")[1])
    assert first["configurations"] == shown["configurations"]
    assert {one["id"]: one["verdict"] for one in second["configurations"]} == {
        "baseline": "baseline",
        "stages-4": "INCONCLUSIVE",
    }


def test_protocol_fields_that_differ_are_listed(run: Run, study: Path, other: StudyWriter) -> None:
    other.study["protocol"]["packages.torch"] = "2.16.0"
    other.write()
    for file in other.folder.glob("trials/*/config.json"):
        content = json.loads(file.read_text())
        content["schedule"]["batch_size"] = 4
        content["seed"] += 7
        file.write_text(json.dumps(content))
    content = compared(run, study, other.folder)
    assert content["same_protocol"] is False
    assert content["differing"] == [
        {"field": "packages.torch", "values": [["-"], ["2.16.0"]], "varied": [False, False]},
        {"field": "schedule.batch_size", "values": [["2"], ["4"]], "varied": [False, False]},
    ]
    text = " ".join(run("compare", study, other.folder)[1].split())
    assert "The protocols differ in 2 fields (packages.torch, schedule.batch_size)" in text
    assert "are not ranked" in text


def test_a_field_that_one_study_varies_is_marked(run: Run, study: Path, other: StudyWriter) -> None:
    other.study["factors"] = ["model.fusion.stages", "schedule.lr"]
    other.study["protocol"].pop("schedule.lr")
    other.write()
    for file in other.folder.glob("trials/confirm-stages-4-*/config.json"):
        content = json.loads(file.read_text())
        content["schedule"]["lr"] = 0.5
        file.write_text(json.dumps(content))
    (field,) = compared(run, study, other.folder)["differing"]
    assert (field["field"], field["varied"]) == ("schedule.lr", [False, True])
    assert "0.5" in field["values"][1]


def test_a_study_of_version_0_1_0_and_one_without_confirmed_runs(run: Run, study: Path, other: StudyWriter) -> None:
    for file in other.folder.glob("trials/*/trial.json"):
        file.unlink()
    text = " ".join(run("compare", study, OLD, other.folder)[1].split())
    assert "no confirmed configuration" in text
    assert "code_version" in text


def test_one_study_or_none_is_refused(refusal: Refusal, study: Path, tmp_path: Path) -> None:
    assert "needs two or more studies" in refusal("compare", study)
    assert "no study.json here" in refusal("compare", study, tmp_path)
