"""What the seeds of a study can detect: n, 2n and 4n, with the price."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tune_cmx.evidence.report.first_screen.detectable_section import detectable_section
from tune_cmx.evidence.report.page import Page
from tune_cmx.evidence.results.comparison import compare_arms
from tune_cmx.evidence.results.reading import read_study

if TYPE_CHECKING:
    from conftest import StudyWriter


def section(writer: StudyWriter) -> str:
    records = read_study(writer.write())
    page = Page()
    detectable_section(page, records, compare_arms(records))
    return page.text()


def test_each_configuration_has_three_differences_that_get_smaller(undecided: StudyWriter) -> None:
    text = section(undecided)
    for name in ("stages 1", "stages 4"):
        (row,) = [line for line in text.splitlines() if line.startswith(f"| {name} ")]
        found = re.findall(r"([\d.]+) \(n = (\d+)\)", row)
        assert [n for _, n in found] == ["3", "6", "12"]
        assert sorted((float(value) for value, _ in found), reverse=True) == [float(value) for value, _ in found]
    assert "With 3 seeds, most true differences below" in text
    assert "6 seeds cost 0.100 CPU-hours more and 12 seeds cost 0.300 CPU-hours more" in text


def test_single_runs_have_no_section(writer: StudyWriter) -> None:
    writer.arm("baseline", [30.0])
    writer.arm("stages-1", [31.0])
    assert section(writer) == "\n"
