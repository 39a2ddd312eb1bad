"""Comparisons of computed numbers that treat numbers as equal if they differ by rounding alone.

Two sums of the same numbers in another order differ in the last bit. A raw `>=` then loses ties, and a sort puts equal
things in an order that nobody chose. Every comparison of means, sums, differences and p values goes through this file.
"""

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

RELATIVE = 1e-12
"""Sums of a few hundred floats are off by less than 1e-13 of their largest addend."""
_DIGITS = 12


def total(values: Iterable[float]) -> float:
    """The sum, rounded once: the same whatever the order."""
    return math.fsum(values)


def key(value: float) -> float:
    """The value to 12 significant digits, to sort and to group by: equal for numbers that differ by rounding alone."""
    return float(f"{value:.{_DIGITS}g}") + 0.0  # -0.0 becomes 0.0


def keys(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """`key` of each value; nan stays nan."""
    return np.array([key(value) for value in values.tolist()])


def difference(first: float, second: float) -> float:
    """First minus second to 12 digits of the larger: 84.3 - 84.1 and 84.1 - 83.9 are both 0.2."""
    size = max(abs(first), abs(second))
    if size == 0 or not math.isfinite(size):
        return first - second
    return round(first - second, _DIGITS - 1 - math.floor(math.log10(size))) + 0.0


def at_least(value: float, bound: float, *, size: float = 0.0) -> bool:
    """Whether the value is at or above the bound.

    Args:
        value: A computed number.
        bound: What it is compared with.
        size: Of the largest number that either was computed from, where it is larger than both: a difference of 0.1
            between parameter counts of 10^8 is off by 10^-8.
    """
    return value >= bound or bound - value <= RELATIVE * max(abs(value), abs(bound), size)


def above(value: float, bound: float, *, size: float = 0.0) -> bool:
    """Whether the value is above the bound by more than rounding."""
    return not math.isnan(value) and not at_least(bound, value, size=size)


def reach(values: NDArray[np.float64], bound: float, size: float) -> int:
    """How many values are at or above the bound; `size` as in `at_least`."""
    return int((values >= bound - RELATIVE * max(abs(bound), size)).sum())


def no_spread(values: NDArray[np.float64]) -> bool:
    """Whether all values agree up to rounding."""
    return bool(np.ptp(values) <= 1e-9 * float(np.abs(values).max()))
