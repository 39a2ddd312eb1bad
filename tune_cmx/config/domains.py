"""The values that a searched field can have: typed domains, each with an optional condition on another field."""

import itertools
import json
import math
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import numpy as np
from pydantic import BeforeValidator, Field

from tune_cmx.config.parse import validate
from tune_cmx.config.paths import Lines, place_of
from tune_cmx.config.section import Section, as_tuple
from tune_cmx.errors import ConfigError
from tune_cmx.registry import nearest


class _Domain(Section):
    """What all domains share."""

    when: dict[str, Any] = {}
    """Search the field only where these earlier fields have this value, or one of these values. Default: always."""


class Choice(_Domain):
    """One of several values."""

    choice: Annotated[tuple[Any, ...], BeforeValidator(as_tuple), Field(min_length=1)]
    """The values, each once."""

    @property
    def ends(self) -> tuple[Any, ...]:
        """Every choice."""
        return self.choice


class Uniform(_Domain):
    """A number between two ends, uniform."""

    uniform: Annotated[tuple[float, float], BeforeValidator(as_tuple)]
    """The two ends, the lower one first."""

    @property
    def ends(self) -> tuple[float, float]:
        """The two ends."""
        return self.uniform


class LogUniform(_Domain):
    """A number between two ends above 0, uniform on a logarithmic scale."""

    loguniform: Annotated[tuple[float, float], BeforeValidator(as_tuple)]
    """The two ends, both above 0, the lower one first."""

    @property
    def ends(self) -> tuple[float, float]:
        """The two ends."""
        return self.loguniform


class Integer(_Domain):
    """A whole number from one end to the other, both included."""

    int: Annotated[tuple[int, int], BeforeValidator(as_tuple)]
    """The two ends, both included, the lower one first."""

    @property
    def ends(self) -> "tuple[Any, Any]":
        """The two ends."""
        return self.int


Domain = Choice | Uniform | LogUniform | Integer
Domains = Mapping[str, Domain]
"""By dotted path, in the order of the file."""
_DOMAINS: Mapping[str, type[Domain]] = {"choice": Choice, "uniform": Uniform, "loguniform": LogUniform, "int": Integer}


def parse_domains(search: Mapping[str, Any], source: str, lines: Lines, *, prefix: str = "search") -> dict[str, Domain]:
    """The domains of a `search:` section.

    Raises:
        ConfigError: The kind of a domain is unknown, its ends are in the wrong order, or its condition names no earlier
            choice.
    """
    domains: dict[str, Domain] = {}
    for key, value in search.items():
        place = f"{source}:{lines.get(f'{prefix}.{key}', '?')}: {prefix}.{key}"
        domains[key] = _parse_domain(f"{prefix}.{key}", value, place, source, lines)
        _refuse_bad_condition(domains[key], domains, key, place, source, lines)
    return domains


def _parse_domain(key: str, value: Any, place: str, source: str, lines: Lines) -> Domain:
    kinds = [name for name in value if name != "when"] if isinstance(value, Mapping) else []
    if len(kinds) != 1 or kinds[0] not in _DOMAINS:
        raise ConfigError(
            f"{place}: needs one of {{{', '.join(_DOMAINS)}}} with a list, as in {{choice: [0.3, 0.5]}}; got {value}"
        )
    domain = validate(_DOMAINS[kinds[0]], value, source=source, lines=lines, prefix=key)
    if isinstance(domain, Choice):
        if len({_key(item) for item in domain.choice}) < len(domain.choice):
            raise ConfigError(f"{place}: choice has a value twice: {list(domain.choice)}")
        return domain
    low, high = domain.ends
    if not low < high:
        raise ConfigError(f"{place}: {kinds[0]} needs its lower end first; got [{low}, {high}]")
    if kinds[0] == "loguniform" and low <= 0:
        raise ConfigError(f"{place}: loguniform needs a lower end above 0; got {low}")
    return domain


def _refuse_bad_condition(domain: Domain, before: Domains, key: str, place: str, source: str, lines: Lines) -> None:
    for path, wanted in domain.when.items():
        other = before.get(path)
        if path == key or not isinstance(other, Choice):
            raise ConfigError(
                f"{place}.when: {path} is not an earlier choice; name a {{choice: [...]}} above this field"
            )
        for value in _wanted(wanted):
            if _key(value) not in {_key(item) for item in other.choice}:
                near = nearest(str(value), [str(item) for item in other.choice])
                meant = f" Is '{near}' there a misspelling of '{value}'?" if near else ""
                above = place_of(f"{place.rpartition(': ')[2].removesuffix(key)}{path}", source, lines)
                raise ConfigError(f"{place}.when: {path} is never {value}; {above} has {list(other.choice)}.{meant}")


def _wanted(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def _key(value: Any) -> str:
    """A value as text, for comparison: lists cannot be hashed."""
    return json.dumps(value, sort_keys=True, default=str)


def is_active(domain: Domain, values: Mapping[str, Any]) -> bool:
    """Whether a field is searched, given the values of the fields before it."""
    return all(
        path in values and _key(values[path]) in {_key(item) for item in _wanted(wanted)}
        for path, wanted in domain.when.items()
    )


def sample(domain: Domain, generator: np.random.Generator) -> Any:
    """One value at random."""
    if isinstance(domain, Choice):
        return domain.choice[int(generator.integers(len(domain.choice)))]
    if isinstance(domain, Uniform):
        return float(generator.uniform(*domain.uniform))
    if isinstance(domain, LogUniform):
        low, high = domain.loguniform
        return float(math.exp(generator.uniform(math.log(low), math.log(high))))
    low_int, high_int = domain.int
    return int(generator.integers(low_int, high_int, endpoint=True))


def sample_all(domains: Domains, generator: np.random.Generator) -> dict[str, Any]:
    """One value of each field that is searched, given those before it."""
    values: dict[str, Any] = {}
    for path, domain in domains.items():
        if is_active(domain, values):
            values[path] = sample(domain, generator)
    return values


def grid(domains: Mapping[str, Choice]) -> list[dict[str, Any]]:
    """Every combination, the last field varying first; a field that is not searched is left out."""
    found: list[dict[str, Any]] = [{}]
    for path, domain in domains.items():
        grown = [
            [{**values, path: choice} for choice in domain.choice] if is_active(domain, values) else [values]
            for values in found
        ]
        found = list(itertools.chain.from_iterable(grown))
    return found


def extremes(domains: Domains) -> Iterator[tuple[str, Any, dict[str, Any]]]:
    """Each range at its ends and each choice in turn, with values for the other fields.

    Yields:
        Path, value, and all values: those that the field's condition asks for, and the first end elsewhere.
    """
    for path, domain in domains.items():
        for end in domain.ends:
            wanted = {path: end}
            asks: list[Domain] = [domain]
            while asks:
                for above, value in asks.pop().when.items():
                    wanted.setdefault(above, _wanted(value)[0])
                    asks.append(domains[above])
            values: dict[str, Any] = {}
            for other, its_domain in domains.items():
                if is_active(its_domain, values):
                    values[other] = wanted.get(other, its_domain.ends[0])
            yield path, end, values


def refuse_outside(domains: Domains, values: Mapping[str, Any], place: str) -> None:
    """Searched values must be those of the domains: none unknown, none left out, each inside.

    Raises:
        ConfigError: Names the field, its value, and what is allowed.
    """
    for path in values:
        if path not in domains:
            raise ConfigError(f"{place}: {path} is not searched; the search has {', '.join(domains)}")
    for path, domain in domains.items():
        if not is_active(domain, values):
            if path in values:
                raise ConfigError(f"{place}: {path} is searched only where {domain.when}; leave it out")
            continue
        if path not in values:
            raise ConfigError(f"{place}: {path} is missing")
        if not inside(domain, values[path]):
            raise ConfigError(f"{place}: {path} is {values[path]}; the search has {list(domain.ends)}")


def inside(domain: Domain, value: Any) -> bool:
    """Whether a value is one of the choices, or lies in the range."""
    if isinstance(domain, Choice):
        return _key(value) in {_key(item) for item in domain.choice}
    return _between(value, *domain.ends)


def _between(value: Any, low: float, high: float) -> bool:
    """Whether a number lies in a range; where the ends are whole numbers it must be one too."""
    kind = int if isinstance(low, int) else int | float
    return isinstance(value, kind) and not isinstance(value, bool) and low <= value <= high
