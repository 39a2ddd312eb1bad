"""A study or a single run in one line, for `list`, `show` and `compare`."""

from collections.abc import Hashable, Mapping
from typing import Any

import pandas as pd

from tune_cmx.cli.objects.listed import ConfigurationValue, Summary
from tune_cmx.evidence.report.stamps import stamps
from tune_cmx.evidence.results.comparison import compare_arms
from tune_cmx.evidence.results.selection import selected_arm
from tune_cmx.evidence.results.study_results import StudyResults, Trial
from tune_cmx.evidence.studies.disk import size_bytes
from tune_cmx.evidence.studies.found import Found
from tune_cmx.evidence.studies.progress import DONE, last_day, trials_done, trials_planned
from tune_cmx.state.locks import is_locked

UNDER_WAY = ("searching", "confirming", "running")


def summary_of(found: Found) -> Summary:
    """The summary of a folder that `find` found."""
    if found.study is not None:
        return study_summary(found.study, compare_arms(found.study))
    if found.run is not None:
        return _run_summary(found.run, found.problems)
    return Summary(
        folder=str(found.folder),
        kind="damaged",
        name=found.folder.name,
        status=None,
        running=is_locked(found.folder),
        date=None,
        trials_done=0,
        trials_planned=0,
        metric=None,
        selected=None,
        baseline=None,
        bytes=size_bytes([found.folder]),
        form=None,
        stamps=(),
        problems=found.problems,
    )


def study_summary(study: StudyResults, arms: pd.DataFrame) -> Summary:
    """The summary of a study.

    Args:
        study: A study.
        arms: As `compare_arms` gives them.
    """
    rows = {str(row["arm"]): row for row in arms.to_dict("records")}
    selected = selected_arm(study, arms)
    return Summary(
        folder=str(study.folder),
        kind="study" if study.state.imported is None else "import",
        name=study.state.study,
        status=study.state.status,
        running=is_locked(study.folder),
        date=last_day(study.trials),
        trials_done=trials_done(study),
        trials_planned=trials_planned(study),
        metric=study.primary_metric if rows else None,
        selected=_value(rows.get(selected or "")),
        baseline=_value(rows.get(study.baseline or "")),
        bytes=size_bytes([study.folder]),
        form=study.state.form,
        stamps=tuple(stamps(study)),
        problems=study.problems,
    )


def status_text(summary: Summary) -> str:
    """The status; also where no process works on a study that says so, as after a power cut."""
    if summary.kind == "damaged":
        return "damaged"
    status = summary.status or "unknown"
    return f"{status}, no process" if status in UNDER_WAY and not summary.running else status


def _value(row: Mapping[Hashable, Any] | None) -> ConfigurationValue | None:
    if row is None:
        return None
    return ConfigurationValue(id=row["arm"], name=row["label"], n=row["n"], mean=row["mean"], sd=row["sd"])


def _run_summary(run: Trial, problems: tuple[str, ...]) -> Summary:
    metric = f"{run.reported_on}/mAP" if run.reported_on else None
    name = run.state.label or run.arm
    value = None if metric is None else ConfigurationValue(id=run.arm, name=name, n=1, mean=run.result(metric), sd=None)
    return Summary(
        folder=str(run.folder),
        kind="run",
        name=run.name,
        status=run.status,
        running=is_locked(run.folder),
        date=last_day([run]),
        trials_done=int(run.status in DONE),
        trials_planned=1,
        metric=metric,
        selected=value,
        baseline=None,
        bytes=size_bytes([run.folder]),
        form=None,
        stamps=(),
        problems=problems,
    )
