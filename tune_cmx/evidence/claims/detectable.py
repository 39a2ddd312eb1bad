"""How many seeds would settle an open question, and what training them would cost."""

import math
import statistics
from collections.abc import Sequence
from typing import Any

from tune_cmx import metrics
from tune_cmx.evidence.claims.invalid_runs import row_damage
from tune_cmx.evidence.claims.parsed_claim import Case
from tune_cmx.evidence.claims.rows import Row
from tune_cmx.evidence.statistics.difference import Comparison, seeds_for_margin, seeds_to_detect
from tune_cmx.evidence.wording import count, number, unit

ALPHA = 0.05
POINTS = 0.5
"""The difference that seeds are counted for."""

Sides = tuple[Sequence[Row], ...]
Found = tuple[dict[str, Any], str]


def seeds_needed(case: Case, outcome: Comparison, comparisons: int, sides: Sides) -> Found:
    """Numbers and words for a comparison that decided nothing.

    `seeds_needed`, an arm, find a true difference of `seeds_needed_for` with 80 % power at 0.05 divided by the number
    of comparisons, which is the hardest step of Holm's correction. That difference is 0.5 points; where the metric
    does not count in points it is the claim's margin, or without one the difference observed.

    Args:
        case: With the claim's margin.
        outcome: The comparison.
        comparisons: Over which Holm's correction ran.
        sides: The runs of treatment and baseline.
    """
    effect = POINTS if in_points(case.metric) else case.margin or abs(outcome.difference)
    paired = outcome.n_pairs is not None
    seeds = seeds_to_detect(effect, outcome.sd, paired, ALPHA / comparisons)
    holm = f" at p {ALPHA}" if comparisons == 1 else f" at p {ALPHA} / {comparisons}, Holm's first step"
    settled = f"a true difference of {effect:g}{unit(case.metric)}"
    numbers, words = _priced(seeds, effect, f"{settled}, with 80 % power{holm}", outcome, sides)
    if case.kind == "equivalence" and case.margin is not None:
        numbers["seeds_for_margin"] = seeds_for_margin(case.margin, outcome.sd, paired)
        words += f"; {_about(numbers['seeds_for_margin'])} would show equivalence, were there no difference at all"
    return numbers, words


def seeds_for_value(case: Case, values: Sequence[float]) -> Found:
    """As `seeds_needed`, for a mean against a value claimed; for want of points the tolerance, or what was observed."""
    distance = abs(statistics.fmean(values) - (case.value or 0.0))
    effect = POINTS if in_points(case.metric) else case.tolerance or distance
    sd = statistics.stdev(values)
    seeds = seeds_to_detect(effect, sd, True, ALPHA)
    settled = f"a true distance of {effect:g}{unit(case.metric)} from the value, with 80 % power at p {ALPHA}"
    return _priced(seeds, effect, settled, None, (case.treatment,))


def seeds_for_ratio(case: Case, ratios: Comparison, raw: Comparison) -> Found:
    """As `seeds_needed`, for a ratio against a value claimed; for want of points the tolerance, or what was observed.

    Args:
        case: Of a ratio with a value.
        ratios: The comparison of logarithms.
        raw: The comparison of the values themselves.
    """
    sides = (case.treatment, case.baseline)
    if in_points(case.metric):
        return seeds_needed(case, raw, 1, sides)
    value = case.value or 0.0
    if value <= 0:
        return {"seeds_needed": None}, "no number of seeds shows a ratio that is not above 0"
    ratio = math.exp(ratios.difference)
    effect = case.tolerance or abs(ratio - value)
    seeds = seeds_to_detect(math.log1p(effect / value), ratios.sd, ratios.n_pairs is not None, ALPHA)
    settled = f"a true distance of {effect:.3g} from the ratio claimed, with 80 % power at p {ALPHA}"
    return _priced(seeds, effect, settled, ratios, sides)


def _priced(seeds: int | None, effect: float, settled: str, outcome: Comparison | None, sides: Sides) -> Found:
    """The number of seeds with the GPU-hours of those not yet run, where all sides' hours are known."""
    numbers: dict[str, Any] = {"seeds_needed": seeds, "seeds_needed_for": effect}
    fresh = outcome is not None and outcome.pilot_pairs is not None  # a pilot fixed this one's number
    words = f"{_about(seeds)} {'in a new confirmation ' if fresh else ''}would settle {settled}"
    if seeds is None:
        return numbers, words
    run = [0 if fresh else _run_already(outcome, side) for side in sides]
    missing = [max(0, seeds - n) for n in run]
    hours = [_gpu_hours(side) for side in sides]
    known = [one for one in hours if one is not None]
    if len(known) == len(hours):
        needed = sum(n * one for n, one in zip(missing, known, strict=True))
        numbers["gpu_hours_needed"] = needed
        if any(missing):
            words += f" ({number(needed, 1)} GPU-hours for the {count(sum(missing), 'run')} not there yet)"
    if not any(missing):
        words += "; as many were run, so what is open is a smaller difference"
    return numbers, words


def in_points(metric: str) -> bool:
    """Whether the metric is a score in percent points."""
    known = metrics.find(metric)
    return known is not None and known[1].unit == "points"


def _about(seeds: int | None) -> str:
    return "no reasonable number of seeds" if seeds is None else f"about {count(seeds, 'seed')} an arm"


def _run_already(outcome: Comparison | None, side: Sequence[Row]) -> int:
    pairs = None if outcome is None else outcome.n_pairs
    return len(side) if pairs is None else pairs


def _gpu_hours(rows: Sequence[Row]) -> float | None:
    """Mean GPU-hours of a run, of those that know them."""
    known = [hours for row in rows if (hours := _of_run(row)) is not None]
    return statistics.fmean(known) if known else None


def _of_run(row: Row) -> float | None:
    """`gpu_hours`, or hours or cumulative seconds times the number of GPUs, 1 where it is not known.

    None: not known, or the run was on no GPU (`gpu_hours` is 0).
    """
    if row.get("gpu_hours") == 0:
        return None
    gpus = row.get("gpus", row.get("schedule.processes"))
    gpus = gpus if isinstance(gpus, int | float) and gpus > 0 else 1
    factors = {"gpu_hours": 1.0, "hours": gpus, "cumulative_seconds": gpus / 3600, "seconds": gpus / 3600}
    for field, factor in factors.items():
        if row.get(field) is not None and row_damage(row, field) is None:
            return float(row[field] * factor)
    return None
