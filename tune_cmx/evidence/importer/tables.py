"""CSV tables with a run a row."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tune_cmx.errors import DataError
from tune_cmx.evidence.claims.columns import read_columns
from tune_cmx.evidence.importer.forms import Run, are_fractions, as_value, table_run
from tune_cmx.evidence.importer.vocabulary import Names

_UNKNOWN = ("", "-")
"""Cells that say that the value is not known."""
_SHOWN = 20
"""Wrong cells that an error lists."""


@dataclass
class Table:
    """What a table held."""

    runs: list[Run] = field(default_factory=list)
    without_result: list[str] = field(default_factory=list)
    """Rows without mAP, which are left out: the place and what is missing."""
    notes: list[str] = field(default_factory=list)
    """What was done with columns that have no known name."""


def read_table(path: Path, names: Names) -> Table:
    """Read the runs of a CSV file.

    Raises:
        DataError: The file is no such table, or cells are wrong: a line for each of them.
    """
    header, lines = _lines(path)
    _refuse_header(path, header, names)
    rows, wrong = [], []
    for number, cells in lines:
        if len(cells) == len(header):
            texts = dict(zip(header, (cell.strip() for cell in cells), strict=True))
            rows.append((number, {column: text for column, text in texts.items() if text not in _UNKNOWN}))
        else:
            wrong.append(
                f"{path}:{number}: found {len(cells)} cells; the first line has {len(header)}. Complete the row; put a "
                "cell with a comma in quotation marks, and write a decimal point"
            )
    names, notes = _with_results(path, header, [row for _, row in rows], names)
    fractions = are_fractions([row for _, row in rows], names)
    table = Table(notes=notes)
    for number, row in rows:
        try:
            run, has_result = table_run(row, f"{path}:{number}", f"{path.stem}-{number}", names, fractions)
        except DataError as error:
            wrong += str(error).splitlines()
            continue
        if has_result:
            table.runs.append(run)
        else:
            table.without_result.append(f"{path}:{number}: column mAP: has no value, or -1 (undefined)")
    if wrong:
        more = [f"and {len(wrong) - _SHOWN} more"] if len(wrong) > _SHOWN else []
        raise DataError("\n".join([*wrong[:_SHOWN], *more]))
    return table


def _lines(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The header, and the other rows that are not empty, each with its line in the file."""
    try:
        reader = csv.reader(path.read_text(encoding="utf-8-sig").splitlines(), strict=True)
        rows = [(reader.line_num, row) for row in reader]
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: not a CSV file in UTF-8: {error}") from error
    header = [name.strip() for name in rows[0][1]] if rows else []
    last = len(header) - 1
    if header and header[last] == "notes":  # remarks may hold commas without quotation marks
        rows = [(at, [*row[:last], ",".join(row[last:])] if len(row) > len(header) else row) for at, row in rows]
    return header, [(at, row) for at, row in rows[1:] if any(cell.strip() for cell in row)]


def _refuse_header(path: Path, header: Sequence[str], names: Names) -> None:
    if "" in header:
        raise DataError(f"{path}:1: column {header.index('') + 1} has no name; name it, or remove it")
    known = [names.of(column) for column in header]
    for name in dict.fromkeys(known):
        same = [column for column, of in zip(header, known, strict=True) if of == name]
        if len(same) > 1:
            raise DataError(f"{path}:1: columns {' and '.join(same)} both stand for {name}; keep one of them")
    if "mAP" not in known:
        separated = "; separate columns by commas" if any(";" in column or "\t" in column for column in header) else ""
        raise DataError(
            f"{path}:1: has no column mAP{separated}; found {', '.join(header)[:200] or 'an empty line'}. For a column "
            "of another name give `columns: {NAME: mAP}` in the file of --claims"
        )


def _with_results(
    path: Path, header: Sequence[str], rows: Sequence[dict[str, str]], names: Names
) -> tuple[Names, list[str]]:
    """The names with the unknown columns sorted as a claim sorts them, and what was done with each unknown setting.

    A column of numbers that varies between runs of one `arm` is a result of it, not a setting.
    """
    unknown = [column for column in header if names.is_unknown(column)]
    values = [{names.of(column): as_value(text) for column, text in row.items()} for row in rows]
    found = read_columns(values, results=names.results, protocol=names.protocol)
    notes = []
    for column in unknown:
        if column in found.found:
            what = (
                "is taken as a result, because it varies between runs of one configuration. For a setting give "
                f"`protocol: [{column}]` in the file of --claims"
            )
        elif column in found.bookkeeping:
            what = "is kept beside the run, not as a setting"
        else:
            what = (
                f"is kept as a setting under its name. For a result give `results: [{column}]`, for a known name "
                f"`columns: {{{column}: NAME}}`, in the file of --claims"
            )
        notes.append(f"{path}:1: column {column}: has no known name and {what}")
    beside = frozenset(column for column in unknown if column in found.bookkeeping)
    results = frozenset(column for column in unknown if column in found.found)
    return Names(names.columns, names.results | results, beside, names.protocol), notes
