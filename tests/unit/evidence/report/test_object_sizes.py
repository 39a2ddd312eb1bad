"""The view by object size, and how many boxes it rests on."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING

import pytest

from tune_cmx.evidence.report.page import Page
from tune_cmx.evidence.report.sections.object_sizes import sizes_section
from tune_cmx.evidence.report.warnings.every import warnings
from tune_cmx.evidence.results.box_counts import size_counts
from tune_cmx.evidence.results.comparison import compare_arms
from tune_cmx.evidence.results.reading import read_study

if TYPE_CHECKING:
    from conftest import StudyWriter


def section(writer: StudyWriter) -> str:
    records = read_study(writer.write())
    page = Page()
    sizes_section(page, records, compare_arms(records))
    return page.text()


def write_truth(writer: StudyWriter, split: str, areas: list[float], crowd: int = 0) -> None:
    folder = writer.folder / "data"
    folder.mkdir(parents=True, exist_ok=True)
    boxes = [{"id": n, "area": area, "iscrowd": 0} for n, area in enumerate(areas, 1)]
    boxes += [{"id": 9000 + n, "area": 5.0, "iscrowd": 1} for n in range(crowd)]
    truth = {"info": {}, "images": [], "annotations": boxes, "categories": []}
    (folder / f"ground_truth_{split}.json.gz").write_bytes(gzip.compress(json.dumps(truth).encode()))


def test_boxes_by_size_at_the_bounds_of_coco(undecided: StudyWriter) -> None:
    write_truth(undecided, "test", [1023.9, 1024.0, 9215.9, 9216.0, 20.0], crowd=3)
    assert size_counts(read_study(undecided.write()), "test") == {"small": 2, "medium": 2, "large": 1}


def test_means_and_differences_without_a_claim(decided: StudyWriter) -> None:
    write_truth(decided, "test", [500.0] * 120 + [5000.0] * 99 + [20000.0] * 150)
    text = section(decided)
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    header, _, boxes, baseline, first, *_ = lines
    assert header[2:] == [
        *("small", "difference, small"),
        *("medium (unreliable: 99 boxes)", "difference, medium"),
        *("large", "difference, large"),
    ]
    assert boxes[2::2] == ["120", "99", "150"]
    assert baseline == ["baseline", "4", "undefined", "-", "31.88 ± 0.85", "-", "32.88 ± 0.85", "-"]
    assert first[4:6] == ["34.90 ± 0.80", "+3.02"]
    assert "are not tested" in text


def test_counts_that_are_not_on_record_are_unknown(decided: StudyWriter) -> None:
    text = section(decided)
    assert "unknown" in text.split("| boxes")[1].splitlines()[0]
    assert "data/ground_truth_test.json.gz" in text
    assert "(unreliable" not in text


@pytest.mark.parametrize("content", [b"no gzip", *(gzip.compress(text, mtime=0) for text in (b"{}", b"[1]", b"{"))])
def test_a_damaged_truth_file_is_unknown(undecided: StudyWriter, content: bytes) -> None:
    write_truth(undecided, "test", [1.0])
    (undecided.folder / "data" / "ground_truth_test.json.gz").write_bytes(content)
    assert size_counts(read_study(undecided.write()), "test") is None


def test_few_boxes_are_warned_of_with_what_to_do(decided: StudyWriter) -> None:
    write_truth(decided, "test", [500.0] * 120 + [5000.0] * 99)
    (found,) = [line for line in map(str, warnings(read_study(decided.write()))) if "Few boxes" in line]
    assert "medium (99)" in found
    assert "small" not in found
    assert "Leave the size out" in found


def test_nothing_confirmed(writer: StudyWriter) -> None:
    writer.search()
    assert section(writer) == "\n"
