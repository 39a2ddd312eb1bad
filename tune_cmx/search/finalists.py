"""Which configurations a search ends with, and which of them is selected once they are confirmed.

Pure functions of validation metrics: the runner feeds them from run folders, scripts/replay.py from simulated curves.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tune_cmx import ties
from tune_cmx.smoothing import smoothed

SEARCH_WEIGHT = 0.5
"""What a finalist's search run counts beside a confirmation run: it was chosen for being high, and is shorter.
benchmarks/replay.md has the gain."""


@dataclass(frozen=True)
class SearchResult:
    """How far the search trained a configuration, and what it saw."""

    arm: str
    fraction: float
    """Of its schedule."""
    values: Sequence[float]
    """The selection metric on the validation split, an epoch each."""


def rank(results: Sequence[SearchResult], smooth_epochs: int) -> list[SearchResult]:
    """The configurations by merit: furthest trained first, then by the smoothed metric; ties stay in the order given.

    What was stopped at an early rung lost to those that went on, so a higher value there does not count. An undefined
    metric is below every other.
    """

    def merit(result: SearchResult) -> tuple[float, float]:
        value = smoothed(result.values, smooth_epochs)
        return ties.key(result.fraction), -math.inf if math.isnan(value) else ties.key(value)

    return sorted((result for result in results if result.values), key=merit, reverse=True)


def finalists(results: Sequence[SearchResult], smooth_epochs: int, count: int) -> list[str]:
    """The configurations that the search ends with, the best first.

    Args:
        results: Of each trial that did not fail, in the order in which they were drawn.
        smooth_epochs: The longest mean.
        count: How many at most.
    """
    return [result.arm for result in rank(results, smooth_epochs)[:count]]


def winner(
    confirmed: Mapping[str, Sequence[Sequence[float]]], searched: Sequence[SearchResult], smooth_epochs: int
) -> str | None:
    """The finalist with the highest mean over its confirmation runs, and its search run as half a run.

    Search runs count only if the search trained all finalists equally far. Ties go to the finalist named first. The
    winner is a choice on validation values; what is claimed of it rests on the confirmation runs alone.

    Args:
        confirmed: The validation metric by epoch of each confirmation run, by finalist; the same number of runs each.
        searched: What the search saw of the finalists.
        smooth_epochs: The longest mean.

    Returns:
        The arm; None if nothing was confirmed.
    """
    runs = {arm: [smoothed(values, smooth_epochs) for values in curves] for arm, curves in confirmed.items() if curves}
    if not runs:
        return None
    before = {result.arm: result for result in searched if result.arm in runs and result.values}
    equal = len(before) == len(runs) and len({ties.key(result.fraction) for result in before.values()}) == 1
    weight = SEARCH_WEIGHT if equal else 0.0

    def merit(arm: str) -> float:
        first = smoothed(before[arm].values, smooth_epochs) if weight else 0.0
        return ties.key(ties.total([*runs[arm], weight * first]) / (len(runs[arm]) + weight))

    return max(runs, key=merit)
