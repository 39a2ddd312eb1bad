"""Where training is said to have diverged."""

import math

import pytest

from tune_cmx.state.trial_state import Divergence
from tune_cmx.training.divergence import diverged


def _metrics(loss: float, norm: float = 5.0) -> dict[str, float]:
    return {"train/loss": loss, "train/gradient_norm": norm}


@pytest.mark.parametrize(
    ("epoch", "loss", "first", "found"),
    [
        (1, 8.0, 8.0, False),
        (1, 80.0, 80.0, False),  # many classes, weighted losses
        (1, 101.0, 101.0, True),
        (2, 9.9, 0.5, False),  # pretrained weights: no more than an untrained detector has
        (2, 10.1, 0.5, True),
        (2, 29.0, 3.0, False),
        (2, 31.0, 3.0, True),
        (5, 1.4e22, 1e20, True),  # lost in the first epoch already
    ],
)
def test_the_loss(epoch: int, loss: float, first: float, found: bool) -> None:
    expected = Divergence(epoch=epoch, what="loss", value=loss) if found else None
    assert diverged(epoch, _metrics(loss), first, clipped=False) == expected


@pytest.mark.parametrize(
    ("norm", "clipped", "found"),
    [
        (9e3, False, False),
        (1.1e4, False, True),
        (math.inf, False, True),
        (1.1e4, True, False),  # the step that was taken is bounded
        (math.inf, True, True),
    ],
)
def test_the_gradient_norm(norm: float, clipped: bool, found: bool) -> None:
    expected = Divergence(epoch=2, what="gradient norm", value=norm if math.isfinite(norm) else None) if found else None
    assert diverged(2, _metrics(1.0, norm), 2.0, clipped=clipped) == expected


def test_in_words() -> None:
    assert str(Divergence(epoch=2, what="loss", value=1.4e22)) == "loss 1.4e+22 in epoch 2"
    assert str(Divergence(epoch=2, what="gradient norm")) == "gradient norm not finite in epoch 2"
