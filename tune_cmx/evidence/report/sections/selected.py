"""The selected configuration beside the baseline: every recorded metric, parameters and time."""

import statistics
from collections.abc import Callable, Sequence

import pandas as pd

from tune_cmx import metrics
from tune_cmx.evidence.report.metric_text import recorded_metrics, title
from tune_cmx.evidence.report.page import Page
from tune_cmx.evidence.results.selection import selected_arm, was_selected
from tune_cmx.evidence.results.study_results import StudyResults, Trial
from tune_cmx.evidence.wording import UNKNOWN, duration, listed, number, signed

Pick = Callable[[Trial], float | None]
Print = Callable[[float | None], str]
NOT_COMPARED = "not compared"


def selected_section(page: Page, study: StudyResults, arms: pd.DataFrame) -> None:
    """Means over seeds on test, then on val, and the cost of both; nothing where one of the two has no runs."""
    selected = selected_arm(study, arms)
    baseline_runs = [trial for trial in study.confirmed if trial.arm == study.baseline]
    if selected is None or not baseline_runs:
        return
    page.heading("Selected configuration and baseline")
    runs = [trial for trial in study.confirmed if trial.arm == selected]
    page.paragraph(_how_selected(study, selected))
    header = ["metric", study.label(str(study.baseline)), study.label(selected), "difference"]
    for split in ("test", "val"):
        if not any(trial.results.get(split) for trial in (*baseline_runs, *runs)):
            continue
        rows = [
            _row(title(name), baseline_runs, runs, _result(f"{split}/{name}"), _printed(name), signed)
            for name in recorded_metrics([*baseline_runs, *runs], split)
        ]
        if split == "test":
            rows.extend(_costs(baseline_runs, runs))
        chosen = ", the split that selected" if split == study.selection_split else ""
        seeds = f"means over seeds ± sd, n = {len(baseline_runs)} and {len(runs)}"
        page.paragraph(f"On {split}{chosen}, {seeds}, mAP in points:")
        page.table(header, rows)
    page.paragraph(
        f"Only {title(study.primary_metric)} is tested; the other rows describe. Training times include the "
        "machine's other load, so they are not compared."
    )


def _how_selected(study: StudyResults, selected: str) -> str:
    if not was_selected(study, selected):
        return (
            "No selection is recorded. This is the configuration with the highest observed "
            f"{title(study.primary_metric)}, so its figures contain the luck of that choice."
        )
    metric = title(study.selection_metric)
    words = [f"The search selected {study.label(selected)} on {metric}, before these runs on fresh seeds."]
    skipped = study.finalists[: study.finalists.index(selected)]
    without = [study.label(arm) for arm in skipped if arm != study.baseline]
    if without:
        words.append(f"Without complete confirmation runs, though higher in the search: {listed(without)}.")
    if study.winner is not None and study.winner != selected:
        words.append(
            f"After confirmation, {study.label(study.winner)} has the highest observed {metric}; its search run "
            "counts half. The same runs chose it, so its figures contain the luck of that choice."
        )
    return " ".join(words)


def _row(
    name: str, baseline: Sequence[Trial], selected: Sequence[Trial], pick: Pick, show: Print, show_gap: Print
) -> list[str]:
    means = [_mean(runs, pick) for runs in (baseline, selected)]
    gap = means[1] - means[0] if means[0] is not None and means[1] is not None else None
    return [name, _spread(baseline, pick, show), _spread(selected, pick, show), show_gap(gap)]


def _costs(baseline: Sequence[Trial], selected: Sequence[Trial]) -> list[list[str]]:
    def whole(value: float | None) -> str:
        return UNKNOWN if value is None else f"{value:,.0f}"

    def whole_gap(value: float | None) -> str:
        return UNKNOWN if value is None else "0" if round(value) == 0 else f"{value:+,.0f}"

    def not_compared(value: float | None) -> str:
        return UNKNOWN if value is None else NOT_COMPARED

    return [
        _row(title("seconds"), baseline, selected, lambda trial: trial.seconds or None, duration, not_compared),
        *(
            _row(title(f"params_{which}"), baseline, selected, _parameters(which), whole, whole_gap)
            for which in ("total", "active")
        ),
    ]


def _result(metric: str) -> Pick:
    return lambda trial: trial.result(metric)


def _printed(name: str) -> Print:
    return lambda value: number(value, metrics.METRICS[name].digits)


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
