"""What this number of seeds can detect, and what more seeds cost."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import pandas as pd

from tune_cmx.evidence.claims.detectable import HOURS, MULTIPLES
from tune_cmx.evidence.report.metric_text import title
from tune_cmx.evidence.report.page import Page
from tune_cmx.evidence.results.selection import selected_arm
from tune_cmx.evidence.results.study_results import StudyResults
from tune_cmx.evidence.wording import UNKNOWN, count, hours_text, number, unit

NAMES = tuple("n" if multiple == 1 else f"{multiple}n" for multiple in MULTIPLES)


def detectable_section(page: Page, study: StudyResults, arms: pd.DataFrame) -> None:
    """The smallest detectable difference of each configuration at n, 2n and 4n seeds, and the price of the latter.

    Nothing where no configuration has such numbers, as with one run each.

    Args:
        page: Receives the section.
        study: A study.
        arms: As `compare_arms` gives them.
    """
    rows = [row for row in arms.to_dict("records") if row["detectable"]]
    if not rows:
        return
    page.heading("What these seeds can detect")
    here, metric = rows[0]["detectable"][0], study.primary_metric
    page.paragraph(
        f"With {count(here['n'], 'seed')}, most true differences below {number(here['difference'])}{unit(metric)} stay "
        f"unseen. The table has the smallest true difference in {title(metric)} found with 80 % power, in points."
        f"{_price(rows, selected_arm(study, arms))}"
    )
    page.table(
        ["configuration", *(f"{name} seeds" for name in NAMES)],
        [[study.label(str(row["arm"])), *_cells(row["detectable"])] for row in rows],
    )


def _cells(found: Sequence[Mapping[str, Any]]) -> list[str]:
    cells = [f"{number(entry['difference'])} (n = {entry['n']})" for entry in found]
    return [*cells, *[UNKNOWN] * (len(MULTIPLES) - len(cells))][: len(MULTIPLES)]


def _price(rows: Sequence[Mapping[Hashable, Any]], selected: str | None) -> str:
    """What more seeds cost the selected configuration and the baseline; empty where no hours are recorded."""
    row = next((row for row in rows if row["arm"] == selected), rows[0])
    costs = [
        f"{entry['n']} seeds cost {hours_text(entry[key])} {name} more"
        for entry in row["detectable"]
        for key, name in HOURS.items()
        if entry.get(key)
    ]
    return f" For the selected configuration and the baseline, {' and '.join(costs)}." if costs else ""
