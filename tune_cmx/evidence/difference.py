"""Two groups of runs compared: t intervals, exact p values, Holm's correction, and the seeds that would settle it."""

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from tune_cmx.two_stage import estimate, no_spread

EXACT_UP_TO = 200_000
"""Rearrangements counted one by one; beyond that as many are drawn, with a fixed seed."""

MOST_SEEDS = 1000
POWER = 0.8

Interval = tuple[float, float]
Values = NDArray[np.float64]


@dataclass(frozen=True)
class Comparison:
    """A difference of means, in the units of the values."""

    difference: float
    ci95: Interval
    ci90: Interval
    p: float
    """Two-sided, of the t test; where no run differs from another (`no_spread`) the exact p stands in."""
    exact_p: float
    """Two-sided: sign flips of paired differences, or permutations of the runs over both groups."""
    n_pairs: int | None
    """None: unpaired."""
    sd: float
    """That interval and p rest on: of the paired differences, of the pilot's alone where there was one; unpaired, the
    root mean square of the two groups' standard deviations."""
    no_spread: bool
    pilot_pairs: int | None = None
    """Pairs of the pilot that fixed the number of seeds; None: that number was given."""
    freedom: int | None = None
    """Degrees of freedom, where they are not those of all pairs: with a pilot."""


def compare_paired(differences: Sequence[float]) -> Comparison:
    """Paired t test of the differences against 0; at least two of them."""
    values = np.asarray(differences, dtype=float)
    exact_p = _exact_p((values,), "samples")
    mean = float(values.mean())
    if no_spread(values):
        return Comparison(mean, (mean, mean), (mean, mean), exact_p, exact_p, len(values), 0.0, True)
    test = stats.ttest_1samp(values, 0.0)
    ci95, ci90 = (_interval(test, level) for level in (0.95, 0.90))
    return Comparison(mean, ci95, ci90, float(test.pvalue), exact_p, len(values), float(values.std(ddof=1)), False)


def compare_two_stage(pilot: Sequence[float], later: Sequence[float]) -> Comparison:
    """Stein's two-stage t test against 0 of paired differences whose number followed from the pilot's; at least two."""
    values = np.asarray([*pilot, *later], dtype=float)
    if no_spread(values):
        return replace(compare_paired(values.tolist()), pilot_pairs=len(pilot))
    found = estimate(pilot, later)
    return Comparison(
        difference=found.mean,
        ci95=found.interval(0.95),
        ci90=found.interval(0.90),
        p=found.p,
        exact_p=_exact_p((values,), "samples"),
        n_pairs=found.n,
        sd=found.sd,
        no_spread=False,
        pilot_pairs=len(pilot),
        freedom=found.freedom,
    )


def compare_independent(treatment: Sequence[float], control: Sequence[float]) -> Comparison:
    """Welch's t test of treatment minus control; at least two values in each."""
    first, second = np.asarray(treatment, dtype=float), np.asarray(control, dtype=float)
    difference = float(first.mean() - second.mean())
    exact_p = _exact_p((first, second), "independent")
    if no_spread(first) and no_spread(second):
        pair = (difference, difference)
        return Comparison(difference, pair, pair, exact_p, exact_p, None, 0.0, True)
    with warnings.catch_warnings():
        # One group without spread is no trouble for Welch's test: the other gives the spread.
        warnings.filterwarnings("ignore", "Precision loss", RuntimeWarning)
        test = stats.ttest_ind(first, second, equal_var=False)
    sd = math.sqrt((first.var(ddof=1) + second.var(ddof=1)) / 2)
    ci95, ci90 = (_interval(test, level) for level in (0.95, 0.90))
    return Comparison(difference, ci95, ci90, float(test.pvalue), exact_p, None, sd, False)


def mean_interval(values: Sequence[float], level: float = 0.95) -> Interval:
    """The t interval of a mean; at least two values."""
    array = np.asarray(values, dtype=float)
    if no_spread(array):
        return float(array.mean()), float(array.mean())
    return _interval(stats.ttest_1samp(array, 0.0), level)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p values, in the order given.

    The k-th smallest of m (k from 0) is multiplied by m - k, then made no smaller than the one before and at most 1.
    """
    adjusted = [0.0] * len(p_values)
    floor = 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        floor = max(floor, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = floor
    return adjusted


def seeds_to_detect(effect: float, sd: float, paired: bool, alpha: float, freedom: int | None = None) -> int | None:
    """Runs an arm for a two-sided t test at `alpha` with a power of 0.8, were `effect` and `sd` the true ones.

    None: more than 1000, or no number would do (effect 0). `freedom`: the test keeps a pilot's degrees of freedom.
    """
    if effect == 0 or sd == 0:
        return None
    return _smallest(lambda n: _power(n, abs(effect) / sd, paired, alpha, freedom))


def seeds_for_margin(
    difference: float, margin: float, sd: float, paired: bool, freedom: int | None = None
) -> int | None:
    """Runs an arm for a 90 % interval wholly inside, or wholly outside, the margin; power, None, freedom as above."""
    near, far = abs(margin - abs(difference)) / sd if sd else 0.0, (margin + abs(difference)) / sd if sd else 0.0
    if near == 0:
        return None
    if abs(difference) > margin:
        return _smallest(lambda n: _power(n, near, paired, 0.10, freedom))
    return _smallest(lambda n: _power(n, near, paired, 0.10, freedom) + _power(n, far, paired, 0.10, freedom) - 1)


def _power(n: int, effect_in_sd: float, paired: bool, alpha: float, freedom: int | None) -> float:
    if freedom is None:
        freedom = n - 1 if paired else 2 * (n - 1)
    shift = effect_in_sd * math.sqrt(n / (1 if paired else 2))
    return float(stats.nct.sf(stats.t.isf(alpha / 2, freedom), freedom, shift))


def _smallest(power: Callable[[int], float]) -> int | None:
    """The smallest n of 2..1000 with enough power; doubling first keeps the noncentral t where it is accurate."""
    high = 2
    while power(high) < POWER:
        if high == MOST_SEEDS:
            return None
        high = min(2 * high, MOST_SEEDS)
    low = max(2, high // 2)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if power(middle) >= POWER else (middle + 1, high)
    return low


def _interval(test: object, level: float) -> Interval:
    interval = test.confidence_interval(level)  # type: ignore[attr-defined]
    return float(interval.low), float(interval.high)


def _exact_p(samples: tuple[Values, ...], kind: str) -> float:
    """The share of rearrangements whose difference is at least as far from 0 as the one observed."""

    def statistic(*groups: Values, axis: int = -1) -> Values:
        means = [group.mean(axis=axis) for group in groups]
        return np.asarray(means[0] - means[1] if len(means) == 2 else means[0])

    outcome = stats.permutation_test(
        samples, statistic, permutation_type=kind, n_resamples=EXACT_UP_TO, vectorized=True, rng=0, batch=20_000
    )
    observed = abs(float(statistic(*samples)))
    # Equal rearrangements differ in the last bits by the order of their sums.
    extreme = int((np.abs(outcome.null_distribution) >= observed - 1e-9 * max(1.0, observed)).sum())
    if len(outcome.null_distribution) == EXACT_UP_TO:  # drawn: the arrangement observed counts as one of them
        return (extreme + 1) / (EXACT_UP_TO + 1)
    return extreme / len(outcome.null_distribution)
