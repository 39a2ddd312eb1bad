"""The detector's time in an evaluation."""

import math
import time
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from tune_cmx.training.loop import Batch, detect

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
