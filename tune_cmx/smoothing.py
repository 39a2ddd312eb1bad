"""The mean of the last epochs, by which trials are stopped, chosen and shown."""

from collections.abc import Sequence

from tune_cmx import ties


def smoothed(values: Sequence[float], smooth_epochs: int) -> float:
    """The mean of the last epochs, at most `smooth_epochs` and at most half of all.

    Early values rise so fast that a mean which reaches back to the first epochs says more about how a trial began than
    about where it stands.

    Args:
        values: The metric from the first epoch on.
        smooth_epochs: The longest mean.

    Raises:
        ValueError: There are no values.
    """
    if not values:
        raise ValueError("smoothed: needs the value of one epoch at least; got none")
    recent = values[-max(1, min(smooth_epochs, len(values) // 2)) :]
    return ties.total(recent) / len(recent)
