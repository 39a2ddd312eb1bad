"""A claim read against a table: which rows it speaks of."""

import fnmatch
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tune_cmx.errors import ConfigError
from tune_cmx.evidence.claims.rows import Row, arm_of, by_arm, matches
from tune_cmx.evidence.claims.run_table import MetricTable, Table
from tune_cmx.registry import suggestion

NEEDS = {
    "superiority": ("treatment", "baseline"),
    "equivalence": ("treatment", "baseline", "margin"),
    "best": ("treatment",),
    "ratio": ("treatment", "baseline"),
    "value": ("treatment",),
}
KEYS = frozenset(
    {"id", "text", "kind", "metric", "treatment", "baseline", "among"}
    | {"factor", "margin", "match_on", "value", "tolerance"}
)

Condition = Mapping[str, Any] | str
Answer = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """A claim with its rows."""

    kind: str
    metric: str
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
    _check_form(claim)
    kind, metric = claim["kind"], claim["metric"]
    seen, own_factor = table.on(metric), _names(claim.get("factor"))
    treatment_of = _condition(claim["treatment"], baseline)
    baseline_of = _condition(claim["baseline"], baseline) if "baseline" in NEEDS[kind] else None
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
    match_on = _names(claim.get("match_on"))
    for key, fields in (("match_on", match_on), ("among", [among])):
        unknown = [field for field in fields if not any(field in row for row in seen.rows)]
        if seen.rows and unknown:
            raise ConfigError(f"claim '{claim_text(claim)}': {key} names '{unknown[0]}', which no row has")
    rivals = _rivals(seen, treatment, among) if kind == "best" else {}
    missing = [_name(treatment_of)] if not treatment else []
    if baseline_of is not None and not baseline_rows:
        missing.append(_name(baseline_of))
    if kind == "best" and not rivals:
        missing.append("any arm to compare with")
    chosen_from = [group for side, group in ((treatment_of, treatment), (baseline_of, baseline_rows)) if _chooses(side)]
    return Case(
        kind=kind,
        metric=metric,
        treatment=treatment,
        baseline=baseline_rows,
        rivals=rivals,
        table=seen,
        names=(_name(treatment_of), _name(baseline_of) if baseline_of is not None else ""),
        factor=(*(own_factor or tuple(factor)), *([among] if kind == "best" else [])),
        own_factor=own_factor,
        match_on=match_on,
        candidates=max((len(by_arm(group)) for group in chosen_from), default=1),
        missing=tuple(missing),
        margin=_float(claim, "margin"),
        value=_float(claim, "value"),
        tolerance=_float(claim, "tolerance"),
        pilot=frozenset(pilot),
    )


def in_current_words(claim: Mapping[str, Any]) -> dict[str, Any]:
    """The claim with `baseline` where an older file says `control`, as a key and as the word for that side.

    Raises:
        ConfigError: It has both keys.
    """
    if "control" not in claim:
        return dict(claim)
    if "baseline" in claim:
        raise ConfigError("claim: has both 'baseline' and 'control', its older name; keep 'baseline'")
    side = claim["control"]
    renamed = {"baseline" if key == "control" else key: value for key, value in claim.items()}
    return {**renamed, "baseline": "baseline" if side == "control" else side}


def claim_text(claim: Mapping[str, Any]) -> str:
    """The claim's own sentence, or one made of its parts."""
    claim = in_current_words(claim)
    if claim.get("text"):
        return str(claim["text"])
    sides = [_name(_condition(claim[side], None)) for side in ("treatment", "baseline") if claim.get(side) is not None]
    margin = f", margin {claim['margin']}" if claim.get("margin") is not None else ""
    return f"{claim.get('kind')}: {' against '.join(sides)} on {claim.get('metric')}{margin}"


def _check_form(claim: Mapping[str, Any]) -> None:
    kind = claim.get("kind")
    if not isinstance(kind, str) or kind not in NEEDS:
        raise ConfigError(f"claim: unknown kind {kind!r}. Known: {', '.join(NEEDS)}.{suggestion(str(kind), NEEDS)}")
    for key in claim:
        if key not in KEYS:
            known = ", ".join(sorted(KEYS))
            raise ConfigError(f"claim of kind {kind}: unknown key {key!r}. Known: {known}.{suggestion(str(key), KEYS)}")
    for key in ("metric", *NEEDS[kind]):
        if claim.get(key) in (None, "", {}):
            raise ConfigError(f"claim of kind {kind}: '{key}' is missing")
    for key in ("metric", "among"):
        if claim.get(key) is not None and not isinstance(claim[key], str):
            raise ConfigError(f"claim of kind {kind}: {key} must be the name of one field; got {claim[key]!r}")
    for key in ("factor", "match_on"):
        names = claim.get(key)
        if not (names is None or isinstance(names, str) or _are_names(names)):
            raise ConfigError(f"claim of kind {kind}: {key} must be a field's name or a list of them; got {names!r}")
    for key in ("margin", "tolerance"):
        if claim.get(key) is not None and not (_is_number(claim[key]) and claim[key] > 0):
            raise ConfigError(f"claim of kind {kind}: {key} must be a number above 0; got {claim[key]!r}")
    if claim.get("value") is not None and not _is_number(claim["value"]):
        raise ConfigError(f"claim of kind {kind}: value must be a number; got {claim['value']!r}")
    for side in ("treatment", "baseline"):
        if claim.get(side) is not None and not isinstance(claim[side], Mapping | str):
            raise ConfigError(
                f"claim of kind {kind}: {side} must be an arm's name or field: value pairs; got {claim[side]!r}"
            )


def _are_names(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(name, str) for name in value)


def _rivals(table: MetricTable, treatment: list[Row], among: str) -> dict[str, list[Row]]:
    """Every other arm; among the values of another field, rows that do not have it are no rivals."""
    own = by_arm(treatment, among)
    known = [row for row in table.rows if row.get(among) is not None]
    return {name: rows for name, rows in by_arm(known, among).items() if name not in own}


def _condition(side: Condition, baseline: str | None) -> Mapping[str, Any]:
    if isinstance(side, str):
        return {"arm": baseline if side == "baseline" and baseline is not None else side}
    return side


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


def _name(condition: Mapping[str, Any]) -> str:
    if set(condition) == {"arm"}:
        return str(condition["arm"])
    if set(condition) == {"best_of"}:
        return f"best of {condition['best_of']}"
    return ", ".join(f"{field}={value}" for field, value in condition.items())


def _names(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else tuple(str(name) for name in value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _float(claim: Mapping[str, Any], key: str) -> float | None:
    return None if claim.get(key) is None else float(claim[key])


def _short(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, list | tuple):
        return [_short(entry) for entry in value]
    return value
