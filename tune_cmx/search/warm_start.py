"""Trials of earlier studies and imports, with which TPE begins: they are observations, never replicates."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BeforeValidator

from tune_cmx.config.domains import Choice, Domain, is_active, refuse_outside
from tune_cmx.config.parse import dump, flatten
from tune_cmx.config.paths import below, get
from tune_cmx.config.searchers import TpeSearcher
from tune_cmx.config.section import Section, as_tuple
from tune_cmx.config.study import Study
from tune_cmx.config.trial import STAGES
from tune_cmx.errors import ConfigError

_PLACES = ("seed", "report_split", "data", "schedule.preset")
"""Fields that are no part of a protocol, or that no configuration alone says."""
_FUSION = "model.fusion"


@dataclass(frozen=True)
class Candidate:
    """A trial of an earlier study."""

    name: str
    """With its folder, so that no other has it."""
    config: Mapping[str, Any]
    """As far as it is known, nested."""
    value: float | None
    """Of the search's metric, at the end of the training; None: `reason` says why not."""
    reason: str = ""
    note: str = ""
    """What is not known of the value."""


class Used(Section):
    """An observation that the search begins with."""

    name: str
    values: dict[str, Any]
    value: float


class LeftOut(Section):
    """A trial that the search does not begin with."""

    name: str
    reason: str


class WarmStart(Section):
    """What a search begins with, as `study.json` has it: fixed once, whatever becomes of the folders."""

    folders: Annotated[tuple[str, ...], BeforeValidator(as_tuple)]
    used: Annotated[tuple[Used, ...], BeforeValidator(as_tuple)]
    left_out: Annotated[tuple[LeftOut, ...], BeforeValidator(as_tuple)]
    notes: Annotated[tuple[str, ...], BeforeValidator(as_tuple)]


class WarmSearcher(TpeSearcher):
    """The searcher of a search that begins with earlier trials."""

    warm_start: WarmStart


def refuse_cold(study: Study) -> None:
    """Raise where a search could not begin with anything.

    Raises:
        ConfigError: Its searcher takes no observations, or has several objectives.
    """
    searcher = study.file.searcher
    if not isinstance(searcher, TpeSearcher):
        raise ConfigError(
            f"--warm-start: searcher {searcher.kind} does not learn from results; set searcher: {{kind: tpe, "
            f"trials: N}} in {study.source}, or leave --warm-start out"
        )
    if searcher.objectives:
        raise ConfigError(
            "--warm-start gives one value for each trial, and searcher.objectives has "
            f"{', '.join(searcher.objectives)}; leave --warm-start or the objectives out"
        )


def choose(study: Study, folders: Sequence[str], candidates: Sequence[Candidate]) -> WarmStart:
    """What of earlier trials lies in the space and has a value.

    Args:
        study: With searcher tpe.
        folders: Where the trials are from.
        candidates: All trials there.
    """
    used, left_out, notes = [], [], dict.fromkeys(candidate.note for candidate in candidates if candidate.note)
    different: dict[str, list[str]] = {}
    unknown: dict[str, None] = {}
    for candidate in candidates:
        try:
            values, reached = _values(study, candidate)
        except ConfigError as error:
            left_out.append(LeftOut(name=candidate.name, reason=str(error)))
            continue
        used.append(Used(name=candidate.name, values=values, value=reached))
        for path, (theirs, ours) in _differences(study, candidate, values).items():
            if theirs is None:
                unknown[path] = None
            else:
                different.setdefault(f"{path} is {theirs} there and {ours} here", []).append(candidate.name)
    said = [f"their protocol differs: {what} ({len(names)} of {len(used)})" for what, names in different.items()]
    if unknown:
        more = f" and {len(unknown) - 4} more fields" if len(unknown) > 4 else ""
        said.append(f"not known of them: {', '.join(list(unknown)[:4])}{more}")
    return WarmStart(folders=tuple(folders), used=tuple(used), left_out=tuple(left_out), notes=(*said, *notes))


def begun_with(study: Study, warm: WarmStart) -> Study:
    """The study, its search beginning with these trials."""
    searcher = WarmSearcher(**dict(study.file.searcher), warm_start=warm)
    return dataclasses.replace(study, file=study.file.model_copy(update={"searcher": searcher}))


def _values(study: Study, candidate: Candidate) -> tuple[dict[str, Any], float]:
    """The searched values and what they reached; an error is the reason to leave the trial out."""
    if candidate.value is None:
        raise ConfigError(candidate.reason)
    domains = study.phases[0].domains
    values: dict[str, Any] = {}
    for path, domain in domains.items():
        if is_active(domain, values):
            values[path] = _searched(path, domain, candidate.config)
    refuse_outside(domains, values, "outside the space")
    differ = _differences(study, candidate, values)
    for path, (theirs, ours) in differ.items():
        if below(path, _FUSION) and theirs is not None:
            raise ConfigError(f"outside the space: {path} is {theirs}, and {ours} in this study")
    return values, candidate.value


def _searched(path: str, domain: Domain, config: Mapping[str, Any]) -> Any:
    """The value of a searched field, in the form that the space has."""
    found = get(config, path)
    parent, _, last = path.rpartition(".")
    if found is None and last == "stages" and last in (get(config, parent) or {}):
        found = list(STAGES)  # a configuration that is whole, and names no stages, has its fusion at all of them
    if isinstance(domain, Choice):
        same = [item for item in domain.choice if _comes_to(item, found)]
        if same:
            return same[0]
    if found is None:
        raise ConfigError(f"its {path} is not known")
    return found


def _comes_to(item: Any, found: Any) -> bool:
    """Whether a choice is what was found; a mapping may leave out what has its default there."""
    if not (isinstance(item, Mapping) and isinstance(found, Mapping)):
        return bool(item == found) and isinstance(item, bool) == isinstance(found, bool)
    wanted, there = flatten(item), flatten(found)
    rest = [value for path, value in there.items() if path not in wanted]
    return all(there.get(path) == value for path, value in wanted.items()) and not any(rest)


def _differences(study: Study, candidate: Candidate, values: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Fields outside the searched ones in which the trial is not what this study would train, theirs and ours."""
    here = flatten(dump(study.config(values)))
    there = flatten(candidate.config)
    searched = [path for path, domain in study.phases[0].domains.items() if is_active(domain, values)]
    hidden = (*_PLACES, *searched)
    fields = [path for path in here if not any(below(path, above) or below(above, path) for above in hidden)]
    return {path: (there.get(path), here[path]) for path in fields if there.get(path) != here[path]}
