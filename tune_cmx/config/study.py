"""A parsed study: its arms, its control, and whether the comparison between them is fair.

The trials of a study are drawn here, in the driver, from the file's seed: an interrupted study that is
started again draws the same ones.
"""

import copy
import fnmatch
import hashlib
import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tune_cmx.config.parse import Lines, dump, flatten, load_mapping, parse_trial, validate
from tune_cmx.config.space import Choice, Domain, Searcher, StudyFile, ends, parse_domain, sample
from tune_cmx.config.trial import TrialConfig
from tune_cmx.errors import ConfigError
from tune_cmx.registry import suggestion

CONTROL = "control"
ARMS = "arms"
"""`search.arms` lists the arms one by one, each as what it changes of the control, in one field or several."""
CONFIRM_SEED_OFFSET = 1000
"""Confirmation seeds start this far above the search's, so that no finalist is judged on the run that chose it."""

_STUDY_SETS: Mapping[str, str] = {
    "seed": "each trial has its own; the study's stands at the top of the file, as in seed: 1",
    "report_split": "the study sets it: the search reads val, the confirmation test",
}
_SECTIONS = ("model", "data", "schedule", "model.detector")


@dataclass(frozen=True)
class Arm:
    """All trials that share a configuration and differ in seed."""

    id: str
    label: str
    values: Mapping[str, Any]
    """The searched values by dotted path; of the control, what it overrides."""
    config: TrialConfig
    """With the search's seed."""


@dataclass(frozen=True)
class Study:
    """A parsed search-space file. `arms[CONTROL]` is the control; the others follow in the order drawn."""

    file: StudyFile
    question: str
    arms: Mapping[str, Arm]
    source: str
    fixed: Mapping[str, Any]
    domains: Mapping[str, Domain]

    @property
    def searched(self) -> tuple[str, ...]:
        """Ids of the arms that the search trains; the control waits for the confirmation."""
        return tuple(name for name in self.arms if name != CONTROL)

    @property
    def factors(self) -> tuple[str, ...]:
        """The dotted paths in which arms may differ: what is searched, with what the control replaces around it."""
        searched = _searched_paths(self.domains)
        around = [key for key in self.file.control if any(_below(key, path) or _below(path, key) for path in searched)]
        return tuple(sorted({*searched, *around}))

    def factor_fields(self) -> tuple[str, ...]:
        """The factors as fields: a searched preset sets the whole schedule."""
        preset = any(path == "schedule.preset" for path in self.factors)
        return (*self.factors, "schedule") if preset else self.factors

    def claimed(self) -> tuple[str, ...]:
        """Arms that the claims name: they are confirmed whatever the search says of them.

        Raises:
            ConfigError: A claim names no arm of the study.
        """
        named: list[str] = []
        for number, claim in enumerate(self.file.claims, 1):
            if claim.kind == "best":
                named += self.searched
            for side in (claim.treatment, claim.control):
                found = self._matching(side)
                if side is not None and not found:
                    raise ConfigError(f"{self.source}: claims, number {number}: no arm of the study matches {side}")
                named += found
        return tuple(name for name in dict.fromkeys(named) if name != CONTROL)

    def _matching(self, side: Any) -> list[str]:
        if side == CONTROL:
            return [CONTROL]
        if not isinstance(side, Mapping):
            return []
        if set(side) == {"best_of"}:
            return [name for name in self.searched if fnmatch.fnmatch(name, str(side["best_of"]))]

        def fits(arm: Arm) -> bool:
            fields = {"arm": arm.id, **flatten(dump(arm.config)), **arm.values}
            return all(path in fields and fields[path] == value for path, value in side.items())

        return [name for name, arm in self.arms.items() if fits(arm)]

    def range_ends(self) -> list[tuple[str, TrialConfig]]:
        """Each searched range at its ends and each choice in turn, the rest as in the first draw; a grid has all."""
        if self.file.searcher.kind == "grid":
            return []
        first = dict(self.arms[self.searched[0]].values)
        found = []
        for path, domain in self.domains.items():
            for value in ends(domain):
                place = f"search.{path} = {_text(value)}"
                with _within(place):
                    config = _config(self.fixed, {**first, path: value}, self.file.seed, self.source)
                found.append((place, config))
        return found

    def confirm_seeds(self) -> tuple[int, ...]:
        """The fresh seeds that finalists and control share."""
        first = self.file.seed + CONFIRM_SEED_OFFSET
        return tuple(range(first, first + self.file.confirm.seeds))


def read_study(path: Path, *, overrides: Mapping[str, Any] | None = None) -> Study:
    """Parse a search-space file and draw its arms.

    Args:
        path: The file.
        overrides: Fixed values by dotted path that the command line sets, such as `data.root`.

    Raises:
        ConfigError: Anything in the file is unknown, doubled, both fixed and searched, or not allowed.
    """
    content, lines = load_mapping(path)
    source = str(path)
    file = validate(StudyFile, content, source=source, lines=lines)
    domains = {key: parse_domain(key, value, source, lines) for key, value in file.search.items()}
    fixed = _nested(file.fixed, source)
    _refuse_overlap(fixed, domains, file.control, source, lines)
    for key, value in (overrides or {}).items():
        _refuse_set(key, (*_searched_paths(domains), *file.control), source)
        put(fixed, key, value)
    draws = _draw(domains, file.searcher, file.seed, source)
    arms = _arms(file, fixed, draws, source, lines)
    study = Study(file, _question(path), {arm.id: arm for arm in arms}, source, fixed, domains)
    _refuse_unfair(study)
    return study


def _refuse_set(key: str, taken: Sequence[str], source: str) -> None:
    """The command line cannot set what the study sets, searches, or gives the control."""
    if key in _STUDY_SETS:
        raise ConfigError(f"--set {key}: {_STUDY_SETS[key]}")
    for path in taken:
        if _below(key, path) or _below(path, key):
            raise ConfigError(
                f"--set {key}: {source} has {path} under search or control; it cannot be set as well: change the file"
            )


def _question(path: Path) -> str:
    """The comment block at the head of the file, up to what it says of cost and commands."""
    head = itertools.takewhile(lambda line: line.startswith("#"), path.read_text(encoding="utf-8").splitlines())
    text = [line.lstrip("#").strip() for line in head]
    return "\n".join(itertools.takewhile(lambda line: not line.startswith(("Expect:", "Cost", "Run:")), text))


def _nested(content: Mapping[str, Any], source: str) -> dict[str, Any]:
    """A mapping whose keys may be dotted paths, as nested mappings."""
    nested: dict[str, Any] = {}
    for path, leaf in flatten(content).items():
        if path in _STUDY_SETS:
            raise ConfigError(f"{source}: fixed.{path}: {_STUDY_SETS[path]}")
        existing = _get(nested, path)
        if existing is not None:
            if leaf == {} and isinstance(existing, dict):
                continue
            raise ConfigError(f"{source}: fixed.{path} is given twice, once as a whole and once by its parts; keep one")
        try:
            put(nested, path, leaf)
        except ConfigError as error:
            raise ConfigError(f"{source}: fixed.{error}") from error
    return nested


def _get(content: Mapping[str, Any], path: str) -> Any:
    value: Any = content
    for part in path.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return None
        value = value[part]
    return value


def put(content: dict[str, Any], path: str, value: Any) -> None:
    """Set the value at a dotted path, the mappings above it made where they are absent."""
    *parents, last = path.split(".")
    for part in parents:
        inner = content.setdefault(part, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"{path}: {part} is {inner!r}, not a mapping, so nothing can be set below it")
        content = inner
    content[last] = value


def _below(path: str, above: str) -> bool:
    return path == above or path.startswith(above + ".")


@contextmanager
def _within(place: str) -> Iterator[None]:
    """Say of an error in which arm it arose."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(f"{error} ({place})") from error


def _refuse_overlap(
    fixed: Mapping[str, Any], domains: Mapping[str, Domain], control: Mapping[str, Any], source: str, lines: Lines
) -> None:
    """A key both fixed and searched, or searched twice, or left open by the control, is an error."""
    if ARMS in domains:
        _refuse_bad_arms(domains, source, lines)
    for path in _searched_paths(domains):
        place = _searched_place(path, domains, source, lines)
        _refuse_vary(path, place)
        for leaf in flatten(fixed):
            if _below(leaf, path) or (_below(path, leaf) and _get(fixed, leaf) != {}):
                raise ConfigError(f"{place} is both fixed ({leaf}) and searched; delete one")
        for other in domains:
            if other != path and _below(other, path):
                raise ConfigError(f"{place} is searched as a whole and below, in {other}; keep one")
        if ARMS not in domains and not any(_below(path, key) for key in control):
            raise ConfigError(f"{place}: the control leaves it open; give it a value, as in control: {{{path}: ...}}")
    for key in control:
        _refuse_vary(key, f"{source}:{lines.get(f'control.{key}', '?')}: control.{key}")


def _searched_place(path: str, domains: Mapping[str, Domain], source: str, lines: Lines) -> str:
    if ARMS in domains:
        return f"{source}:{lines.get(f'search.{ARMS}', '?')}: search.{ARMS}: {path}"
    return f"{source}:{lines.get(f'search.{path}', '?')}: search.{path}"


def _refuse_vary(path: str, place: str) -> None:
    """What arms cannot differ in: whole sections, the seed, and the data, which are split once for all arms."""
    if path in _STUDY_SETS:
        raise ConfigError(f"{place}: {_STUDY_SETS[path]}")
    if path in _SECTIONS:
        raise ConfigError(f"{place} would replace the whole section; name the field, as in model.fusion")
    if _below(path, "data") and not _below(path, "data.augment"):
        raise ConfigError(f"{place}: all arms share one data set and one split; of data, only data.augment can vary")


def _refuse_bad_arms(domains: Mapping[str, Domain], source: str, lines: Lines) -> None:
    """`search.arms` is a choice of mappings of dotted paths, and stands alone."""
    place = f"{source}:{lines.get(f'search.{ARMS}', '?')}: search.{ARMS}"
    domain = domains[ARMS]
    if len(domains) > 1 or not isinstance(domain, Choice):
        raise ConfigError(f"{place}: stands alone, as {{choice: [{{model.streams: rgb}}, ...]}}")
    for arm in domain.choice:
        if not isinstance(arm, Mapping) or not arm:
            raise ConfigError(f"{place}: each choice maps dotted paths to values, as {{model.streams: rgb}}; got {arm}")


def _searched_paths(domains: Mapping[str, Domain]) -> tuple[str, ...]:
    """The configuration paths that a search sets."""
    arms = domains.get(ARMS)
    if isinstance(arms, Choice):
        return tuple(dict.fromkeys(path for arm in arms.choice for path in arm))
    return tuple(domains)


def _draw(domains: Mapping[str, Domain], searcher: Searcher, seed: int, source: str) -> list[dict[str, Any]]:
    """The searched values of each trial, no two alike."""
    if searcher.kind == "grid":
        choices = []
        for path, domain in domains.items():
            if not isinstance(domain, Choice):
                raise ConfigError(
                    f"{source}: search.{path}: a grid needs {{choice: [...]}}; "
                    "or take searcher: {kind: random, trials: N}"
                )
            choices.append(domain.choice)
        draws = [dict(zip(domains, values, strict=True)) for values in itertools.product(*choices)]
        return [dict(draw[ARMS]) for draw in draws] if ARMS in domains else draws
    if ARMS in domains:
        raise ConfigError(f"{source}: search.{ARMS} names the trials one by one: take searcher: {{kind: grid}}")
    generator = np.random.default_rng(seed)
    assert searcher.trials is not None
    found: dict[str, dict[str, Any]] = {}
    for _ in range(100 * searcher.trials):
        values = {path: sample(domain, generator) for path, domain in domains.items()}
        found.setdefault(json.dumps(values, sort_keys=True), values)
        if len(found) == searcher.trials:
            return list(found.values())
    raise ConfigError(
        f"{source}: searcher.trials: the space has only about {len(found)} different trials; got {searcher.trials}"
    )


def _arms(
    file: StudyFile, fixed: dict[str, Any], draws: Sequence[dict[str, Any]], source: str, lines: Lines
) -> list[Arm]:
    """The control first, then the draws; one that is the control, or an earlier one, is not an arm of its own."""

    def config(values: Mapping[str, Any], *sections: str) -> TrialConfig:
        place = {
            key.removeprefix(f"{section}."): line
            for section in ("fixed", *sections)
            for key, line in lines.items()
            if key.startswith(f"{section}.")
        }
        return _config(fixed, values, file.seed, source, place)

    control = Arm(CONTROL, label(file.control), dict(file.control), config(file.control, "control"))
    arms = [control]
    seen = [_model_and_rest(control.config)]
    for values in draws:
        with _within(f"in the arm '{label(values)}'"):
            resolved = config({**file.control, **values} if ARMS in file.search else values, "search")
        if _model_and_rest(resolved) in seen:
            continue
        seen.append(_model_and_rest(resolved))
        arms.append(_named(values, resolved, arms))
    if len(arms) == 1:
        raise ConfigError(
            f"{source}: every arm that the search draws is the control itself; there is nothing to compare"
        )
    return arms


def _named(values: Mapping[str, Any], config: TrialConfig, others: Sequence[Arm]) -> Arm:
    """An arm whose id and label no other has; the hash of its values tells it apart where their text does not."""
    text = label(values)
    name = _slug(text)
    if name in {arm.id for arm in others} or text in {arm.label for arm in others}:
        mark = hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()[:6]
        name, text = f"{name[:52]}-{mark}", f"{text} ({mark})"
    return Arm(name, text, values, config)


def _model_and_rest(config: TrialConfig) -> dict[str, Any]:
    """What a configuration comes to: two ways to write the same fusions, or fusions of a single stream, are one."""
    content = dump(config)
    two = len(config.model.stream_modalities()) > 1
    content["model"]["fusion"] = [dump(stage) for stage in config.model.fusion.stage_fusions()] if two else None
    content["schedule"].pop("preset")
    return content


def _config(
    fixed: Mapping[str, Any], values: Mapping[str, Any], seed: int, source: str, lines: Lines | None = None
) -> TrialConfig:
    """The fixed values with some others put into them."""
    content = copy.deepcopy(dict(fixed))
    for path, value in values.items():
        try:
            put(content, path, copy.deepcopy(value))
        except ConfigError as error:
            raise ConfigError(f"{source}: {error}") from error
    content["seed"] = seed
    return parse_trial(content, source=source, lines=lines)


def label(values: Mapping[str, Any]) -> str:
    """Searched values as a short text: `stages 1+2, switching_threshold 0.5`."""
    return ", ".join(f"{path.split('.')[-1]} {_text(value)}" for path, value in values.items())


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        rest = {key: item for key, item in value.items() if key != "kind"}
        inner = " ".join(_text(item) if key == "options" else f"{key} {_text(item)}" for key, item in rest.items())
        return " ".join(text for text in (str(value.get("kind", "")), inner) if text)
    if isinstance(value, list | tuple):
        return "+".join(_text(item) for item in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "none"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _slug(text: str) -> str:
    slug = re.sub(r"[^A-Za-z0-9.+]+", "-", text).strip("-")
    return slug if len(slug) <= 60 else f"{slug[:53]}-{hashlib.sha256(text.encode()).hexdigest()[:6]}"


def differing(config: TrialConfig, control: TrialConfig) -> tuple[str, ...]:
    """The dotted paths, seed left out, in which two configurations differ."""
    first, second = flatten(dump(config)), flatten(dump(control))
    return tuple(
        sorted(path for path in {*first, *second} if path != "seed" and first.get(path, "-") != second.get(path, "-"))
    )


def _refuse_unfair(study: Study) -> None:
    """Arms must differ from the control in the factors alone, and be compared at like points of like schedules."""
    control = study.arms[CONTROL].config
    study.claimed()
    _refuse_unknown_allowance(study)
    allowed = [*study.factor_fields(), *study.file.allow_differences]
    for arm in study.arms.values():
        for path in differing(arm.config, control):
            if not any(_below(path, above) for above in allowed):
                raise ConfigError(
                    f"{study.source}: arm '{arm.label}' differs from the control in {path}, which is no factor; "
                    f"give both one value under fixed, or name {path} under allow_differences"
                )
    _refuse_unequal_epochs(study)


def _refuse_unknown_allowance(study: Study) -> None:
    known = {path for arm in study.arms.values() for path in flatten(dump(arm.config))}
    for path in study.file.allow_differences:
        if not any(_below(field, path) for field in known):
            near = suggestion(path, known)
            raise ConfigError(f"{study.source}: allow_differences: '{path}' is no field of the configuration.{near}")


def _refuse_unequal_epochs(study: Study) -> None:
    """Equal epochs are like points only of schedules of one length."""
    stopping = study.file.early_stopping
    epochs = sorted({study.arms[name].config.schedule.epochs for name in study.searched})
    if stopping.kind == "asha" and stopping.compare_at == "epoch" and len(epochs) > 1:
        raise ConfigError(
            f"{study.source}: early_stopping.compare_at: the schedules have {', '.join(map(str, epochs))} "
            "epochs; equal epochs are no fair comparison there: take compare_at: fraction or gpu_seconds"
        )
    if stopping.kind == "asha" and stopping.compare_at == "epoch" and stopping.grace >= epochs[0]:
        raise ConfigError(
            f"{study.source}: early_stopping.grace: must be below the {epochs[0]} epochs; got {stopping.grace:g}"
        )
