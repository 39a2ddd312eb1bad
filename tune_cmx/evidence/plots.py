"""The report's pictures."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tune_cmx.evidence.front import LOWER_IS_BETTER, Point, front, objectives, points
from tune_cmx.evidence.records import StudyRecords, Trial
from tune_cmx.evidence.wording import unit

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Told apart by colour-blind readers too (Okabe and Ito)."""
CONTROL_COLOUR = "#000000"
OTHER_COLOUR = "#b0b0b0"
TIME_COLUMNS = {"epoch": "epoch", "fraction": "fraction", "gpu_seconds": "seconds"}
TIME_LABELS = {"epoch": "epoch", "fraction": "fraction of the schedule", "gpu_seconds": "seconds of training"}


def plot_arms(table: pd.DataFrame, metric: str, stamps: Sequence[str], path: Path) -> bool:
    """Each arm's difference from the control with its 95 % interval; False where there is none to draw."""
    drawn = table[table["difference"].notna()].iloc[::-1]
    if drawn.empty:
        return False
    figure, axes = _figure(7.5, 1.3 + 0.45 * len(drawn))
    for place, row in enumerate(drawn.to_dict("records")):
        colour = COLOURS[0] if row["verdict"] in ("SUPPORTED", "CONTRADICTED") else "#707070"
        axes.plot(row["difference"], place, "o", color=colour)
        if row["ci95_low"] is not None:
            axes.plot([row["ci95_low"], row["ci95_high"]], [place, place], color=colour, linewidth=2)
    axes.axvline(0, color=CONTROL_COLOUR, linewidth=1, linestyle="--")
    names = [f"{row['label']}\nn = {row['n']}, {row['verdict']}" for row in drawn.to_dict("records")]
    axes.set_yticks(range(len(drawn)), names, fontsize=8)
    axes.set_ylim(-0.6, len(drawn) - 0.4)
    axes.set_xlabel(
        f"difference from the control in {metric},{unit(metric)} (bar: 95 % interval over seeds)", fontsize=8
    )
    _finish(figure, axes, stamps, path)
    return True


def plot_curves(records: StudyRecords, stamps: Sequence[str], path: Path) -> bool:
    """The selection metric of every search trial, with a cross where it was stopped; False without any epoch."""
    stopping = records.study.get("early_stopping") or {}
    clock = str(stopping.get("compare_at") or "epoch")
    column = TIME_COLUMNS.get(clock, "epoch")
    metric = records.selection_metric
    drawn = [trial for trial in records.of_phase("search") if {column, metric} <= set(trial.metrics.columns)]
    if not drawn:
        return False
    named = [records.control, *(arm for arm in records.finalists if arm != records.control)][: 1 + len(COLOURS)]
    colours = dict(zip(named, (CONTROL_COLOUR, *COLOURS), strict=False))
    figure, axes = _figure(7.5, 4.2)
    for rung in stopping.get("rungs") or []:
        axes.axvline(rung, color="#dddddd", linewidth=1, zorder=0)
    labelled: set[str] = set()
    for trial in sorted(drawn, key=lambda trial: trial.arm in colours):
        _draw_curve(axes, records, trial, column, colours, labelled)
    axes.plot([], [], "x", color="#505050", label="stopped early")
    axes.set_xlabel(
        TIME_LABELS.get(clock, "epoch") + (" (grey lines: rungs)" if stopping.get("rungs") else ""), fontsize=8
    )
    if column == "epoch":
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylabel(f"{metric}, points, one search run each", fontsize=8)
    axes.legend(fontsize=7, frameon=False, loc="center left", bbox_to_anchor=(1.01, 0.5))
    _finish(figure, axes, stamps, path)
    return True


def plot_front(records: StudyRecords, stamps: Sequence[str], path: Path) -> bool:
    """The complete search trials by objective, the front numbered; False where there is none to draw."""
    names = objectives(records)
    candidates = points(records)
    if not names or not candidates:
        return False
    chosen = front(candidates, names)
    figure = Figure(figsize=(1.5 + 4.6 * (len(names) - 1), 4.2), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(names) - 1, squeeze=False)[0]
    for other, axes in enumerate(panels, 1):
        _draw_front(axes, names, other, candidates, chosen)
        axes.tick_params(labelsize=8)
        axes.spines[["top", "right"]].set_visible(False)
    if stamps:
        figure.suptitle("\n".join(stamps), fontsize=8, color="#b00000")
    figure.savefig(path)
    return True


def _draw_front(
    axes: Axes, names: Sequence[str], other: int, candidates: Sequence[Point], chosen: Sequence[Point]
) -> None:
    scale, label = {"parameters": (1e-6, "parameters, millions"), "milliseconds": (1, "milliseconds an image")}.get(
        names[other], (1, f"{names[other]}, points")
    )

    def place(point: Point) -> tuple[float, float]:
        return point.values[other] * scale, point.values[0]

    behind = [place(point) for point in candidates if point not in chosen]
    if behind:
        axes.plot(*zip(*behind, strict=True), "o", color=OTHER_COLOUR, markersize=5, label="surpassed")
    ahead = [place(point) for point in chosen]
    lower = names[other] in LOWER_IS_BETTER
    axes.plot(*zip(*ahead, strict=True), "o", color=COLOURS[0], markersize=6, label="front")
    if len(names) == 2:  # of three objectives a panel shows two, and no line separates there
        steps: Any = "steps-post" if lower else "steps-pre"
        axes.plot(*zip(*sorted(ahead), strict=True), color=COLOURS[0], linewidth=1, drawstyle=steps)
    for place_number, spot in enumerate(ahead, 1):
        axes.annotate(
            str(place_number),
            spot,
            xytext=(-5 if lower else 5, 4),
            textcoords="offset points",
            ha="right" if lower else "left",
            fontsize=8,
            color=COLOURS[0],
        )
    axes.margins(0.12)
    axes.set_xlabel(label, fontsize=8)
    axes.set_ylabel(f"{names[0]}, points, one search run each", fontsize=8)
    axes.legend(fontsize=7, frameon=False, loc="best")


def _draw_curve(
    axes: Axes, records: StudyRecords, trial: Trial, column: str, colours: dict[str | None, str], labelled: set[str]
) -> None:
    times = trial.metrics[column]
    if column == "seconds" and times.sum() < 1.2 * trial.seconds:  # seconds of each epoch, not since the start
        times = times.cumsum()
    values = trial.metrics[records.selection_metric]
    colour = colours.get(trial.arm, OTHER_COLOUR)
    name = records.label(trial.arm) if trial.arm in colours else "other arms"
    if trial.arm == records.control and name != "control":
        name = f"{name} (control)"
    axes.plot(
        times,
        values,
        color=colour,
        linewidth=1.6 if trial.arm in colours else 0.8,
        marker="." if len(times) < 30 else None,
        markersize=4,
        label=None if name in labelled else name,
    )
    labelled.add(name)
    if trial.status == "stopped" and values.notna().any():
        last = values.last_valid_index()
        axes.plot(
            times.loc[last], values.loc[last], "x", color=colour if trial.arm in colours else "#505050", markersize=7
        )


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.add_subplot()


def _finish(figure: Figure, axes: Axes, stamps: Sequence[str], path: Path) -> None:
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    if stamps:
        axes.set_title("\n".join(stamps), fontsize=8, color="#b00000")
    figure.savefig(path)
