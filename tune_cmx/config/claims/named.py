"""Which configurations the claims of a search-space file name; a claim that none can match is refused.

A search that adds configurations as it goes is known by its domains only: each combination of its choices stands for
the configurations that it can draw, with any number of a range.
"""

import fnmatch
import itertools
import json
import string
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from tune_cmx.config.arms import BASELINE, Arm, arm_id
from tune_cmx.config.domains import Choice, Domain, Domains, inside, is_active
from tune_cmx.config.parse import dump, flatten
from tune_cmx.config.paths import below
from tune_cmx.config.trial import TrialConfig
from tune_cmx.errors import ConfigError
from tune_cmx.registry import suggestion

ANY_NUMBER = "NUMBER"
"""Replaces a number of a range, in values and in the ids made of them."""
_MOST_IDS = 20_000
_MOST_BUILT = 1_000
"""Combinations that are tried. Where a space has more and none matched, a claim is not refused."""
_LISTED = 6
_ID_LENGTH = 60
_NUMBER_LETTERS = frozenset(string.digits + ".e+-")
_LONGEST_NUMBER = 10


def named(side: Any, arms: Mapping[str, Arm]) -> list[str]:
    """The ids of the known configurations that one side of a claim describes."""
    if side == BASELINE:
        return [BASELINE]
    if not isinstance(side, Mapping):
        return []
    if set(side) == {"best_of"}:
        return [name for name in arms if name != BASELINE and fnmatch.fnmatchcase(name, str(side["best_of"]))]
    return [name for name, arm in arms.items() if _agrees(side, {"arm": arm.id, **fields_of(arm.values, arm.config)})]


def fields_of(values: Mapping[str, Any], config: TrialConfig) -> dict[str, Any]:
    """The fields that a claim can name, by dotted path."""
    return {**flatten(dump(config)), **values}


def _agrees(side: Mapping[str, Any], fields: Mapping[str, Any]) -> bool:
    return all(path in fields and fields[path] == value for path, value in side.items())


@dataclass(frozen=True)
class PossibleArms:
    """The configurations that a study has, and those that its search can add."""

    arms: Mapping[str, Arm]
    phases: Sequence[tuple[Domains, Mapping[str, Any]]]
    """What the search can add: the domains of each phase, and what the phase fixes. Empty if it adds nothing."""
    build: Callable[[Mapping[str, Any]], TrialConfig]
    """The configuration of searched values; a ConfigError where they cannot be."""

    def can_match(self, side: Any) -> bool:
        """Whether a configuration that the study has or can add matches one side of a claim."""
        if named(side, self.arms):
            return True
        if not isinstance(side, Mapping):
            return False
        if set(side) == {"best_of"}:
            return any(can_be(str(side["best_of"]), name) for name in self._ids())
        fields = {path: value for path, value in side.items() if path != "arm"}
        tried = 0
        for values in _drawn(self.phases, fields):
            if "arm" in side and not can_be(_literally(str(side["arm"])), arm_id(values)):
                continue
            if not fields or _agrees(fields, self._fields(values)):
                return True
            tried += 1
            if tried == _MOST_BUILT:
                return True
        return False

    def why_not(self, side: Any) -> str:
        """What the study has in place of what one side of a claim names, as sentences; each begins with a space."""
        if not isinstance(side, Mapping):
            return " Give baseline, field: value pairs, or {best_of: PATTERN}."
        wanted = side.get("best_of", side.get("arm"))
        if wanted is not None:
            ids = list(dict.fromkeys([*(name for name in self.arms if name != BASELINE), *self._ids()]))
            wider = f"*{wanted}" if "best_of" in side else ""
            hint = f" Did you mean best_of: '{wider}'?" if any(can_be(wider, name) for name in ids) else ""
            return f" The ids of the study are {_listed(ids)}.{hint}"
        candidates = [fields_of(arm.values, arm.config) for arm in self.arms.values()]
        candidates += [self._fields(values) for values in itertools.islice(_drawn(self.phases, {}), _MOST_BUILT)]
        known = {path for fields in candidates for path in fields}
        said = []
        for path, value in side.items():
            have = self._values(path, candidates)
            if path not in known:
                said.append(f" There is no field '{path}'.{suggestion(path, known)}")
            elif text(value) not in have and not any(inside(domain, value) for domain in self._ranges(path)):
                said.append(f" {path}: the study has {_listed(have)}; got {text(value)}.")
        return "".join(said) or " No configuration has all of these at once."

    def _ids(self) -> Iterator[str]:
        return (arm_id(values) for values in itertools.islice(_drawn(self.phases, {}), _MOST_IDS))

    def _ranges(self, path: str) -> list[Domain]:
        found = [domains[path] for domains, _ in self.phases if path in domains]
        return [domain for domain in found if not isinstance(domain, Choice)]

    def _values(self, path: str, candidates: Sequence[Mapping[str, Any]]) -> list[str]:
        """The values of a field, as text, each once."""
        ranges = [f"numbers from {domain.ends[0]} to {domain.ends[1]}" for domain in self._ranges(path)]
        single = [] if ranges else [text(fields[path]) for fields in candidates if path in fields]
        return list(dict.fromkeys([*single, *ranges]))

    def _fields(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The fields of a combination; none where it is no valid configuration."""
        lows = {path: domain.ends[0] for domains, _ in self.phases for path, domain in domains.items()}
        numbers = {path: lows[path] if value == ANY_NUMBER else value for path, value in values.items()}
        try:
            return fields_of(numbers, self.build(numbers))
        except ConfigError:
            return {}


def text(value: Any) -> str:
    """A value as a file has it."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def side_text(side: Any) -> str:
    """One side of a claim as a file has it."""
    return (
        ", ".join(f"{path}: {text(value)}" for path, value in side.items()) if isinstance(side, Mapping) else str(side)
    )


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return f"{', '.join(names[:_LISTED])}{more}" or "none"


def _drawn(
    phases: Sequence[tuple[Domains, Mapping[str, Any]]], wanted: Mapping[str, Any], before: Mapping[str, Any] = {}
) -> Iterator[dict[str, Any]]:
    """Each combination of the choices that can have the wanted values, phase by phase; `NUMBER` for any of a range."""
    if not phases:
        return
    (domains, fixed), *later = phases
    base = {path: value for path, value in before.items() if not any(below(path, other) for other in domains)}
    for values in _combined(list(domains.items()), {**base, **fixed}, {} if later else wanted):
        yield values
        yield from _drawn(later, wanted, values)


def _combined(
    left: Sequence[tuple[str, Domain]], values: dict[str, Any], wanted: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    if not left:
        arms = values.get("arms")
        yield {**{path: value for path, value in values.items() if path != "arms"}, **arms} if arms else values
        return
    (path, domain), *rest = left
    if not is_active(domain, values):
        yield from _combined(rest, values, wanted)
        return
    options = domain.choice if isinstance(domain, Choice) else (ANY_NUMBER,)
    if path in wanted:
        options = (wanted[path],) if inside(domain, wanted[path]) else ()
    for option in options:
        yield from _combined(rest, {**values, path: option}, wanted)


def _literally(name: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)


def can_be(pattern: str, name: str) -> bool:
    """Whether a pattern with `*`, `?` and `[...]` matches an id with `NUMBER` in place of any number.

    An id that may exceed its length with a number in it is cut there, and any hash may follow.
    """
    parts = name.split(ANY_NUMBER)
    tokens: list[str | None] = [token for part in parts for token in (*part, None)][:-1]
    if _meet(_split(pattern), tuple(tokens)):
        return True
    numbers = len(parts) - 1
    if not numbers or len(tokens) + numbers * (_LONGEST_NUMBER - 1) <= _ID_LENGTH:
        return False
    return _meet(_split(pattern), (*tokens[: _ID_LENGTH - numbers * _LONGEST_NUMBER], ""))


def _split(pattern: str) -> tuple[str, ...]:
    """A pattern's letters, with `*`, `?` and each `[...]` as one."""
    found: list[str] = []
    at = 0
    while at < len(pattern):
        end = pattern.find("]", at + 2) if pattern[at] == "[" else -1
        found.append(pattern[at : max(end, at) + 1])
        at += len(found[-1])
    return tuple(found)


def _meet(pattern: tuple[str, ...], name: tuple[str | None, ...]) -> bool:
    """Whether some text fits both; in the name, None stands for the letters of a number and "" for any letters."""

    @cache
    def meet(i: int, j: int) -> bool:
        if i == len(pattern) and j == len(name):
            return True
        if i < len(pattern) and pattern[i] == "*":
            return meet(i + 1, j) or (j < len(name) and meet(i, j + 1))
        if j == len(name):
            return False
        letter = name[j]
        if letter is None or letter == "":
            letters = _NUMBER_LETTERS if letter is None else string.printable
            fits = i < len(pattern) and any(fnmatch.fnmatchcase(one, pattern[i]) for one in letters)
            return meet(i, j + 1) or (fits and meet(i + 1, j))
        return i < len(pattern) and fnmatch.fnmatchcase(letter, pattern[i]) and meet(i + 1, j + 1)

    return meet(0, 0)
