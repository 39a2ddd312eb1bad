"""How arms look in every picture, and what is drawn of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib.figure
import pytest

from tune_cmx.evidence.report.plots import BASELINE_COLOUR, NAMED, arm_looks, plot_arms, plot_curves
from tune_cmx.evidence.results.comparison import compare_arms
from tune_cmx.evidence.results.reading import read_study
from tune_cmx.evidence.results.study_results import StudyResults

if TYPE_CHECKING:
    from conftest import StudyWriter


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[matplotlib.figure.Figure]:
    """The figures that were written."""
    figures: list[matplotlib.figure.Figure] = []
    written = matplotlib.figure.Figure.savefig

    def savefig(figure: matplotlib.figure.Figure, path: Path) -> None:
        figures.append(figure)
        written(figure, path)

    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", savefig)
    return figures


def many_arms(writer: StudyWriter, arms: int) -> StudyResults:
    for n in range(arms):
        writer.extra_arm(f"a{n}", f"arm {n}", {"model.drop_path": n / 100})
        writer.trial(f"s-a{n}", f"a{n}", "search")
    writer.study["selection"]["finalists"] = ["a3", "a1"]
    return read_study(writer.write())


def test_arms_that_can_be_told_apart_each_have_a_look(writer: StudyWriter) -> None:
    looks = arm_looks(many_arms(writer, NAMED - 2))
    assert list(looks)[:3] == ["baseline", "a3", "a1"]
    assert looks["baseline"].colour == BASELINE_COLOUR
    assert all(look.named for look in looks.values())
    assert len({(look.colour, str(look.dashes)) for look in looks.values()}) == len(looks)


def test_of_more_arms_the_baseline_and_the_finalists_are_named(writer: StudyWriter) -> None:
    looks = arm_looks(many_arms(writer, 40))
    assert [arm for arm, look in looks.items() if look.named] == ["baseline", "a3", "a1"]


def test_curves_show_rungs_stops_and_a_legend_beside_them(
    undecided: StudyWriter, drawn: list[matplotlib.figure.Figure], tmp_path: Path
) -> None:
    assert plot_curves(read_study(undecided.write()), ["a stamp"], tmp_path / "curves.png")
    (figure,) = drawn
    (axes,) = figure.axes
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [
        *("baseline", "stages 1", "stages 4", "stopped at a rung", "trained to the end of the search"),
    ]
    assert [text.get_text() for text in axes.texts] == ["rung 2"]
    crosses = [line for line in axes.lines if line.get_marker() == "x" and len(line.get_xdata())]
    assert [(line.get_xdata()[0], round(line.get_ydata()[0], 2)) for line in crosses] == [(2, 9.67)]
    assert axes.get_ylabel() == "val mAP, points"
    assert legend.get_window_extent().y1 <= axes.get_window_extent().y0


def test_differences_are_drawn_in_the_arms_colours(
    decided: StudyWriter, drawn: list[matplotlib.figure.Figure], tmp_path: Path
) -> None:
    records = read_study(decided.write())
    assert plot_arms(records, compare_arms(records), [], tmp_path / "arms.png")
    (axes,) = drawn[0].axes
    looks = arm_looks(records)
    dots = [line for line in axes.lines if line.get_marker() == "o"]
    assert [dot.get_color() for dot in dots] == [looks["stages-4"].colour, looks["stages-1"].colour]
    assert [dot.get_markerfacecolor() == dot.get_color() for dot in dots] == [False, True]


def test_nothing_is_drawn_of_nothing(writer: StudyWriter, tmp_path: Path) -> None:
    records = read_study(writer.write())
    assert not plot_curves(records, [], tmp_path / "curves.png")
    assert not plot_arms(records, compare_arms(records), [], tmp_path / "arms.png")
    assert not list(tmp_path.glob("*.png"))
