"""Results by class and by condition, with the number of boxes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tune_cmx.evidence.report.page import Page
from tune_cmx.evidence.report.sections.by_class import by_class_section
from tune_cmx.evidence.results.comparison import compare_arms
from tune_cmx.evidence.results.reading import read_study

if TYPE_CHECKING:
    from conftest import StudyWriter


def section(writer: StudyWriter, **parts: Any) -> str:
    """The section, once each complete run has these parts in its final results."""
    writer.write()
    for path in writer.folder.glob("trials/*/final_results.json"):
        path.write_text(json.dumps({**json.loads(path.read_text()), **parts}))
    records = read_study(writer.folder)
    assert not records.problems
    page = Page()
    by_class_section(page, records, compare_arms(records))
    return page.text().strip()


def part(value: float | None, boxes: int, **counts: int) -> dict[str, Any]:
    return {"mAP": value, "mAP_50": value, "boxes": boxes, **counts}


def cells(text: str) -> list[list[str]]:
    lines = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line] for line in lines]


def test_one_class_and_no_condition_have_no_section(decided: StudyWriter) -> None:
    assert section(decided) == ""
    assert section(decided, by_class={"person": part(30.0, 200)}) == ""


def test_each_class_beside_the_others(decided: StudyWriter) -> None:
    classes = {"person": part(30.0, 1200), "car": part(50.0, 99), "bicycle": part(None, 0)}
    text = section(decided, by_class=classes)
    header, _, person, car, bicycle = cells(text)
    assert header[:3] == ["class", "boxes", "baseline (n = 4)"]
    assert person[:3] == ["person", "1,200", "30.00 ± 0.00"]
    assert car[:3] == ["car (unreliable: 99 boxes)", "99", "50.00 ± 0.00"]
    assert bicycle[:3] == ["bicycle (unreliable: 0 boxes)", "0", "undefined"]
    assert "mAP on test in points" in text


def test_each_condition_with_its_images(decided: StudyWriter) -> None:
    one = {"person": part(30.0, 1200)}
    text = section(decided, by_class=one, by_condition={"night": part(20.0, 700, images=90)})
    header, _, night = cells(text)
    assert header[:3] == ["condition", "images", "boxes"]
    assert night[:4] == ["night", "90", "700", "20.00 ± 0.00"]
    assert "Results by class" not in text


def test_what_is_damaged_is_left_out_and_named(decided: StudyWriter) -> None:
    decided.write()
    (path, *_) = sorted(decided.folder.glob("trials/confirm*/final_results.json"))
    path.write_text(json.dumps({**json.loads(path.read_text()), "by_class": {"person": part(1.0, 5), "car": 3}}))
    records = read_study(decided.folder)
    (problem,) = records.problems
    assert "by_class.car cannot be 3" in problem
    (trial,) = [trial for trial in records.trials if trial.folder == path.parent]
    assert list(trial.final.by_class) == ["person"]
