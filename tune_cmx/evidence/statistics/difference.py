"""Two groups of runs compared: t intervals, exact p values and Holm's correction."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from itertools import chain, combinations
from statistics import variance

import numpy as np
from numpy.typing import NDArray
from scipy import special

from tune_cmx import ties
from tune_cmx.stein import estimate

EXACT_UP_TO = 200_000
"""Rearrangements counted one by one; beyond that as many are drawn, with a fixed seed."""

Interval = tuple[float, float]
Values = NDArray[np.float64]


@dataclass(frozen=True)
class Comparison:
    """A difference of means, in the units of the values."""

    difference: float
    ci95: Interval
    ci90: Interval
    p: float
    """Two-sided, of the t test; where no run differs from another (`no_spread`) it is the exact p."""
    n_pairs: int | None
    """None: unpaired."""
    sd: float
    """That interval and p rest on: of the paired differences, of the pilot's alone where there was one; unpaired, the
    root mean square of the two groups' standard deviations."""
    no_spread: bool
    samples: tuple[Values, ...] = field(repr=False, compare=False)
    """The paired differences, or the runs of both groups."""
    pilot_pairs: int | None = None
    """Pairs of the pilot that fixed the number of seeds; None: that number was given."""
    freedom: int | None = None
    """Degrees of freedom, where they are not those of all pairs: with a pilot."""

    @cached_property
    def exact_p(self) -> float:
        """Two-sided: sign flips of paired differences, or permutations of the runs over both groups."""
        return _sign_flip_p(*self.samples) if self.n_pairs is not None else _permutation_p(*self.samples)


def compare_paired(differences: Sequence[float]) -> Comparison:
    """Paired t test of the differences against 0; at least two of them."""
    values = np.asarray(differences, dtype=float)
    n, mean = len(values), float(values.mean())
    if ties.no_spread(values):
        return Comparison(mean, (mean, mean), (mean, mean), _sign_flip_p(values), n, 0.0, True, (values,))
    sd = float(values.std(ddof=1))
    ci95, ci90, p = _by_t(mean, sd / math.sqrt(n), n - 1)
    return Comparison(mean, ci95, ci90, p, n, sd, False, (values,))


def compare_two_stage(pilot: Sequence[float], later: Sequence[float]) -> Comparison:
    """Stein's two-stage t test against 0 of paired differences whose number followed from the pilot's; at least two."""
    values = np.asarray([*pilot, *later], dtype=float)
    if ties.no_spread(values):
        return replace(compare_paired(values.tolist()), pilot_pairs=len(pilot))
    found = estimate(pilot, later)
    return Comparison(
        difference=found.mean,
        ci95=found.interval(0.95),
        ci90=found.interval(0.90),
        p=found.p,
        n_pairs=found.n,
        sd=found.sd,
        no_spread=False,
        samples=(values,),
        pilot_pairs=len(pilot),
        freedom=found.freedom,
    )


def compare_independent(treatment: Sequence[float], baseline: Sequence[float]) -> Comparison:
    """Welch's t test of treatment minus baseline; at least two values in each."""
    first, second = np.asarray(treatment, dtype=float), np.asarray(baseline, dtype=float)
    difference = float(first.mean() - second.mean())
    if ties.no_spread(first) and ties.no_spread(second):
        ends = (difference, difference)
        return Comparison(difference, ends, ends, _permutation_p(first, second), None, 0.0, True, (first, second))
    variances = float(first.var(ddof=1)), float(second.var(ddof=1))
    errors = variances[0] / len(first), variances[1] / len(second)
    freedom = sum(errors) ** 2 / (errors[0] ** 2 / (len(first) - 1) + errors[1] ** 2 / (len(second) - 1))
    ci95, ci90, p = _by_t(difference, math.sqrt(sum(errors)), freedom)
    sd = math.sqrt(sum(variances) / 2)
    return Comparison(difference, ci95, ci90, p, None, sd, False, (first, second))


def mean_interval(values: Sequence[float], level: float = 0.95) -> Interval:
    """The t interval of a mean; at least two values."""
    array = np.asarray(values, dtype=float)
    mean = float(array.mean())
    if ties.no_spread(array):
        return mean, mean
    return _t_interval(mean, float(array.std(ddof=1)) / math.sqrt(len(array)), len(array) - 1, level)


def pooled_sd(groups: Iterable[Sequence[float]]) -> tuple[float, int] | None:
    """The standard deviation within groups, and its degrees of freedom; None: no group has two values."""
    several = [values for values in groups if len(values) > 1]
    freedom = sum(len(values) - 1 for values in several)
    if not freedom:
        return None
    squares = sum(variance(values) * (len(values) - 1) for values in several)
    return math.sqrt(squares / freedom), freedom


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


def _by_t(difference: float, error: float, freedom: float) -> tuple[Interval, Interval, float]:
    """The 95 % and the 90 % interval, and the two-sided p."""
    p = float(2 * special.stdtr(freedom, -abs(difference) / error))
    return _t_interval(difference, error, freedom, 0.95), _t_interval(difference, error, freedom, 0.90), p


def _t_interval(difference: float, error: float, freedom: float, level: float) -> Interval:
    half = _t_quantile(freedom, (1 + level) / 2) * error
    return difference - half, difference + half


def _t_quantile(freedom: float, probability: float) -> float:
    return float(special.stdtrit(freedom, probability))


def _sign_flip_p(differences: Values) -> float:
    """The share of sign patterns whose mean is at least as far from 0 as the one observed."""
    if 2 ** len(differences) > EXACT_UP_TO:
        return _drawn_p((differences,), "samples")
    return _share(_signs(len(differences)) @ differences / len(differences), float(differences.mean()), differences)


def _permutation_p(first: Values, second: Values) -> float:
    """The share of divisions of all runs whose difference is at least as far from 0 as the one observed."""
    if math.comb(len(first) + len(second), len(first)) > EXACT_UP_TO:
        return _drawn_p((first, second), "independent")
    together = np.concatenate([first, second])
    sums = _choices(len(together), len(first)) @ together
    differences = sums / len(first) - (together.sum() - sums) / len(second)
    return _share(differences, float(first.mean() - second.mean()), together)


def _share(rearranged: Values, observed: float, values: Values) -> float:
    return ties.reach(np.abs(rearranged), abs(observed), _size(values)) / len(rearranged)


def _drawn_p(samples: tuple[Values, ...], kind: str) -> float:
    """As above, of rearrangements drawn at random; the one observed counts as one of them."""

    def statistic(*groups: Values, axis: int = -1) -> Values:
        means = [group.mean(axis=axis) for group in groups]
        return np.asarray(means[0] - means[1] if len(means) == 2 else means[0])

    from scipy import stats  # here: its import takes a second, and few comparisons have so many runs

    drawn = stats.permutation_test(
        samples, statistic, permutation_type=kind, n_resamples=EXACT_UP_TO, vectorized=True, rng=0, batch=20_000
    )
    size = _size(np.concatenate(samples))
    extreme = ties.reach(np.abs(drawn.null_distribution), abs(float(statistic(*samples))), size)
    return (extreme + 1) / (EXACT_UP_TO + 1)


def _size(values: Values) -> float:
    return float(np.abs(values).max())


@lru_cache(maxsize=4)
def _signs(n: int) -> Values:
    """All patterns of signs, one a row."""
    return np.where(np.arange(2**n)[:, None] >> np.arange(n) & 1, -1.0, 1.0)


@lru_cache(maxsize=4)
def _choices(n: int, chosen: int) -> Values:
    """All ways to choose of n runs, one a row: 1 for those chosen."""
    places = np.fromiter(chain.from_iterable(combinations(range(n), chosen)), dtype=np.intp).reshape(-1, chosen)
    masks = np.zeros((len(places), n))
    np.put_along_axis(masks, places, 1.0, axis=1)
    return masks
