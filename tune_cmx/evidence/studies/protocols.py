"""In which protocol fields several studies differ, by the rules that claims are judged by."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tune_cmx.evidence.claims.columns import differing_columns, read_columns
from tune_cmx.evidence.claims.rows import Row, as_rows, covered
from tune_cmx.evidence.results.study_claims import study_factor, study_rows
from tune_cmx.evidence.results.study_results import StudyResults

_PLACES = ("data.sequences",)
"""A path; what it leads to is in the hash of the split."""


@dataclass(frozen=True)
class DifferingField:
    """A field in which studies differ and that not all of them vary."""

    field: str
    values: tuple[tuple[Any, ...], ...]
    """By study the values of its confirmed runs; an unknown one is None."""
    varied: tuple[bool, ...]
    """By study whether it varies the field."""


def differing_fields(studies: Sequence[StudyResults]) -> list[DifferingField]:
    """The protocol fields in which the confirmed runs of studies differ, sorted.

    A field that all studies vary is no protocol field. A value that is not known differs from one that is. Studies
    without confirmed runs are compared by the protocol in `study.json`.
    """
    by_study = [_rows(study) for study in studies]
    rows = [row for own in by_study for row in own]
    columns = read_columns(rows, results={study.primary_metric for study in studies})
    varied = [study_factor(study) for study in studies]
    shared = [field for row in rows for field in row if all(covered(field, factors) for factors in varied)]
    found = differing_columns(columns, rows, [*shared, *_PLACES])
    return [
        DifferingField(
            field,
            tuple(tuple(dict.fromkeys(row.get(field) for row in own)) for own in by_study),
            tuple(covered(field, factors) for factors in varied),
        )
        for field in found
    ]


def _rows(study: StudyResults) -> list[Row]:
    """A row for each confirmed run, with all that the study's protocol holds; without a run, the protocol alone."""
    held: Mapping[str, Any] = study.state.protocol
    runs = study_rows(study, study.primary_metric)
    return as_rows([{**held, **run} for run in runs] or [held])
