"""A parsed study: configurations (arms) and baseline. `phases` reads its searches, `study_rules` refuses unfair ones.

The trials of a grid or a random search are drawn in the driver, from the file's seed: an interrupted study that is
started again draws the same ones. Those of a later phase, or of a searcher that draws one by one, join the arms later.
"""

import copy
import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tune_cmx.config.arms import BASELINE, Arm, Arms, baseline_arm, settings_text
from tune_cmx.config.claims.named import PossibleArms, named, side_text
from tune_cmx.config.domains import Domains, extremes
from tune_cmx.config.model_sections import ASSUMED, DefaultStreams, ModelConfig
from tune_cmx.config.names import value_text
from tune_cmx.config.parse import flatten, parse_trial
from tune_cmx.config.paths import Lines, Origins, below, place_of, put
from tune_cmx.config.phases import SearchPhase, all_searched, draw_values, read_fixed, read_phases
from tune_cmx.config.searchers import DrawnSearcher
from tune_cmx.config.space import Space, StudyFile, read_space
from tune_cmx.config.study_rules import (
    ARMS,
    STREAMS,
    refuse_idle_fusion,
    refuse_idle_numbers,
    refuse_set,
    refuse_unequal_epochs,
    refuse_unfair,
    refuse_unknown_allowance,
)
from tune_cmx.config.trial import DataConfig, TrialConfig
from tune_cmx.errors import ConfigError

CONFIRM_SEED_OFFSET = 1000
"""Confirmation seeds start this far above the search's, so that no finalist is judged on the run that chose it."""


@dataclass(frozen=True)
class Study:
    """A parsed search-space file. `arms[BASELINE]` is the baseline; the others follow in the order drawn."""

    file: StudyFile
    question: str
    arms: Arms
    source: str
    fixed: Mapping[str, Any]
    phases: tuple[SearchPhase, ...]
    lines: Lines
    """Of the file's keys, for messages."""
    overridden: tuple[str, ...] = ()
    """Fixed fields that the command line sets."""
    default_streams: DefaultStreams | None = None
    """The streams of configurations that name none; None: the file or the command line names them for all."""

    @property
    def baseline(self) -> Arm:
        """What the other arms are compared with."""
        return self.arms[BASELINE]

    @property
    def searched(self) -> tuple[str, ...]:
        """Ids of the arms that the search trains, as far as they are known. The confirmation trains the baseline."""
        return tuple(name for name in self.arms if name != BASELINE)

    @property
    def grows(self) -> bool:
        """Whether the search adds arms as it goes."""
        return len(self.phases) > 1 or self.file.searcher.one_by_one is not None

    @property
    def factors(self) -> tuple[str, ...]:
        """The dotted paths in which configurations may differ: the searched ones, and what the baseline replaces."""
        searched = all_searched(self.phases)
        around = [key for key in self.file.baseline if any(below(key, path) or below(path, key) for path in searched)]
        return tuple(sorted({*searched, *around}))

    def factor_fields(self) -> tuple[str, ...]:
        """The factors as fields: a searched preset sets the whole schedule."""
        preset = any(path == "schedule.preset" for path in self.factors)
        return (*self.factors, "schedule") if preset else self.factors

    def allowed(self) -> tuple[str, ...]:
        """The fields in which an arm may differ from the baseline."""
        return (*self.factor_fields(), *self.file.allow_differences)

    def draw(self, phase: SearchPhase, kept: Sequence[Arm] = ()) -> list[Arm]:
        """The arms of a phase; those that the table does not have yet join it.

        Args:
            phase: Any but one whose trials are drawn one by one.
            kept: What the phase before it kept; none before the first.

        Raises:
            ConfigError: A combination is no valid configuration, or differs from the baseline beyond the factors.
        """
        draws = draw_values(phase, self.file.searcher, self.file.seed, self.source)
        bases = [_without(base.values, phase.domains) for base in kept] or [{}]
        arms = [self.arm({**base, **phase.fixed, **values}) for base in bases for values in draws]
        return list({arm.id: arm for arm in arms if arm.id != BASELINE}.values())

    def arm(self, values: Mapping[str, Any]) -> Arm:
        """The arm with these searched values: a new one, or the one in the table with an equal configuration.

        Raises:
            ConfigError: The values are no valid configuration, or differ from the baseline beyond the factors.
        """
        with _within(f"in the configuration with {settings_text(values)}"):
            config = self.config(values)
        arm = self.arms.add(values, config)
        refuse_unfair(arm, self.baseline, self.allowed(), self.source)
        return arm

    def config(self, values: Mapping[str, Any]) -> TrialConfig:
        """The configuration of searched values, with the search's seed."""
        listed = ARMS in self.phases[0].domains  # each is a change of the baseline there
        given = {**self.file.baseline, **values} if listed else values
        return _config(self.fixed, given, self.file.seed, self.source, self.origins(values, baseline=listed))

    def origins(self, values: Mapping[str, Any], *, baseline: bool = False) -> Origins:
        """Where in the file each value of a configuration comes from, for messages.

        Args:
            values: As searched.
            baseline: Whether they change the baseline's values.
        """
        found = _fixed_origins(self.file, self.source, self.lines, self.overridden, baseline=baseline)
        for path, value in values.items():
            for phase in self.phases:
                domain = phase.domains.get(path, phase.domains.get(ARMS))
                if path in phase.fixed:
                    found.put(path, f"{phase.section.removesuffix('search')}fixed.{path}")
                if path in phase.domains and domain is not None:
                    key = f"{phase.section}.{path}"
                    found.put(path, key, f"{key}.choice.{domain.ends.index(value)}" if value in domain.ends else key)
                elif domain is not None:
                    number = next((n for n, arm in enumerate(domain.ends) if arm.get(path) == value), 0)
                    found.put(path, f"{phase.section}.{ARMS}.choice.{number}.{path}")
        return found

    def arm_origins(self, arm: Arm) -> Origins:
        """As `origins`, of a configuration of the table."""
        return self.origins({}, baseline=True) if arm.id == BASELINE else self.origins(arm.values)

    def claimed(self) -> tuple[str, ...]:
        """Arms that the claims name, as far as they are known. They are always confirmed."""
        found: list[str] = []
        for claim in self.file.claims:
            if claim.kind == "best":
                found += self.searched
            found += [name for side in (claim.treatment, claim.baseline) for name in named(side, self.arms)]
        return tuple(name for name in dict.fromkeys(found) if name != BASELINE)

    def refuse_unmatched_claims(self) -> None:
        """Refuse claims that no configuration matches, and none that the search can add will.

        Raises:
            ConfigError: Names each such claim, and what the study has.
        """
        added = [(phase.domains, phase.fixed) for phase in self.phases] if self.grows else []
        possible = PossibleArms(self.arms, added, self.config)
        unmatched = [
            f"{place_of(f'claims.{number}.{side}', self.source, self.lines)}: no configuration of the study matches "
            f"{side_text(given)}.{possible.why_not(given)}"
            for number, claim in enumerate(self.file.claims)
            for side, given in (("treatment", claim.treatment), ("baseline", claim.baseline))
            if given is not None and not possible.can_match(given)
        ]
        if unmatched:
            raise ConfigError("\n".join(unmatched))

    def range_ends(self) -> list[tuple[str, TrialConfig]]:
        """Each searched range at its ends and each choice in turn, unless the arms contain them all."""
        found = []
        for place, values in self.end_values():
            with _within(place):
                found.append((place, self.config(values)))
        return found

    def end_values(self) -> list[tuple[str, dict[str, Any]]]:
        """The searched values of `range_ends`."""
        found = []
        base: dict[str, Any] = {}
        for number, phase in enumerate(self.phases):
            drawn = number == 0 and self.file.searcher.exhaustive
            base = {**_without(base, phase.domains), **phase.fixed}
            cases = list(extremes(phase.domains))
            for path, value, values in [] if drawn else cases:
                place = f"{phase.section}.{path} = {value_text(value)}"
                found.append((place, {**base, **values}))
            base = {**base, **cases[0][2]}
        return found

    def streams_asked(self) -> Iterator[tuple[str, ModelConfig]]:
        """The place that names the streams of each configuration and range end, and its model."""
        for arm in self.arms.values():
            yield self.arm_origins(arm).place(STREAMS), arm.config.model
        for _, values in self.end_values():
            yield self.origins(values).place(STREAMS), self.config(values).model

    def lengths(self) -> tuple[int, ...]:
        """The lengths in epochs that the schedules of searched arms may have, ascending."""
        configs = [self.arms[name].config for name in self.searched] + [config for _, config in self.range_ends()]
        return tuple(sorted({config.schedule.epochs for config in configs}))

    def trials_planned(self) -> tuple[int, ...]:
        """Trials of each phase, at most."""
        if isinstance(self.file.searcher, DrawnSearcher):
            return (self.file.searcher.trials,)
        counts: list[int] = []
        kept = 1
        for phase in self.phases:
            size = len(draw_values(phase, self.file.searcher, self.file.seed, self.source))
            counts.append(len(self.draw(phase)) if not counts else kept * size)
            kept = min(phase.keep, counts[-1])
        return tuple(counts)

    def seeds(self, count: int) -> tuple[int, ...]:
        """The first fresh seeds, which finalists and baseline share."""
        first = self.file.seed + CONFIRM_SEED_OFFSET
        return tuple(range(first, first + count))


def data_of(space: Space, overrides: Mapping[str, Any]) -> DataConfig:
    """Where the data of a study are; known before its configurations, whose streams may follow from the data.

    Raises:
        ConfigError: A key of the file's or the command line's data is unknown or not allowed.
    """
    source = str(space.path)
    content = {"data": read_fixed(space.file.fixed, source).get("data", {})}
    for key, value in overrides.items():
        if below(key, "data"):
            put(content, key, value)
    origins = _fixed_origins(space.file, source, space.lines, tuple(overrides), baseline=False)
    return parse_trial(content, source=source, origins=origins).data


def read_study(
    space: Path | Space, *, overrides: Mapping[str, Any] | None = None, default_streams: DefaultStreams = ASSUMED
) -> Study:
    """Draw the configurations of a search-space file.

    Args:
        space: The file, or what `read_space` made of it.
        overrides: Fixed values by dotted path that the command line sets, such as `data.root`.
        default_streams: Of configurations for which nobody names streams.

    Raises:
        ConfigError: Anything in the file is unknown, doubled, both fixed and searched, or not allowed.
    """
    if isinstance(space, Path):
        space = read_space(space)
    file, lines, source = space.file, space.lines, str(space.path)
    fixed = read_fixed(file.fixed, source)
    phases = read_phases(file, fixed, source, lines)
    for key, value in (overrides or {}).items():
        refuse_set(key, (*all_searched(phases), *file.baseline), source)
        put(fixed, key, value)
    overridden = tuple(overrides or {})
    origins = _fixed_origins(file, source, lines, overridden, baseline=True)
    unnamed = STREAMS not in flatten(fixed) and isinstance(fixed.get("model", {}), dict)
    if unnamed:
        fuses = any(below(path, "model.fusion") for path in (*flatten(fixed), *file.baseline, *all_searched(phases)))
        if fuses and STREAMS not in file.baseline:
            refuse_idle_fusion(default_streams, origins.place("model.fusion"), all_searched(phases))
        put(fixed, STREAMS, default_streams.streams)
    baseline = _config(fixed, file.baseline, file.seed, source, origins)
    arms = Arms(baseline_arm(file.baseline, baseline))
    used = default_streams if unnamed else None
    study = Study(file, _question(space.path), arms, source, fixed, phases, lines, overridden, used)
    if not study.draw(phases[0]) and file.searcher.one_by_one is None:
        raise ConfigError(
            f"{source}: every configuration that the search draws is the baseline itself; there is nothing to compare"
        )
    study.refuse_unmatched_claims()
    refuse_unknown_allowance(file.allow_differences, arms, source, lines)
    for place, config in study.range_ends():
        refuse_unfair(Arm(place, place, {}, config), study.baseline, study.allowed(), source)
    refuse_unequal_epochs(file.early_stopping, study.lengths(), source, lines)
    refuse_idle_numbers(file, study.trials_planned(), study.lengths(), source, lines)
    return study


def _question(path: Path) -> str:
    """The comment at the head of the file, up to its lines on cost and commands."""
    head = itertools.takewhile(lambda line: line.startswith("#"), path.read_text(encoding="utf-8").splitlines())
    text = [line.lstrip("#").strip() for line in head]
    return "\n".join(itertools.takewhile(lambda line: not line.startswith(("Expect:", "Cost", "Run:")), text))


@contextmanager
def _within(place: str) -> Iterator[None]:
    """Say in an error which configuration it is of."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"{error} ({place})") from error


def _without(values: Mapping[str, Any], domains: Domains) -> dict[str, Any]:
    """Values without those that a phase searches anew."""
    return {path: value for path, value in values.items() if not any(below(path, other) for other in domains)}


def _fixed_origins(file: StudyFile, source: str, lines: Lines, overridden: Sequence[str], *, baseline: bool) -> Origins:
    """Where the fixed values and, if wanted, those of the baseline come from."""
    found = Origins(source, lines)
    for path in flatten(file.fixed):
        found.put(path, f"fixed.{path}")
    for path in overridden:
        found.put(path, path)
    for path in file.baseline if baseline else ():
        found.put(path, f"baseline.{path}")
    return found


def _config(
    fixed: Mapping[str, Any], values: Mapping[str, Any], seed: int, source: str, origins: Origins
) -> TrialConfig:
    """The fixed values with some others put into them."""
    content = copy.deepcopy(dict(fixed))
    for path, value in values.items():
        try:
            put(content, path, copy.deepcopy(value))
        except ConfigError as error:
            raise ConfigError(f"{source}: {error}") from error
    content["seed"] = seed
    return parse_trial(content, source=source, origins=origins)
