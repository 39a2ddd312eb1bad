"""Steps of an epoch."""

import math
from collections.abc import Callable

import pytest
import torch
from timm.scheduler import CosineLRScheduler
from torch import Tensor, nn

from tune_cmx.errors import TrialError
from tune_cmx.training.trainer import Batch, Share, Trainer


class Losses(nn.Module):
    """Gives the losses that it was told, by step."""

    def __init__(self, *steps: tuple[float, float]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.steps, self.taken = steps, 0

    def forward(self, *_: object) -> dict[str, Tensor]:
        first, second = self.steps[self.taken]
        self.taken += 1
        return {"loss_box_reg": first + 0 * self.weight, "fusion2_dice": second + 0 * self.weight}


def _trainer(model: Losses, share: Callable[[int], Share] | None = None) -> Trainer:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scheduler = CosineLRScheduler(optimizer, t_initial=10, t_in_epochs=False)
    return Trainer(model, optimizer, scheduler, len(model.steps), torch.device("cpu"), share=share)


def _batches(*counts: int) -> list[Batch]:
    return [([torch.zeros(1, 8, 8)] * count, [{}] * count) for count in counts]


def test_losses_are_summed_over_images_by_part() -> None:
    seen = _trainer(Losses((1.0, 0.5), (3.0, 0.25))).epoch(1, _batches(4, 2))
    assert seen.images == 6
    assert seen.losses == {"loss": 1.5 * 4 + 3.25 * 2, "loss_box_reg": 4.0 + 6.0, "fusion2_dice": 2.0 + 0.5}


def test_a_share_of_no_image_counts_for_nothing() -> None:
    shares = [Share(2, 1.0), Share(0, 0.0)]
    seen = _trainer(Losses((1.0, 0.0), (7.0, 0.0)), shares.__getitem__).epoch(1, _batches(2, 1))
    assert (seen.images, seen.losses["loss"]) == (2, 2.0)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize(
    ("steps", "said"),
    [
        (lambda bad: [(bad, 0.0)], "at epoch 3, step 1; the first of this run"),
        (lambda bad: [(1.0, 0.5), (bad, 0.0), (2.0, 0.0)], "at epoch 3, step 2; last finite value 1.5"),
        (lambda bad: [(1.0, 0.5), (2.0, 0.5), (2.0, bad)], "at epoch 3, step 3; last finite value 2.5"),
    ],
)
def test_a_loss_that_is_not_finite_ends_the_trial(
    bad: float, steps: Callable[[float], list[tuple[float, float]]], said: str
) -> None:
    model = Losses(*steps(bad))
    with pytest.raises(TrialError, match=f"loss is {bad} {said}"):
        _trainer(model).epoch(3, _batches(*[1] * len(model.steps)))
    assert not math.isfinite(sum(model.steps[model.taken - 1])), "no step was taken after it"
