"""What makes a comparison unfair, or a search space contradict itself; it is refused before any training."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tune_cmx.config.arms import Arm, Arms, differing
from tune_cmx.config.domains import Choice, Domains
from tune_cmx.config.model_sections import DefaultStreams, ModelConfig
from tune_cmx.config.parse import dump, flatten
from tune_cmx.config.paths import Lines, below, get, place_of
from tune_cmx.config.space import EarlyStopping, StudyFile
from tune_cmx.errors import ConfigError
from tune_cmx.registry import nearest, suggestion

ARMS = "arms"
"""`search.arms` lists configurations one by one, each as its changes of the baseline, in one field or several."""
STREAMS = "model.streams"
_LEAST_EPOCHS = 2
"""No trial is stopped earlier."""
_STUDY_SETS: Mapping[str, str] = {
    "seed": "each trial has its own seed; the study's seed is a key at the top of the file, as in seed: 1",
    "report_split": "the study sets it: the search uses val, the confirmation test",
}
OPEN_DATA = ("data.augment", "data.events", "data.range")
"""The parts of `data` that change neither the images' files nor the split."""
_SECTIONS = ("model", "data", "schedule", "compute", "model.detector")
_ONE_VALUE: Mapping[str, str] = {
    "schedule.processes": "the share of a process",
    "schedule.micro_batch": "a micro-batch",
}
"""Fields that all configurations share, and the part of a batch over which batch normalisation and losses then run."""


def searched_paths(domains: Domains) -> tuple[str, ...]:
    """The configuration paths that a search sets."""
    arms = domains.get(ARMS)
    if isinstance(arms, Choice):
        return tuple(dict.fromkeys(path for arm in arms.choice for path in arm))
    return tuple(domains)


def refuse_fixed(path: str, place: str) -> None:
    """Refuse a fixed field that the study sets itself."""
    if path in _STUDY_SETS:
        raise ConfigError(f"{place}.{path}: {_STUDY_SETS[path]}")


def refuse_set(key: str, taken: Sequence[str], source: str) -> None:
    """Refuse a setting of the command line for a field that the study sets, searches, or gives the baseline."""
    if key in _STUDY_SETS:
        raise ConfigError(f"--set {key}: {_STUDY_SETS[key]}")
    for path in taken:
        if below(key, path) or below(path, key):
            raise ConfigError(f"--set {key}: {source} has {path} under search or baseline; change the file instead")


def refuse_overlap(
    fixed: Mapping[str, Any],
    domains: Domains,
    baseline: Mapping[str, Any],
    source: str,
    lines: Lines,
    section: str = "search",
) -> None:
    """Refuse a field that is both fixed and searched, searched twice, or without a value in the baseline."""
    if ARMS in domains:
        _refuse_bad_arms(domains, source, lines)
    for path in searched_paths(domains):
        place = _searched_place(path, domains, source, lines, section)
        _refuse_vary(path, place)
        for leaf in flatten(fixed):
            if below(leaf, path) or (below(path, leaf) and get(fixed, leaf) != {}):
                raise ConfigError(f"{place} is both fixed ({leaf}) and searched; delete one")
        for other in domains:
            if other != path and below(other, path):
                raise ConfigError(f"{place} is searched as a whole and in part, in {other}; keep one")
        if ARMS not in domains and not any(below(path, key) for key in baseline):
            near = nearest(path, baseline)
            meant = f" Is baseline.{near} a misspelling?" if near else ""
            raise ConfigError(
                f"{place}: the baseline has no value for it; give it one, as in baseline: {{{path}: ...}}.{meant}"
            )
    for key in baseline:
        _refuse_vary(key, f"{source}:{lines.get(f'baseline.{key}', '?')}: baseline.{key}")


def _searched_place(path: str, domains: Domains, source: str, lines: Lines, section: str) -> str:
    if ARMS in domains:
        return f"{source}:{lines.get(f'{section}.{ARMS}', '?')}: {section}.{ARMS}: {path}"
    return f"{source}:{lines.get(f'{section}.{path}', '?')}: {section}.{path}"


def _refuse_vary(path: str, place: str) -> None:
    """Refuse a field that must be equal in all configurations, or a whole section."""
    if path in _STUDY_SETS:
        raise ConfigError(f"{place}: {_STUDY_SETS[path]}")
    if path in _SECTIONS:
        raise ConfigError(f"{place} would replace the whole section; name one field, as in model.fusion")
    if path in _ONE_VALUE:
        raise ConfigError(
            f"{place}: it is protocol, because batch normalisation and losses run over {_ONE_VALUE[path]}; give it one "
            "value under fixed"
        )
    if below(path, "data") and not any(below(path, open_part) for open_part in OPEN_DATA):
        raise ConfigError(
            f"{place}: all configurations share one data set and one split; of data, only "
            f"{', '.join(OPEN_DATA[:-1])} and {OPEN_DATA[-1]} can vary"
        )


def _refuse_bad_arms(domains: Domains, source: str, lines: Lines) -> None:
    """Refuse `search.arms` unless it is a choice of mappings of dotted paths, and the only searched key."""
    place = f"{source}:{lines.get(f'search.{ARMS}', '?')}: search.{ARMS}"
    domain = domains[ARMS]
    if len(domains) > 1 or not isinstance(domain, Choice):
        raise ConfigError(f"{place}: must be the only key, as in {{choice: [{{model.streams: rgb}}, ...]}}")
    for arm in domain.choice:
        if not isinstance(arm, Mapping) or not arm:
            raise ConfigError(
                f"{place}: each choice maps dotted paths to values, as in {{model.streams: rgb}}; got {arm}"
            )


def refuse_unfair(arm: Arm, baseline: Arm, allowed: Sequence[str], source: str) -> None:
    """Refuse a configuration that differs from the baseline in more than the factors.

    Args:
        arm: Any configuration.
        baseline: What it is compared with.
        allowed: The factors, and the fields under `allow_differences`.
        source: The file, for the message.
    """
    for path in differing(arm.config, baseline.config):
        if not any(below(path, above) for above in allowed):
            raise ConfigError(
                f"{source}: configuration '{arm.label}' differs from the baseline in {path}, which is not searched; "
                f"give both the same value under fixed, or add {path} to allow_differences"
            )


def refuse_idle_fusion(streams: DefaultStreams, place: str, searched: Sequence[str]) -> None:
    """Refuse a study that says which fusion it has, on data with a single modality.

    Args:
        streams: Of the configurations that name none.
        place: Where the file says something of a fusion.
        searched: The paths that the study searches.
    """
    if streams.held is None or "|" in streams.streams:
        return
    fusions = any(below(path, "model.fusion") for path in searched)
    single = f"train one stream without fusion: --set {STREAMS}={streams.streams}"
    raise ConfigError(
        f"{place}: a fusion joins two streams, and the data have one modality, {streams.streams}. Add a second "
        f"modality to the data, or {'search other fields than model.fusion' if fusions else single}"
    )


def unserved_text(asked: Iterable[tuple[str, ModelConfig]], held: Sequence[str]) -> str:
    """What to say of streams with a modality that the data do not have; empty if there are none.

    Args:
        asked: The place that names the streams of each model, and the model.
        held: The modalities of the data.
    """
    models = list(asked)
    refused: dict[str, dict[str, tuple[str, ...]]] = {}
    for place, model in models:
        if lacking := model.lacking(held):
            refused.setdefault(place, {})[model.streams] = lacking
    if not refused:
        return ""
    said = []
    for place, streams in refused.items():
        missing = dict.fromkeys(name for lacking in streams.values() for name in lacking)
        verb = "needs" if len(streams) == 1 else "need"
        said.append(f"{place}: {_quoted(streams)} {verb} {', '.join(missing)}; the data have {', '.join(held)}")
    fitting = [model.streams for _, model in models if not model.lacking(held)]
    fitting.append(DefaultStreams.of_data(held).streams)
    return "\n".join(said) + f"\nStreams that fit the data: {_quoted(dict.fromkeys(fitting))}"


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)


def refuse_unknown_allowance(allowed: Iterable[str], arms: Arms, source: str, lines: Lines) -> None:
    """Refuse a name under `allow_differences` that is no field."""
    known = {path for arm in arms.values() for path in flatten(dump(arm.config))}
    for path in allowed:
        if not any(below(field, path) for field in known):
            near = suggestion(path, known)
            place = place_of("allow_differences", source, lines)
            raise ConfigError(f"{place}: '{path}' is not a field of the configuration.{near}")


def refuse_idle_numbers(
    file: StudyFile, trials: Sequence[int], epochs: Sequence[int], source: str, lines: Lines
) -> None:
    """Refuse a number that is larger than it can be; otherwise it would silently be reduced.

    Args:
        file: As given.
        trials: Of each phase, at most.
        epochs: The lengths that schedules may have, the shortest first.
        source: The file, for the message.
        lines: Of its keys.

    Raises:
        ConfigError: More finalists than trials, a mean over more epochs than there are, or a `keep` that keeps nothing.
    """
    confirm, stopping = file.confirm, file.early_stopping
    if "finalists" in confirm.model_fields_set and confirm.finalists > sum(trials):
        place = place_of("confirm.finalists", source, lines)
        raise ConfigError(f"{place}: the search has only {sum(trials)} configurations; got {confirm.finalists}")
    if "smooth_epochs" in stopping.model_fields_set and stopping.smooth_epochs > epochs[-1]:
        place = place_of("early_stopping.smooth_epochs", source, lines)
        raise ConfigError(f"{place}: no schedule has more than {epochs[-1]} epochs; got {stopping.smooth_epochs}")
    for number, (phase, count) in enumerate(zip(file.phases, trials, strict=False)):
        place = place_of(f"phases.{number}.keep", source, lines)
        if "keep" not in phase.model_fields_set:
            continue
        if phase is file.phases[-1]:
            raise ConfigError(
                f"{place}: keep is for the next phase, and there is none; "
                "confirm.finalists says how many configurations are confirmed"
            )
        if phase.keep > count:
            raise ConfigError(f"{place}: phase {phase.name} has only {count} trials; got {phase.keep}")


def refuse_unequal_epochs(stopping: EarlyStopping, epochs: Sequence[int], source: str, lines: Lines) -> None:
    """Refuse early stopping that compares unlike points of schedules, or stops a trial before two epochs.

    Args:
        stopping: How trials are compared.
        epochs: The lengths that schedules may have, the shortest first.
        source: The file, for the message.
        lines: Of its keys.
    """
    if stopping.kind == "none":
        return
    full = {"epoch": float(epochs[-1]), "fraction": 1.0, "gpu_seconds": math.inf}[stopping.compare_at]
    try:
        stopping.refuse_empty_brackets(full)
    except ValueError as error:
        raise ConfigError(f"{place_of('early_stopping', source, lines)}: {error}") from error
    if stopping.compare_at == "epoch" and len(epochs) > 1:
        raise ConfigError(
            f"{place_of('early_stopping.compare_at', source, lines)}: the schedules have {', '.join(map(str, epochs))} "
            "epochs; equal epochs are not a fair comparison there: use compare_at: fraction or gpu_seconds"
        )
    grace = place_of("early_stopping.grace", source, lines)
    if stopping.compare_at == "epoch" and stopping.grace >= epochs[0]:
        raise ConfigError(f"{grace}: must be below the {epochs[0]} epochs; got {stopping.grace:g}")
    if stopping.compare_at == "fraction" and stopping.grace * epochs[0] < _LEAST_EPOCHS * (1 - 1e-9):
        least = _LEAST_EPOCHS / epochs[0]
        raise ConfigError(
            f"{grace}: {stopping.grace:g} of a schedule of {epochs[0]} epochs is less than {_LEAST_EPOCHS} "
            f"epochs; it must be at least {least:.3g}"
        )
