"""What these numbers of seeds can detect, and what more of them cost."""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tune_cmx import metrics
from tune_cmx.evidence.claims.invalid_runs import row_damage
from tune_cmx.evidence.claims.parsed_claim import Case
from tune_cmx.evidence.claims.rows import Row
from tune_cmx.evidence.statistics.difference import Comparison
from tune_cmx.evidence.statistics.power import (
    detectable_difference,
    detectable_margin,
    sd_interval,
    seeds_for_margin,
    seeds_to_detect,
    seeds_without_spread,
)
from tune_cmx.evidence.wording import count, figure, hours_text, number

ALPHA = 0.05
MULTIPLES = (1, 2, 4)
"""Of the seeds run."""
MOST_POINTS = 100.0

Sides = tuple[Sequence[Row], ...]
Found = tuple[dict[str, Any], str]


def of_difference(case: Case, outcome: Comparison, comparisons: int, sides: Sides) -> Found:
    """Numbers and words for a comparison: the smallest true differences that n, 2n and 4n seeds find.

    The numbers are under `detectable`, each with `n`, `difference`, `gpu_hours` and `cpu_hours`: the hours of the runs
    not there yet, None where they are not known. The test is the comparison's, with a power of 80 % at 0.05 divided by
    the number of comparisons, which is the hardest step of Holm's correction. A claim with a margin also gets
    `seeds_needed`, with its 90 % interval: the standard deviation is an estimate.

    Args:
        case: With the claim's margin.
        outcome: The comparison.
        comparisons: Over which Holm's correction ran.
        sides: The runs of treatment and baseline.
    """
    paired, alpha = outcome.n_pairs is not None, ALPHA / comparisons
    if outcome.no_spread:
        return _without_spread(paired, alpha)
    n = _run(outcome, sides)

    def smallest(seeds: int) -> float:
        freedom = outcome.freedom if seeds == n else None
        return detectable_difference(seeds, outcome.sd, paired, alpha, freedom)

    found = _list(n, smallest, sides, new=outcome.pilot_pairs is not None)
    level = f"p {ALPHA}" if comparisons == 1 else f"p {ALPHA} / {comparisons}"
    words = _words(found, "can detect a true difference of", case.printed, f"80 % power, {level}")
    numbers: dict[str, Any] = {"detectable": found}
    if case.margin is None:
        return numbers, words
    margin = case.margin
    needed = _needed(outcome.sd, _freedom(outcome, sides), lambda sd: seeds_to_detect(margin, sd, paired, alpha))
    return {**numbers, **needed}, f"{words}; {_needed_words(needed, figure(margin, case.printed))}"


def of_margin(case: Case, outcome: Comparison, sides: Sides) -> Found:
    """As `of_difference`, for equivalence: the smallest margins that can be shown, were there no difference."""
    assert case.margin is not None
    margin, paired = case.margin, outcome.n_pairs is not None
    if outcome.no_spread:
        return _without_spread(paired, ALPHA)
    new = outcome.pilot_pairs is not None
    found = _list(_run(outcome, sides), lambda seeds: detectable_margin(seeds, outcome.sd, paired), sides, new=new)
    words = _words(found, "can show a margin of", case.printed, "80 % power if there is no difference")
    needed = _needed(outcome.sd, _freedom(outcome, sides), lambda sd: seeds_for_margin(margin, sd, paired))
    return {"detectable": found, **needed}, f"{words}; {_needed_words(needed, figure(margin, case.printed))}"


def of_value(case: Case, values: Sequence[float]) -> Found:
    """As `of_difference`, for the distance of a mean from the value claimed."""
    n, sd = len(values), statistics.stdev(values)
    if sd == 0:
        return _without_spread(True, ALPHA)
    found = _list(n, lambda seeds: detectable_difference(seeds, sd, True, ALPHA), (case.treatment,))
    words = _words(found, "can detect a true distance from the value of", case.printed, f"80 % power, p {ALPHA}")
    return {"detectable": found}, words


def of_ratio(case: Case, ratios: Comparison) -> Found:
    """As `of_difference`, for the distance of a ratio from the value claimed; `ratios` compares logarithms."""
    paired, value = ratios.n_pairs is not None, case.value or 0.0
    if ratios.no_spread:
        return _without_spread(paired, ALPHA)
    if value <= 0:
        return {"detectable": []}, "a ratio is always above 0, so the value claimed must be too"
    sides = (case.treatment, case.baseline)

    def smallest(seeds: int) -> float:
        return value * math.expm1(detectable_difference(seeds, ratios.sd, paired, ALPHA))

    found = _list(_run(ratios, sides), smallest, sides, new=ratios.pilot_pairs is not None)
    return {"detectable": found}, _words(
        found, "can detect a true distance from the ratio of", "", "80 % power, p 0.05"
    )


def _without_spread(paired: bool, alpha: float) -> Found:
    seeds = seeds_without_spread(paired, alpha)
    words = f"without any spread only the exact test decides; it needs at least {count(seeds, 'seed')}"
    return {"detectable": []}, words


def _list(n: int, smallest: Callable[[int], float], sides: Sides, *, new: bool = False) -> list[dict[str, Any]]:
    """`new`: a pilot fixed the number of seeds, so that more of them are a new confirmation."""
    found = []
    for seeds in (n * multiple for multiple in MULTIPLES):
        fresh = seeds if new and seeds > n else seeds - n
        found.append({"n": seeds, "difference": smallest(seeds), **_price(sides, fresh)})
    return found


def _words(found: Sequence[Mapping[str, Any]], can: str, metric: str, power: str) -> str:
    """`3 seeds can detect a true difference of 1.31 mAP points (80 % power, p 0.05), 6 seeds 0.77 (12.0 GPU-hours)`."""
    parts = []
    for place, entry in enumerate(found):
        text = _amount(entry["difference"], metric)
        hours = next((f"{hours_text(entry[key])} {name} more" for key, name in HOURS.items() if entry[key]), None)
        if place == 0:
            parts.append(f"{count(entry['n'], 'seed')} {can} {text} ({power})")
        else:
            parts.append(f"{count(entry['n'], 'seed')} {text}" + (f" ({hours})" if hours else ""))
    return ", ".join(parts)


HOURS = {"gpu_hours": "GPU-hours", "cpu_hours": "CPU-hours"}


def _amount(value: float, metric: str) -> str:
    known = metrics.find(metric) if metric else None
    if known is None or known[1].unit != "points":
        return figure(value, metric)
    return f"more than {MOST_POINTS:g} mAP points" if value > MOST_POINTS else f"{number(value)} mAP points"


def _needed(sd: float, freedom: int, seeds_at: Callable[[float], int | None]) -> dict[str, Any]:
    """The seeds that the claim's margin takes, and the same at both ends of the 90 % interval of the sd."""
    low, high = sd_interval(sd, freedom)
    return {"seeds_needed": seeds_at(sd), "seeds_needed_range": [seeds_at(low), seeds_at(high)]}


def _needed_words(needed: Mapping[str, Any], margin: str) -> str:
    low, high = (f"{seeds:,}" if seeds is not None else "more than 100,000" for seeds in needed["seeds_needed_range"])
    return f"{margin} takes {low} to {high} seeds (90 % interval: the sd of so few runs is uncertain)"


def _freedom(outcome: Comparison, sides: Sides) -> int:
    """Degrees of freedom of the comparison's sd."""
    if outcome.freedom is not None:
        return outcome.freedom
    return outcome.n_pairs - 1 if outcome.n_pairs is not None else sum(len(side) - 1 for side in sides)


def _run(outcome: Comparison, sides: Sides) -> int:
    """Seeds of each configuration so far."""
    return outcome.n_pairs if outcome.n_pairs is not None else min(len(side) for side in sides)


def _price(sides: Sides, fresh: int) -> dict[str, float | None]:
    """GPU-hours, or CPU-hours, of so many more runs of each side; None where a side's are not known."""
    price: dict[str, float | None] = {}
    for key in HOURS:
        known = [hours for side in sides if (hours := _mean_hours(side, key)) is not None]
        price[key] = fresh * sum(known) if len(known) == len(sides) else None
    return price


def _mean_hours(rows: Sequence[Row], key: str) -> float | None:
    """Of a run, of those that know them."""
    known = [hours for row in rows if (hours := _hours(row, key)) is not None]
    return statistics.fmean(known) if known else None


def _hours(row: Row, key: str) -> float | None:
    """`gpu_hours`, or hours or cumulative seconds times the number of GPUs, 1 where it is not known.

    A run whose `gpu_hours` are 0 was on the CPU.
    """
    on_cpu = row.get("gpu_hours") == 0
    if on_cpu is not (key == "cpu_hours"):
        return None
    gpus = 1 if on_cpu else row.get("gpus", row.get("schedule.processes"))
    gpus = gpus if isinstance(gpus, int | float) and gpus > 0 else 1
    factors = {"gpu_hours": 1.0, "hours": gpus, "cumulative_seconds": gpus / 3600, "seconds": gpus / 3600}
    for field, factor in factors.items():
        if row.get(field) and row_damage(row, field) is None:
            return float(row[field] * factor)
    return None
