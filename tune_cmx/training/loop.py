"""Epochs of training, each followed by a report; and the detections of a detector over a loader."""

import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tune_cmx.errors import TrialError, TuneCmxError
from tune_cmx.evaluation import to_detections
from tune_cmx.training.trainer import Batch, Seen, out_of_memory_reason, to_device

_PAGES = Path("/proc/self/statm")
"""Linux's count of this process's pages; the second number is of those in memory."""


@dataclass(frozen=True)
class EpochReport:
    """The metrics of one epoch.

    `metrics` has `train/loss` and its parts, `train/gradient_norm` (the largest of the epoch's steps), `lr`,
    `images_per_second` and `memory_mib`; and the scores: `val/mAP` and the like in percent points,
    `val/milliseconds`, fractions such as `gates/stage1_from_aux`. A metric that the data do not define, such as
    `val/mAP_small` without small objects, is nan.
    """

    epoch: int
    epochs: int
    seconds: float
    """Spent by the trial up to here, over all its sessions."""
    metrics: Mapping[str, float]

    @property
    def fraction(self) -> float:
        """The share of the schedule that is done."""
        return self.epoch / self.epochs


def fit(
    train: Callable[[int], Seen],
    score: Callable[[], Mapping[str, float]],
    memory_mib: Callable[[], float],
    *,
    epochs: int,
    first_epoch: int = 1,
    seconds_before: float = 0.0,
) -> Iterator[EpochReport]:
    """Train from `first_epoch` to `epochs`, yielding a report after each.

    Args:
        train: Trains the epoch of that number.
        score: Called after each epoch; its metrics join the report.
        memory_mib: The memory that the epoch took, its scoring included; called once before the first as well.
        epochs: The whole schedule.
        first_epoch: After a resumption, the one after the last finished.
        seconds_before: Spent by earlier sessions of the trial.
    """
    memory_mib()
    began = time.monotonic()
    for epoch in range(first_epoch, epochs + 1):
        epoch_began = time.monotonic()
        seen = train(epoch)
        train_seconds = time.monotonic() - epoch_began
        metrics = {f"train/{name}": value / seen.images for name, value in seen.losses.items()}
        metrics["train/gradient_norm"] = seen.gradient_norm
        metrics["lr"] = seen.lr
        metrics["images_per_second"] = seen.images / train_seconds
        scored = score()
        metrics["memory_mib"] = memory_mib()
        metrics.update(scored)
        yield EpochReport(epoch, epochs, seconds_before + time.monotonic() - began, metrics)


def memory_mib(device: torch.device) -> float:
    """Of a GPU, the peak of its tensors since the last call; else the resident memory of this process.

    On the CPU it is nan where the system has no `/proc`.
    """
    if device.type == "cuda":
        peak = torch.cuda.max_memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        return peak / 2**20
    if not _PAGES.exists():
        return math.nan
    return int(_PAGES.read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


@torch.no_grad()
def detect(model: nn.Module, batches: Iterable[Batch], device: torch.device) -> tuple[list[dict[str, Any]], float]:
    """COCO results of the model, put into evaluation mode, over all batches; and milliseconds an image.

    The time is that of the detector alone, from images in memory to boxes in the memory of the CPU; that of reading
    the images is not in it.

    Raises:
        TrialError: A box or a score is not finite.
    """
    model.eval()
    detections: list[dict[str, Any]] = []
    images_seen, seconds = 0, 0.0
    if device.type == "cuda":
        torch.cuda.synchronize(device)  # what training has left in the queue is not the detector's time
    for images, targets in batches:
        began = time.perf_counter()
        on_device = model(to_device(images, device))
        on_cpu = [{name: tensor.cpu() for name, tensor in found.items()} for found in on_device]  # waits for the GPU
        seconds += time.perf_counter() - began
        images_seen += len(images)
        for target, found in zip(targets, on_cpu, strict=True):
            image = int(target["image_id"])
            if not (found["boxes"].isfinite().all() and found["scores"].isfinite().all()):
                raise TrialError(f"a box or a score that the model gives for image {image} is not finite")
            detections += to_detections(image, found["boxes"], found["scores"], found["labels"])
    return detections, 1000 * seconds / images_seen if images_seen else math.nan


def failure_reason(error: BaseException) -> str:
    """The reason in `trial.json` of a trial that ended in this error."""
    said = out_of_memory_reason(error)
    if said is not None:
        return f"out of memory: {said}; lower image_size, or micro_batch where that is above 1"
    return str(error) if isinstance(error, TuneCmxError) else f"{type(error).__name__}: {error}"
