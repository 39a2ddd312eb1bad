"""Every confirmed configuration against the baseline, as a table and a forest plot."""

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from tune_cmx.evidence.report.metric_text import title
from tune_cmx.evidence.report.page import Page
from tune_cmx.evidence.report.plots import plot_arms
from tune_cmx.evidence.results.floor import Learning
from tune_cmx.evidence.results.interval_width import width_words
from tune_cmx.evidence.results.study_results import StudyResults
from tune_cmx.evidence.wording import UNKNOWN, count, interval, number, p_value, sentence, signed

PLOT = "configurations.png"
HEADER = ("configuration", "mean ± sd", "n", "difference", "95 % interval", "adjusted p", "verdict")
UNRANKED_HEADER = ("configuration", "mean ± sd", "n", "95 % interval of the mean")


def configurations_section(page: Page, study: StudyResults, arms: pd.DataFrame, place: Path | None) -> None:
    """The table, the plot, and how the number of seeds came about.

    Args:
        page: Receives the section.
        study: A study.
        arms: As `compare_arms` gives them.
        place: The report's folder, which receives the picture; None: none is drawn.
    """
    page.heading("Confirmed configurations")
    page.paragraph(_how(study, arms))
    page.table(HEADER, [configuration_cells(study, row) for row in arms.to_dict("records")])
    if place is not None and plot_arms(study, arms, page.stamps, place / PLOT):
        page.image(
            PLOT, "Differences from the baseline. Bars: 95 % intervals over seeds. Filled: SUPPORTED or CONTRADICTED."
        )
    width = width_words(study, arms)
    if width:
        page.paragraph(width)


def unranked_configurations(page: Page, study: StudyResults, arms: pd.DataFrame, learning: Learning) -> None:
    """Means and their intervals alone, in the order of names: at the floor, an order by means would be one of noise."""
    page.heading("Confirmed configurations")
    page.paragraph(
        f"{sentence(title(study.primary_metric) + ' in points')} The floor is {number(learning.floor)}. "
        "The 95 % intervals of the means take one standard deviation from all configurations. Names give the order."
    )
    page.table(UNRANKED_HEADER, unranked_rows(study, arms, learning))
    width = width_words(study, arms)
    if width:
        page.paragraph(width)


def unranked_rows(study: StudyResults, arms: pd.DataFrame, learning: Learning) -> list[list[str]]:
    """The rows below `UNRANKED_HEADER`: the baseline first, then by name."""
    ordered = sorted(arms.to_dict("records"), key=lambda row: (row["arm"] != study.baseline, str(row["label"])))
    return [
        [
            study.label(str(row["arm"])),
            _mean(row),
            str(row["n"]),
            interval(learning.intervals.get(str(row["arm"]))),
        ]
        for row in ordered
    ]


def _how(study: StudyResults, arms: pd.DataFrame) -> str:
    tests = {
        "paired t over shared seeds": bool((arms["pairs"].notna() & arms["pilot_pairs"].isna()).any()),
        "Stein's two-stage t over shared seeds": bool(arms["pilot_pairs"].notna().any()),
        "Welch's t over seeds that are not shared": bool((arms["p"].notna() & arms["pairs"].isna()).any()),
    }
    used = " and ".join(name for name, is_used in tests.items() if is_used)
    measure = f"{sentence(title(study.primary_metric) + ' in points')[:-1]}; n is the number of seeds."
    if not used:
        return measure
    tested = count(int(arms["adjusted_p"].notna().sum()), "configuration")
    change = f"Differences are from the baseline, by {used}; p is adjusted by Holm over {tested}, intervals are not."
    return f"{measure} {change}"


def _mean(row: Mapping[Hashable, Any]) -> str:
    return number(row["mean"]) + ("" if row["sd"] is None else f" ± {number(row['sd'])}")


def configuration_cells(study: StudyResults, row: Mapping[Hashable, Any]) -> list[str]:
    """The cells below `HEADER`.

    Args:
        study: A study.
        row: Of `compare_arms`.
    """
    ends = None if row["ci95_low"] is None or row["ci95_high"] is None else (row["ci95_low"], row["ci95_high"])
    return [
        study.label(str(row["arm"])),
        _mean(row),
        str(row["n"]),
        signed(row["difference"]),
        interval(ends),
        p_value(row["adjusted_p"]),
        UNKNOWN if row["verdict"] in (None, "baseline") else str(row["verdict"]),
    ]
