"""A search in several phases: what each varied, kept and cost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tune_cmx.evidence.report.page import Page
from tune_cmx.evidence.results.study_results import StudyResults, Trial
from tune_cmx.evidence.wording import UNKNOWN, cell_text, count, duration, listed

NO_PHASE = "of no recorded phase"


@dataclass(frozen=True)
class SearchPhase:
    """One search of a study. A configuration that an earlier phase trained counts there."""

    name: str
    arms: tuple[str, ...]
    kept: tuple[str, ...]
    trials: tuple[Trial, ...]


def search_phases(study: StudyResults) -> list[SearchPhase]:
    """The phases in their order, then what belongs to none; one phase without a name where there was one search."""
    trials, over = study.of_phase("search"), study.state.phases
    if not has_phases(study):
        return [SearchPhase("", tuple(dict.fromkeys(trial.arm for trial in trials)), (), tuple(trials))]
    found, seen = [], set[str]()
    for phase in over:
        name, arms = phase.name, phase.arms
        own = tuple(trial for trial in trials if trial.arm in arms and trial.arm not in seen)
        found.append(SearchPhase(name, arms, phase.kept, own))
        seen.update(arms)
    rest = tuple(trial for trial in trials if trial.arm not in seen)
    names = {phase.name for phase in found}
    if rest:  # of the phase that is not over yet: they come one after the other
        name = next((name for name in study.state.space if name not in names), NO_PHASE)
        found.append(SearchPhase(name, tuple(dict.fromkeys(trial.arm for trial in rest)), (), rest))
    return found


def has_phases(study: StudyResults) -> bool:
    """Whether the study searches in several phases."""
    return bool(study.state.phases) or len(study.state.space) > 1


def phases_section(page: Page, study: StudyResults) -> None:
    """Each phase in a row, and the total; nothing where there was one search."""
    if not has_phases(study):
        return
    page.heading("Phases")
    phases = search_phases(study)
    rows = [
        [
            phase.name,
            "; ".join(_varied(study, phase)) or UNKNOWN,
            listed(study.label(arm) for arm in phase.kept) or "none yet",
            str(len(phase.arms)),
            *_cost(phase.trials),
        ]
        for phase in phases
    ]
    arms = {arm for phase in phases for arm in phase.arms}
    rows.append(
        ["all", UNKNOWN, UNKNOWN, str(len(arms)), *_cost([trial for phase in phases for trial in phase.trials])]
    )
    page.paragraph(
        "Each phase starts from the configurations that the one before it kept. A configuration is trained once, and "
        "its cost counts in the first phase that trained it."
    )
    page.table(["phase", "varied", "kept", "configurations", "trained", "epochs", "training time"], rows, left=3)


def _varied(study: StudyResults, phase: SearchPhase) -> list[str]:
    """The phase's searched paths as the file has them; without the file's, those in which its arms differ."""
    domains = study.state.space.get(phase.name)
    if domains:
        return [f"{path} ({_domain_words(domain)})" for path, domain in domains.items()]
    values = [study.arms[arm].values if arm in study.arms else {} for arm in phase.arms]
    paths = dict.fromkeys(path for own in values for path in own)
    distinct = {path: len({repr(own.get(path)) for own in values}) for path in paths}
    return [f"{path} ({n} values)" for path, n in distinct.items() if n > 1]


def _domain_words(domain: Mapping[str, Any]) -> str:
    kind, ends = next((kind, ends) for kind, ends in domain.items() if kind != "when")
    words = count(len(ends), "value") if kind == "choice" else f"{kind} {ends[0]:g} to {ends[1]:g}"
    when = " and ".join(f"{path} is {cell_text(value)}" for path, value in (domain.get("when") or {}).items())
    return f"{words}, where {when}" if when else words


def _cost(trials: Sequence[Trial]) -> list[str]:
    epochs, seconds = sum(trial.epochs for trial in trials), sum(trial.seconds for trial in trials)
    return [str(len(trials)), str(epochs), duration(seconds)]
