"""Steps of an epoch, and the detector's time in an evaluation."""

import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from timm.scheduler import CosineLRScheduler
from torch import Tensor, nn

from tune_cmx.errors import TrialError
from tune_cmx.training.loop import Batch, Seen, Share, Trainer, detect, fit, memory_mib

FORWARD_S, READING_S = 0.005, 0.2


class Sleeper(nn.Module):
    """Finds a box in each image, and takes its time."""

    def forward(self, images: list[Tensor]) -> list[dict[str, Tensor]]:
        time.sleep(FORWARD_S * len(images))
        box = {"boxes": torch.tensor([[1.0, 2.0, 4.0, 6.0]]), "scores": torch.ones(1), "labels": torch.ones(1)}
        return [box for _ in images]


def batches() -> Iterator[Batch]:
    for first in (0, 2):
        time.sleep(READING_S)
        yield [torch.zeros(1, 8, 8)] * 2, [{"image_id": torch.tensor(first + place)} for place in range(2)]


def test_milliseconds_an_image_are_the_detectors_and_not_the_readers() -> None:
    found, milliseconds = detect(Sleeper(), batches(), torch.device("cpu"))
    assert [item["image_id"] for item in found] == [0, 1, 2, 3]
    assert found[0]["bbox"] == [1, 2, 3, 4]
    assert 1000 * FORWARD_S <= milliseconds < 1000 * READING_S / 2


def test_no_images_have_no_time() -> None:
    found, milliseconds = detect(Sleeper(), [], torch.device("cpu"))
    assert found == []
    assert math.isnan(milliseconds)


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


def test_a_report_has_losses_by_part_memory_and_what_was_scored() -> None:
    asked = iter([9.0, 5.0, 6.0])
    reports = list(
        fit(
            lambda _: Seen(4, {"loss": 8.0, "fusion1_dice": 2.0}, 0.1),
            lambda: {"val/mAP": 50.0, "gates/stage1_from_aux": 0.5},
            lambda: next(asked),
            epochs=2,
        )
    )
    assert [report.metrics["memory_mib"] for report in reports] == [5.0, 6.0]
    first = dict(reports[0].metrics)
    assert first.pop("images_per_second") > 0
    assert first == {
        "train/loss": 2.0,
        "train/fusion1_dice": 0.5,
        "lr": 0.1,
        "memory_mib": 5.0,
        "val/mAP": 50.0,
        "gates/stage1_from_aux": 0.5,
    }


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="counted on Linux alone")
def test_memory_on_the_cpu_is_what_the_process_has() -> None:
    before = memory_mib(torch.device("cpu"))
    held = torch.ones(2**24)  # 64 MiB, touched
    assert 60 < memory_mib(torch.device("cpu")) - before < 100
    assert held.sum() > 0
