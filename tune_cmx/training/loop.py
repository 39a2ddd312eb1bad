"""Epochs of training, each followed by a report; and evaluation of a detector over a loader."""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from timm.scheduler.scheduler import Scheduler
from torch import Tensor, nn
from torch.optim import Optimizer

from tune_cmx.errors import TrialError, TuneCmxError
from tune_cmx.evaluation import to_detections

Batch = tuple[Sequence[Tensor], Sequence[Mapping[str, Tensor]]]
_CPU_ALLOCATOR = "DefaultCPUAllocator: "


@dataclass(frozen=True)
class EpochReport:
    """What one epoch gave.

    `metrics` has `train/loss` and its parts, `val/mAP` and the like in percent points, `val/milliseconds`, `lr`, and
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


class Share(NamedTuple):
    """What a process's part of a batch counts, where several processes train on one batch."""

    images: int
    """Of this process; 0 where the batch has fewer images than there are processes."""
    weight: float
    """Of its gradient in the mean over the processes: 1 where all have the same number of images."""


class Seen(NamedTuple):
    """What the steps of one epoch went through."""

    images: int
    losses: Mapping[str, float]
    """Each loss, summed over the images."""
    lr: float
    """At the last step."""


@dataclass
class Trainer:
    """A model, and how its weights are changed.

    Args:
        model: A torchvision detector: in training mode it maps images and targets to a mapping of losses.
        optimizer: Steps once a batch.
        scheduler: Told the number of steps taken, before each.
        steps_per_epoch: Batches in an epoch.
        device: Where the model is.
        clip_norm: Largest norm of the gradient.
        share: By the step within its epoch, what this process's images count; None: the batches are whole.
    """

    model: nn.Module
    optimizer: Optimizer
    scheduler: Scheduler
    steps_per_epoch: int
    device: torch.device
    clip_norm: float | None = None
    share: Callable[[int], Share] | None = None
    _last_finite: float | None = None

    def epoch(self, epoch: int, batches: Iterable[Batch]) -> Seen:
        """Take an optimizer step for each batch.

        Raises:
            TrialError: A loss is not finite.
        """
        self.model.train()
        sums: dict[str, float] = {}
        images_seen = 0
        for step, (images, targets) in enumerate(batches):
            self.scheduler.step_update((epoch - 1) * self.steps_per_epoch + step)
            on_device = [dict(zip(t, _to(t.values(), self.device), strict=True)) for t in targets]
            losses = self.model(_to(images, self.device), on_device)
            total = torch.stack(list(losses.values())).sum()
            self._check(float(total.detach()), epoch, step)
            counted, weight = self.share(step) if self.share else (len(images), 1.0)
            self.optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(total * weight)
            if self.clip_norm is not None:
                nn.utils.clip_grad_norm_(self.model.parameters(), self.clip_norm)
            self.optimizer.step()
            images_seen += counted
            for name, part in {"loss": total, **losses}.items():
                sums[name] = sums.get(name, 0.0) + float(part.detach()) * counted
        return Seen(images_seen, sums, float(self.optimizer.param_groups[0]["lr"]))

    def _check(self, loss: float, epoch: int, step: int) -> None:
        if not math.isfinite(loss):
            last = self._last_finite
            before = "the first of this run" if last is None else f"last finite value {last:.4g}"
            raise TrialError(f"loss is {loss} at epoch {epoch}, step {step + 1}; {before}")
        self._last_finite = loss


def fit(
    train: Callable[[int], Seen],
    score: Callable[[], Mapping[str, float]],
    *,
    epochs: int,
    first_epoch: int = 1,
    seconds_before: float = 0.0,
) -> Iterator[EpochReport]:
    """Train from `first_epoch` to `epochs`, yielding a report after each.

    Args:
        train: Trains the epoch of that number.
        score: Called after each epoch; its metrics join the report as `val/...`.
        epochs: The whole schedule.
        first_epoch: After a resumption, the one after the last finished.
        seconds_before: Spent by earlier sessions of the trial.
    """
    began = time.monotonic()
    for epoch in range(first_epoch, epochs + 1):
        epoch_began = time.monotonic()
        seen = train(epoch)
        train_seconds = time.monotonic() - epoch_began
        metrics = {f"train/{name}": value / seen.images for name, value in seen.losses.items()}
        metrics["lr"] = seen.lr
        metrics["images_per_second"] = seen.images / train_seconds
        metrics.update({f"val/{name}": value for name, value in score().items()})
        yield EpochReport(epoch, epochs, seconds_before + time.monotonic() - began, metrics)


def _to(tensors: Iterable[Tensor], device: torch.device) -> list[Tensor]:
    return [tensor.to(device, non_blocking=True) for tensor in tensors]


@torch.no_grad()
def detect(model: nn.Module, batches: Iterable[Batch], device: torch.device) -> tuple[list[dict[str, Any]], float]:
    """COCO results of the model, put into evaluation mode, over all batches; and milliseconds an image.

    The time is that of the detector alone, from images in memory to boxes in the memory of the CPU; that of reading
    the images is not in it.
    """
    model.eval()
    detections: list[dict[str, Any]] = []
    images_seen, seconds = 0, 0.0
    if device.type == "cuda":
        torch.cuda.synchronize(device)  # what training has left in the queue is not the detector's time
    for images, targets in batches:
        began = time.perf_counter()
        on_device = model(_to(images, device))
        on_cpu = [{name: tensor.cpu() for name, tensor in found.items()} for found in on_device]  # waits for the card
        seconds += time.perf_counter() - began
        images_seen += len(images)
        for target, found in zip(targets, on_cpu, strict=True):
            detections += to_detections(int(target["image_id"]), found["boxes"], found["scores"], found["labels"])
    return detections, 1000 * seconds / images_seen if images_seen else math.nan


def failure_reason(error: BaseException) -> str:
    """What a record says of a training that ended in this error."""
    if _out_of_memory(error):
        first_line = (str(error).splitlines() or ["none left"])[0]
        return f"out of memory: {first_line.rpartition(_CPU_ALLOCATOR)[2]}; lower batch_size or image_size"
    return str(error) if isinstance(error, TuneCmxError) else f"{type(error).__name__}: {error}"


def _out_of_memory(error: BaseException) -> bool:
    """Whether an allocation failed; on the CPU torch says so in the text of a RuntimeError alone."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and _CPU_ALLOCATOR in str(error)
    )
