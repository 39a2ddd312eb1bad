"""The first screen of a study, for `tune-cmx show`."""

import shlex
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from rich.markup import escape

from tune_cmx.cli.earlier import study_copy
from tune_cmx.cli.objects.shown import Configuration, Next, Shown
from tune_cmx.cli.options.json_output import print_object
from tune_cmx.cli.output import out, say, table_of, warn, warn_each
from tune_cmx.cli.studies.summary import status_text, study_summary
from tune_cmx.counting import count
from tune_cmx.evidence.report.first_screen.answer import answer_text
from tune_cmx.evidence.report.first_screen.configurations import (
    HEADER,
    UNRANKED_HEADER,
    configuration_cells,
    unranked_rows,
)
from tune_cmx.evidence.report.first_screen.facts import facts_line
from tune_cmx.evidence.report.first_screen.next_step import next_command
from tune_cmx.evidence.report.metric_text import title
from tune_cmx.evidence.results.comparison import compare_arms, where_learnt
from tune_cmx.evidence.results.device_hours import device_hours, hours_name
from tune_cmx.evidence.results.floor import Learning, learning
from tune_cmx.evidence.results.reading import read_study
from tune_cmx.evidence.results.study_results import StudyResults


def show_study(study: str, *, as_json: bool) -> None:
    """Print the first screen of a study."""
    found = read_study(local_folder(study))
    arms, learnt = compare_arms(found), learning(found)
    if as_json:
        print_object(_shown(found, arms, learnt))
    else:
        _show(found, arms, learnt)


def local_folder(study: str) -> Path:
    """The study's folder; of a URI a copy on this machine."""
    return study_copy(study)[0] if "://" in study else Path(study).resolve()


def configuration_of(row: Mapping[Hashable, Any]) -> Configuration:
    """A row of `where_learnt`, typed."""
    low, high = row["ci95_low"], row["ci95_high"]
    return Configuration(
        id=row["arm"],
        name=row["label"],
        **{key: row[key] for key in ("n", "mean", "sd", "difference", "p", "adjusted_p", "verdict", "why")},
        interval=None if low is None or high is None else (low, high),
    )


def _shown(study: StudyResults, arms: pd.DataFrame, learnt: Learning) -> Shown:
    report = study.folder / "report" / "report.html"
    words, command = _next(study, arms, learnt)
    return Shown(
        **dict(study_summary(study, arms)),
        question=study.state.question,
        factors=study.state.factors,
        answer=_answer(study, arms, learnt),
        learnt=bool(learnt.intervals) and not learnt.nothing,
        configurations=tuple(map(configuration_of, where_learnt(arms, learnt).to_dict("records"))),
        hours=device_hours(study.trials),
        hours_of=hours_name(study.trials),
        report=str(report) if report.is_file() else None,
        next=Next(words=words, command=command),
    )


def _show(study: StudyResults, arms: pd.DataFrame, learnt: Learning) -> None:
    shown = _shown(study, arms, learnt)
    out.print(f"[bold]{escape(shown.name)}[/bold]  {escape(shown.folder)}", soft_wrap=True)
    if shown.question:
        say(escape(shown.question))
    say(escape(facts_line(study)))
    if shown.status not in ("complete", "imported"):
        say(
            f"[yellow]not complete[/yellow]: {status_text(shown)}; {shown.trials_done} of {shown.trials_planned} trials"
        )
    for stamp in shown.stamps:
        warn(stamp)
    say(escape(shown.answer))
    if learnt.nothing:
        table_of(UNRANKED_HEADER, unranked_rows(study, arms, learnt), right=(1, 2, 3))
    elif not arms.empty:
        cells = [configuration_cells(study, row) for row in arms.to_dict("records")]
        say(f"{title(study.primary_metric)} in points; n is the number of seeds; differences are from the baseline")
        table_of(HEADER, cells, right=range(1, 6))
    warn_each("study folder", study.problems)
    if shown.report is None:
        say(f"report: none yet; tune-cmx report {escape(shlex.quote(shown.folder))}")
    else:
        say(f"report: {escape(shown.report)}")
    say(f"next: {escape(shown.next.words)} {escape(shown.next.command)}")


def _answer(study: StudyResults, arms: pd.DataFrame, learnt: Learning) -> str:
    imported = study.state.imported
    if imported is None:
        return answer_text(study, arms, learnt)
    runs = count(len(study.trials), "imported run")
    return f"{runs} from {', '.join(imported.sources)}. None counts as a confirmation run; the report has their tables."


def _next(study: StudyResults, arms: pd.DataFrame, learnt: Learning) -> tuple[str, str]:
    if study.state.imported is None:
        return next_command(study, arms, learnt)
    return "Write the report of the import:", f"tune-cmx report {shlex.quote(str(study.folder))}"
