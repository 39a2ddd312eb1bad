"""What the curves of a study's runs say about why nothing was learnt."""

import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pandas as pd

from tune_cmx.evidence.results.study_results import StudyResults, Trial
from tune_cmx.evidence.wording import cell_text, count, listed, number
from tune_cmx.state.trial_state import loss_diverged

LOSS = "train/loss"
FALLEN = 0.9
"""A loss below this share of its first epoch's has fallen."""
FEW_STEPS = 2000
"""Below this, a detector from random weights has hardly begun to learn."""


@dataclass(frozen=True)
class Cause:
    """A likely reason, and what to do."""

    fact: str
    advice: str


def divergence_words(trial: Trial) -> str | None:
    """What showed that a run diverged, such as `loss 1.4e+22 in epoch 3`; None: it did not.

    Older studies did not note it, so their training loss is looked at as well.
    """
    if trial.state.divergence is not None:
        return str(trial.state.divergence)
    losses = _losses(trial)
    if LOSS not in trial.metrics:
        return None
    not_numbers = _nan_epochs(trial)
    for epoch, loss in zip(trial.metrics["epoch"], trial.metrics[LOSS], strict=True):
        if epoch in not_numbers:
            return f"loss nan in epoch {epoch:g}"
        if math.isinf(loss) or (not math.isnan(loss) and loss_diverged(loss, losses[0])):
            return f"loss {loss:.3g} in epoch {epoch:g}"
    return None


def likely_causes(study: StudyResults, floor: float) -> list[Cause]:
    """The likely reasons why no configuration learnt, the most certain first.

    Args:
        study: A study.
        floor: Points of the primary metric that a detector reaches without looking.
    """
    runs = [trial for trial in study.trials if trial.epochs]
    return [*_no_boxes(study), *_divergence(runs), *_loss(runs), *_flat(study, runs, floor), *_short(study, runs)]


def _no_boxes(study: StudyResults) -> Iterator[Cause]:
    counts = study.state.split.counts
    empty = [part for part in ("train", "val", "test") if part in counts and not counts[part].get("boxes")]
    if empty:
        yield Cause(f"{listed(empty)} has no boxes", "Check the labels with `tune-cmx check`")


def _divergence(runs: Sequence[Trial]) -> Iterator[Cause]:
    found = [f"{trial.name} ({what})" for trial in runs if (what := divergence_words(trial)) is not None]
    if found:
        words = f"training diverged in {count(len(found), 'run')}: {listed(found)}"
        rates = _rates_words([trial for trial in runs if divergence_words(trial) is not None])
        yield Cause(words, f"Lower `schedule.lr`{rates}, or set `schedule.clip_norm`")


def _loss(runs: Sequence[Trial]) -> Iterator[Cause]:
    """Of the runs that did not diverge."""
    ends = [
        (losses[0], losses[-1])
        for trial in runs
        if len(losses := _losses(trial)) > 1 and divergence_words(trial) is None
    ]
    if not ends:
        return
    first, last = (statistics.median(values) for values in zip(*ends, strict=True))
    if last >= FALLEN * first:
        fact = f"the training loss did not fall (median {number(first)} in the first epoch, {number(last)} in the last)"
        yield Cause(fact, f"Try another `schedule.lr`{_rates_words(runs)}")
    else:
        fact = (
            f"the training loss fell (median from {number(first)} to {number(last)}), but detections are not right yet"
        )
        yield Cause(fact, "Train longer, and look at the example images in `tune-cmx board`")


def _flat(study: StudyResults, runs: Sequence[Trial], floor: float) -> Iterator[Cause]:
    metric = study.selection_metric
    values = [float(trial.metrics[metric].max()) for trial in runs if metric in trial.metrics]
    known = [value for value in values if math.isfinite(value)]
    if known and max(known) <= max(floor, 1.0):
        fact = f"{metric} stayed at {number(max(known))} points or less in all epochs of all runs"
        yield Cause(fact, "Compare labels and images in `tune-cmx board`; boxes may be shifted or scaled")


def _short(study: StudyResults, runs: Sequence[Trial]) -> Iterator[Cause]:
    counts = study.state.split.counts.get("train", {})
    images = counts.get("images")
    longest = max(runs, key=lambda trial: trial.epochs, default=None)
    batch = ((longest.config.get("schedule") or {}).get("batch_size") if longest else None) or 0
    if longest is not None and images and batch:
        steps = longest.epochs * math.ceil(images / batch)
        if steps < FEW_STEPS:
            fact = f"the longest run took {steps:,} steps ({longest.epochs} epochs of {images:,} images, batch {batch})"
            yield Cause(fact, "Raise `schedule.epochs`")
    if runs and not any((trial.config.get("model") or {}).get("pretrained") for trial in runs):
        yield Cause("training began from random weights", "Set `model.pretrained` to pretrained weights")


def _nan_epochs(trial: Trial) -> set[float]:
    """Epochs whose stored loss is `nan`; a table as read does not tell them from cells that are empty or damaged."""
    path = trial.folder / "metrics.csv"
    if not trial.metrics[LOSS].hasnans or not path.is_file():
        return set()
    cells = pd.read_csv(path, dtype=str, keep_default_na=False)
    stored = cells[cells[LOSS].str.strip().str.lower() == "nan"]
    return set(pd.to_numeric(stored["epoch"], errors="coerce").dropna())


def _losses(trial: Trial) -> list[float]:
    return [float(loss) for loss in trial.metrics[LOSS].dropna()] if LOSS in trial.metrics else []


def _rates_words(runs: Sequence[Trial]) -> str:
    rates = [(trial.config.get("schedule") or {}).get("lr") for trial in runs]
    known = sorted({float(rate) for rate in rates if isinstance(rate, int | float)})
    return f" (now {listed(map(cell_text, known))})" if known else ""
