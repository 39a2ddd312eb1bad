"""The parts of the report that compare arms: the table of arms, and the first-ranked one beside the baseline."""

import statistics
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import pandas as pd

from tune_cmx.evidence.report.first_screen.answer import leading_arm, was_selected
from tune_cmx.evidence.report.page import Page
from tune_cmx.evidence.results.interval_width import precision_words
from tune_cmx.evidence.results.study_results import StudyResults, Trial
from tune_cmx.evidence.wording import UNKNOWN, count, duration, interval, listed, number, p_value, signed
from tune_cmx.metrics import scored

Pick = Callable[[Trial], float | None]
Print = Callable[[float | None], str]


def side_by_side(page: Page, records: StudyResults, arms: pd.DataFrame) -> None:
    """Baseline and first-ranked arm: means over seeds on test, then on val, and the cost of each."""
    page.heading("Baseline and first-ranked arm")
    lead = leading_arm(records, arms)
    baseline_runs = [trial for trial in records.confirmed if trial.arm == records.baseline]
    if lead is None or not baseline_runs:
        missing = "the baseline" if not baseline_runs else "any arm but the baseline"
        page.paragraph(f"Cannot be filled in: no complete confirmation run of {missing}.")
        return
    lead_runs = [trial for trial in records.confirmed if trial.arm == lead]
    page.paragraph(_what_first_means(records, lead))
    header = [
        records.label(str(records.baseline)),
        f"first-ranked: {records.label(lead)}",
        "difference",
    ]
    runs = f"means over seeds ± sd; n = {len(baseline_runs)} and {len(lead_runs)}"
    for split in ("test", "val"):
        rows = [
            _row(metric.title, baseline_runs, lead_runs, _result(f"{split}/{name}"), number, signed)
            for name, metric in scored().items()
        ]
        if not any(trial.results.get(split) for trial in (*baseline_runs, *lead_runs)):
            page.paragraph(f"On {split}: no results in the records.")
            continue
        if split == "test":
            rows.extend(_costs(baseline_runs, lead_runs))
        chosen = " (the split that chose)" if split == records.selection_split else ""
        page.paragraph(f"On {split}{chosen}, in points, {runs}:")
        page.table(["metric", *header], rows)
    page.paragraph(f"Only {records.primary_metric} is tested, in the table of arms; the other rows carry no claim.")


def arms_section(page: Page, records: StudyResults, arms: pd.DataFrame, picture: str | None) -> None:
    """Every confirmed arm against the baseline on the primary metric; `picture` is the plot's file name, if any."""
    page.heading("Arms against the baseline")
    if arms.empty:
        page.paragraph("No arm has a complete confirmation run.")
        return
    tested = arms["adjusted_p"].notna().sum()
    tests = {
        "paired t over shared seeds": bool((arms["pairs"].notna() & arms["pilot_pairs"].isna()).any()),
        "Stein's two-stage t over shared seeds": bool(arms["pilot_pairs"].notna().any()),
        "Welch's t, seeds not shared": bool((arms["p"].notna() & arms["pairs"].isna()).any()),
    }
    used = " and ".join(name for name, is_used in tests.items() if is_used) or "no test"
    page.paragraph(
        f"{records.primary_metric} in points; difference and interval against the baseline by {used}; p adjusted by "
        f"Holm over {count(int(tested), 'arm')}; exact p by sign flips or permutations, for information. "
        "SUPPORTED: above the baseline; CONTRADICTED: below it; INCONCLUSIVE: not told apart."
    )
    header = ["arm", "verdict", "n", "mean", "sd", "difference", "95 % interval", "p", "p adjusted", "exact p"]
    page.table(header, [_arm_cells(records, row) for row in arms.to_dict("records")], left=2)
    page.paragraph("Each verdict's reason, and what would change it: [Claims](#claims).")
    if picture:
        page.image(
            picture, "Differences from the baseline; bars are 95 % intervals over seeds, filled dots are decided"
        )
    precision = precision_words(records, arms)
    if precision:
        page.paragraph(precision)


def _what_first_means(records: StudyResults, lead: str) -> str:
    if was_selected(records, lead):
        skipped = records.finalists[: records.finalists.index(lead)]
        without = [records.label(arm) for arm in skipped if arm != records.baseline]
        note = f" Ranked above it, but without complete confirmation runs: {listed(without)}." if without else ""
        return (
            f"First-ranked means: ranked first by the search on {records.selection_metric}, the baseline aside. It was "
            "chosen before the runs below, which are fresh seeds; whether it is above the baseline is the verdict's to "
            f"say.{note}{_winner_words(records, lead)}"
        )
    return (
        "The records name no finalist with confirmed runs; ranked first is here the arm with the highest "
        f"{records.primary_metric}, so its figures hold the luck of that choice."
    )


def _winner_words(records: StudyResults, lead: str) -> str:
    """The arm to go on with, which the confirmation may have changed."""
    if records.winner is None:
        return ""
    basis = f"first on {records.selection_metric} over its confirmation runs, its search run counted as half a run"
    if records.winner == lead:
        return f" It is also {basis}: the arm to go on with."
    return (
        f" The arm to go on with is {records.label(records.winner)}: {basis}. These runs chose it, so its figures hold "
        "the luck of that choice; the adjusted p allow for it."
    )


def _row(
    name: str, baseline: Sequence[Trial], lead: Sequence[Trial], pick: Pick, show: Print, show_gap: Print
) -> list[str]:
    means = [_mean(runs, pick) for runs in (baseline, lead)]
    gap = means[1] - means[0] if means[0] is not None and means[1] is not None else None
    return [name, _spread(baseline, pick, show), _spread(lead, pick, show), show_gap(gap)]


def _costs(baseline: Sequence[Trial], lead: Sequence[Trial]) -> list[list[str]]:
    def whole(value: float | None) -> str:
        return UNKNOWN if value is None else f"{value:,.0f}"

    def whole_gap(value: float | None) -> str:
        return UNKNOWN if value is None else "0" if round(value) == 0 else f"{value:+,.0f}"

    def time_gap(value: float | None) -> str:
        if value is None:
            return UNKNOWN
        return "0 s" if abs(value) < 0.05 else f"{'-' if value < 0 else '+'}{duration(abs(value))}"

    return [
        _row("training time", baseline, lead, lambda trial: trial.seconds or None, duration, time_gap),
        *(
            _row(f"parameters, {which}", baseline, lead, _parameters(which), whole, whole_gap)
            for which in ("total", "active")
        ),
    ]


def _result(metric: str) -> Pick:
    return lambda trial: trial.result(metric)


def _parameters(which: str) -> Pick:
    return lambda trial: trial.parameters(which)


def _mean(runs: Sequence[Trial], pick: Pick) -> float | None:
    values = [value for trial in runs if (value := pick(trial)) is not None]
    return statistics.fmean(values) if values else None


def _spread(runs: Sequence[Trial], pick: Pick, show: Print) -> str:
    """Mean and standard deviation; how many runs have the number, where not all do."""
    values = [value for trial in runs if (value := pick(trial)) is not None]
    if not values:
        return "undefined"
    sd = f" ± {show(statistics.stdev(values))}" if len(values) > 1 and len(set(values)) > 1 else ""
    some = f" ({len(values)} of {len(runs)} runs)" if len(values) < len(runs) else ""
    return f"{show(statistics.fmean(values))}{sd}{some}"


def _arm_cells(records: StudyResults, row: Mapping[Hashable, Any]) -> list[str]:
    def value(key: str) -> float | None:
        found = row[key]
        return float(found) if isinstance(found, int | float) else None

    low, high = value("ci95_low"), value("ci95_high")
    ends = None if low is None or high is None else (low, high)
    note = ""
    if row["verdict"] == "INSUFFICIENT_REPLICATION":
        note = " (n = 1: no claim)" if row["n"] == 1 else " (no claim)"
    return [
        records.label(str(row["arm"])),
        f"{row['verdict']}{note}",
        str(row["n"]),
        number(value("mean")),
        number(value("sd")),
        signed(value("difference")),
        interval(ends),
        p_value(value("p")),
        p_value(value("adjusted_p")),
        p_value(value("exact_p")),
    ]
