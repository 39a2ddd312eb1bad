"""Typed domains as optuna has them: distributions, parameters, define-by-run suggestions."""

import json
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from tune_cmx.config.domains import Choice, Domain, Integer, LogUniform


def suggest(trial: optuna.Trial, path: str, domain: Domain) -> Any:
    """A searched value, drawn by the trial's sampler."""
    if isinstance(domain, Choice):
        categories = _categories(domain)
        return categories[trial.suggest_categorical(path, tuple(categories))]
    if isinstance(domain, Integer):
        return trial.suggest_int(path, *domain.int)
    return trial.suggest_float(path, *domain.ends, log=isinstance(domain, LogUniform))


def distribution(domain: Domain) -> BaseDistribution:
    """What a domain is to optuna."""
    if isinstance(domain, Choice):
        return CategoricalDistribution(tuple(_categories(domain)))
    if isinstance(domain, Integer):
        return IntDistribution(*domain.int)
    return FloatDistribution(*domain.ends, log=isinstance(domain, LogUniform))


def parameter(domain: Domain, value: Any) -> Any:
    """What a searched value is to optuna."""
    if isinstance(domain, Choice):
        return next(name for name, item in _categories(domain).items() if text(item) == text(value))
    return value if isinstance(domain, Integer) else float(value)


def _categories(domain: Choice) -> dict[Any, Any]:
    """The choices by their names in optuna: themselves, or text where one is a list, or two are equal as 1 and True."""
    plain = all(isinstance(value, bool | int | float | str | None) for value in domain.choice)
    if plain and len(set(domain.choice)) == len(domain.choice):
        return {value: value for value in domain.choice}
    return {text(value): value for value in domain.choice}


def text(value: Any) -> str:
    """A value as JSON, the same for equal values."""
    return json.dumps(value, sort_keys=True)
