"""By factor: what each searched value gave, in the search and in the confirmation."""

import re
import statistics
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from tune_cmx.config.study_rules import ARMS
from tune_cmx.evidence.report.figures import BLACK, BLUE, DIM, ORANGE, SMALL, finish, panels
from tune_cmx.evidence.report.metric_text import title
from tune_cmx.evidence.report.page import Page
from tune_cmx.evidence.report.stamps import stamps
from tune_cmx.evidence.results.searched_factors import (
    CommonPoint,
    Factor,
    common_point,
    factors,
    factors_words,
    groups,
    stopped_early,
)
from tune_cmx.evidence.results.study_results import StudyResults, Trial
from tune_cmx.evidence.wording import UNKNOWN, count, number, unit

Row = Mapping[Hashable, Any]
ON, STOPPED, BASELINE = "not stopped", "stopped early", "baseline"
MARKS = ((ON, "o", BLUE), (STOPPED, "x", ORANGE), (BASELINE, "s", BLACK))
LONG_NAMES = 40
"""Letters of all values' names, if all were as long as the longest, from which on they are slanted."""


def factors_section(page: Page, study: StudyResults, arms: pd.DataFrame, place: Path | None) -> None:
    """For each factor a table of the search trials by value, and a picture with the confirmed configurations.

    Nothing where the search varied nothing.

    Args:
        page: Receives the section.
        study: A study.
        arms: As `compare_arms` gives them.
        place: The report's folder, which receives the pictures; None: none are drawn.
    """
    searched = [factor for factor in factors(study) if _differs(study, factor)]
    if not searched or not study.of_phase("search"):
        return
    page.heading("By factor")
    point = common_point(study)
    page.paragraph(_introduction(study, searched, point))
    confirmed = [row for row in arms.to_dict("records") if row["verdict"] != "baseline"]
    for nth, factor in enumerate(searched, 1):
        page.heading(
            "Configurations listed one by one" if factor.path == ARMS else f"{factor.name} ({factor.path})", level=3
        )
        _table(page, study, factor, point, confirmed)
        picture = f"factor-{nth}-{re.sub(r'[^a-z0-9]+', '-', factor.name.lower()).strip('-')}.png"
        if place is not None and _plot(study, factor, point, confirmed, place / picture):
            page.image(picture, f"Search trials, and differences of confirmed configurations, by {factor.name}")


def _differs(study: StudyResults, factor: Factor) -> bool:
    """Whether the search trials have more than one value of it."""
    return len({factor.value(study, trial.arm) for trial in study.of_phase("search")}) > 1


def _introduction(study: StudyResults, searched: Sequence[Factor], point: CommonPoint | None) -> str:
    if point is None:
        return f"The search varied {factors_words(searched)}. No trial has {title(study.selection_metric)} yet."
    missing = f" {count(point.unfinished, 'trial')} did not end and are left out." if point.unfinished else ""
    others = " A row's mean is over all values of the other factors." if len(searched) > 1 else ""
    return (
        f"The search varied {factors_words(searched)}. Figures are {title(study.selection_metric)} in points, one "
        f"run on one seed each; no claim rests on them. All trials are compared at {point}, the last point that every "
        f"ended trial reached.{others}{missing} In the pictures, differences of confirmed configurations are from the "
        f"baseline in {title(study.primary_metric)}, with 95 % intervals over seeds."
    )


def _table(
    page: Page,
    study: StudyResults,
    factor: Factor,
    point: CommonPoint | None,
    confirmed: Sequence[Row],
) -> None:
    trials = study.of_phase("search")
    rows = []
    arms = [*(trial.arm for trial in trials), *(str(row["arm"]) for row in confirmed)]
    for text, members in _by_value(study, factor, arms).items():
        own = [trial for trial in trials if trial.arm in members]
        there = [point.values[trial.name] for trial in own if point and trial.name in point.values]
        ends = [value for trial in own if trial.searched_to_the_end and (value := _end(study, trial)) is not None]
        rows.append(
            [
                text,
                str(len(own)),
                str(sum(stopped_early(trial) for trial in own)),
                number(statistics.fmean(there)) if there else UNKNOWN,
                _span(there),
                f"{_span(ends)} ({count(len(ends), 'trial')})" if ends else UNKNOWN,
            ]
        )
    where = str(point) if point else "no common point"
    page.table(
        ["value", "trials", "stopped early", f"mean at {where}", "range there", "range at the search's end"], rows
    )


def _by_value(study: StudyResults, factor: Factor, arms: Sequence[str]) -> dict[str, list[str]]:
    """Arms by value; the baseline, which the search may have trained too, by itself and first."""
    found = groups(study, factor, [arm for arm in arms if arm != study.baseline])
    return {"baseline": [str(study.baseline)], **found} if study.baseline in arms else found


def _end(study: StudyResults, trial: Trial) -> float | None:
    return trial.last(study.selection_metric, study.smooth_epochs)


def _span(values: Sequence[float]) -> str:
    if not values:
        return UNKNOWN
    low, high = number(min(values)), number(max(values))
    return low if low == high else f"{low} to {high}"


def _plot(study: StudyResults, factor: Factor, point: CommonPoint | None, confirmed: Sequence[Row], path: Path) -> bool:
    """Dots by trial, and beside them the differences of confirmed configurations; False: there is nothing to draw."""
    trials = [trial for trial in study.of_phase("search") if point and trial.name in point.values]
    rows = [row for row in confirmed if row["difference"] is not None]
    if point is None or not trials:
        return False
    places = _places(study, factor, [trial.arm for trial in trials] + [str(row["arm"]) for row in rows])
    figure, (axes,) = panels(2 if rows else 1, 8.2 if rows else 5.0, 2.9)
    step = 0.0 if factor.is_range else 0.08
    _draw_search(axes[0], study, point, trials, places, step)
    if rows:
        axes[1].sharex(axes[0])
        _draw_confirmed(axes[1], study, rows, places, step)
    names = list(_by_value(study, factor, list(places)))
    for panel in axes:
        panel.set_xlabel(factor.name, fontsize=SMALL)
        _scale(panel, factor, names)
    finish(figure, stamps(study), path)
    return True


def _scale(axes: Axes, factor: Factor, names: Sequence[str]) -> None:
    """The factor's axis: numbers of a range, the values' names otherwise."""
    if factor.kind == "loguniform":
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
    elif factor.kind == "int":
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    elif not factor.is_range:
        axes.set_xticks(range(len(names)), names)
        axes.set_xlim(-0.5, len(names) - 0.5)
        if len(names) * max(map(len, names)) > LONG_NAMES:
            axes.tick_params(axis="x", rotation=30)
            for name in axes.get_xticklabels():
                name.set_horizontalalignment("right")


def _places(study: StudyResults, factor: Factor, arms: Sequence[str]) -> dict[str, float]:
    """Where an arm is on the axis: its value in a range, else the place of its value's name."""
    if factor.is_range:
        values = {arm: factor.value(study, arm) for arm in arms}
        return {arm: float(value) for arm, value in values.items() if isinstance(value, int | float)}
    by_value = _by_value(study, factor, arms)
    return {arm: float(place) for place, members in enumerate(by_value.values()) for arm in members}


def _draw_search(
    axes: Axes,
    study: StudyResults,
    point: CommonPoint,
    trials: Sequence[Trial],
    places: Mapping[str, float],
    step: float,
) -> None:
    drawn = [trial for trial in trials if trial.arm in places]
    sides = _side_by_side([places[trial.arm] for trial in drawn], step)
    spots = [(where, point.values[trial.name]) for trial, where in zip(drawn, sides, strict=True)]
    kinds = [BASELINE if trial.arm == study.baseline else STOPPED if stopped_early(trial) else ON for trial in drawn]
    for name, marker, colour in MARKS:
        of_kind = [spot for spot, kind in zip(spots, kinds, strict=True) if kind == name]
        if of_kind or name != BASELINE:
            axes.plot([x for x, _ in of_kind], [y for _, y in of_kind], marker, color=colour, markersize=5, label=name)
    axes.set_ylabel(f"{title(study.selection_metric)} at {point},\npoints, one run each", fontsize=SMALL)
    axes.legend(fontsize=7, frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)


def _draw_confirmed(
    axes: Axes, study: StudyResults, rows: Sequence[Row], places: Mapping[str, float], step: float
) -> None:
    axes.axhline(0, color=BLACK, linewidth=1, linestyle="--")
    drawn = [row for row in rows if str(row["arm"]) in places]
    for row, where in zip(drawn, _side_by_side([places[str(row["arm"])] for row in drawn], step), strict=True):
        colour = BLUE if row["verdict"] in ("SUPPORTED", "CONTRADICTED") else DIM
        axes.plot(where, row["difference"], "o", color=colour, markersize=5)
        if row["ci95_low"] is not None:
            axes.plot([where, where], [row["ci95_low"], row["ci95_high"]], color=colour, linewidth=2)
    metric = study.primary_metric
    axes.set_ylabel(f"difference from the baseline\nin {title(metric)},{unit(metric)}, 95 %", fontsize=SMALL)


def _side_by_side(places: Sequence[float], step: float) -> list[float]:
    """The places, those that coincide spread about theirs, over 0.6 at most."""
    met: dict[float, int] = {}
    moved = []
    for where in places:
        together = places.count(where)
        gap = min(step, 0.6 / together)
        moved.append(where + gap * (met.get(where, 0) - (together - 1) / 2))
        met[where] = met.get(where, 0) + 1
    return moved
