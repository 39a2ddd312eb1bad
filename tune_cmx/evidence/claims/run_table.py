"""A table of runs read once, and what claims about one metric of it share."""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any

import pandas as pd

from tune_cmx.evidence.claims.columns import Columns, read_columns
from tune_cmx.evidence.claims.invalid_runs import is_full_run
from tune_cmx.evidence.claims.measure import in_fractions
from tune_cmx.evidence.claims.rows import Row, as_rows, by_arm
from tune_cmx.evidence.statistics.difference import Comparison
from tune_cmx.metrics import SPLITS


class Table:
    """Rows, and by metric their arms and comparisons; many claims about one table need not read it again.

    Args:
        rows: One a run.
        results: Columns that are results, besides those of the table of metrics.
        protocol: Columns that are protocol whatever they look like.
        in_points: Average precision is in points, however low. False: without a value above 1 it is in fractions.
        complete: No more runs are to come, so that a filter by a field that no row has is an error.
    """

    def __init__(
        self,
        rows: pd.DataFrame | Iterable[Mapping[str, Any]],
        *,
        results: Iterable[str] = (),
        protocol: Iterable[str] = (),
        in_points: bool = False,
        complete: bool = True,
    ) -> None:
        self._rows, self._in_points, self.complete = as_rows(rows), in_points, complete
        self._results, self._protocol = frozenset(results), frozenset(protocol)
        self._seen: dict[Hashable, MetricTable] = {}

    def on(self, metric: str, settings: Iterable[str] = ()) -> "MetricTable":
        """The table as a claim about this metric sees it; `settings` are columns that the claim names as such."""
        held = frozenset(settings) - {metric}
        if (metric, held) not in self._seen:
            columns = read_columns(
                self._rows, results={*self._results, metric}, protocol=self._protocol - {metric}, settings=held
            )
            rows = _runs([_seen_by(row, metric, columns) for row in self._rows], columns)
            self._seen[metric, held] = MetricTable(metric, rows, columns, in_points=self._in_points)
        return self._seen[metric, held]


class MetricTable:
    """Rows that have the metric under its name, where it is known at all, and an arm each."""

    def __init__(self, metric: str, rows: list[Row], columns: Columns, *, in_points: bool) -> None:
        self.rows, self.columns, self.in_points = rows, columns, in_points
        self.fractions = not in_points and in_fractions(rows, metric)
        self.arms = by_arm(rows)
        full = {arm: [row for row in runs if is_full_run(row, metric)] for arm, runs in self.arms.items()}
        self.repeated = {arm: runs for arm, runs in full.items() if len(runs) > 1}
        """Arms with two full runs or more: those runs."""
        self._found: dict[Hashable, Comparison | None] = {}

    def remembered(self, key: Hashable, compare: Callable[[], Comparison | None]) -> Comparison | None:
        """What the comparison gave before under this key, or gives now."""
        if key not in self._found:
            self._found[key] = compare()
        return self._found[key]


def _seen_by(row: Row, metric: str, columns: Columns) -> Row:
    """`test/mAP` is the mAP of a row that reports on test; a row without an arm is named by its settings."""
    split, _, name = metric.rpartition("/")
    added: Row = {}
    if split in SPLITS and row.get(metric) is None and row.get("reported_on") == split and row.get(name) is not None:
        added[metric] = row[name]
    if row.get("arm") is None:
        added["arm"] = ", ".join(f"{name}={value}" for name, value in sorted(columns.protocol(row).items()))
    return {**row, **added} if added else row


def _runs(rows: list[Row], columns: Columns) -> list[Row]:
    """A row a run: of rows that are epochs of one run, the last.

    They are of one run where they share arm, seed and settings, or arm and run_id, and no two are of one epoch.
    """
    if not any(row.get("epoch") is not None for row in rows):
        return rows
    ids = Counter((row["arm"], row.get("run_id")) for row in rows)
    by_run: dict[Hashable, list[Row]] = {}
    for row in rows:
        run_id = row.get("run_id")
        settings = frozenset(item for item in columns.protocol(row).items() if item[0] != "epoch")
        same = run_id if run_id is not None and ids[row["arm"], run_id] > 1 else (row.get("seed"), settings)
        by_run.setdefault((row["arm"], same), []).append(row)
    left_out: set[int] = set()
    for epochs in by_run.values():
        known = {row["epoch"] for row in epochs if isinstance(row.get("epoch"), int | float)}
        if len(known) == len(epochs):
            last = max(epochs, key=lambda row: float(row["epoch"]))
            left_out |= {id(row) for row in epochs if row is not last}
    return [row for row in rows if id(row) not in left_out]
