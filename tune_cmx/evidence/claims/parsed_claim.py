"""A claim read against a table: which rows it speaks of."""

import fnmatch
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tune_cmx import metrics
from tune_cmx.errors import ConfigError
from tune_cmx.evidence.claims.absent import NO_RIVAL, check_filters, check_metric
from tune_cmx.evidence.claims.form import (
    NEEDS,
    as_float,
    check_form,
    claim_text,
    condition_of,
    direction_of,
    field_names,
    in_current_words,
    side_name,
)
from tune_cmx.evidence.claims.measure import check_measure
from tune_cmx.evidence.claims.rows import Row, arm_of, by_arm, matches
from tune_cmx.evidence.claims.run_table import MetricTable, Table
from tune_cmx.evidence.wording import FRACTION

Answer = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """A claim with its rows."""

    kind: str
    metric: str
    direction: metrics.Direction | None
    """Which way the metric is better; None: not known, and the claim does not need it."""
    treatment: list[Row]
    baseline: list[Row]
    """Empty for `best` and `value`."""
    rivals: dict[str, list[Row]]
    """For `best`: every other arm, by name."""
    table: MetricTable
    """All rows: comparisons are counted in them."""
    names: tuple[str, str]
    """Of the treatment and of the baseline, for sentences."""
    factor: tuple[str, ...]
    """Fields in which the sides may differ."""
    own_factor: tuple[str, ...]
    """Those of them that the claim itself names."""
    match_on: tuple[str, ...]
    candidates: int
    """How many arms a `best_of` could choose from; 1 where nothing was chosen."""
    missing: tuple[str, ...]
    """Arms without a row."""
    margin: float | None
    value: float | None
    tolerance: float | None
    pilot: frozenset[int] = frozenset()
    """The pilot's seeds, where they fixed the number of all by Stein's rule; empty: the number was given."""

    @property
    def sign(self) -> int:
        """1 where a higher value is better, -1 where a lower one is."""
        return -1 if self.direction == "lower" else 1

    @property
    def printed(self) -> str:
        """The name by which `wording` prints values of the metric."""
        return FRACTION if self.table.fractions else self.metric

    @property
    def fewest(self) -> int:
        """Rows of the side that has the fewest."""
        return min(len(rows) for rows in self.groups.values())

    @property
    def exact(self) -> bool:
        """Whether the metric is the same in all runs of a configuration, so that no test is needed."""
        known = metrics.find(self.metric)
        return known is not None and known[1].kind == "exact"

    @property
    def paired_by_pilot(self) -> bool:
        """Whether differences are paired by seed and judged by the pilot's spread."""
        return bool(self.pilot) and self.match_on in ((), ("seed",)) and self.kind != "value"

    @property
    def compared(self) -> list[Row]:
        """All rows that the claim compares."""
        return [*self.treatment, *self.baseline, *(row for rows in self.rivals.values() for row in rows)]

    @property
    def groups(self) -> dict[str, list[Row]]:
        """The sides of the comparison by name."""
        sides = {self.names[0]: self.treatment}
        if self.kind not in ("best", "value"):
            sides[self.names[1]] = self.baseline
        return {**sides, **self.rivals}


def answer(verdict: str, numbers: Mapping[str, Any], why: str) -> Answer:
    """The form of every answer; numbers keep six significant digits."""
    return {"verdict": verdict, "numbers": {key: _short(value) for key, value in numbers.items()}, "why": why}


def read_case(
    claim: Mapping[str, Any],
    table: Table,
    baseline: str | None,
    factor: Sequence[str],
    pilot: Iterable[int] = (),
) -> Case:
    """The claim's rows.

    Args:
        claim: As design and documentation give its form.
        table: Of all runs.
        baseline: The arm that the word `baseline` stands for.
        factor: Fields in which arms may differ where the claim names no `factor`.
        pilot: Seeds of the pilot that fixed the number of all.

    Raises:
        ConfigError: The claim has an unknown key, lacks one, or its two sides share runs.
    """
    claim = in_current_words(claim)
    check_form(claim)
    kind, metric, direction = claim["kind"], claim["metric"], direction_of(claim)
    seen, own_factor = table.on(metric, _settings(claim)), field_names(claim.get("factor"))
    check_metric(claim, seen.rows)
    check_measure(claim, seen.rows, seen.fractions)
    treatment_of = condition_of(claim["treatment"], baseline)
    baseline_of = condition_of(claim["baseline"], baseline) if "baseline" in NEEDS[kind] else None
    if table.complete:
        check_filters(claim, {"treatment": treatment_of, "baseline": baseline_of or {}}, seen.rows)
    baseline_rows = _select(seen, baseline_of) if baseline_of is not None else []
    treatment = _select(seen, treatment_of)
    of_baseline = {id(row) for row in baseline_rows}
    if "best_of" in treatment_of:
        treatment = [row for row in treatment if id(row) not in of_baseline]
    if any(id(row) in of_baseline for row in treatment):
        raise ConfigError(
            f"claim '{claim_text(claim)}': treatment and baseline share runs; narrow one of {dict(treatment_of)} "
            f"and {dict(baseline_of or {})}"
        )
    among = str(claim.get("among") or "arm")
    match_on = field_names(claim.get("match_on"))
    for key, fields in (("match_on", match_on), ("among", [among])):
        unknown = [field for field in fields if not any(field in row for row in seen.rows)]
        if seen.rows and unknown:
            raise ConfigError(f"claim '{claim_text(claim)}': {key} names '{unknown[0]}', which no row has")
    rivals = _rivals(seen, treatment, among) if kind == "best" else {}
    missing = [side_name(treatment_of)] if not treatment else []
    if baseline_of is not None and not baseline_rows:
        missing.append(side_name(baseline_of))
    if kind == "best" and not rivals:
        missing.append(NO_RIVAL)
    chosen_from = [group for side, group in ((treatment_of, treatment), (baseline_of, baseline_rows)) if _chooses(side)]
    return Case(
        kind=kind,
        metric=metric,
        direction=direction,
        treatment=treatment,
        baseline=baseline_rows,
        rivals=rivals,
        table=seen,
        names=(side_name(treatment_of), side_name(baseline_of) if baseline_of is not None else ""),
        factor=(*(own_factor or tuple(factor)), *([among] if kind == "best" else [])),
        own_factor=own_factor,
        match_on=match_on,
        candidates=max((len(by_arm(group)) for group in chosen_from), default=1),
        missing=tuple(missing),
        margin=as_float(claim, "margin"),
        value=as_float(claim, "value"),
        tolerance=as_float(claim, "tolerance"),
        pilot=frozenset(pilot),
    )


def _settings(claim: Mapping[str, Any]) -> frozenset[str]:
    """Fields that the claim names as what runs were made with: they are no results, however they vary."""
    sides = [claim[side] for side in ("treatment", "baseline") if isinstance(claim.get(side), Mapping)]
    lists = [field_names(claim.get(key)) for key in ("factor", "match_on", "among")]
    return frozenset(field for names in (*sides, *lists) for field in names)


def _rivals(table: MetricTable, treatment: list[Row], among: str) -> dict[str, list[Row]]:
    """Every other arm; among the values of another field, rows that do not have it are no rivals."""
    own = by_arm(treatment, among)
    known = [row for row in table.rows if row.get(among) is not None]
    return {name: rows for name, rows in by_arm(known, among).items() if name not in own}


def _select(table: MetricTable, condition: Mapping[str, Any]) -> list[Row]:
    if set(condition) == {"arm"}:
        return table.arms.get(str(condition["arm"]), [])
    fields = {field: value for field, value in condition.items() if field != "best_of"}
    pattern = condition.get("best_of")
    return [
        row
        for row in table.rows
        if (pattern is None or fnmatch.fnmatchcase(arm_of(row), str(pattern))) and matches(row, fields)
    ]


def _chooses(condition: Mapping[str, Any] | None) -> bool:
    return condition is not None and "best_of" in condition


def _short(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, list | tuple):
        return [_short(entry) for entry in value]
    if isinstance(value, dict):
        return {key: _short(entry) for key, entry in value.items()}
    return value
