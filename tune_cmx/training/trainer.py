"""Steps of an optimizer over the batches of an epoch."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from timm.scheduler.scheduler import Scheduler
from torch import Tensor, nn
from torch.optim import Optimizer

from tune_cmx.errors import TrialError

Batch = tuple[Sequence[Tensor], Sequence[Mapping[str, Tensor]]]
CPU_ALLOCATOR = "DefaultCPUAllocator: "
"""Stands before what torch says of memory that the CPU lacks."""


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
            on_device = [dict(zip(t, to_device(t.values(), self.device), strict=True)) for t in targets]
            losses = self.model(to_device(images, self.device), on_device)
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


def to_device(tensors: Iterable[Tensor], device: torch.device) -> list[Tensor]:
    """Copies there; nothing waits for them."""
    return [tensor.to(device, non_blocking=True) for tensor in tensors]


def out_of_memory(error: BaseException) -> bool:
    """Whether an allocation failed; on the CPU torch says so in the text of a RuntimeError alone."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and CPU_ALLOCATOR in str(error)
    )
