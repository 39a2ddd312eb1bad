"""Figures for the report: without pyplot, so that nothing global is left behind."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

BLUE, ORANGE, GREY, DIM, BLACK = "#0072b2", "#d55e00", "#b0b0b0", "#707070", "#000000"
"""Told apart by colour-blind readers too (Okabe and Ito)."""
STAMP = "#b00000"
"""Of the sentences that no picture may stand without."""
SMALL = 8
"""Points, of what is written in a figure."""


def panels(columns: int, width: float, height: float, rows: int = 1, dpi: int = 130) -> tuple[Figure, list[list[Axes]]]:
    """A figure of so many inches, and its panels row by row."""
    figure = Figure(figsize=(width, height), dpi=dpi, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, [list(row) for row in figure.subplots(rows, columns, squeeze=False)]


def finish(figure: Figure, stamps: Sequence[str], path: Path, size: float = SMALL) -> None:
    """Write the figure as PNG, under the stamps that no figure of the study may stand without."""
    for axes in figure.axes:
        axes.tick_params(labelsize=size)
        axes.spines[["top", "right"]].set_visible(False)
    if stamps:
        figure.suptitle("\n".join(stamps), fontsize=size, color=STAMP, wrap=True)
    figure.savefig(path)
