"""Reports of epochs, and the detector's time in an evaluation."""

import gc
import math
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tune_cmx.errors import TrialError
from tune_cmx.training.loop import detect, fit, memory_mib
from tune_cmx.training.trainer import Batch, Seen

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


@pytest.mark.parametrize("wrong", ["boxes", "scores"])
def test_a_box_or_a_score_that_is_not_finite_is_an_error(wrong: str) -> None:
    class Lost(Sleeper):
        def forward(self, images: list[Tensor]) -> list[dict[str, Tensor]]:
            return [{**found, wrong: found[wrong] * math.nan} for found in super().forward(images)]

    with pytest.raises(TrialError, match="for image 0 is not finite"):
        detect(Lost(), batches(), torch.device("cpu"))


def test_no_images_have_no_time() -> None:
    found, milliseconds = detect(Sleeper(), [], torch.device("cpu"))
    assert found == []
    assert math.isnan(milliseconds)


def test_a_report_has_losses_by_part_memory_and_what_was_scored() -> None:
    asked = iter([9.0, 5.0, 6.0])
    reports = list(
        fit(
            lambda _: Seen(4, {"loss": 8.0, "fusion1_dice": 2.0}, 0.1, 7.0),
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
        "train/gradient_norm": 7.0,
        "lr": 0.1,
        "memory_mib": 5.0,
        "val/mAP": 50.0,
        "gates/stage1_from_aux": 0.5,
    }


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="counted on Linux alone")
def test_memory_on_the_cpu_is_what_the_process_has() -> None:
    gc.collect()  # what other tests left is not to be freed meanwhile
    before = memory_mib(torch.device("cpu"))
    held = torch.ones(2**26)  # 256 MiB, touched
    assert 240 < memory_mib(torch.device("cpu")) - before < 290
    assert held.sum() > 0
