"""The size of a study before it runs, in words."""

import math
from collections.abc import Sequence

from tune_cmx.config.space import EarlyStopping
from tune_cmx.config.study import Study
from tune_cmx.counting import count
from tune_cmx.search.rungs import rungs

_SHOWN = 6
"""Rungs that are written out."""


def schedule_end(study: Study) -> float:
    """The end of a schedule in the unit that trials are compared in; infinite for GPU-seconds."""
    compare_at = study.file.early_stopping.compare_at
    if compare_at == "gpu_seconds":
        return float("inf")
    return 1.0 if compare_at == "fraction" else float(study.lengths()[-1])


def most_epochs(stopping: EarlyStopping, epochs: int) -> int:
    """Where a search ends for a trial whose schedule has so many epochs, if it is not stopped before."""
    if stopping.kind == "none" or stopping.last == 1 or stopping.compare_at == "gpu_seconds":
        return epochs
    points = stopping.rungs(1.0 if stopping.compare_at == "fraction" else float(epochs))
    if not points:
        return epochs
    return math.ceil(points[-1] * (epochs if stopping.compare_at == "fraction" else 1) - 1e-9)


def size_text(study: Study) -> str:
    """Most trials and epochs of the search, and fewest and most epochs of the confirmation."""
    trials = study.trials_planned()
    stopping = study.file.early_stopping
    longest = most_epochs(stopping, study.lengths()[-1])
    exact = sum(most_epochs(stopping, study.arms[name].config.schedule.epochs) for name in study.searched)
    epochs = trials[0] * longest if not study.searched else exact
    epochs += sum(trials[1:]) * longest
    later = "".join(f", then up to {number} more" for number in trials[1:])
    return (
        f"search: {count(trials[0], 'trial')}{later}, {count(epochs, 'epoch')} if no trial is stopped early; "
        f"confirmation: {_confirmation_text(study)}"
    )


def _confirmation_text(study: Study) -> str:
    settings = study.file.confirm
    finalists = min(settings.finalists, max(study.trials_planned()))
    claimed = study.claimed()
    named = f" and {count(len(claimed), 'configuration')} of the claims" if claimed else ""
    seeds = count(settings.first_seeds, "fresh seed")
    if settings.half_width is not None:
        seeds += f", up to {settings.max_seeds} if a half width of {settings.half_width:g} mAP points needs them"
    lengths = study.lengths()
    baseline = study.baseline.config.schedule.epochs
    least = baseline + max(finalists, len(claimed)) * lengths[0]
    most = baseline + (finalists + len(claimed)) * lengths[-1]
    span = sorted(
        {settings.first_seeds * least, (settings.max_seeds if settings.half_width else settings.first_seeds) * most}
    )
    return f"baseline, {count(finalists, 'finalist')}{named} on {seeds}, {' to '.join(map(str, span))} epochs"


def rungs_text(study: Study) -> str:
    """Where trials are compared and what happens there, or that they are not."""
    stopping = study.file.early_stopping
    if stopping.kind == "none":
        return "early stopping: none"
    full = schedule_end(study)
    points = rungs(stopping, full)
    if not points:
        return f"early stopping: none, because the schedule ends before the first rung, {stopping.grace:g}"
    unit = {"epoch": "epochs", "fraction": "of the schedule", "gpu_seconds": "GPU-seconds"}[stopping.compare_at]
    mean = f" (mean of at most the last {stopping.smooth_epochs} epochs)" if stopping.smooth_epochs > 1 else ""
    best = f"the best 1/{stopping.reduction_factor:g}"
    what = {
        "promote": f"ASHA pauses trials at each rung and resumes {best}, {_FIRST[stopping.first]}",
        "stop": f"ASHA stops a trial that is not among {best} of those that reached the rung before it",
    }[stopping.variant]
    end = f"; the search ends at {points[-1]:g}" if stopping.last < 1 and math.isfinite(full) else ""
    dealt = f"; {stopping.brackets} brackets, each starting one rung later" if stopping.brackets > 1 else ""
    return (
        f"early stopping: {'a rung' if len(points) == 1 else 'rungs'} at {_points_text(points)} {unit}, compared by "
        f"{stopping.metric}{mean}; {what}{end}{dealt}"
    )


_FIRST = {"new": "after all new trials have started", "promotion": "before new trials start"}


def _points_text(points: Sequence[float]) -> str:
    """All of a few rungs, the first and the last of many."""
    words = [f"{point:g}" for point in points]
    return ", ".join(words if len(words) <= _SHOWN else [*words[: _SHOWN - 1], "…", words[-1]])
