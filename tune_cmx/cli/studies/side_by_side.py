"""The tables of `tune-cmx compare`."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from rich.markup import escape

from tune_cmx.cli.objects.compared import Compared, ComparedStudy, ProtocolField
from tune_cmx.cli.options.json_output import print_object
from tune_cmx.cli.output import say, table_of, warn, warn_each
from tune_cmx.cli.studies.show import configuration_of, local_folder
from tune_cmx.counting import count
from tune_cmx.errors import ConfigError
from tune_cmx.evidence.report.first_screen.configurations import HEADER, configuration_cells
from tune_cmx.evidence.report.stamps import stamps
from tune_cmx.evidence.results.comparison import compare_arms, where_learnt
from tune_cmx.evidence.results.floor import Learning, learning
from tune_cmx.evidence.results.reading import read_study
from tune_cmx.evidence.results.study_results import StudyResults
from tune_cmx.evidence.studies.protocols import DifferingField, differing_fields
from tune_cmx.evidence.wording import UNKNOWN, cell_text, listed

Rows = Sequence[Mapping[Hashable, Any]]
SHOWN = 30
"""Fields that are shown one by one."""
SAME = (
    "No protocol field differs. Still, a difference between studies is descriptive: no test compares them, and each "
    "study selected its configurations by itself. To test it, put the configurations into one study."
)
OTHER = (
    "The protocols differ in {fields}, so values of different studies do not compare and are not ranked. A difference "
    "between studies is descriptive. To test it, put the configurations into one study."
)


def compare_studies(studies: Sequence[str], *, as_json: bool) -> None:
    """Print several studies side by side.

    Raises:
        ConfigError: There is only one.
    """
    if len(studies) < 2:
        raise ConfigError(f"compare: needs two or more studies; got {studies[0]}; for one: tune-cmx show {studies[0]}")
    read = [read_study(local_folder(study)) for study in studies]
    learnt = [learning(study) for study in read]
    both = zip(read, learnt, strict=True)
    tables = [where_learnt(compare_arms(study), own).to_dict("records") for study, own in both]
    differing = differing_fields(read)
    content = Compared(
        studies=tuple(map(_compared, read, tables, learnt)),
        same_protocol=not differing,
        differing=tuple(map(_field, differing)),
        comparison=_comparison(read, differing),
    )
    if as_json:
        print_object(content)
        return
    named = zip(_names(content), read, tables, strict=True)
    _show(content, [row for name, study, rows in named for row in _cells(name, study, rows)])


def _names(content: Compared) -> list[str]:
    """The studies' names; their folders, where two have one name."""
    names = [study.name for study in content.studies]
    return names if len({*names}) == len(names) else [study.folder for study in content.studies]


def _cells(name: str, study: StudyResults, rows: Rows) -> list[list[str]]:
    if not rows:
        return [[name, study.primary_metric, "no confirmed configuration", *[UNKNOWN] * (len(HEADER) - 1)]]
    return [[name, study.primary_metric, *configuration_cells(study, row)] for row in rows]


def _show(content: Compared, cells: Sequence[Sequence[str]]) -> None:
    for name, study in zip(_names(content), content.studies, strict=True):
        say(f"{escape(study.name)}: {escape(study.folder)}")
        for stamp in study.stamps:
            warn(f"{name}: {stamp}")
        if not study.learnt and study.configurations:
            warn(f"{name}: nothing was learnt, so its configurations are not compared")
        warn_each(name, study.problems)
    table_of(("study", "metric", *HEADER), cells, right=range(3, 8))
    if content.differing:
        named = [(one.field, *_field_cells(one)) for one in content.differing[:SHOWN]]
        table_of(("protocol field", *_names(content)), named)
        if content.differing[SHOWN:]:
            say(f"{len(content.differing) - SHOWN} more fields differ: --json has them all")
    say(f"[yellow]descriptive[/yellow]: {escape(content.comparison)}")


def _field_cells(field: ProtocolField) -> list[str]:
    """Its values in each study; `varied` where the study searches it."""
    both = zip(field.values, field.varied, strict=True)
    return [f"{listed(values)}{' (varied)' if varied else ''}" for values, varied in both]


def _compared(study: StudyResults, rows: Rows, learnt: Learning) -> ComparedStudy:
    return ComparedStudy(
        folder=str(study.folder),
        name=study.state.study,
        status=study.state.status,
        metric=study.primary_metric,
        stamps=tuple(stamps(study)),
        learnt=bool(learnt.intervals) and not learnt.nothing,
        configurations=tuple(map(configuration_of, rows)),
        problems=study.problems,
    )


def _field(found: DifferingField) -> ProtocolField:
    values = tuple(tuple(map(cell_text, own)) for own in found.values)
    return ProtocolField(field=found.field, values=values, varied=found.varied)


def _comparison(studies: Sequence[StudyResults], differing: Sequence[DifferingField]) -> str:
    metrics = dict.fromkeys(study.primary_metric for study in studies)
    words = f"The metrics differ ({listed(metrics)}). " if len(metrics) > 1 else ""
    if not differing:
        return f"{words}{SAME}"
    fields = f"{count(len(differing), 'field')} ({listed(one.field for one in differing)})"
    return f"{words}{OTHER.format(fields=fields)}"
