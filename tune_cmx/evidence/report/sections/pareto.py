"""Merit against cost: Pareto fronts of confirmed configurations and of search trials."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from matplotlib.axes import Axes

from tune_cmx import metrics, ties
from tune_cmx.errors import DataError
from tune_cmx.evidence.report.figures import BLUE, GREY, SMALL, finish, panels
from tune_cmx.evidence.report.metric_text import title
from tune_cmx.evidence.report.page import Page
from tune_cmx.evidence.report.sections.run_details import link
from tune_cmx.evidence.report.stamps import stamps
from tune_cmx.evidence.results.study_results import StudyResults, Trial
from tune_cmx.evidence.wording import count, listed, number, unit

PARAMETERS = "parameters"
OBJECTIVES_PLOT, COST_PLOT = "objectives.png", "pareto.png"


@dataclass(frozen=True)
class Point:
    """A complete search trial and its value in each objective."""

    trial: Trial
    values: tuple[float, ...]


@dataclass(frozen=True)
class ArmPoint:
    """A confirmed configuration: what it reaches over its runs, and what it costs."""

    arm: str
    values: tuple[float, ...]
    """The mean of the metric, then parameters."""
    sd: float | None
    n: int


P = TypeVar("P", Point, ArmPoint)


def objectives(study: StudyResults) -> tuple[str, ...]:
    """What the search optimised at once; empty: the selection metric alone."""
    return study.state.searcher.objectives or ()


def points(study: StudyResults, names: Sequence[str] | None = None) -> list[Point]:
    """The trials that the search trained to its end, with each figure as of their last epoch.

    Args:
        study: A study.
        names: Figures, the leading one first; None: the search's objectives.
    """
    names = objectives(study) if names is None else names
    found = []
    for trial in study.of_phase("search"):
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


def pareto_section(page: Page, study: StudyResults, place: Path | None) -> None:
    """mAP against parameters; then the Pareto front of the search's objectives, where it had several.

    Training times include the machine's load, so they are no axis here.

    Args:
        page: Receives the section.
        study: A study.
        place: The report's folder, which receives the pictures; None: none are drawn.
    """
    _cost_section(page, study, place)
    _objectives_section(page, study, place)


def confirmed_points(study: StudyResults) -> list[ArmPoint]:
    """The confirmed configurations with their mean and parameters, the baseline first."""
    runs: dict[str, list[Trial]] = {}
    for trial in study.confirmed:
        if trial.result(study.primary_metric) is not None and trial.parameters("total") is not None:
            runs.setdefault(trial.arm, []).append(trial)
    found = []
    for arm in sorted(runs, key=lambda arm: (arm != study.baseline, study.label(arm))):
        values = [float(trial.result(study.primary_metric) or 0.0) for trial in runs[arm]]
        sd = statistics.stdev(values) if len(values) > 1 else None
        cost = float(runs[arm][0].parameters("total") or 0)
        found.append(ArmPoint(arm, (statistics.fmean(values), cost), sd, len(values)))
    return found


def _cost_section(page: Page, study: StudyResults, place: Path | None) -> None:
    arms, names = confirmed_points(study), (study.primary_metric, PARAMETERS)
    pair = (study.selection_metric, PARAMETERS)
    trials = points(study, pair)
    if not arms and not trials:
        return
    page.heading("mAP against parameters")
    page.paragraph("Observed means are no verdicts: where spreads overlap, the order is open.")
    if arms:
        rows = [
            [
                str(nth),
                study.label(point.arm),
                listed(study.label(other.arm) for other in surpassing(point, arms, names)) or "none",
                str(point.n),
                number(point.values[0]) + ("" if point.sd is None else f" ± {number(point.sd)}"),
                _text(PARAMETERS, point.values[1]),
            ]
            for nth, point in enumerate(arms, 1)
        ]
        header = ["no.", "configuration", "higher mean, no more parameters", "n", f"{title(names[0])} ± sd, points"]
        page.table([*header, title("params_total")], rows, left=3)
    if trials:
        ahead = listed(study.label(point.trial.arm) for point in front(trials, pair))
        page.paragraph(
            f"Pareto front of {count(len(trials), 'search trial')} with one run each, {title(pair[0])} against "
            f"parameters: {ahead}."
        )
    if place is not None:
        figure, axes = panels(int(bool(arms)) + int(bool(trials)), 8.2 if arms and trials else 5.0, 3.1)
        if arms:
            _draw_arms(axes[0][0], study, arms, names)
        if trials:
            _draw(axes[0][-1], pair, 1, trials, front(trials, pair))
        finish(figure, stamps(study), place / COST_PLOT)
        page.image(COST_PLOT, "mAP against parameters. Grey: not on the Pareto front. Square: the baseline.")


def _objectives_section(page: Page, study: StudyResults, place: Path | None) -> None:
    """The Pareto front as a table, above its picture; nothing where the search had one objective."""
    names = objectives(study)
    if not names:
        return
    page.heading("Pareto front of the objectives")
    candidates = points(study)
    chosen = front(candidates, names)
    if not chosen:
        page.paragraph(f"No complete search trial has all of {listed(names)} yet.")
        return
    timed = " Milliseconds include the machine's other load." if "milliseconds" in names else ""
    page.paragraph(
        f"{len(chosen)} of {count(len(candidates), 'complete search trial')} are on the Pareto front of "
        f"{listed(names)}, at their last epoch. Each is one run on one seed, so its place contains the luck of that "
        f"run, and no verdict rests on it.{timed}"
    )
    rows = [
        [str(nth), link(point.trial, study), *(_text(*pair) for pair in zip(names, point.values, strict=True))]
        for nth, point in enumerate(chosen, 1)
    ]
    page.table(["no.", "configuration", *names], rows, left=2, in_paper=False)
    if place is not None:
        figure, (axes,) = panels(len(names) - 1, 1.5 + 4.6 * (len(names) - 1), 4.2)
        for other, panel in enumerate(axes, 1):
            _draw(panel, names, other, candidates, chosen, numbered=True, line=len(names) == 2)
        finish(figure, stamps(study), place / OBJECTIVES_PLOT)
        page.image(
            OBJECTIVES_PLOT, "Complete search trials by objective; the Pareto front has the numbers of the table"
        )


def _draw_arms(axes: Axes, study: StudyResults, arms: Sequence[ArmPoint], names: tuple[str, str]) -> None:
    scale, label = _axis(names[1])
    for nth, point in enumerate(arms, 1):
        colour = GREY if surpassing(point, arms, names) else BLUE
        where = point.values[1] * scale
        marker = "s" if point.arm == study.baseline else "o"
        axes.errorbar(
            where, point.values[0], point.sd, fmt=marker, color=colour, markersize=6, capsize=3, linewidth=1.2
        )
        axes.annotate(
            str(nth), (where, point.values[0]), (5, 4), textcoords="offset points", fontsize=SMALL, color=colour
        )
    axes.margins(0.15)
    axes.set_xlabel(label, fontsize=SMALL)
    axes.set_ylabel(f"{title(names[0])}, points, mean ± sd over seeds", fontsize=SMALL)


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
    scale, label = _axis(names[other])
    lower = _metric(names[other]).better == "lower"
    behind = [(point.values[other] * scale, point.values[0]) for point in candidates if point not in chosen]
    ahead = [(point.values[other] * scale, point.values[0]) for point in chosen]
    if behind:
        axes.plot(*zip(*behind, strict=True), "o", color=GREY, markersize=5, label="surpassed")
    if ahead:
        axes.plot(*zip(*ahead, strict=True), "o", color=BLUE, markersize=6, label="Pareto front")
    if line and ahead:
        axes.step(*zip(*sorted(ahead), strict=True), color=BLUE, linewidth=1, where="post" if lower else "pre")
    for nth, spot in enumerate(ahead if numbered else [], 1):
        side, anchor = (-5, "right") if lower else (5, "left")
        axes.annotate(str(nth), spot, (side, 4), textcoords="offset points", ha=anchor, fontsize=SMALL, color=BLUE)
    axes.margins(0.12)
    axes.set_xlabel(label, fontsize=SMALL)
    axes.set_ylabel(f"{title(names[0])}, points, one search run each", fontsize=SMALL)
    axes.legend(fontsize=7, frameon=False, loc="best")


def _merits(point: Point | ArmPoint, names: Sequence[str]) -> tuple[float, ...]:
    """Values to 12 digits, with the sign changed where lower is better."""
    signs = (-1 if _metric(name).better == "lower" else 1 for name in names)
    return tuple(ties.key(sign * value) for sign, value in zip(signs, point.values, strict=True))


def _axis(name: str) -> tuple[float, str]:
    """Factor and words of an axis."""
    return (1e-6, "parameters, millions") if name == PARAMETERS else (1.0, f"{title(name)},{unit(name)}")


def _metric(name: str) -> metrics.Metric:
    """Of an objective or a result.

    Raises:
        DataError: The table of metrics does not have it.
    """
    found = metrics.find(name)
    if found is None:
        raise DataError(f"objective {name} is unknown. Known: {', '.join(metrics.METRICS)}")
    return found[1]


def _value(trial: Trial, name: str) -> float | None:
    if name == PARAMETERS:
        return trial.parameters("total")
    return trial.last("val/milliseconds" if name == "milliseconds" else name)


def _text(name: str, value: float) -> str:
    return f"{value:,.0f}" if name == PARAMETERS else number(value)
