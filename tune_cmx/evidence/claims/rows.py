"""Runs as rows of a table: filters over their fields, arms, and the protocol that compared runs must share."""

import math
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from tune_cmx.config.parse import flatten
from tune_cmx.config.paths import below
from tune_cmx.errors import DataError

Row = dict[str, Any]

BOOKKEEPING = frozenset(
    {"arm", "seed", "run_id", "exp_id", "study", "status", "resumed", "epochs_logged"}
    | {"selected_on", "reported_on", "source", "notes"}
)
"""Fields that say which run a row is, not how it was run."""

COUNTS = ("epochs", "schedule.epochs")


def as_rows(table: pd.DataFrame | Iterable[Mapping[str, Any]]) -> list[Row]:
    """Plain rows, in which an unknown value (NaN, an empty cell, null) is None and a list is a tuple.

    Seeds and epochs that are numbers written as text become numbers.

    Raises:
        DataError: The number of epochs cannot be read.
    """
    records: Iterable[Mapping[Any, Any]] = table.to_dict("records") if isinstance(table, pd.DataFrame) else table
    return [
        _with_numbers({str(field): plain(value) for field, value in record.items()}, place)
        for place, record in enumerate(records, start=1)
    ]


def plain(value: Any) -> Any:
    """The value in a form that can be compared and hashed."""
    if value is None or isinstance(value, int):
        return value
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, Mapping):
        return tuple(sorted((str(key), plain(entry)) for key, entry in value.items()))
    if isinstance(value, list | tuple | np.ndarray):
        return tuple(plain(entry) for entry in value)
    if value is pd.NA or value is pd.NaT or value == "" or (isinstance(value, float) and math.isnan(value)):
        return None
    return value


def is_number(value: Any) -> bool:
    """Whether it is a number; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def mean_of(rows: Iterable[Row], metric: str) -> float:
    """The mean of a metric that all rows have."""
    return statistics.fmean(row[metric] for row in rows)


def covered(field: str, paths: Iterable[str]) -> bool:
    """Whether one of the paths is the field, or a section above it."""
    return any(below(field, path) for path in paths)


def matches(row: Row, condition: Mapping[str, Any]) -> bool:
    """Whether every field that the condition names has the value given; a mapping names fields below its path."""
    for field, wanted in condition.items():
        if isinstance(wanted, Mapping) and field not in row:
            if not matches(row, flatten(wanted, field)):
                return False
        elif plain(wanted) is None or row.get(field) != plain(wanted):
            return False
    return True


def arm_of(row: Row) -> str:
    """The name of the row's configuration; every row of a `Table` has one."""
    return str(row["arm"])


def by_arm(rows: Iterable[Row], field: str = "arm") -> dict[str, list[Row]]:
    """Rows by arm, in the order of the table; another `field` groups by that field's values."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(arm_of(row) if field == "arm" else str(row.get(field)), []).append(row)
    return groups


def pair_key(row: Row, fields: Sequence[str]) -> tuple[Any, ...] | None:
    """The values by which runs are paired; None: seeds are among the fields, and this one is not known."""
    key = tuple(row.get(field) for field in fields)
    return None if "seed" in fields and row.get("seed") is None else key


def _with_numbers(row: Row, place: int) -> Row:
    for field in ("seed", *COUNTS):
        value = row.get(field)
        if isinstance(value, str) and re.fullmatch(r"\s*\d+(\.0*)?\s*", value):
            row[field] = int(float(value))
        elif field in COUNTS and value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise DataError(f"row {place}: {field} must be a number; got {value!r}")
    return row
