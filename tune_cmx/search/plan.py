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
    """Trials and epochs of the search at most, and of the confirmation from the least to the most."""
    seeds = len(study.confirm_seeds())
    finalists = min(study.file.confirm.finalists, len(study.searched))
    claimed = study.claimed()
    named = f" and {_count(len(claimed), 'arm')} that the claims name" if claimed else ""
    least, most = _confirmation_epochs(study, finalists)
    epochs = str(most) if least == most else f"{least} to {most}"
    return (
        f"search: {_count(len(study.searched), 'trial')}, {_count(sum(_epochs(study)), 'epoch')} if none is stopped; "
        f"confirmation: control, {_count(finalists, 'finalist')}{named} on {_count(seeds, 'fresh seed')}, "
        f"{epochs} epochs"
    )


def _confirmation_epochs(study: Study, finalists: int) -> tuple[int, int]:
    """Epochs of the confirmation: finalists may be among the arms that the claims name, or may be the longest ones."""
    claimed = study.claimed()
    length = {name: study.arms[name].config.schedule.epochs for name in study.searched}
    fixed = study.arms[CONTROL].config.schedule.epochs + sum(length[name] for name in claimed)
    others = sorted(epochs for name, epochs in length.items() if name not in claimed)
    least = fixed + sum(others[: max(0, finalists - len(claimed))])
    most = fixed + sum(others[::-1][:finalists])
    seeds = len(study.confirm_seeds())
    return seeds * least, seeds * most


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def rungs_text(study: Study) -> str:
    """Where trials are compared, or that they are not."""
    stopping = study.file.early_stopping
    if stopping.kind == "none":
        return "early stopping: none"
    unit = {"epoch": "epochs", "fraction": "of the schedule", "gpu_seconds": "GPU-seconds"}[stopping.compare_at]
    points = rungs(stopping, schedule_end(study))
    mean = f", mean of the last {stopping.smooth_epochs} epochs" if stopping.smooth_epochs > 1 else ""
    return (
        f"early stopping: ASHA on {stopping.metric}{mean}, {'a rung' if len(points) == 1 else 'rungs'} at "
        f"{', '.join(f'{point:g}' for point in points)} {unit}, the upper 1/{stopping.reduction_factor:g} goes on"
    )
