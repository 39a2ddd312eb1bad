"""What makes the comparison between arms unfair, or a search-space file contradict itself: refused before it costs."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tune_cmx.config.arms import Arm, Arms, differing
from tune_cmx.config.domains import Choice, Domains
from tune_cmx.config.parse import Lines, dump, flatten
from tune_cmx.config.paths import below, get
from tune_cmx.config.space import EarlyStopping, StudyFile
from tune_cmx.errors import ConfigError
from tune_cmx.registry import nearest, suggestion

ARMS = "arms"
"""`search.arms` lists the arms one by one, each as what it changes of the baseline, in one field or several."""
_LEAST_EPOCHS = 2
"""No trial is judged by less."""
_STUDY_SETS: Mapping[str, str] = {
    "seed": "each trial has its own; the study's stands at the top of the file, as in seed: 1",
    "report_split": "the study sets it: the search reads val, the confirmation test",
}
_SECTIONS = ("model", "data", "schedule", "compute", "model.detector")
_ONE_VALUE: Mapping[str, str] = {"schedule.processes": "what one process has", "schedule.micro_batch": "a micro-batch"}
"""What all arms share, and what of a batch it makes batch normalisation and losses be taken over."""


def searched_paths(domains: Domains) -> tuple[str, ...]:
    """The configuration paths that a search sets."""
    arms = domains.get(ARMS)
    if isinstance(arms, Choice):
        return tuple(dict.fromkeys(path for arm in arms.choice for path in arm))
    return tuple(domains)


def refuse_fixed(path: str, place: str) -> None:
    """What the study sets itself cannot be fixed by the file."""
    if path in _STUDY_SETS:
        raise ConfigError(f"{place}.{path}: {_STUDY_SETS[path]}")


def refuse_set(key: str, taken: Sequence[str], source: str) -> None:
    """The command line cannot set what the study sets, searches, or gives the baseline."""
    if key in _STUDY_SETS:
        raise ConfigError(f"--set {key}: {_STUDY_SETS[key]}")
    for path in taken:
        if below(key, path) or below(path, key):
            raise ConfigError(
                f"--set {key}: {source} has {path} under search or baseline; it cannot be set as well: change the file"
            )


def refuse_overlap(
    fixed: Mapping[str, Any],
    domains: Domains,
    baseline: Mapping[str, Any],
    source: str,
    lines: Lines,
    section: str = "search",
) -> None:
    """A key both fixed and searched, or searched twice, or left open by the baseline, is an error."""
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
                raise ConfigError(f"{place} is searched as a whole and below, in {other}; keep one")
        if ARMS not in domains and not any(below(path, key) for key in baseline):
            near = nearest(path, baseline)
            meant = f" Is baseline.{near} meant for it?" if near else ""
            raise ConfigError(
                f"{place}: the baseline leaves it open; give it a value, as in baseline: {{{path}: ...}}.{meant}"
            )
    for key in baseline:
        _refuse_vary(key, f"{source}:{lines.get(f'baseline.{key}', '?')}: baseline.{key}")


def _searched_place(path: str, domains: Domains, source: str, lines: Lines, section: str) -> str:
    if ARMS in domains:
        return f"{source}:{lines.get(f'{section}.{ARMS}', '?')}: {section}.{ARMS}: {path}"
    return f"{source}:{lines.get(f'{section}.{path}', '?')}: {section}.{path}"


def _refuse_vary(path: str, place: str) -> None:
    """What arms cannot differ in: whole sections, the seed, the parts of a batch, and the data, split once for all."""
    if path in _STUDY_SETS:
        raise ConfigError(f"{place}: {_STUDY_SETS[path]}")
    if path in _SECTIONS:
        raise ConfigError(f"{place} would replace the whole section; name the field, as in model.fusion")
    if path in _ONE_VALUE:
        raise ConfigError(
            f"{place}: is protocol, as batch normalisation and losses are taken over {_ONE_VALUE[path]}; give all arms "
            "one value"
        )
    if below(path, "data") and not below(path, "data.augment"):
        raise ConfigError(f"{place}: all arms share one data set and one split; of data, only data.augment can vary")


def _refuse_bad_arms(domains: Domains, source: str, lines: Lines) -> None:
    """`search.arms` is a choice of mappings of dotted paths, and stands alone."""
    place = f"{source}:{lines.get(f'search.{ARMS}', '?')}: search.{ARMS}"
    domain = domains[ARMS]
    if len(domains) > 1 or not isinstance(domain, Choice):
        raise ConfigError(f"{place}: stands alone, as {{choice: [{{model.streams: rgb}}, ...]}}")
    for arm in domain.choice:
        if not isinstance(arm, Mapping) or not arm:
            raise ConfigError(f"{place}: each choice maps dotted paths to values, as {{model.streams: rgb}}; got {arm}")


def refuse_unfair(arm: Arm, baseline: Arm, allowed: Sequence[str], source: str) -> None:
    """An arm differs from the baseline in the factors alone.

    Args:
        arm: Any arm.
        baseline: What it is compared with.
        allowed: The factors, and what the file allows besides.
        source: The file, for the message.
    """
    for path in differing(arm.config, baseline.config):
        if not any(below(path, above) for above in allowed):
            raise ConfigError(
                f"{source}: configuration '{arm.label}' differs from the baseline in {path}, which is no factor; "
                f"give both one value under fixed, or name {path} under allow_differences"
            )


def refuse_unknown_allowance(allowed: Iterable[str], arms: Arms, source: str) -> None:
    """`allow_differences` names fields that there are."""
    known = {path for arm in arms.values() for path in flatten(dump(arm.config))}
    for path in allowed:
        if not any(below(field, path) for field in known):
            near = suggestion(path, known)
            raise ConfigError(f"{source}: allow_differences: '{path}' is no field of the configuration.{near}")


def refuse_idle_numbers(file: StudyFile, trials: Sequence[int], epochs: Sequence[int], source: str) -> None:
    """Refuse a number that says more than there is, which else would be cut down in silence.

    Args:
        file: As given.
        trials: Of each phase, at most.
        epochs: The lengths that schedules may have, the shortest first.
        source: The file, for the message.

    Raises:
        ConfigError: More finalists than trials, a mean over more epochs than there are, or a `keep` that keeps nothing.
    """
    confirm, stopping = file.confirm, file.early_stopping
    if "finalists" in confirm.model_fields_set and confirm.finalists > sum(trials):
        raise ConfigError(
            f"{source}: confirm.finalists: the search has only {sum(trials)} arms; got {confirm.finalists}"
        )
    if "smooth_epochs" in stopping.model_fields_set and stopping.smooth_epochs > epochs[-1]:
        raise ConfigError(
            f"{source}: early_stopping.smooth_epochs: no schedule has more than {epochs[-1]} epochs; "
            f"got {stopping.smooth_epochs}"
        )
    for phase, count in zip(file.phases, trials, strict=False):
        if "keep" not in phase.model_fields_set:
            continue
        if phase is file.phases[-1]:
            raise ConfigError(
                f"{source}: phase {phase.name}: keep is for the phase after it, and there is none; "
                "confirm.finalists says how many arms the search ends with"
            )
        if phase.keep > count:
            raise ConfigError(f"{source}: phase {phase.name}: keep: it has only {count} trials; got {phase.keep}")


def refuse_unequal_epochs(stopping: EarlyStopping, epochs: Sequence[int], source: str) -> None:
    """Equal epochs are like points only of schedules of one length; nothing is judged by less than two epochs.

    Args:
        stopping: How trials are compared.
        epochs: The lengths that schedules may have, the shortest first.
        source: The file, for the message.
    """
    if stopping.kind == "none":
        return
    place = f"{source}: early_stopping"
    full = {"epoch": float(epochs[-1]), "fraction": 1.0, "gpu_seconds": math.inf}[stopping.compare_at]
    try:
        stopping.refuse_empty_brackets(full)
    except ValueError as error:
        raise ConfigError(f"{place}: {error}") from error
    if stopping.compare_at == "epoch" and len(epochs) > 1:
        raise ConfigError(
            f"{place}.compare_at: the schedules have {', '.join(map(str, epochs))} "
            "epochs; equal epochs are no fair comparison there: take compare_at: fraction or gpu_seconds"
        )
    if stopping.compare_at == "epoch" and stopping.grace >= epochs[0]:
        raise ConfigError(f"{place}.grace: must be below the {epochs[0]} epochs; got {stopping.grace:g}")
    if stopping.compare_at == "fraction" and stopping.grace * epochs[0] < _LEAST_EPOCHS * (1 - 1e-9):
        least = _LEAST_EPOCHS / epochs[0]
        raise ConfigError(
            f"{place}.grace: {stopping.grace:g} of a schedule of {epochs[0]} epochs is less than {_LEAST_EPOCHS} "
            f"epochs; needs at least {least:.3g}"
        )
