"""Stein's two-stage rule: how many seeds a wanted precision takes, and the interval that belongs to it.

If seeds are added until an interval is narrow enough, they stop where chance made the spread small, and the last
interval covers too little. Stein fixes the number once, from a pilot of n0 seeds, and keeps the pilot's standard
deviation s and its n0 - 1 degrees of freedom. Then sqrt(N)·(mean of all N - true difference) / s has Student's t
distribution exactly: N depends on the pilot's spread, which is independent of its mean. This also holds where one N
serves several configurations with one baseline, and where a maximum limits N, because N is computed from spreads alone.

Source: C. Stein, A two-sample test for a linear hypothesis whose power is independent of the variance, Annals of
Mathematical Statistics 16 (1945). Exact for normal differences.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import special

from tune_cmx import ties

LEVEL = 0.95

Values = Mapping[int, float | None]
"""A metric by seed; None or NaN where the run gave none."""


@dataclass(frozen=True)
class ArmPilot:
    """What the pilot says of one arm against the baseline."""

    sd: float | None
    """Of the paired differences; None: fewer than two pairs, because runs failed."""
    wanted: int | None
    """Seeds, lost ones of the pilot included; None: nothing to compute them from."""


@dataclass(frozen=True)
class TwoStage:
    """The number of seeds of a study, fixed once."""

    half_width: float
    pilot_seeds: tuple[int, ...]
    seeds: int
    """Of every confirmed arm, the pilot's included."""
    wanted: int | None
    """The largest that an arm wants, before the maximum; None: no arm's pilot has two pairs."""
    by_arm: Mapping[str, ArmPilot]


@dataclass(frozen=True)
class Estimate:
    """The mean of paired differences, with the spread that its interval rests on."""

    mean: float
    n: int
    sd: float
    freedom: int

    def interval(self, level: float = LEVEL) -> tuple[float, float]:
        """Two-sided, of the true difference."""
        half = t_quantile((1 + level) / 2, self.freedom) * self.sd / math.sqrt(self.n)
        return self.mean - half, self.mean + half

    @property
    def p(self) -> float:
        """Two-sided, against a true difference of 0; needs an sd above 0."""
        return float(2 * special.stdtr(self.freedom, -abs(self.mean) * math.sqrt(self.n) / self.sd))


def seeds_wanted(differences: Sequence[float], half_width: float) -> int:
    """N = max(n0, ceil((t · s / half_width)²)), t of n0 - 1 degrees of freedom, at 95 %.

    Args:
        differences: Of the n0 pilot pairs, at least two, finite. Without any spread n0 is enough.
        half_width: Of the 95 % interval, in the unit of the differences.
    """
    values = _finite(differences, "the differences of the pilot")
    if ties.no_spread(values):
        return len(values)
    wide = t_quantile((1 + LEVEL) / 2, len(values) - 1) * float(values.std(ddof=1))
    return max(len(values), math.ceil(ties.key((wide / half_width) ** 2)))


def fix_seeds(
    arms: Mapping[str, Values],
    baseline: Values,
    *,
    pilot_seeds: Sequence[int],
    half_width: float,
    max_seeds: int,
) -> TwoStage:
    """The number of seeds of a study from its finished pilot: the largest that an arm wants, up to the maximum.

    A pilot seed on which the arm's or the baseline's run failed gives no difference: the arm's number follows from the
    pairs left, and the seeds lost are added to it. An arm with fewer than two pairs has no say; if that is so of all,
    the pilot's seeds remain.

    Args:
        arms: The metric of each finalist by seed.
        baseline: The metric of the baseline by seed.
        pilot_seeds: Those of the first stage.
        half_width: Of the 95 % interval of an arm's difference from the baseline.
        max_seeds: The most that may be trained, the pilot's included.
    """
    by_arm = {}
    for arm, values in arms.items():
        differences = paired_differences(values, baseline, pilot_seeds)
        if len(differences) < 2:
            by_arm[arm] = ArmPilot(None, None)
            continue
        lost = len(pilot_seeds) - len(differences)
        by_arm[arm] = ArmPilot(float(np.std(differences, ddof=1)), seeds_wanted(differences, half_width) + lost)
    wanted = max((pilot.wanted for pilot in by_arm.values() if pilot.wanted is not None), default=None)
    seeds = min(max(len(pilot_seeds), wanted or 0), max_seeds)
    return TwoStage(half_width, tuple(pilot_seeds), seeds, wanted, by_arm)


def paired_differences(arm: Values, baseline: Values, seeds: Sequence[int]) -> list[float]:
    """Arm minus baseline on those of the seeds on which both gave a number."""
    pairs = [(arm.get(seed), baseline.get(seed)) for seed in seeds]
    return [
        ties.difference(first, second)
        for first, second in pairs
        if first is not None and second is not None and math.isfinite(first - second)
    ]


def estimate(pilot: Sequence[float], later: Sequence[float]) -> Estimate:
    """The mean of all differences with the pilot's standard deviation and degrees of freedom.

    A pilot without any spread, as of values rounded alike, says nothing of the spread of the later ones: then
    standard deviation and degrees of freedom are those of all differences.

    Args:
        pilot: Differences of the first stage, at least two.
        later: Differences of the second stage, or none.
    """
    first = _finite(pilot, "the differences of the pilot")
    values = np.concatenate([first, np.asarray(later, dtype=float)])
    judged = values if ties.no_spread(first) else first
    return Estimate(float(values.mean()), len(values), float(judged.std(ddof=1)), len(judged) - 1)


@lru_cache(maxsize=1024)
def t_quantile(probability: float, freedom: int) -> float:
    """Of Student's t distribution."""
    return float(special.stdtrit(freedom, probability))


def _finite(differences: Sequence[float], what: str) -> NDArray[np.float64]:
    values = np.asarray(differences, dtype=float)
    if len(values) < 2 or not np.isfinite(values).all():
        raise ValueError(f"{what} must be at least two finite numbers; got {list(differences)}")
    return values
