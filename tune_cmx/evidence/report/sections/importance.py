"""How much of the search's spread each factor accounts for, by optuna, and how far that is from chance."""

import math
import random
import statistics
import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

from tune_cmx import ties
from tune_cmx.config.study_rules import ARMS
from tune_cmx.evidence.report.metric_text import title
from tune_cmx.evidence.report.page import Page
from tune_cmx.evidence.results.searched_factors import (
    CommonPoint,
    Factor,
    common_point,
    factors,
    setting_text,
    stopped_early,
    value_there,
)
from tune_cmx.evidence.results.study_results import StudyResults, Trial
from tune_cmx.evidence.statistics.difference import pooled_sd
from tune_cmx.evidence.wording import count, listed, number, sentence

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

COUNTED_UP_TO = 300
"""Ways to choose the upper trials that are counted one by one; of more, `SHUFFLES` are drawn."""
SHUFFLES = 100
TRIALS_PER_FACTOR = 10
"""Below this the figures are called unreliable."""
FEWEST_TRIALS = 4


@dataclass(frozen=True)
class Importance:
    """Of one factor."""

    factor: Factor
    trials: int
    """That use it."""
    values: int
    """Different ones."""
    share: float
    """Of the importance of all factors, 0..1."""
    chance: float
    """The share of choices of the upper trials in which it scores as high or higher, 0..1."""
    choices: int
    """How many were scored: all there are, or `SHUFFLES`."""


def importance_section(page: Page, study: StudyResults) -> None:
    """A sentence on the factors, with what limits it; nothing where there are no two factors to compare."""
    varied = _varied(study)
    point = common_point(study)
    lists_arms = any(factor.path == ARMS for factor in factors(study))
    if lists_arms or len(varied) < 2 or point is None or len(point.values) < FEWEST_TRIALS:
        return
    page.heading("Importance of factors")
    found = importances(study, point, varied)
    counted = found[0].choices != SHUFFLES
    ways = f"{found[0].choices} ways to choose the upper trials" if counted else f"{SHUFFLES} random shuffles"
    shares = [
        f"{one.factor.name} {number(100 * one.share, 0)} % (as high by chance: {number(100 * one.chance, 0)} %)"
        for one in found
    ]
    page.paragraph(
        f"PED-ANOVA on {title(study.selection_metric)} at {point}: {listed(shares)}. "
        f"By chance: the share of {ways} in which the factor scores at least as high."
    )
    page.bullets(sentence(limit) for limit in limits(study, point, varied))


def importances(study: StudyResults, point: CommonPoint, varied: Sequence[Factor]) -> list[Importance]:
    """Of each factor, the highest first; the same records give the same figures."""
    import optuna  # here, as it takes a quarter of a second that no other part of the report needs

    compared = [trial for trial in study.of_phase("search") if trial.name in point.values]
    values = [point.values[trial.name] for trial in compared]
    settings = [_settings(study, trial, varied) for trial in compared]
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that few trials say little is said in the report, in its own words
            scores = _Scores(settings, {factor.path: _distribution(factor, settings) for factor in varied})
            upper = _upper(values)
            own = scores(upper)
            others = [scores(chosen) for chosen in _choices(values, len(upper))]
    finally:
        optuna.logging.set_verbosity(before)
    whole = ties.total(own.values()) or 1.0
    found = [
        Importance(
            factor,
            sum(factor.path in setting for setting in settings),
            len({repr(setting[factor.path]) for setting in settings if factor.path in setting}),
            own[factor.path] / whole,
            sum(ties.at_least(other[factor.path], own[factor.path], size=whole) for other in others) / len(others),
            len(others),
        )
        for factor in varied
    ]
    return sorted(found, key=lambda one: ties.key(-one.share))


def limits(study: StudyResults, point: CommonPoint, varied: Sequence[Factor]) -> list[str]:
    """What keeps these data from carrying the figures, each with its measure."""
    trials = [trial for trial in study.of_phase("search") if trial.name in point.values]
    found = []
    if len(trials) < TRIALS_PER_FACTOR * len(varied):
        found.append(
            f"Unreliable: {count(len(trials), 'trial')} for {count(len(varied), 'factor')}; at least "
            f"{TRIALS_PER_FACTOR} a factor are needed"
        )
    early = sum(map(stopped_early, trials))
    if early:
        found.append(
            f"{early} of {count(len(trials), 'trial')} stopped early, so all are compared at {point}; at the end of "
            "training another factor may matter"
        )
    found.append(_noise_words(study, point))
    return found


def run_to_run_sd(study: StudyResults, point: CommonPoint) -> float | None:
    """Pooled over the confirmed arms, of the selection metric at the same point; None: no arm has two runs."""
    by_arm: dict[str, list[float]] = {}
    for trial in study.confirmed:
        value = value_there(study, trial, point)
        if value is not None:
            by_arm.setdefault(trial.arm, []).append(value)
    pooled = pooled_sd(by_arm.values())
    return None if pooled is None else pooled[0]


def _noise_words(study: StudyResults, point: CommonPoint) -> str:
    noise, spread = run_to_run_sd(study, point), statistics.stdev(point.values.values())
    alone = "each trial is one run on one seed, so noise counts as importance"
    if noise is None:
        return f"{alone}; no confirmed configuration has two runs to measure it"
    share = number(100 * (noise / spread) ** 2, 0) if noise < spread else "100"
    return (
        f"{alone}. Confirmed runs of one configuration differ by sd {number(noise)} at {point}, the trials by sd "
        f"{number(spread)}: noise is about {share} % of their variance"
    )


def _varied(study: StudyResults) -> list[Factor]:
    """Factors with two values or more among the trials that ended; where one is not used, that is no value."""
    point = common_point(study)
    arms = {trial.arm for trial in study.of_phase("search") if point and trial.name in point.values}
    return [
        factor
        for factor in factors(study)
        if factor.path != ARMS and len({factor.value(study, arm) for arm in arms} - {None}) > 1
    ]


def _settings(study: StudyResults, trial: Trial, varied: Sequence[Factor]) -> dict[str, Any]:
    """The trial's values by path, choices as text; what it does not use is left out."""
    values = [(factor, factor.value(study, trial.arm)) for factor in varied]
    return {
        factor.path: value if factor.is_range else setting_text(value) for factor, value in values if value is not None
    }


def _distribution(factor: Factor, settings: Sequence[Mapping[str, Any]]) -> "BaseDistribution":
    """As optuna has the domain, wide enough for what was tried: an earlier phase may have fixed a value outside."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    tried = [setting[factor.path] for setting in settings if factor.path in setting]
    if not factor.is_range:
        return CategoricalDistribution(tuple(dict.fromkeys(tried)))
    low, high = min(*factor.domain, *tried), max(*factor.domain, *tried)
    if factor.kind == "int":
        return IntDistribution(int(low), int(high))
    return FloatDistribution(float(low), float(high), log=factor.kind == "loguniform")


def _upper(values: Sequence[float]) -> frozenset[int]:
    """The places of the upper trials: the highest share of `_quantile`, and those that tie with its last."""
    ordered = sorted(map(ties.key, values), reverse=True)
    cutoff = ordered[math.ceil(_quantile(len(values)) * len(values)) - 1]
    return frozenset(place for place, value in enumerate(values) if ties.key(value) >= cutoff)


def _choices(values: Sequence[float], chosen: int) -> list[frozenset[int]]:
    """Ways to choose as many trials: what a factor without any effect has for its upper ones."""
    if math.comb(len(values), chosen) <= COUNTED_UP_TO:
        return [frozenset(places) for places in combinations(range(len(values)), chosen)]
    draw = random.Random(0)
    return [_upper(draw.sample(values, len(values))) for _ in range(SHUFFLES)]


def _quantile(trials: int) -> float:
    """The share of the upper trials; optuna advises five of them at least."""
    return max(0.1, min(0.5, 5 / trials))


class _Scores:
    """PED-ANOVA over the same trials, whichever the upper ones are."""

    def __init__(self, settings: Sequence[Mapping[str, Any]], distributions: Mapping[str, "BaseDistribution"]) -> None:
        import optuna
        from optuna.importance import PedAnovaImportanceEvaluator

        self._study = optuna.create_study(direction="maximize")
        self._study.add_trials(
            [
                optuna.trial.create_trial(
                    value=0.0, params=dict(setting), distributions={path: distributions[path] for path in setting}
                )
                for setting in settings
            ]
        )
        self._evaluator = PedAnovaImportanceEvaluator(target_quantile=_quantile(len(settings)))

    def __call__(self, upper: Collection[int]) -> dict[str, float]:
        def target(trial: "FrozenTrial") -> float:
            return -float(trial.number in upper)  # the evaluator takes low values for the upper trials

        return self._evaluator.evaluate(self._study, target=target)
