"""A claim read against a table: which rows it speaks of."""

import fnmatch
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tune_cmx.errors import ConfigError
from tune_cmx.evidence.rows import Row, arm_of, by_arm, matches
from tune_cmx.registry import suggestion

NEEDS = {
    "superiority": ("treatment", "control"),
    "equivalence": ("treatment", "control", "margin"),
    "best": ("treatment",),
    "ratio": ("treatment", "control"),
    "value": ("treatment",),
}
KEYS = frozenset(
    {"id", "text", "kind", "metric", "treatment", "control", "among"}
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
    control: list[Row]
    """Empty for `best` and `value`."""
    rivals: dict[str, list[Row]]
    """For `best`: every other arm, by name."""
    rows: list[Row]
    """The whole table: comparisons are counted in it."""
    names: tuple[str, str]
    """Of the treatment and of the control, for sentences."""
    factor: tuple[str, ...]
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
        return [*self.treatment, *self.control, *(row for rows in self.rivals.values() for row in rows)]

    @property
    def groups(self) -> dict[str, list[Row]]:
        """The sides of the comparison by name."""
        sides = {self.names[0]: self.treatment}
        if self.kind not in ("best", "value"):
            sides[self.names[1]] = self.control
        return {**sides, **self.rivals}


def answer(verdict: str, numbers: Mapping[str, Any], why: str) -> Answer:
    """The form of every answer; numbers keep six significant digits."""
    return {"verdict": verdict, "numbers": {key: _short(value) for key, value in numbers.items()}, "why": why}


def read_case(
    claim: Mapping[str, Any],
    rows: list[Row],
    control: str | None,
    factor: Sequence[str],
    pilot: Iterable[int] = (),
) -> Case:
    """The claim's rows.

    Args:
        claim: As design and documentation give its form.
        rows: Plain rows.
        control: The arm that the word `control` stands for.
        factor: Fields in which arms may differ where the claim names no `factor`.
        pilot: Seeds of the pilot that fixed the number of all.

    Raises:
        ConfigError: The claim has an unknown key, lacks one, or its two sides share runs.
    """
    _check_form(claim)
    kind, metric = str(claim["kind"]), str(claim["metric"])
    treatment_of = _condition(claim["treatment"], control)
    control_of = _condition(claim["control"], control) if "control" in NEEDS[kind] else None
    control_rows = _select(rows, control_of) if control_of is not None else []
    treatment = _select(rows, treatment_of)
    if "best_of" in treatment_of:
        treatment = [row for row in treatment if not any(row is other for other in control_rows)]
    if any(row is other for row in treatment for other in control_rows):
        raise ConfigError(
            f"claim '{claim_text(claim)}': treatment and control share runs; narrow one of {dict(treatment_of)} "
            f"and {dict(control_of or {})}"
        )
    among = str(claim.get("among") or "arm")
    own = by_arm(treatment, among)
    rivals = {name: group for name, group in by_arm(rows, among).items() if name not in own} if kind == "best" else {}
    match_on = _names(claim.get("match_on"))
    unknown = [field for field in match_on if not any(field in row for row in rows)]
    if rows and unknown:
        raise ConfigError(f"claim '{claim_text(claim)}': match_on names '{unknown[0]}', which no row has")
    missing = [_name(treatment_of)] if not treatment else []
    if control_of is not None and not control_rows:
        missing.append(_name(control_of))
    if kind == "best" and not rivals:
        missing.append("any arm to compare with")
    chosen_from = [group for side, group in ((treatment_of, treatment), (control_of, control_rows)) if _chooses(side)]
    return Case(
        kind=kind,
        metric=metric,
        treatment=treatment,
        control=control_rows,
        rivals=rivals,
        rows=rows,
        names=(_name(treatment_of), _name(control_of) if control_of is not None else ""),
        factor=(*(_names(claim.get("factor")) or tuple(factor)), *([among] if kind == "best" else [])),
        match_on=match_on,
        candidates=max((len(by_arm(group)) for group in chosen_from), default=1),
        missing=tuple(missing),
        margin=_float(claim, "margin"),
        value=_float(claim, "value"),
        tolerance=_float(claim, "tolerance"),
        pilot=frozenset(pilot),
    )


def claim_text(claim: Mapping[str, Any]) -> str:
    """The claim's own sentence, or one made of its parts."""
    if claim.get("text"):
        return str(claim["text"])
    sides = [_name(_condition(claim[side], None)) for side in ("treatment", "control") if claim.get(side) is not None]
    margin = f", margin {claim['margin']}" if claim.get("margin") is not None else ""
    return f"{claim.get('kind')}: {' against '.join(sides)} on {claim.get('metric')}{margin}"


def _check_form(claim: Mapping[str, Any]) -> None:
    kind = claim.get("kind")
    if kind not in NEEDS:
        raise ConfigError(f"claim: unknown kind '{kind}'. Known: {', '.join(NEEDS)}.{suggestion(str(kind), NEEDS)}")
    for key in claim:
        if key not in KEYS:
            known = ", ".join(sorted(KEYS))
            raise ConfigError(f"claim of kind {kind}: unknown key '{key}'. Known: {known}.{suggestion(key, KEYS)}")
    for key in ("metric", *NEEDS[kind]):
        if claim.get(key) in (None, "", {}):
            raise ConfigError(f"claim of kind {kind}: '{key}' is missing")
    for key in ("margin", "tolerance"):
        if claim.get(key) is not None and not (_is_number(claim[key]) and claim[key] > 0):
            raise ConfigError(f"claim of kind {kind}: {key} must be a number above 0; got {claim[key]!r}")
    if claim.get("value") is not None and not _is_number(claim["value"]):
        raise ConfigError(f"claim of kind {kind}: value must be a number; got {claim['value']!r}")
    for side in ("treatment", "control"):
        if claim.get(side) is not None and not isinstance(claim[side], Mapping | str):
            raise ConfigError(
                f"claim of kind {kind}: {side} must be an arm's name or field: value pairs; got {claim[side]!r}"
            )
    if not isinstance(claim.get("among") or "arm", str):
        raise ConfigError(f"claim of kind {kind}: among must be the name of one field; got {claim['among']!r}")


def _condition(side: Condition, control: str | None) -> Mapping[str, Any]:
    if isinstance(side, str):
        return {"arm": control if side == "control" and control is not None else side}
    return side


def _select(rows: list[Row], condition: Mapping[str, Any]) -> list[Row]:
    fields = {field: value for field, value in condition.items() if field != "best_of"}
    pattern = condition.get("best_of")
    return [
        row
        for row in rows
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
    return isinstance(value, int | float) and not isinstance(value, bool)


def _float(claim: Mapping[str, Any], key: str) -> float | None:
    return None if claim.get(key) is None else float(claim[key])


def _short(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, list | tuple):
        return [_short(entry) for entry in value]
    return value
