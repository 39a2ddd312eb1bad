"""What a t test can find: the smallest difference for a number of seeds, and the seeds that a difference takes.

Both rest on a standard deviation that was estimated from few runs, and are as uncertain as that (`sd_interval`).
"""

import math
from collections.abc import Callable
from functools import lru_cache

from scipy import optimize, special

MOST_SEEDS = 100_000
POWER = 0.8


def detectable_difference(n: int, sd: float, paired: bool, alpha: float, freedom: int | None = None) -> float:
    """The smallest true difference that a two-sided t test at `alpha` finds with a power of 0.8.

    Args:
        n: Runs of each configuration, at least two.
        sd: Of paired differences; unpaired, of the runs of a configuration. Above 0.
        paired: Whether the configurations share their seeds.
        alpha: Of the test; divided by the number of comparisons where there are several.
        freedom: Degrees of freedom; None: n - 1 in pairs, 2 (n - 1) without.
    """
    return _effect(n, paired, alpha, POWER, freedom) * sd


def detectable_margin(n: int, sd: float, paired: bool) -> float:
    """The smallest margin inside which a 90 % interval lies with a power of 0.8, were there no difference."""
    return _effect(n, paired, 0.10, (1 + POWER) / 2) * sd


def seeds_to_detect(effect: float, sd: float, paired: bool, alpha: float) -> int | None:
    """Runs of each configuration for a two-sided t test at `alpha` that finds a true difference with a power of 0.8.

    The degrees of freedom are those of the runs planned, n - 1 in pairs and 2 (n - 1) without.

    Args:
        effect: In the units of `sd`; its sign does not matter.
        sd: Of paired differences; unpaired, of the runs of a configuration. Above 0.
        paired: Whether the configurations share their seeds.
        alpha: Of the test; divided by the number of comparisons where there are several.

    Returns:
        None: more than 100,000, or the effect is 0.
    """
    return None if effect == 0 else _smallest(lambda n: _power(n, abs(effect) / sd, paired, alpha))


def seeds_for_margin(margin: float, sd: float, paired: bool) -> int | None:
    """Runs for a 90 % interval inside the margin with a power of 0.8, were there no difference; None as above."""
    return _smallest(lambda n: 2 * _power(n, margin / sd, paired, 0.10) - 1)


def seeds_without_spread(paired: bool, alpha: float) -> int:
    """Runs from which on the exact p can reach `alpha`: it decides where no run differs from another."""
    return next(n for n in range(2, MOST_SEEDS) if (0.5 ** (n - 1) if paired else 2 / math.comb(2 * n, n)) <= alpha)


def sd_interval(sd: float, freedom: int, level: float = 0.90) -> tuple[float, float]:
    """Of the true standard deviation, by the chi-square distribution of the estimate's square; for normal values."""
    low, high = (float(special.chdtri(freedom, side)) for side in ((1 - level) / 2, (1 + level) / 2))
    return sd * math.sqrt(freedom / low), sd * math.sqrt(freedom / high)


@lru_cache(maxsize=4096)
def _effect(n: int, paired: bool, alpha: float, power: float, freedom: int | None = None) -> float:
    """In standard deviations."""
    freedom = _freedom(n, paired) if freedom is None else freedom
    quantile = float(special.stdtrit(freedom, 1 - alpha / 2))

    def missing(shift: float) -> float:
        return power - 1 + float(special.nctdtr(freedom, shift, quantile))

    shift = optimize.brentq(missing, 0, 4 * quantile + 10, xtol=1e-9)
    return float(shift) / math.sqrt(n / (1 if paired else 2))


def _power(n: int, effect_in_sd: float, paired: bool, alpha: float) -> float:
    freedom = _freedom(n, paired)
    shift = effect_in_sd * math.sqrt(n / (1 if paired else 2))
    return 1 - float(special.nctdtr(freedom, shift, special.stdtrit(freedom, 1 - alpha / 2)))


def _freedom(n: int, paired: bool) -> int:
    return n - 1 if paired else 2 * (n - 1)


def _smallest(power: Callable[[int], float]) -> int | None:
    """The smallest n of 2..100,000 with enough power; doubling first keeps the noncentral t where it is accurate."""
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
