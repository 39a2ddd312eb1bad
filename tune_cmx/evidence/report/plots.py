"""The forest plot and the learning curves, legible on a narrow screen and on paper."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tune_cmx.evidence.report.figures import BLACK, BLUE, ORANGE, finish, panels
from tune_cmx.evidence.report.metric_text import title
from tune_cmx.evidence.results.study_results import StudyResults, Trial
from tune_cmx.evidence.wording import unit

COLOURS = (BLUE, ORANGE, "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Told apart by colour-blind readers too (Okabe and Ito)."""
DASHES = ("solid", (0, (4, 1.5)))
BASELINE_COLOUR = BLACK
OTHER_COLOUR = "#a8a8a8"
NAMED = len(COLOURS) * len(DASHES)
"""Configurations that can be told apart beside the baseline; of more, only finalists are named."""
TIME_LABELS = {"epoch": "epoch", "fraction": "fraction of the schedule", "gpu_seconds": "training time, GPU-seconds"}
WIDTH = 5.4
"""Inches. Shown 360 pixels wide, type of 9.5 points is then 9 pixels high."""
HEIGHT = 3.3
"""Inches, of the axes of the curves."""
TYPE, SMALL_TYPE, DPI = 9.5, 8.5, 200


@dataclass(frozen=True)
class Look:
    """How an arm is drawn, in every picture alike."""

    colour: str
    dashes: object = "solid"
    named: bool = True


def arm_looks(study: StudyResults) -> dict[str, Look]:
    """A look for each arm, the baseline first, then finalists in their order, then the others as the study has them."""
    others = [arm for arm in dict.fromkeys([*study.finalists, *_arms(study)]) if arm != study.baseline]
    named = others if len(others) <= NAMED else [arm for arm in others if arm in study.finalists][:NAMED]
    looks = {str(study.baseline): Look(BASELINE_COLOUR)}
    for place, arm in enumerate(named):
        dashes, colour = divmod(place, len(COLOURS))
        looks[arm] = Look(COLOURS[colour], DASHES[dashes])
    return {**looks, **{arm: Look(OTHER_COLOUR, named=False) for arm in others if arm not in looks}}


def plot_arms(study: StudyResults, table: pd.DataFrame, stamps: Sequence[str], path: Path) -> bool:
    """Each difference from the baseline with its 95 % interval; False where there is none to draw."""
    drawn = table[table["difference"].notna()].iloc[::-1].to_dict("records")
    if not drawn:
        return False
    looks, metric = arm_looks(study), study.primary_metric
    figure, ((axes,),) = panels(1, WIDTH, 1.0 + 0.62 * len(drawn), dpi=DPI)
    axes.axvline(0, color=BASELINE_COLOUR, linewidth=1, linestyle="--")
    for place, row in enumerate(drawn):
        colour = looks[str(row["arm"])].colour
        decided = row["verdict"] in ("SUPPORTED", "CONTRADICTED")
        if row["ci95_low"] is not None:
            axes.plot([row["ci95_low"], row["ci95_high"]], [place, place], color=colour, linewidth=2.2)
        axes.plot(
            row["difference"], place, "o", color=colour, markerfacecolor=colour if decided else "white", markersize=7
        )
        words = f"{row['label']}: {row['verdict']}, n = {row['n']}"
        box = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}  # the line at 0 stays out of the words
        axes.annotate(
            words, (0, place), (0, 9), axes.get_yaxis_transform(), "offset points", fontsize=SMALL_TYPE, bbox=box
        )
    axes.set_yticks([])
    axes.set_ylim(-0.5, len(drawn) - 0.2)
    axes.margins(x=0.08)
    axes.set_xlabel(f"{title(metric)}: difference from the baseline,{unit(metric)}", fontsize=TYPE)
    axes.spines["left"].set_visible(False)
    finish(figure, stamps, path, size=SMALL_TYPE)
    return True


def plot_curves(study: StudyResults, stamps: Sequence[str], path: Path) -> bool:
    """The selection metric of every search trial, with a cross where it was stopped; False without any epoch."""
    clock, metric = study.clock, study.selection_metric
    drawn = [trial for trial in study.of_phase("search") if metric in trial.metrics and len(trial.times(clock))]
    if not drawn:
        return False
    looks = arm_looks(study)
    figure, ((axes,),) = panels(1, WIDTH, HEIGHT, dpi=DPI)
    _draw_rungs(axes, study.state.early_stopping.rungs)
    for trial in sorted(drawn, key=lambda trial: looks[trial.arm].named):  # the named ones above the others
        _draw_curve(axes, trial, clock, metric, looks[trial.arm])
    axes.set_xlabel(TIME_LABELS.get(clock, "epoch"), fontsize=TYPE)
    if clock == "epoch":
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylabel(f"{title(metric)},{unit(metric)}", fontsize=TYPE)
    _legend(figure, axes, study, [trial.arm for trial in drawn], looks)
    finish(figure, stamps, path, size=SMALL_TYPE)
    return True


def _arms(study: StudyResults) -> Iterable[str]:
    return dict.fromkeys([*study.arms, *(trial.arm for trial in study.trials)])


def _draw_rungs(axes: Axes, rungs: Sequence[float]) -> None:
    for place, rung in enumerate(rungs):
        axes.axvline(rung, color="#c9c9c9", linewidth=1, linestyle=(0, (2, 2)), zorder=0)
        words = f"rung {rung:g}" if place == 0 else f"{rung:g}"
        axes.annotate(
            words, (rung, 1), (0, 3), axes.get_xaxis_transform(), "offset points", ha="center", fontsize=SMALL_TYPE
        )


def _draw_curve(axes: Axes, trial: Trial, clock: str, metric: str, look: Look) -> None:
    times, values = trial.times(clock), trial.metrics[metric]
    width = 1.8 if look.named else 0.8
    axes.plot(times, values, color=look.colour, linestyle=look.dashes, linewidth=width, marker=".", markersize=3.5)
    mark = "o" if trial.searched_to_the_end else "x" if trial.status == "stopped" else ""
    if mark and values.notna().any():
        last = values.last_valid_index()
        axes.plot(
            times.loc[last],
            values.loc[last],
            mark,
            color=look.colour,
            markersize=7 if look.named else 4.5,
            markeredgewidth=1.8 if look.named else 1,
        )


def _legend(figure: Figure, axes: Axes, study: StudyResults, arms: Sequence[str], looks: Mapping[str, Look]) -> None:
    """Under the axes, for which the figure grows, in the order of the looks; long names make it one column."""
    names: dict[str, str] = {}
    for arm, look in looks.items():
        if arm in arms and look.named:
            names[arm] = study.label(arm)
            axes.plot([], [], color=look.colour, linestyle=look.dashes, linewidth=1.8, label=names[arm])
    if any(not looks[arm].named for arm in arms):
        axes.plot(
            [], [], color=OTHER_COLOUR, linewidth=0.8, label=f"{len(set(arms) - set(names))} other configurations"
        )
    axes.plot([], [], "x", color="#404040", markeredgewidth=1.8, label="stopped at a rung")
    axes.plot([], [], "o", color="#404040", label="trained to the end of the search")
    columns = 1 if max(map(len, [*names.values(), ""])) > 32 else 2
    rows = math.ceil(len(axes.get_legend_handles_labels()[1]) / columns)
    figure.set_figheight(HEIGHT + 0.19 * rows)
    figure.legend(loc="outside lower left", ncols=columns, fontsize=SMALL_TYPE, frameon=False)
