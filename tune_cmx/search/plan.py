"""The size of a study before it runs, in words."""

from tune_cmx.config.study import CONTROL, Study
from tune_cmx.search.schedulers import rungs


def schedule_end(study: Study) -> float:
    """The end of a schedule in the unit that trials are compared in; infinite for GPU-seconds."""
    compare_at = study.file.early_stopping.compare_at
    if compare_at == "gpu_seconds":
        return float("inf")
    return 1.0 if compare_at == "fraction" else float(max(_epochs(study)))


def _epochs(study: Study) -> list[int]:
    return [study.arms[name].config.schedule.epochs for name in study.searched]


def size_text(study: Study) -> str:
    """Trials and epochs, at most."""
    confirm = study.file.confirm
    seeds = len(study.confirm_seeds())
    finalists = min(confirm.finalists, len(study.searched))
    longest = sorted(_epochs(study), reverse=True)
    full = seeds * (study.arms[CONTROL].config.schedule.epochs + sum(longest[:finalists]))
    claimed = len(study.claimed())
    also = f" and the arms that the claims name, {claimed} in all," if claimed else ""
    return (
        f"search: {len(study.searched)} trials, {sum(longest)} epochs if none is stopped; confirmation: control, "
        f"{finalists} finalists{also} on {seeds} fresh seeds, at least {full} epochs"
    )


def rungs_text(study: Study) -> str:
    """Where trials are compared, or that they are not."""
    stopping = study.file.early_stopping
    if stopping.kind == "none":
        return "early stopping: none"
    unit = {"epoch": "epochs", "fraction": "of the schedule", "gpu_seconds": "GPU-seconds"}[stopping.compare_at]
    points = ", ".join(f"{point:g}" for point in rungs(stopping, schedule_end(study)))
    return (
        f"early stopping: ASHA on {stopping.metric}, mean of the last {stopping.smooth_epochs} epochs, "
        f"rungs at {points} {unit}, the upper 1/{stopping.reduction_factor:g} goes on"
    )
