"""What a search varied, and the point up to which its trials can be compared."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from tune_cmx.config.names import value_text
from tune_cmx.config.study_rules import ARMS
from tune_cmx.evidence.claims.rows import plain
from tune_cmx.evidence.results.study_results import StudyResults, Trial
from tune_cmx.evidence.wording import count, number
from tune_cmx.smoothing import smoothed

NOT_USED = "not used"
MOST_VALUES, BINS = 8, 4
ENDED = ("complete", "stopped", "paused")
_TOLERANCE = 1e-9  # fractions such as 3/15 are rounded


@dataclass(frozen=True)
class Factor:
    """A searched path, over all phases."""

    path: str
    kind: str
    """choice, uniform, loguniform or int."""
    domain: tuple[Any, ...]
    """The choices in the file's order, or the two ends of the range."""

    @property
    def name(self) -> str:
        """The path's last part."""
        return "configuration" if self.path == ARMS else self.path.rpartition(".")[2]

    @property
    def is_range(self) -> bool:
        return self.kind != "choice"

    def value(self, study: StudyResults, arm: str) -> Any:
        """The arm's value, in a form that can be hashed; None: the factor is not used in it."""
        if self.path == ARMS:
            return study.label(arm)
        return plain(arm_values(study, arm).get(self.path))


@dataclass(frozen=True)
class CommonPoint:
    """The last point of training that all ended search trials reached."""

    clock: str
    """As `early_stopping.compare_at`."""
    at: float
    smooth_epochs: int
    values: Mapping[str, float]
    """The selection metric there, smoothed as the search takes it, by trial."""
    unfinished: int
    """Search trials left out, as they have not ended."""

    def __str__(self) -> str:
        if self.clock == "fraction":
            return f"{number(100 * self.at, 0)} % of the schedule"
        return f"{number(self.at, 0)} GPU-seconds" if self.clock == "gpu_seconds" else f"epoch {self.at:g}"


def factors(study: StudyResults) -> list[Factor]:
    """The searched paths in the file's order; without the file's space, the paths in which searched arms differ."""
    merged: dict[str, tuple[str, list[Any]]] = {}
    for domains in study.state.space.values():
        for path, domain in domains.items():
            kind, found = next((kind, found) for kind, found in domain.items() if kind != "when")
            before = merged.setdefault(path, (kind, []))[1]
            before.extend(value for value in found if value not in before)
    if not merged:
        for arm in _searched_arms(study):
            for path, value in arm_values(study, arm).items():
                choices = merged.setdefault(path, ("choice", []))[1]
                choices.extend([value] if value not in choices else [])
    return [
        Factor(path, kind, tuple(found) if kind == "choice" else (min(found), max(found)))
        for path, (kind, found) in merged.items()
    ]


def arm_values(study: StudyResults, arm: str) -> Mapping[str, Any]:
    """The searched values of an arm by path; of one that study.json does not have yet, those on its records."""
    if arm in study.arms:
        return study.arms[arm].values
    return next((trial.state.values for trial in study.trials if trial.arm == arm and trial.state.values), {})


def setting_text(value: Any) -> str:
    """A searched value in words, as configurations are named; a mapping may come as pairs, which can be hashed."""
    return NOT_USED if value is None else value_text(_mapping(value))


def stopped_early(trial: Trial) -> bool:
    """Whether a rung ended it, and not the search's end."""
    return trial.status == "stopped" and not trial.searched_to_the_end


def taken_up(study: StudyResults) -> list[Trial]:
    """Trials that went on after an interruption; a search trial that was paused at a rung did so as planned."""
    pauses = study.state.early_stopping.variant == "promote"
    several = [trial for trial in study.trials if len(trial.state.lineage) > 1]
    return [trial for trial in several if not (pauses and trial.phase == "search")]


def common_point(study: StudyResults) -> CommonPoint | None:
    """Where all search trials that ended can be compared; None: none of them has the selection metric."""
    clock, smooth = study.clock, study.smooth_epochs
    search = study.of_phase("search")
    curves = {trial.name: curve for trial in search if trial.status in ENDED and (curve := _curve(study, trial))}
    if not curves:
        return None
    at = min(curve[-1][0] for curve in curves.values())
    values = {name: _at(curve, at, smooth) for name, curve in curves.items()}
    return CommonPoint(clock, at, smooth, values, len(search) - len(curves))


def value_there(study: StudyResults, trial: Trial, point: CommonPoint) -> float | None:
    """Any trial's value at the point, taken alike; None: it did not reach it."""
    curve = _curve(study, trial)
    return _at(curve, point.at, point.smooth_epochs) if curve and curve[-1][0] >= point.at - _TOLERANCE else None


def groups(study: StudyResults, factor: Factor, arms: Iterable[str]) -> dict[str, list[str]]:
    """Arms by the factor's value as text, in the order of the domain, `not used` last.

    A range with more than 8 different values is cut into 4 parts of equal width, on its own scale.
    """
    values = {arm: factor.value(study, arm) for arm in dict.fromkeys(arms)}
    used: list[Hashable] = list(dict.fromkeys(value for value in values.values() if value is not None))
    if factor.is_range and len(used) > MOST_VALUES:
        texts = _bin_texts(factor, [float(str(value)) for value in used])
    else:
        order = [plain(value) for value in factor.domain]
        ordered = sorted(used, key=_number) if factor.is_range else _in_order(used, order)
        texts = {value: setting_text(value) for value in ordered}
    found: dict[str, list[str]] = {text: [] for text in texts.values()}
    for arm, value in values.items():
        found.setdefault(NOT_USED if value is None else texts[value], []).append(arm)
    if NOT_USED in found:
        found[NOT_USED] = found.pop(NOT_USED)
    return {text: members for text, members in found.items() if members}


def factors_words(found: Sequence[Factor]) -> str:
    """`2 factors: stages, switching_threshold`."""
    return f"{count(len(found), 'factor')}: {', '.join(factor.name for factor in found)}"


def _searched_arms(study: StudyResults) -> list[str]:
    return list(dict.fromkeys(trial.arm for trial in study.of_phase("search") if trial.arm != study.baseline))


def _mapping(value: Any) -> Any:
    if not isinstance(value, tuple) or not value:
        return value
    pairs = all(isinstance(item, tuple) and len(item) == 2 and isinstance(item[0], str) for item in value)
    return {key: _mapping(item) for key, item in value} if pairs else value


def _curve(study: StudyResults, trial: Trial) -> list[tuple[float, float]]:
    """Clock and selection metric, epoch by epoch."""
    times, metric = trial.times(study.clock), study.selection_metric
    if times.empty or metric not in trial.metrics:
        return []
    known = trial.metrics[metric].notna() & times.notna()
    values = trial.metrics[metric]
    return [(float(time), float(value)) for time, value in zip(times[known], values[known], strict=True)]


def _at(curve: Sequence[tuple[float, float]], at: float, smooth: int) -> float:
    """The smoothed value at the first epoch that reaches the point."""
    reached = next(place for place, (time, _) in enumerate(curve) if time >= at - _TOLERANCE)
    return smoothed([value for _, value in curve[: reached + 1]], smooth)


def _number(value: Hashable) -> float:
    return float(str(value))


def _in_order(values: Sequence[Hashable], order: Sequence[Hashable]) -> list[Hashable]:
    """Those of the domain first; True is not 1 here."""
    places = {repr(value): place for place, value in enumerate(order)}
    return sorted(values, key=lambda value: places.get(repr(value), len(places)))


def _bin_texts(factor: Factor, values: Sequence[float]) -> dict[Hashable, str]:
    low, high = min(float(factor.domain[0]), *values), max(float(factor.domain[1]), *values)
    if factor.kind == "loguniform":
        edges = [low * (high / low) ** (step / BINS) for step in range(BINS + 1)]
    else:
        edges = [low + (high - low) * step / BINS for step in range(BINS + 1)]
    cut = pd.cut(pd.Series(sorted(values)), edges, labels=False, include_lowest=True)
    texts = [f"{edges[place]:.3g} to {edges[place + 1]:.3g}" for place in range(BINS)]
    places = cut.fillna(BINS - 1).astype(int)  # rounding of the last edge
    return {value: texts[place] for value, place in zip(sorted(values), places, strict=True)}
