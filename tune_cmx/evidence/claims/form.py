"""The form of a claim: its kinds, their keys, the words for its sides, and the direction of its metric."""

import math
from collections.abc import Mapping
from typing import Any

from tune_cmx import metrics
from tune_cmx.config.claims.declared import foreign_key
from tune_cmx.errors import ConfigError
from tune_cmx.evidence.claims.rows import is_number
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
    | {"factor", "margin", "match_on", "value", "tolerance", "direction"}
)
DIRECTED = frozenset({"superiority", "best"})
"""Kinds that ask which way the metric is better."""

Condition = Mapping[str, Any] | str


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
    sides = [
        side_name(condition_of(claim[side], None)) for side in ("treatment", "baseline") if claim.get(side) is not None
    ]
    margin = f", margin {claim['margin']}" if claim.get("margin") is not None else ""
    return f"{claim.get('kind')}: {' against '.join(sides)} on {claim.get('metric')}{margin}"


def check_form(claim: Mapping[str, Any]) -> None:
    """Raises ConfigError where a key is unknown, missing or of the wrong type."""
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
        if claim.get(key) is not None and not (_is_finite(claim[key]) and claim[key] > 0):
            raise ConfigError(f"claim of kind {kind}: {key} must be a number above 0; got {claim[key]!r}")
    if claim.get("value") is not None and not _is_finite(claim["value"]):
        raise ConfigError(f"claim of kind {kind}: value must be a number; got {claim['value']!r}")
    for side in ("treatment", "baseline"):
        if claim.get(side) is not None and not isinstance(claim[side], Mapping | str):
            wanted = "the name of a configuration, or field: value pairs"
            raise ConfigError(f"claim of kind {kind}: {side} must be {wanted}; got {claim[side]!r}")
    refused = foreign_key(claim)
    if refused is not None:
        raise ConfigError(f"claim '{claim_text(claim)}': {refused}")


def direction_of(claim: Mapping[str, Any]) -> metrics.Direction | None:
    """Which way the claim's metric is better: as the table of metrics or the claim says it; None: nobody says it.

    Raises:
        ConfigError: The two contradict each other; or nobody says it, and the claim needs to know.
    """
    metric, stated = claim["metric"], claim.get("direction")
    known = metrics.find(metric)
    if stated not in (None, "higher", "lower"):
        raise ConfigError(f"claim '{claim_text(claim)}': direction must be lower or higher; got {stated!r}")
    if known is not None:
        better = known[1].better
        if stated is not None and stated != better:
            raise ConfigError(
                f"claim '{claim_text(claim)}': direction: {stated}, but {better} {known[1].title} is better; "
                f"leave `direction` out, or rename the column '{metric}' if it holds another metric"
            )
        return better
    chooses = any(
        isinstance(claim.get(side), Mapping) and "best_of" in claim[side] for side in ("treatment", "baseline")
    )
    if stated is None and (claim["kind"] in DIRECTED or chooses):
        raise ConfigError(
            f"claim '{claim_text(claim)}': metric '{metric}' is unknown, so the claim must say which way is better. "
            f'Add `direction: lower` or `direction: higher` to the claim, such as {{"kind": "{claim["kind"]}", '
            f'"metric": "{metric}", "direction": "lower", …}}'
        )
    return stated


def _are_names(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(name, str) for name in value)


def condition_of(side: Condition, baseline: str | None) -> Mapping[str, Any]:
    """The filter of a side; a name stands for the arm of that name, `baseline` for the one given."""
    if isinstance(side, str):
        return {"arm": baseline if side == "baseline" and baseline is not None else side}
    return side


def side_name(condition: Mapping[str, Any]) -> str:
    """As sentences name the side."""
    if set(condition) == {"arm"}:
        return str(condition["arm"])
    if set(condition) == {"best_of"}:
        return f"best of {condition['best_of']}"
    return ", ".join(f"{field}={value}" for field, value in condition.items())


def field_names(value: Any) -> tuple[str, ...]:
    """One name or several, as a tuple."""
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else tuple(str(name) for name in value)


def _is_finite(value: Any) -> bool:
    return is_number(value) and math.isfinite(value)


def as_float(claim: Mapping[str, Any], key: str) -> float | None:
    """The number under a key; None: it has none."""
    return None if claim.get(key) is None else float(claim[key])
