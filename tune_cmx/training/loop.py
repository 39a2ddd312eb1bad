"""Epochs of training, each followed by a report; and evaluation of a detector over a loader."""

import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from timm.scheduler.scheduler import Scheduler
from torch import Tensor, nn
from torch.optim import Optimizer

from tune_cmx.errors import TrialError, TuneCmxError
from tune_cmx.evaluation import to_detections

Batch = tuple[Sequence[Tensor], Sequence[Mapping[str, Tensor]]]
_CPU_ALLOCATOR = "DefaultCPUAllocator: "
_PAGES = Path("/proc/self/statm")
"""Linux's count of this process's pages; the second number is of those in memory."""


@dataclass(frozen=True)
class EpochReport:
    """What one epoch gave.

    `metrics` has `train/loss` and its parts, `lr`, `images_per_second` and `memory_mib`; and what the scoring gave:
    `val/mAP` and the like in percent points, `val/milliseconds`, fractions such as `gates/stage1_from_aux`. A metric
    that the data do not define, such as `val/mAP_small` without small objects, is nan.
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


class _Awaited(NamedTuple):
    """A step's loss on its way from the card."""

    step: int
    loss: Tensor
    """On the CPU; to be read once it has arrived."""
    arrived: torch.cuda.Event | None

    @classmethod
    def sent(cls, step: int, loss: Tensor) -> "_Awaited":
        """Begin the way, and wait for nothing."""
        copy = loss.detach().to("cpu", non_blocking=True)
        on_card = loss.device.type == "cuda"
        return cls(step, copy, torch.cuda.current_stream(loss.device).record_event() if on_card else None)

    def value(self) -> float:
        """The number, once it is there."""
        if self.arrived is not None:
            self.arrived.synchronize()
        return float(self.loss)


@dataclass
class _Sums:
    """Of the losses over an epoch's images, kept where the model is and read once."""

    names: tuple[str, ...] = ()
    totals: Tensor | None = None

    def add(self, losses: Mapping[str, Tensor], images: int) -> None:
        """One step's, each a mean over so many images."""
        parts = torch.stack([part.detach() for part in losses.values()]).double() * images
        assert self.totals is None or self.names == tuple(losses), "a step's losses have other names than the last's"
        self.names, self.totals = tuple(losses), parts if self.totals is None else self.totals + parts

    def read(self) -> dict[str, float]:
        """By name; none where there was no step."""
        return {} if self.totals is None else dict(zip(self.names, self.totals.tolist(), strict=True))


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

        The host does not wait for a step's loss: it is looked at before the next step's forward, when the card has
        long computed it, and the sums are fetched once at the end.

        Raises:
            TrialError: A loss is not finite.
        """
        self.model.train()
        sums = _Sums()
        images_seen = 0
        awaited: _Awaited | None = None
        for step, (images, targets) in enumerate(batches):
            self._check(awaited, epoch)
            self.scheduler.step_update((epoch - 1) * self.steps_per_epoch + step)
            on_device = [dict(zip(t, _to(t.values(), self.device), strict=True)) for t in targets]
            losses = self.model(_to(images, self.device), on_device)
            total = torch.stack(list(losses.values())).sum()
            awaited = _Awaited.sent(step, total)
            counted, weight = self.share(step) if self.share else (len(images), 1.0)
            self.optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(total * weight)
            if self.clip_norm is not None:
                nn.utils.clip_grad_norm_(self.model.parameters(), self.clip_norm)
            self.optimizer.step()
            images_seen += counted
            sums.add({"loss": total, **losses}, counted)
        self._check(awaited, epoch)
        return Seen(images_seen, sums.read(), float(self.optimizer.param_groups[0]["lr"]))

    def _check(self, awaited: _Awaited | None, epoch: int) -> None:
        if awaited is None:
            return
        loss = awaited.value()
        if not math.isfinite(loss):
            last = self._last_finite
            before = "the first of this run" if last is None else f"last finite value {last:.4g}"
            raise TrialError(f"loss is {loss} at epoch {epoch}, step {awaited.step + 1}; {before}")
        self._last_finite = loss


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
        metrics["lr"] = seen.lr
        metrics["images_per_second"] = seen.images / train_seconds
        scored = score()
        metrics["memory_mib"] = memory_mib()
        metrics.update(scored)
        yield EpochReport(epoch, epochs, seconds_before + time.monotonic() - began, metrics)


def _to(tensors: Iterable[Tensor], device: torch.device) -> list[Tensor]:
    return [tensor.to(device, non_blocking=True) for tensor in tensors]


def memory_mib(device: torch.device) -> float:
    """Of a card, the most that tensors took since this was last asked; else what this process has resident now.

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
