"""The part of the report about the search: how trials were drawn and stopped, and what each gave."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tune_cmx.config.searchers import SEARCHERS
from tune_cmx.evidence.report.imported import warm_start_words
from tune_cmx.evidence.report.page import Page
from tune_cmx.evidence.report.sections.run_details import link
from tune_cmx.evidence.report.sections.search_phases import search_phases
from tune_cmx.evidence.results.searched_factors import stopped_early
from tune_cmx.evidence.results.study_results import StudyResults, Trial
from tune_cmx.evidence.wording import UNKNOWN, count, listed, number, value_text
from tune_cmx.state.study_state import EarlyStoppingState

VARIANTS = {
    "promote": "promoting variant: a trial pauses at a rung, and goes on once it is in the upper 1/{factor} there",
    "stop": "stopping variant: a trial below the upper 1/{factor} of those that came before it ends there, so what is "
    "kept hangs on the order of arrival",
}


def search_section(page: Page, records: StudyResults, curves: str | None) -> None:
    """The learning curves, then every search trial, the highest first, and what was stopped when; phase by phase.

    `curves` is the picture's file name, where there is one.
    """
    page.heading("Search and learning curves")
    trials = records.of_phase("search")
    if not trials:
        page.paragraph("No search trials are on record.")
        return
    stopping = records.study.early_stopping
    stopped = sum(map(stopped_early, trials))
    paused = sum(trial.status == "paused" for trial in trials)
    waiting = f", {paused} paused" if paused else ""
    page.paragraph(
        f"{_searcher_words(records.study.searcher.as_json(), len(trials))} "
        f"Early stopping: {_stopping_words(stopping)}. "
        f"{count(len(trials), 'trial')}, {stopped} stopped early{waiting}. "
        f"Single runs that served to choose; none is a replicate in the tables above. "
        f"Finalists, in order: {listed(records.label(arm) for arm in records.finalists) or 'none yet'}."
    )
    if curves:
        page.image(curves, "Learning curves of the search; a cross marks a stop at a rung")
    for phase in search_phases(records):
        if phase.name:
            page.heading(f"Phase {phase.name}", level=3)
        if phase.trials:
            _trials(page, records, phase.trials, stopping)
        _rungs(page, phase.rungs, stopping)


def _trials(page: Page, records: StudyResults, trials: Iterable[Trial], stopping: EarlyStoppingState) -> None:
    metric, smooth = records.selection_metric, stopping.smooth_epochs or 1
    mean_of = f"mean of last {smooth}" if smooth > 1 else "last value"
    header = ["arm", "status", "stopped at", "seed", "epochs", f"last {metric}", mean_of]
    rows = [
        [
            link(trial, records),
            "to the end" if trial.status == "stopped" and trial.searched_to_the_end else trial.status,
            _stop_words(trial, stopping),
            value_text(trial.seed),
            f"{trial.epochs} of {value_text(trial.epochs_planned)}",
            number(trial.last(metric)),
            number(trial.last(metric, smooth)),
        ]
        for trial in sorted(trials, key=lambda trial: -_value(trial, metric, smooth))
    ]
    page.table(header, rows, left=3, in_paper=False)


def _value(trial: Trial, metric: str, smooth: int) -> float:
    value = trial.last(metric, smooth)
    return float("-inf") if value is None else value


def _searcher_words(searcher: Mapping[str, Any], drawn: int) -> str:
    kind, wanted = str(searcher.get("kind") or "unknown"), searcher.get("trials")
    model = SEARCHERS.get(kind)
    if model is None or "trials" not in model.model_fields:
        return f"Searcher: {kind}."
    words = f"Searcher: {model.title}, {drawn} of {value_text(wanted)} trials drawn"
    if "startup_trials" not in model.model_fields:
        return f"{words}."
    words += f", the first {searcher.get('startup_trials', 'ones')} at random"
    if searcher.get("objectives"):
        words += f", for {listed(searcher['objectives'])} at once"
    priors = [_prior_words(prior) for prior in searcher.get("priors") or []]
    if priors:
        words += f"; it began with {count(len(priors), 'prior observation')}, no replicate of any arm: {listed(priors)}"
    if searcher.get("continues"):
        words += f"; it began with the finished trials of {searcher['continues']}"
    if warm_start_words(searcher):
        words += f"; {warm_start_words(searcher)}"
    return f"{words}."


def _prior_words(prior: Mapping[str, Any]) -> str:
    values = " and ".join(f"{path} {value_text(value)}" for path, value in (prior.get("values") or {}).items())
    return f"{values} gave {value_text(prior.get('value'))}"


def _stopping_words(stopping: EarlyStoppingState) -> str:
    kind = stopping.kind or "none"
    if kind == "none":
        return "none"
    points = stopping.rungs
    metric, clock = stopping.metric or "val/mAP", stopping.compare_at or "epoch"
    factor, brackets = value_text(stopping.reduction_factor or "unknown"), stopping.brackets or 1
    variant = VARIANTS.get(stopping.variant or "stop", str(stopping.variant)).format(factor=factor)
    later = points[1:brackets]
    begins = f", the later ones from rung {listed(value_text(point) for point in later)} on" if later else ""
    dealt = f"; {brackets} brackets{begins}" if brackets > 1 else ""
    return (
        f"{kind.upper()} on {metric}, compared at equal {clock}, reduction factor {factor}, "
        f"rungs {', '.join(value_text(point) for point in points) or 'unknown'}{dealt}; {variant}"
    )


def _stop_words(trial: Trial, stopping: EarlyStoppingState) -> str:
    stop = trial.stopped
    if stop is None:
        return UNKNOWN
    clock = stopping.compare_at or "epoch"
    at = f"rung {value_text(stop.rung)}"
    if clock != "epoch":
        at += f" ({clock}), epoch {value_text(stop.epoch)}"
    below = f" < {number(stop.cutoff)}" if stop.cutoff is not None else ""
    return f"{at}: {number(stop.value)}{below}"


def _rungs(page: Page, entries: Sequence[Mapping[str, Any]], stopping: EarlyStoppingState) -> None:
    if not entries:
        return
    several = len({entry.get("bracket") for entry in entries}) > 1
    by_rung: dict[tuple[Any, Any], list[Mapping[str, Any]]] = {}
    for entry in entries:
        by_rung.setdefault((entry.get("bracket") if several else None, entry["rung"]), []).append(entry)
    promoting = stopping.variant == "promote"
    header = ["went on", "paused", "stopped", "lowest that went on", "highest that did not"]
    if not promoting:
        header = ["stopped", "cutoff"]
    rows = [
        [
            *([value_text(bracket)] if several else []),
            value_text(rung),
            str(len(group)),
            *(_promotions(group) if promoting else _stops(group)),
        ]
        for (bracket, rung), group in sorted(by_rung.items(), key=lambda item: (str(item[0][0]), item[0][1]))
    ]
    words = "What each rung decided; its cutoff moves as trials arrive:"
    if promoting:
        waiting = _deciding(entries, "pause")
        words = f"What each rung decided{' so far; a paused trial may still go on' if waiting else ''}:"
    page.paragraph(words)
    page.table([*(["bracket"] if several else []), "rung", "trials reached", *header], rows)


def _stops(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    cutoffs = [entry["cutoff"] for entry in entries if entry.get("cutoff") is not None]
    span = UNKNOWN if not cutoffs else f"{number(min(cutoffs))} to {number(max(cutoffs))}"
    return [str(_deciding(entries, "stop")), span]


def _promotions(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    on = [entry["value"] for entry in entries if entry.get("decision") == "continue"]
    left = [entry["value"] for entry in entries if entry.get("decision") != "continue"]
    counts = [str(_deciding(entries, decision)) for decision in ("continue", "pause", "stop")]
    return [*counts, number(min(on, default=None)), number(max(left, default=None))]


def _deciding(entries: Sequence[Mapping[str, Any]], decision: str) -> int:
    return sum(entry.get("decision") == decision for entry in entries)
