"""Merit against cost: the arms and trials that no other on record surpasses in all of several figures at once."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from matplotlib.axes import Axes

from tune_cmx import ties
from tune_cmx.evidence.report.figures import BLUE, GREY, SMALL, finish, panels
from tune_cmx.evidence.report.page import Page
from tune_cmx.evidence.report.sections.cost import milliseconds
from tune_cmx.evidence.report.sections.run_details import link
from tune_cmx.evidence.report.stamps import stamps
from tune_cmx.evidence.results.study_results import StudyResults, Trial
from tune_cmx.evidence.wording import count, listed, number

TIME = "median milliseconds"
"""Over a run's epochs; as an objective of the search, milliseconds are those of the last epoch."""
LOWER_IS_BETTER = frozenset({"parameters", "milliseconds", TIME, "seconds"})
OBJECTIVES_PLOT, COST_PLOT = "front.png", "pareto.png"
AXES = {
    "parameters": (1e-6, "parameters, millions"),
    "milliseconds": (1.0, "milliseconds an image"),
    TIME: (1.0, "milliseconds an image"),
    "seconds": (1 / 3600, "hours of a full run"),
}
"""Factor and words of an axis; every other figure is a metric, in points."""


@dataclass(frozen=True)
class Point:
    """A complete search trial and its value in each objective."""

    trial: Trial
    values: tuple[float, ...]


@dataclass(frozen=True)
class ArmPoint:
    """A confirmed arm: what it reaches over its runs, and what it costs."""

    arm: str
    values: tuple[float, ...]
    """The mean of the metric, then costs."""
    sd: float | None
    n: int


P = TypeVar("P", Point, ArmPoint)


def objectives(records: StudyResults) -> tuple[str, ...]:
    """What the search optimised at once; empty: the selection metric alone."""
    return records.study.searcher.objectives or ()


def points(records: StudyResults, names: Sequence[str] | None = None) -> list[Point]:
    """The trials that the search trained to its end, with each figure as of their last epoch.

    Args:
        records: A study.
        names: Figures, the leading one first; None: the search's objectives.
    """
    names = objectives(records) if names is None else names
    found = []
    for trial in records.of_phase("search"):
        values = [_value(trial, name) for name in names]
        known = tuple(value for value in values if value is not None and math.isfinite(value))
        if trial.searched_to_the_end and len(known) == len(names):
            found.append(Point(trial, known))
    return found


def front(candidates: Sequence[P], names: Sequence[str]) -> list[P]:
    """Those that no other equals or surpasses in every objective and surpasses in one; the first objective leads."""
    found = [point for point in candidates if not surpassing(point, candidates, names)]
    return sorted(found, key=lambda point: _merits(point, names), reverse=True)


def surpassing(point: P, candidates: Sequence[P], names: Sequence[str]) -> list[P]:
    """Those that equal or surpass it in every figure, and surpass it in one."""
    own = _merits(point, names)
    rivals = [(other, _merits(other, names)) for other in candidates]
    return [
        other
        for other, theirs in rivals
        if theirs != own and all(their >= mine for their, mine in zip(theirs, own, strict=True))
    ]


def front_section(page: Page, records: StudyResults, place: Path | None) -> None:
    """mAP against parameters and against time; then the front of the search's objectives, where it had several.

    Args:
        page: Receives the section.
        records: A study.
        place: The report's folder, which receives the pictures; None: none are drawn.
    """
    _cost_section(page, records, place)
    _objectives_section(page, records, place)


def confirmed_points(records: StudyResults) -> tuple[list[ArmPoint], tuple[str, ...]]:
    """The confirmed arms, the baseline first, and the names of their figures.

    Time is milliseconds an image; where an arm has none on record, seconds of a full run.
    """
    runs: dict[str, list[Trial]] = {}
    for trial in records.confirmed:
        if trial.result(records.primary_metric) is not None and trial.parameters("total") is not None:
            runs.setdefault(trial.arm, []).append(trial)
    timed = all(milliseconds(trial) is not None for own in runs.values() for trial in own)
    found = []
    for arm in sorted(runs, key=lambda arm: (arm != records.baseline, records.label(arm))):
        values = [float(trial.result(records.primary_metric) or 0.0) for trial in runs[arm]]
        times = [float(milliseconds(trial) or 0.0) if timed else trial.seconds for trial in runs[arm]]
        cost = (float(runs[arm][0].parameters("total") or 0), statistics.fmean(times))
        sd = statistics.stdev(values) if len(values) > 1 else None
        found.append(ArmPoint(arm, (statistics.fmean(values), *cost), sd, len(values)))
    return found, (records.primary_metric, "parameters", TIME if timed else "seconds")


def _cost_section(page: Page, records: StudyResults, place: Path | None) -> None:
    page.heading("mAP against parameters and time")
    arms, names = confirmed_points(records)
    searched_names = (records.selection_metric, *names[1:])
    trials = points(records, searched_names)
    if not arms and not trials:
        page.paragraph("No arm has a result, its parameters and its time on record.")
        return
    page.paragraph(
        "By means over seeds, or by single runs of the search: neither is a verdict, and a spread that reaches over "
        'its neighbour\'s leaves their order open. "none": no arm on record is above it at fewer parameters, or in '
        "less time, or at as much. Times are those of the machine that trained, with its load."
    )
    if arms:
        metric = names[0]
        rows = [
            [
                str(nth),
                records.label(point.arm),
                *(_above_words(records, point, arms, names, cost) for cost in names[1:]),
                str(point.n),
                number(point.values[0]) + ("" if point.sd is None else f" ± {number(point.sd)}"),
                *(_cost_text(*pair) for pair in zip(names[1:], point.values[1:], strict=True)),
            ]
            for nth, point in enumerate(arms, 1)
        ]
        header = ["no.", "arm", "higher mean at fewer parameters", "higher mean in less time", "n", f"{metric} ± sd"]
        page.table([*header, *(_cost_name(name) for name in names[1:])], rows, left=4)
    for cost in searched_names[1:] if trials else ():
        pair = (searched_names[0], cost)
        ahead = front(points(records, pair), pair)
        page.paragraph(
            f"Of {count(len(trials), 'search trial')} that reached the search's end, single runs, no other on record "
            f"is above these {'at fewer parameters' if cost == 'parameters' else 'in less time'}: "
            f"{listed(records.label(point.trial.arm) for point in ahead)}."
        )
    if place is not None:
        _plot_costs(records, arms, names, place / COST_PLOT)
        page.image(COST_PLOT, "mAP against parameters and time; grey: surpassed")


def _objectives_section(page: Page, records: StudyResults, place: Path | None) -> None:
    """The front as a table, above its picture; nothing where the search had one objective."""
    names = objectives(records)
    if not names:
        return
    page.heading("Front of the objectives")
    candidates = points(records)
    chosen = front(candidates, names)
    if not chosen:
        page.paragraph(f"No complete search trial has all of {listed(names)} on record yet.")
        return
    timed = " Milliseconds are those of the machine that trained, with its load." if "milliseconds" in names else ""
    page.paragraph(
        f"{len(chosen)} of {count(len(candidates), 'complete search trial')}: no other surpasses them in "
        f"{listed(names)} together, at their last epoch. These are single runs on one seed: a place on the front holds "
        f"the luck of that run, and no verdict rests on it.{timed}"
    )
    rows = [
        [str(nth), link(point.trial, records), *(_text(*pair) for pair in zip(names, point.values, strict=True))]
        for nth, point in enumerate(chosen, 1)
    ]
    page.table(["no.", "arm", *names], rows, left=2, in_paper=False)
    if place is not None:
        figure, (axes,) = panels(len(names) - 1, 1.5 + 4.6 * (len(names) - 1), 4.2)
        for other, panel in enumerate(axes, 1):
            _draw(panel, names, other, candidates, chosen, numbered=True, line=len(names) == 2)
        finish(figure, stamps(records), place / OBJECTIVES_PLOT)
        page.image(OBJECTIVES_PLOT, "Complete search trials by objective, the front numbered as in the table")


def _plot_costs(records: StudyResults, arms: Sequence[ArmPoint], names: Sequence[str], path: Path) -> None:
    """Confirmed arms with their spread above, search trials below, where there are any of each."""
    searched = [(records.selection_metric, cost) for cost in names[1:]]
    trials = [points(records, pair) for pair in searched]
    above = 1 if arms else 0
    rows = above + (1 if any(trials) else 0)
    figure, axes = panels(2, 8.2, 3.1 * rows, rows)
    for column in (0, 1):
        pair = (names[0], names[column + 1])
        if arms:
            _draw_arms(axes[0][column], records, arms, pair, column + 1)
        if any(trials):
            found = trials[column]
            _draw(axes[above][column], searched[column], 1, found, front(found, searched[column]))
    finish(figure, stamps(records), path)


def _draw_arms(axes: Axes, records: StudyResults, arms: Sequence[ArmPoint], pair: tuple[str, str], cost: int) -> None:
    flat = [ArmPoint(point.arm, (point.values[0], point.values[cost]), point.sd, point.n) for point in arms]
    scale, label = AXES[pair[1]]
    for nth, point in enumerate(flat, 1):
        colour = GREY if surpassing(point, flat, pair) else BLUE
        where = point.values[1] * scale
        marker = "s" if point.arm == records.baseline else "o"
        axes.errorbar(
            where, point.values[0], point.sd, fmt=marker, color=colour, markersize=6, capsize=3, linewidth=1.2
        )
        axes.annotate(
            str(nth), (where, point.values[0]), (5, 4), textcoords="offset points", fontsize=SMALL, color=colour
        )
    axes.margins(0.15)
    axes.set_xlabel(f"{label} (square: baseline; grey: surpassed)", fontsize=SMALL)
    axes.set_ylabel(f"{pair[0]}, points, mean ± sd over seeds", fontsize=SMALL)


def _draw(
    axes: Axes,
    names: Sequence[str],
    other: int,
    candidates: Sequence[Point],
    chosen: Sequence[Point],
    *,
    numbered: bool = False,
    line: bool = True,
) -> None:
    """Search trials by the leading figure and one other; of three a panel shows two, and no line parts them."""
    scale, label = AXES.get(names[other], (1.0, f"{names[other]}, points"))
    lower = names[other] in LOWER_IS_BETTER
    behind = [(point.values[other] * scale, point.values[0]) for point in candidates if point not in chosen]
    ahead = [(point.values[other] * scale, point.values[0]) for point in chosen]
    if behind:
        axes.plot(*zip(*behind, strict=True), "o", color=GREY, markersize=5, label="surpassed")
    if ahead:
        axes.plot(*zip(*ahead, strict=True), "o", color=BLUE, markersize=6, label="front")
    if line and ahead:
        axes.step(*zip(*sorted(ahead), strict=True), color=BLUE, linewidth=1, where="post" if lower else "pre")
    for nth, spot in enumerate(ahead if numbered else [], 1):
        side, anchor = (-5, "right") if lower else (5, "left")
        axes.annotate(str(nth), spot, (side, 4), textcoords="offset points", ha=anchor, fontsize=SMALL, color=BLUE)
    axes.margins(0.12)
    axes.set_xlabel(label, fontsize=SMALL)
    axes.set_ylabel(f"{names[0]}, points, one search run each", fontsize=SMALL)
    axes.legend(fontsize=7, frameon=False, loc="best")


def _merits(point: Point | ArmPoint, names: Sequence[str]) -> tuple[float, ...]:
    """Values, those turned round of which less is more, to 12 digits."""
    return tuple(ties.key(-v if name in LOWER_IS_BETTER else v) for name, v in zip(names, point.values, strict=True))


def _above_words(
    records: StudyResults, point: ArmPoint, arms: Sequence[ArmPoint], names: Sequence[str], cost: str
) -> str:
    place = names.index(cost)
    flat = [ArmPoint(other.arm, (other.values[0], other.values[place]), other.sd, other.n) for other in arms]
    own = next(other for other in flat if other.arm == point.arm)
    return listed(records.label(other.arm) for other in surpassing(own, flat, (names[0], cost))) or "none"


def _value(trial: Trial, name: str) -> float | None:
    if name == "parameters":
        return trial.parameters("total")
    if name == "seconds":
        return trial.seconds
    if name == TIME:
        return milliseconds(trial)
    return trial.last("val/milliseconds" if name == "milliseconds" else name)


def _cost_name(name: str) -> str:
    return {TIME: "ms an image", "seconds": "full run, h"}.get(name, name)


def _cost_text(name: str, value: float) -> str:
    return number(value / 3600, 3) if name == "seconds" else _text(name, value)


def _text(name: str, value: float) -> str:
    return f"{value:,.0f}" if name == "parameters" else number(value)
