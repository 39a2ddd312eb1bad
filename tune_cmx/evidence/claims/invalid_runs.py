"""Runs that must not be counted: partial, without a value, counted twice, or timed over a part only."""

import math
import re
from collections.abc import Iterable

from tune_cmx import metrics
from tune_cmx.evidence.claims.columns import Columns
from tune_cmx.evidence.claims.notes import was_resumed
from tune_cmx.evidence.claims.rows import Row, arm_of

TRAINING_TIME = ("h", "s")
"""Units of metrics that are sums over the segments of a run."""


def is_full_run(row: Row, metric: str) -> bool:
    """Whether the run was completed and has the metric."""
    return row_damage(row, metric) is None


def row_damage(row: Row, metric: str) -> str | None:
    """What is wrong with this run for this metric; None: nothing."""
    status = row.get("status")
    if status not in (None, "complete"):
        return f"its status is '{status}', and only complete runs count"
    value = row.get(metric)
    if value is None:
        return f"it has no value of {metric}"
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return f"its {metric} is not a finite number: {value!r}"
    known = metrics.find(metric)
    if known is not None and known[1].unit == "points" and not 0 <= value <= 100:
        return f"its {metric} is {value}, not within 0..100 points"
    if known is not None and known[1].kind == "exact" and value <= 0:
        return f"its {metric} is {value}, not above 0"
    return _time_damage(row, value) if known is not None and known[1].unit in TRAINING_TIME else None


def counted_twice(rows: Iterable[Row], metric: str, columns: Columns) -> Row | None:
    """A row that repeats an earlier one: the same run_id, or the same configuration, seed and value."""
    seen: set[object] = set()
    for row in rows:
        configuration = frozenset(columns.protocol(row).items())
        keys: list[object] = [(arm_of(row), row["run_id"])] if row.get("run_id") is not None else []
        if row.get("seed") is not None:
            keys.append((arm_of(row), row["seed"], row.get(metric), configuration))
        if any(key in seen for key in keys):
            return row
        seen.update(keys)
    return None


def two_values(rows: Iterable[Row], metric: str, columns: Columns) -> tuple[Row, Row] | None:
    """Two rows without a run_id, alike in a known seed and in all but their results; None: there are none."""
    seen: dict[object, Row] = {}
    outcomes = columns.results - {*columns.found}
    for row in rows:
        if row.get("seed") is None or row.get("run_id") is not None:
            continue
        key = frozenset((column, value) for column, value in row.items() if column not in outcomes)
        first = seen.setdefault(key, row)
        if first is not row and first.get(metric) != row.get(metric):
            return first, row
    return None


def _time_damage(row: Row, value: float) -> str | None:
    if value <= 0:
        return f"its time is {value}"
    logged, epochs = row.get("epochs_logged"), row.get("epochs", row.get("schedule.epochs"))
    if logged is not None:
        covered = _epochs_covered(str(logged))
        if covered is None:
            return f"its epochs_logged '{logged}' cannot be read; give a count or ranges such as 1-15"
        if (epochs is not None and len(covered) < epochs) or (epochs is None and min(covered, default=0) > 1):
            return f"its time covers epochs {logged} of {epochs if epochs is not None else 'all'} only"
    if was_resumed(row) and not any(row.get(field) is not None for field in ("seconds", "cumulative_seconds")):
        return "it was resumed, by its field or its note, and its time is not known to be cumulative"
    return None


def _epochs_covered(logged: str) -> set[int] | None:
    """`15` is a count, `12-15` and `1-7,8-15` are ranges, ends included."""
    if re.fullmatch(r"\d+(\.0)?", logged.strip()):
        return set(range(1, int(float(logged)) + 1))
    covered: set[int] = set()
    for part in logged.split(","):
        ends = re.fullmatch(r"\s*(\d+)\s*(?:-|–|\.\.)\s*(\d+)\s*", part) or re.fullmatch(r"\s*((\d+))\s*", part)
        if ends is None:
            return None
        covered.update(range(int(ends[1]), int(ends[2]) + 1))
    return covered
