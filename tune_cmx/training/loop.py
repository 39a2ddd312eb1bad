"""Epochs of training, each followed by a report; and evaluation of a detector over a loader."""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from timm.scheduler.scheduler import Scheduler
from torch import Tensor, nn
from torch.optim import Optimizer

from tune_cmx.errors import TrialError
from tune_cmx.evaluation import to_detections

Batch = tuple[Sequence[Tensor], Sequence[Mapping[str, Tensor]]]


@dataclass(frozen=True)
class EpochReport:
    """What one epoch gave.

    `metrics` has `train/loss` and its parts, `val/mAP` and the like in percent points, `lr`, and
    `images_per_second`; a metric that the data do not define, such as `val/mAP_small` without small objects, is nan.
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
    model: nn.Module,
    optimizer: Optimizer,
    scheduler: Scheduler,
    *,
    batches: Callable[[int], Iterable[Batch]],
    score: Callable[[], Mapping[str, float]],
    epochs: int,
    steps_per_epoch: int,
    device: torch.device,
    first_epoch: int = 1,
    seconds_before: float = 0.0,
    clip_norm: float | None = None,
) -> Iterator[EpochReport]:
    """Train from `first_epoch` to `epochs`, yielding a report after each.

    Args:
        model: A torchvision detector: in training mode it maps images and targets to a mapping of losses.
        optimizer: Steps once a batch.
        scheduler: Told the number of steps taken, before each.
        batches: The batches of an epoch, by its number.
        score: Called after each epoch, the model in evaluation mode; its metrics join the report as `val/...`.
        epochs: The whole schedule.
        steps_per_epoch: Batches in an epoch.
        device: Where the model is.
        first_epoch: After a resumption, the one after the last finished.
        seconds_before: Spent by earlier sessions of the trial.
        clip_norm: Largest norm of the gradient.

    Raises:
        TrialError: A loss is not finite.
    """
    began = time.monotonic()
    last_finite: float | None = None
    for epoch in range(first_epoch, epochs + 1):
        model.train()
        sums: dict[str, float] = {}
        images_seen, epoch_began = 0, time.monotonic()
        for step, (images, targets) in enumerate(batches(epoch)):
            scheduler.step_update((epoch - 1) * steps_per_epoch + step)
            losses = model(_to(images, device), [dict(zip(t, _to(t.values(), device), strict=True)) for t in targets])
            total = torch.stack(list(losses.values())).sum()
            value = float(total.detach())
            if not math.isfinite(value):
                before = "the first of this run" if last_finite is None else f"last finite value {last_finite:.4g}"
                raise TrialError(f"loss is {value} at epoch {epoch}, step {step + 1}; {before}")
            last_finite = value
            optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(total)
            if clip_norm is not None:
                nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
            optimizer.step()
            images_seen += len(images)
            for name, part in {"loss": total, **losses}.items():
                sums[name] = sums.get(name, 0.0) + float(part.detach()) * len(images)
        train_seconds = time.monotonic() - epoch_began
        metrics = {f"train/{name}": value / images_seen for name, value in sums.items()}
        metrics["lr"] = float(optimizer.param_groups[0]["lr"])
        metrics["images_per_second"] = images_seen / train_seconds
        model.eval()
        metrics.update({f"val/{name}": value for name, value in score().items()})
        yield EpochReport(epoch, epochs, seconds_before + time.monotonic() - began, metrics)


def _to(tensors: Iterable[Tensor], device: torch.device) -> list[Tensor]:
    return [tensor.to(device, non_blocking=True) for tensor in tensors]


@torch.no_grad()
def detect(model: nn.Module, batches: Iterable[Batch], device: torch.device) -> list[dict[str, Any]]:
    """COCO results of the model, put into evaluation mode, over all batches."""
    model.eval()
    detections: list[dict[str, Any]] = []
    for images, targets in batches:
        for target, found in zip(targets, model(_to(images, device)), strict=True):
            found = {name: tensor.cpu() for name, tensor in found.items()}
            detections += to_detections(int(target["image_id"]), found["boxes"], found["scores"], found["labels"])
    return detections
