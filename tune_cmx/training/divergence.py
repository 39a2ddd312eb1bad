"""Whether training diverged: by the loss and the gradient norm of each epoch, and by what the model finds at the end.

A loss that is not finite ends a trial. A model can be lost long before: with a rate of 1000 the loss grows to 1e22 and
stays finite. Such a trial ends as complete, and its run folder says that it diverged.
"""

import math
from collections.abc import Mapping

from tune_cmx.state.trial_state import Divergence, loss_diverged

SETTLED_STEPS = 500
"""Optimizer steps after which a trained model finds something, if only wrongly. Before, it may still call everything
background: a model trained for an epoch on some dozen images does."""
GRADIENT_NORM = 1e4
"""At the lowest preset rate, 0.005, one such step of SGD moves the weights by 50: about their own norm."""


def diverged(epoch: int, metrics: Mapping[str, float], first_loss: float, *, clipped: bool) -> Divergence | None:
    """What the training of one epoch shows.

    The loss has diverged above `UNTRAINED_LOSS` and above `GROWTH` times the first epoch's loss. If the first loss is
    above `UNTRAINED_LOSS`, `UNTRAINED_LOSS` is used in its place, because the first epoch may have diverged. The
    gradient norm has diverged above `GRADIENT_NORM` or if it is not finite. If it is clipped, it has diverged only if
    it is not finite.

    Args:
        epoch: From 1.
        metrics: `train/loss` and `train/gradient_norm` of the epoch.
        first_loss: `train/loss` of the first epoch.
        clipped: Whether the schedule clips the gradient.
    """
    loss, norm = metrics["train/loss"], metrics["train/gradient_norm"]
    if loss_diverged(loss, first_loss):
        return Divergence(epoch=epoch, what="loss", value=loss)
    if norm > (math.inf if clipped else GRADIENT_NORM) or norm == math.inf:
        return Divergence(epoch=epoch, what="gradient norm", value=norm if norm < math.inf else None)
    return None
