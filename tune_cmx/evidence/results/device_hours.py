"""What training took of the devices, in hours."""

from collections.abc import Sequence

from tune_cmx.evidence.results.study_results import Trial


def device_hours(trials: Sequence[Trial]) -> float:
    """Hours of training, times the devices that each took."""
    return sum(trial.seconds * trial.devices for trial in trials) / 3600


def hours_name(trials: Sequence[Trial]) -> str:
    """GPU-hours or CPU-hours, by the recorded devices."""
    kinds = {trial.on_cpu for trial in trials if trial.seconds}
    if kinds == {True}:
        return "CPU-hours"
    return "GPU-hours" if kinds == {False} else "device-hours"
