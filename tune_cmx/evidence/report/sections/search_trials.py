"""The part of the report about the search: how trials were drawn and stopped, and what each gave."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tune_cmx import ties
from tune_cmx.config.searchers import SEARCHERS
from tune_cmx.evidence.report.metric_text import title
from tune_cmx.evidence.report.page import Page
from tune_cmx.evidence.report.plots import plot_curves
from tune_cmx.evidence.report.sections.run_details import link
from tune_cmx.evidence.report.sections.search_phases import search_phases
from tune_cmx.evidence.results.searched_factors import stopped_early
from tune_cmx.evidence.results.study_results import StudyResults, Trial
from tune_cmx.evidence.wording import UNKNOWN, cell_text, count, listed, number, sentence
from tune_cmx.state.study_state import EarlyStoppingState

VARIANTS = {
    "promote": "The promoting variant pauses a trial at each rung and resumes it once it is in the upper 1/{factor}.",
    "stop": "The stopping variant ends a trial that is not in the upper 1/{factor} of those that came before it. What "
    "it keeps depends on the order of arrival.",
}


CURVES = "curves.png"


def search_section(page: Page, study: StudyResults, place: Path | None, *, ranked: bool = True) -> None:
    """The learning curves, then every search trial with the rung that stopped it; phase by phase.

    Args:
        page: Receives the section.
        study: A study; without search trials there is no section.
        place: The report's folder, which receives the picture; None: none is drawn.
        ranked: Whether the highest trial comes first and finalists are named; else trials are in the order of names.
    """
    trials = study.of_phase("search")
    if not trials:
        return
    page.heading("Search and learning curves")
    stopping = study.state.early_stopping
    stopped = sum(map(stopped_early, trials))
    paused = sum(trial.status == "paused" for trial in trials)
    waiting = f", {paused} paused" if paused else ""
    finalists = listed(study.label(arm) for arm in study.finalists) or "none yet"
    words = [
        *_searcher_words(study.state.searcher.as_json(), len(trials)),
        *_stopping_words(stopping),
        f"{count(len(trials), 'trial')}, {stopped} stopped early{waiting}, one seed each.",
        "They served to choose, so no claim rests on them.",
        *([f"Finalists, in order: {finalists}."] if ranked else []),
    ]
    page.paragraph(" ".join(words))
    if place is not None and plot_curves(study, page.stamps, place / CURVES):
        page.image(CURVES, "Learning curves of the search. A cross marks a stop at a rung.")
    for phase in search_phases(study):
        if phase.name:
            page.heading(f"Phase {phase.name}", level=3)
        if phase.trials:
            _trials(page, study, phase.trials, stopping, ranked)


def _trials(
    page: Page, study: StudyResults, trials: Iterable[Trial], stopping: EarlyStoppingState, ranked: bool
) -> None:
    metric, smooth = study.selection_metric, stopping.smooth_epochs or 1
    several = [f"mean of last {smooth} epochs"] if smooth > 1 else []
    header = ["configuration", "status", "stopped at", "seed", "epochs", f"last {title(metric)}, points", *several]
    rows = [
        [
            link(trial, study),
            "complete" if trial.status == "stopped" and trial.searched_to_the_end else trial.status,
            _stop_words(trial, stopping),
            cell_text(trial.seed),
            f"{trial.epochs} of {cell_text(trial.epochs_planned)}",
            number(trial.last(metric)),
            *([number(trial.last(metric, smooth))] if several else []),
        ]
        for trial in sorted(trials, key=lambda trial: ties.key(-_value(trial, metric, smooth)) if ranked else 0)
    ]
    page.table(header, rows, left=3, in_paper=False)


def _value(trial: Trial, metric: str, smooth: int) -> float:
    value = trial.last(metric, smooth)
    return float("-inf") if value is None else value


def _searcher_words(searcher: Mapping[str, Any], drawn: int) -> list[str]:
    """Sentences on how the configurations were drawn."""
    kind, wanted = str(searcher.get("kind") or "unknown"), searcher.get("trials")
    name = SEARCHERS[kind].title if kind in SEARCHERS else kind
    if wanted is None:
        return [f"Searcher: {name}."]
    words = [f"Searcher: {name}, {drawn} of {cell_text(wanted)} trials drawn."]
    if searcher.get("objectives"):
        words.append(f"It has several objectives: {listed(searcher['objectives'])}.")
    priors = [_prior_words(prior) for prior in searcher.get("priors") or []]
    if priors:
        words.append(f"It began with {count(len(priors), 'prior observation')}: {listed(priors)}.")
    if searcher.get("continues"):
        words.append(f"It began with the finished trials of {searcher['continues']}.")
    if _warm_start_words(searcher):
        words.append(sentence(_warm_start_words(searcher)))
    return words


def _warm_start_words(searcher: Mapping[str, Any]) -> str:
    """One clause on the earlier trials that a search began with; empty if there are none."""
    begun = searcher.get("warm_start") or {}
    if not begun:
        return ""
    words = f"it began with {count(len(begun.get('used') or []), 'trial')} of {listed(begun.get('folders') or [])}; "
    words += "they guide the search and count for no configuration"
    left_out = begun.get("left_out") or []
    if left_out:
        words += f"; {count(len(left_out), 'trial')} left out ({listed(str(entry['reason']) for entry in left_out)})"
    return "; ".join([words, *map(str, begun.get("notes") or [])])


def _prior_words(prior: Mapping[str, Any]) -> str:
    values = " and ".join(f"{path} {cell_text(value)}" for path, value in (prior.get("values") or {}).items())
    return f"{values} gave {cell_text(prior.get('value'))}"


def _stopping_words(stopping: EarlyStoppingState) -> list[str]:
    """Sentences on early stopping."""
    kind = stopping.kind
    if kind == "none":
        return ["No early stopping."]
    if kind is None:
        return ["Early stopping: unknown."]
    points = stopping.rungs
    metric, clock = title(stopping.metric or "unknown"), stopping.compare_at or "unknown"
    factor, brackets = cell_text(stopping.reduction_factor or "unknown"), stopping.brackets or 1
    variant = stopping.variant or "unknown"
    later = points[1:brackets]
    begins = f", the later ones from rung {listed(cell_text(point) for point in later)} on" if later else ""
    dealt = f", {brackets} brackets{begins}" if brackets > 1 else ""
    rungs = ", ".join(cell_text(point) for point in points) or "unknown"
    how = f"{kind.upper()} on {metric} at equal {clock}, reduction factor {factor}, rungs {rungs}{dealt}"
    return [
        f"Early stopping: {how}.",
        VARIANTS[variant].format(factor=factor) if variant in VARIANTS else f"Variant: {variant}.",
    ]


def _stop_words(trial: Trial, stopping: EarlyStoppingState) -> str:
    stop = trial.stopped
    if stop is None:
        return UNKNOWN
    clock = stopping.compare_at or "epoch"
    at = f"rung {cell_text(stop.rung)}"
    if clock != "epoch":
        at += f" ({clock}), epoch {cell_text(stop.epoch)}"
    below = f" < {number(stop.cutoff)}" if stop.cutoff is not None else ""
    return f"{at}: {number(stop.value)}{below}"
