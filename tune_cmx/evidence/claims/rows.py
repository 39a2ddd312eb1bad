"""Runs as rows of a table: filters over their fields, arms, and the protocol that compared runs must share."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from tune_cmx.errors import DataError

Row = dict[str, Any]

BOOKKEEPING = frozenset(
    {"arm", "seed", "run_id", "exp_id", "study", "status", "resumed", "epochs_logged"}
    | {"selected_on", "reported_on", "source", "notes"}
)
"""Fields that say which run a row is, not how it was run."""

SPLITS = ("val", "test")
SIZES = frozenset({"small", "medium", "large"})
TIMES = frozenset({"hours", "seconds", "cumulative_seconds", "gpu_hours"})
LESS_IS_BETTER = ("loss", "miss", "latency", "error", "flops", "memory", "milliseconds")
"""In a metric's name, whatever its case."""

COUNTS = ("epochs", "schedule.epochs")


def as_rows(table: pd.DataFrame | Iterable[Mapping[str, Any]]) -> list[Row]:
    """Plain rows, in which an unknown value (NaN, an empty cell, null) is None and a list is a tuple.

    Seeds and epochs that are numbers written as text become numbers.

    Raises:
        DataError: The number of epochs is no number.
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


def flatten(section: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one of dotted paths; an empty mapping stays as a value."""
    flat: dict[str, Any] = {}
    for key, value in section.items():
        path = f"{prefix}{key}"
        flat.update(flatten(value, f"{path}.") if isinstance(value, Mapping) and value else {path: value})
    return flat


def is_result(field: str) -> bool:
    """Whether the field holds what came out of a run: mAP, sizes, times, losses, parameter counts."""
    if field.startswith(("val/", "test/", "train/", "mAP", "params")) or field in SIZES or field in TIMES:
        return True
    return field == "milliseconds" or _is_loss(field)


def _is_loss(field: str) -> bool:
    """A dotted path and a weight are settings."""
    return "loss" in field.lower() and "weight" not in field.lower() and "." not in field


def in_points(metric: str) -> bool:
    """Whether the metric is a mean average precision, counted in percent points."""
    name = metric.rpartition("/")[2]
    return name.startswith("mAP") or name in SIZES


def higher_is_better(metric: str) -> bool:
    """False for times, losses, errors, parameter counts and other costs."""
    name = metric.rpartition("/")[2]
    return not (name in TIMES or name.startswith("params") or any(word in name.lower() for word in LESS_IS_BETTER))


def covered(field: str, paths: Iterable[str]) -> bool:
    """Whether one of the paths is the field, or a section above it."""
    return any(field == path or field.startswith(f"{path}.") for path in paths)


def matches(row: Row, condition: Mapping[str, Any]) -> bool:
    """Whether every field that the condition names has the value given; a mapping names fields below its path."""
    for field, wanted in condition.items():
        if isinstance(wanted, Mapping) and field not in row:
            if not matches(row, flatten(wanted, f"{field}.")):
                return False
        elif plain(wanted) is None or row.get(field) != plain(wanted):
            return False
    return True


def arm_of(row: Row) -> str:
    """The arm's name; where the row has none, its configuration spelled out."""
    if row.get("arm") is not None:
        return str(row["arm"])
    return ", ".join(
        f"{field}={row[field]}" for field in sorted(row) if field not in BOOKKEEPING and not is_result(field)
    )


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


def differing_fields(rows: Sequence[Row], factor: Iterable[str], match_on: Sequence[str] = ()) -> list[str]:
    """Protocol fields in which rows differ although they must not, sorted.

    Without `match_on` all rows must agree; with it, those with equal values of those fields. A value that is not
    known differs from one that is.
    """
    allowed = [*factor, *match_on]
    fields = {field for row in rows for field in row if field not in BOOKKEEPING and not is_result(field)}
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row.get(field) for field in match_on), []).append(row)
    return sorted(
        field
        for field in fields
        if not covered(field, allowed) and any(len({row.get(field) for row in group}) > 1 for group in groups.values())
    )


def _with_numbers(row: Row, place: int) -> Row:
    for field in ("seed", *COUNTS):
        value = row.get(field)
        if isinstance(value, str) and re.fullmatch(r"\s*\d+(\.0*)?\s*", value):
            row[field] = int(float(value))
        elif field in COUNTS and value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise DataError(f"row {place}: {field} must be a number; got {value!r}")
    return row
