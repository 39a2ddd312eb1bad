"""Average precision in points, 0 to 100, or in fractions, 0 to 1: which of them a table has."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from tune_cmx import metrics
from tune_cmx.errors import ConfigError
from tune_cmx.evidence.claims.form import claim_text
from tune_cmx.evidence.claims.rows import Row

LARGEST_FRACTION = 0.1
"""Of a margin or a tolerance: 10 points. A larger one is meant in points."""
READ_AS_FRACTIONS = "is read as fractions (no value is above 1), and so are the numbers of this answer"


def in_fractions(rows: Sequence[Row], metric: str) -> bool:
    """Whether the metric is counted in points elsewhere, and here no value is above 1."""
    values = _values(rows, metric)
    return any(value > 0 for value in values) and max(values) <= 1


def other_measure(compared: Sequence[Row], rows: Sequence[Row], metric: str) -> Row | None:
    """A compared run whose value is a fraction where the table also has points; None: there is none.

    A value of 0 is the same in both.
    """
    if max(_values(rows, metric), default=0.0) <= 1:
        return None
    return next((row for row in compared if any(0 < value <= 1 for value in _values([row], metric))), None)


def check_measure(claim: Mapping[str, Any], rows: Sequence[Row], fractions: bool) -> None:
    """Raises ConfigError where a margin, a tolerance or a value is in points and the rows are not, or the reverse."""
    metric, kind = claim["metric"], claim["kind"]
    of_kind = ("tolerance", "value") if kind == "value" else ("margin",)  # those of a ratio have no unit
    for key in of_kind:
        given = claim.get(key)
        if given is None:
            continue
        largest = 1.0 if key == "value" else LARGEST_FRACTION
        if fractions and given > largest:
            raise ConfigError(
                f"claim '{claim_text(claim)}': {key}: {given:g}, but the rows have {metric} as fractions (no value is "
                f"above 1); give a fraction up to {largest:g}, such as {key}: {given / 100:g} for {given:g} points"
            )
    given, values = claim.get("value"), _values(rows, metric)
    if kind == "value" and given is not None and 0 < given <= 1 and values and min(values) > 1:
        raise ConfigError(
            f"claim '{claim_text(claim)}': value: {given:g}, but the rows have {metric} in points (from "
            f"{min(values):g} to {max(values):g}); give points too, such as value: {100 * given:g}"
        )


def _values(rows: Sequence[Row], metric: str) -> list[float]:
    """The values of a metric in points; of another metric, none."""
    known = metrics.find(metric)
    if known is None or known[1].unit != "points":
        return []
    found = [row.get(metric) for row in rows]
    return [
        float(value)
        for value in found
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    ]
