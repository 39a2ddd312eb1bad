"""The searches of a study, one after the other: how the file gives them, and the values that each draws."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tune_cmx.config.domains import Domains, parse_domains
from tune_cmx.config.parse import flatten
from tune_cmx.config.paths import Lines, below, get, put
from tune_cmx.config.searchers import Searcher
from tune_cmx.config.space import StudyFile
from tune_cmx.config.study_rules import ARMS, refuse_fixed, refuse_overlap, searched_paths
from tune_cmx.errors import ConfigError

SEARCH = "search"
"""The name of the only phase of a file without `phases`."""


@dataclass(frozen=True)
class SearchPhase:
    """One search of a study: what it varies, around the arms that the phase before it kept."""

    name: str
    section: str
    """The key of its domains in the file."""
    domains: Domains
    fixed: Mapping[str, Any]
    keep: int


def read_phases(file: StudyFile, fixed: Mapping[str, Any], source: str, lines: Lines) -> tuple[SearchPhase, ...]:
    """The file's phases, or its one search as a phase.

    Raises:
        ConfigError: A domain is not allowed, or is fixed too; or a phase fixes what none searches.
    """
    if not file.phases:
        domains = parse_domains(file.search, source, lines)
        refuse_overlap(fixed, domains, file.baseline, source, lines)
        return (SearchPhase(SEARCH, SEARCH, domains, {}, keep=0),)
    phases = []
    for number, given in enumerate(file.phases):
        section = f"phases.{number}.search"
        domains = parse_domains(given.search, source, lines, prefix=section)
        here = flatten(given.fixed)
        refuse_overlap({**fixed, **read_fixed(here, source)}, domains, file.baseline, source, lines, section)
        phases.append(SearchPhase(given.name, section, domains, here, given.keep))
    everywhere = all_searched(phases)
    for phase in phases:
        for path in phase.fixed:
            if not any(below(path, searched) or below(searched, path) for searched in everywhere):
                raise ConfigError(
                    f"{source}: phase {phase.name}: no phase searches fixed.{path}; move it to the file's fixed section"
                )
    return tuple(phases)


def all_searched(phases: Sequence[SearchPhase]) -> tuple[str, ...]:
    """The dotted paths that any of the phases searches."""
    return tuple(dict.fromkeys(path for phase in phases for path in searched_paths(phase.domains)))


def read_fixed(content: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Fixed values, whose keys may be dotted paths, as nested mappings.

    Raises:
        ConfigError: A path is one that the study sets itself, or is given twice.
    """
    nested: dict[str, Any] = {}
    for path, leaf in flatten(content).items():
        refuse_fixed(path, f"{source}: fixed")
        existing = get(nested, path)
        if existing is not None:
            if leaf == {} and isinstance(existing, dict):
                continue
            raise ConfigError(f"{source}: fixed.{path} is given twice, as a whole and in parts; keep one")
        try:
            put(nested, path, leaf)
        except ConfigError as error:
            raise ConfigError(f"{source}: fixed.{error}") from error
    return nested


def draw_values(phase: SearchPhase, searcher: Searcher, seed: int, source: str) -> list[dict[str, Any]]:
    """The searched values of each trial of a phase, no two alike; none where they are drawn one by one.

    Raises:
        ConfigError: The searcher cannot draw from these domains, or not so many trials.
    """
    if ARMS in phase.domains and not searcher.exhaustive:
        raise ConfigError(f"{source}: {phase.section}.{ARMS} lists the trials one by one; use searcher: {{kind: grid}}")
    try:
        draws = searcher.draw(phase.domains, seed, phase.section)
    except ConfigError as error:
        raise ConfigError(f"{source}: {error}") from error
    return [dict(draw[ARMS]) for draw in draws] if ARMS in phase.domains else draws
