"""Claims about exact metrics (parameters, FLOPs, file sizes): compared without a test, from one run a configuration."""

from collections.abc import Callable, Sequence
from typing import Any

from tune_cmx import ties
from tune_cmx.evidence.claims.parsed_claim import Answer, Case, answer
from tune_cmx.evidence.claims.rows import Row, by_arm, mean_of, pair_key
from tune_cmx.evidence.wording import count, digits_apart, figure, number, signed_figure

_NO_TEST = "the metric is exact, so one run is enough and no test is needed"


def _superior(case: Case) -> Answer:
    """Better is SUPPORTED; worse, or equal, is CONTRADICTED."""
    own, other = _sides(case)
    ahead = ties.above(case.sign * own, case.sign * other)
    return answer("SUPPORTED" if ahead else "CONTRADICTED", _numbers(case, own, other), _words(case, own, other))


def _equivalent(case: Case) -> Answer:
    """A difference up to the margin is EQUIVALENT."""
    assert case.margin is not None
    own, other = _sides(case)
    inside = ties.at_least(case.margin, abs(own - other), size=abs(own))
    why = f"{_words(case, own, other)}; margin {case.margin:g}"
    return answer("EQUIVALENT" if inside else "CONTRADICTED", _numbers(case, own, other), why)


def _best(case: Case) -> Answer:
    """Better than every rival; the nearest one is named. A tie is not the best."""
    own = mean_of(case.treatment, case.metric)
    rivals = {name: mean_of(rows, case.metric) for name, rows in case.rivals.items()}
    rival = max(rivals, key=lambda name: ties.key(case.sign * rivals[name]))
    ahead = ties.above(case.sign * own, case.sign * rivals[rival])
    numbers = {**_numbers(case, own, rivals[rival]), "rival": rival}
    nearest = f"against {rival}, the nearest of {count(len(rivals), 'other configuration')}"
    why = f"{nearest}: {_words(case, own, rivals[rival])}"
    return answer("SUPPORTED" if ahead else "CONTRADICTED", numbers, why)


def _ratio(case: Case) -> Answer:
    """The ratio against the value claimed."""
    own, other = _sides(case)
    ratio = own / other
    return _against_value(case, ratio, {"ratio": ratio, "n_per_arm": case.fewest}, f"ratio {number(ratio, 3)}")


def _value(case: Case) -> Answer:
    """The value against the one claimed."""
    own = mean_of(case.treatment, case.metric)
    numbers = {"mean": own, "n_per_arm": len(case.treatment)}
    more = 0 if case.value is None else digits_apart((own, case.value), case.metric)
    return _against_value(case, own, numbers, f"{case.metric} {figure(own, case.metric, more)}")


EXACT: dict[str, Callable[[Case], Answer]] = {
    "superiority": _superior,
    "equivalence": _equivalent,
    "best": _best,
    "ratio": _ratio,
    "value": _value,
}


def _against_value(case: Case, found: float, numbers: dict[str, Any], words: str) -> Answer:
    if case.value is None:
        return answer("DESCRIPTIVE_ONLY", numbers, f"{words}; the claim names no value to test")
    tolerance = case.tolerance or 0.0
    holds = ties.at_least(tolerance, abs(found - case.value), size=abs(found))
    claimed = f"claimed {case.value:g}" + (f" ± {tolerance:g}" if tolerance else " without a tolerance")
    return answer("SUPPORTED" if holds else "CONTRADICTED", numbers, f"{words}, {claimed}; {_NO_TEST}")


def _sides(case: Case) -> tuple[float, float]:
    """The values of both sides; with `match_on`, the means over the runs that have a partner."""
    treatment, baseline = case.treatment, case.baseline
    if case.match_on:
        keys = [{pair_key(row, case.match_on) for row in side} - {None} for side in (treatment, baseline)]
        paired = keys[0] & keys[1]
        treatment, baseline = (
            [row for row in side if pair_key(row, case.match_on) in paired] for side in (treatment, baseline)
        )
    return _top(case, treatment), _top(case, baseline)


def _top(case: Case, rows: Sequence[Row]) -> float:
    """The value of a side; of a `best_of`, that of the best configuration."""
    if case.candidates == 1:
        return mean_of(rows, case.metric)
    return case.sign * max(case.sign * mean_of(runs, case.metric) for runs in by_arm(rows).values())


def _numbers(case: Case, own: float, other: float) -> dict[str, Any]:
    return {"difference": ties.difference(own, other), "n_per_arm": case.fewest}


def _words(case: Case, own: float, other: float) -> str:
    difference = ties.difference(own, other)
    more = max(digits_apart(pair, case.metric) for pair in ((own, other), (difference, 0.0)))
    gap = signed_figure(difference, case.metric, more)
    return f"{figure(own, case.metric, more)} against {figure(other, case.metric, more)}, difference {gap}; {_NO_TEST}"
