"""The section on a modality that fails, and the table of its runs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tune_cmx.evidence.report.latex import latex_tables
from tune_cmx.evidence.report.page import Page
from tune_cmx.evidence.report.sections.modality_loss import robustness_section, robustness_table
from tune_cmx.evidence.report.write import write_report
from tune_cmx.evidence.results.comparison import compare_arms
from tune_cmx.evidence.results.reading import read_study

if TYPE_CHECKING:
    from conftest import StudyWriter

HEADING = "## When a modality fails"
MISSING = {"kind": "missing", "modality": "thermal"}
SHIFTED = {"kind": "shifted", "modality": "thermal", "right": 4, "down": 0}
DELAYED = {"kind": "delayed", "modality": "event", "frames": 2}


def metrics(value: float | None) -> dict[str, float | None]:
    return {"mAP": value, "mAP_50": 50.0, "mAP_75": 20.0, "mAP_small": None, "mAP_medium": 1.0, "mAP_large": 2.0}


def measured(
    writer: StudyWriter,
    trial: str,
    clean: float | None,
    *corrupted: tuple[dict[str, Any], float | None],
    split: str = "test",
    **basis: str,
) -> None:
    content = {
        "basis": {
            "weights": "0" * 12,
            "split_hash": "5p1175p1175p",
            "data_fingerprint": "da7ada7ada7a",
            "code_version": "0.1.0+abc",
            **basis,
        },
        "clean": metrics(clean),
        "corrupted": [{"corruption": one, "results": metrics(value)} for one, value in corrupted],
    }
    path = writer.folder / "trials" / trial / "robustness.json"
    path.write_text(json.dumps({"splits": {split: content}}))


def section(writer: StudyWriter) -> str:
    records = read_study(writer.write())
    page = Page()
    robustness_section(page, records, compare_arms(records))
    return page.text()


def rows(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_kinds_of_an_earlier_version_are_read_as_the_present_ones(undecided: StudyWriter) -> None:
    old = [({**one, "kind": kind}, 20.0) for one, kind in ((MISSING, "blank"), (SHIFTED, "shift"), (DELAYED, "delay"))]
    measured(undecided, "confirm-baseline-100", 30.0, *old)
    found = [row[2] for row in rows(section(undecided))]
    assert found == ["clean", "missing", "shifted 4 px right", "delayed by 2 frames"]


def test_without_a_measurement_there_is_no_section(undecided: StudyWriter) -> None:
    assert section(undecided).strip() == ""


def test_mean_and_loss_over_seeds_the_baseline_first(undecided: StudyWriter) -> None:
    for seed, clean, without in ((100, 31.0, 11.0), (101, 30.5, 12.5), (102, 33.5, 12.5)):
        measured(undecided, f"confirm-stages-1-{seed}", clean, (DELAYED, 30.0), (SHIFTED, 25.0), (MISSING, without))
    measured(undecided, "confirm-baseline-100", 30.0, (MISSING, 20.0), (SHIFTED, 31.5))
    text = section(undecided)
    assert rows(text) == [
        ["baseline", "", "clean", "1", "30.00", "-"],
        ["baseline", "thermal", "missing", "1", "20.00", "10.00"],
        ["baseline", "thermal", "shifted 4 px right", "1", "31.50", "-1.50"],
        ["stages 1", "", "clean", "3", "31.67 ± 1.61", "-"],
        ["stages 1", "event", "delayed by 2 frames", "3", "30.00 ± 0.00", "1.67 ± 1.61"],
        ["stages 1", "thermal", "missing", "3", "12.00 ± 0.87", "19.67 ± 1.53"],
        ["stages 1", "thermal", "shifted 4 px right", "3", "25.00 ± 0.00", "6.67 ± 1.61"],
    ]
    assert "no verdict rests on it" in text
    assert "Left out, as nothing was measured on test: confirm-baseline-101, confirm-baseline-102" in text


def test_it_stands_in_every_form_of_the_report(undecided: StudyWriter) -> None:
    measured(undecided, "confirm-baseline-100", 30.0, (MISSING, 20.0))
    path = write_report(undecided.write())
    assert HEADING in path.read_text()
    assert "When a modality fails" in path.with_suffix(".html").read_text()
    assert "tab:when-a-modality-fails" in path.with_name("tables.tex").read_text()
    page = Page()
    records = read_study(undecided.folder)
    robustness_section(page, records, compare_arms(records))
    assert "On test, means over seeds" in latex_tables(page.parts)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "robustness.json is damaged: Invalid JSON"),
        ("[]", "robustness.json is damaged: Input should be an object"),
        ('{"splits": {"test": {"clean": {}}}}', "robustness.json is damaged: splits.test.basis: Field required"),
        ('{"splits": {"all": {}}}', "Input should be 'val' or 'test'"),
        ("\udcff", "robustness.json is damaged: "),
        ("", "robustness.json is damaged: "),
    ],
)
def test_a_damaged_file_is_named_and_the_others_stand(undecided: StudyWriter, content: str, said: str) -> None:
    measured(undecided, "confirm-baseline-101", 31.0, (MISSING, 20.0))
    path = undecided.folder / "trials" / "confirm-baseline-100" / "robustness.json"
    path.write_bytes(content.encode(errors="surrogateescape"))
    text = section(undecided)
    assert said in text
    assert "confirm-baseline-100" in text
    assert rows(text)[1] == ["baseline", "thermal", "missing", "1", "20.00", "11.00"]


def test_a_value_that_cannot_be_and_other_data_are_named(undecided: StudyWriter) -> None:
    measured(undecided, "confirm-baseline-100", 31.0, (MISSING, 120.0))
    measured(undecided, "confirm-baseline-101", 31.0, (MISSING, 20.0), split_hash="another")
    text = section(undecided)
    assert "mAP: Input should be less than or equal to 100: confirm-baseline-100" in text
    assert "split_hash of test is another, of the run 5p1175p1175p: confirm-baseline-101" in text
    assert rows(text) == []


def test_weights_that_do_not_give_the_recorded_value_are_named(undecided: StudyWriter) -> None:
    measured(undecided, "confirm-baseline-100", 29.0, (MISSING, 20.0))
    measured(undecided, "confirm-baseline-101", 31.04, (MISSING, 20.0))
    text = section(undecided)
    assert "confirm-baseline-100: the weights give 29.00 mAP on test clean, and the run folder says 30.00" in text
    assert "confirm-baseline-101: the weights" not in text


def test_undefined_values_are_no_numbers(undecided: StudyWriter) -> None:
    measured(undecided, "confirm-baseline-100", None, (MISSING, None))
    assert rows(section(undecided))[0] == ["baseline", "", "clean", "0", "undefined", "-"]


def test_another_split_has_a_table_of_its_own(undecided: StudyWriter) -> None:
    measured(undecided, "confirm-baseline-100", 29.0, (MISSING, 20.0), split="val")
    text = section(undecided)
    assert "On val, the split that selected, means over seeds" in text
    assert "On test, means" not in text


def test_the_table_has_a_row_a_run_and_corruption(undecided: StudyWriter) -> None:
    measured(undecided, "confirm-baseline-100", 30.0, (SHIFTED, 25.0), (DELAYED, 29.0))
    records = read_study(undecided.write())
    table = robustness_table(records.confirmed)
    assert list(table["corruption"]) == ["clean", "shifted 4 px right", "delayed by 2 frames"]
    assert list(table["loss"]) == [0.0, 5.0, 1.0]
    assert table["right"].tolist()[1] == 4
    assert set(table["trial"]) == {"confirm-baseline-100"}
    assert robustness_table(records.confirmed[:0]).empty
