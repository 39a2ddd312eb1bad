"""Fixtures of study folders, and pictures that are not drawn."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from study_writer import StudyWriter

RENDERED = {"test_plots", "test_by_factor", "test_cost", "test_pareto", "test_examples", "test_the_files_of_a_report"}
"""Files of tests, and a test, whose pictures are rendered."""


@pytest.fixture(autouse=True)
def _pictures_elsewhere_are_blank(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rendering takes two thirds of a report's time. All tests build figures; only those about figures render them."""
    if not {request.path.stem, request.node.name} & RENDERED and "matplotlib.figure" in sys.modules:
        monkeypatch.setattr("matplotlib.figure.Figure.savefig", _blank)


def _blank(figure: Any, path: Path) -> None:
    width, height = figure.get_size_inches() * figure.dpi
    Image.new("1", (int(width), int(height))).save(path)


@pytest.fixture
def writer(tmp_path: Path) -> StudyWriter:
    """An empty study folder to fill."""
    return StudyWriter(tmp_path / "cssa-stages")


@pytest.fixture
def undecided(writer: StudyWriter) -> StudyWriter:
    """A search, and three arms on three shared seeds that do not differ beyond their spread."""
    writer.search()
    writer.arm("baseline", [30.0, 31.0, 32.0])
    writer.arm("stages-1", [31.0, 30.5, 33.5])
    writer.arm("stages-4", [29.0, 31.5, 30.5])
    return writer


@pytest.fixture
def decided(writer: StudyWriter) -> StudyWriter:
    """As `undecided`, but stages 1 lie well above the baseline on every seed."""
    writer.search()
    writer.arm("baseline", [30.0, 31.0, 32.0, 30.5])
    writer.arm("stages-1", [33.0, 34.1, 34.9, 33.6])
    writer.arm("stages-4", [29.0, 31.5, 30.5, 31.0])
    return writer


@pytest.fixture
def answer_of() -> Callable[[str], str]:
    """The first paragraph under the heading Answer."""
    return lambda text: text.split("## Answer\n\n")[1].split("\n\n")[0]
