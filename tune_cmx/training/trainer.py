"""Optimizer steps over the batches of an epoch."""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import NamedTuple

import torch
from timm.scheduler.scheduler import Scheduler
from timm.utils import ModelEmaV3
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from tune_cmx.errors import TrialError

Batch = tuple[Sequence[Tensor], Sequence[Mapping[str, Tensor]]]
_CPU_ALLOCATOR = "DefaultCPUAllocator: "
"""Precedes the reason in torch's error about memory of the CPU."""
_NO_MEMORY = re.compile(
    rf"{_CPU_ALLOCATOR}|bad_alloc|could not create a primitive(?! descriptor)|CUDA error: out of memory|_ALLOC_FAILED"
)
"""Out-of-memory errors of torch, C++, oneDNN, CUDA, cuBLAS and cuDNN."""


class Share(NamedTuple):
    """One process's share of a batch that several processes train on."""

    images: int
    """Images of this process; 0 where the batch has fewer images than there are processes."""
    weight: float
    """Weight of its gradient in the mean over the processes: 1 where all have the same number of images."""
    most: int
    """Images of the process that has most. All processes take as many parts as that one: where batch normalisation is
    over all of them, each waits for the others in every forward."""


class Halved(NamedTuple):
    """Out of memory; micro-batch halved."""

    epoch: int
    step: int
    """Within the epoch, from 1."""
    micro_batch: int
    """Images in memory at once from here on."""
    reason: str


class Seen(NamedTuple):
    """The sums of one epoch."""

    images: int
    losses: Mapping[str, float]
    """Each loss, summed over the images."""
    lr: float
    """At the last step."""
    gradient_norm: float
    """The largest of any step, before it is clipped; inf where one is not finite."""


class _Awaited(NamedTuple):
    """A step's loss that is being copied from the GPU."""

    step: int
    loss: Tensor
    """On the CPU; to be read once it has arrived."""
    arrived: torch.cuda.Event | None

    @classmethod
    def sent(cls, step: int, loss: Tensor) -> "_Awaited":
        """Start the copy, and do not wait."""
        copy = loss.detach().to("cpu", non_blocking=True)
        on_gpu = loss.device.type == "cuda"
        return cls(step, copy, torch.cuda.current_stream(loss.device).record_event() if on_gpu else None)

    def value(self) -> float:
        """The number, once it has arrived."""
        if self.arrived is not None:
            self.arrived.synchronize()
        return float(self.loss)


@dataclass
class _Sums:
    """Sums of the losses over an epoch's images, kept on the model's device and read once."""

    names: tuple[str, ...] = ()
    totals: Tensor | None = None

    def add(self, losses: Mapping[str, Tensor], images: int) -> None:
        """Add one step's losses, each a mean over so many images."""
        parts = torch.stack([part.detach() for part in losses.values()]).double() * images
        assert self.totals is None or self.names == tuple(losses), "a step's losses have other names than the last's"
        self.names, self.totals = tuple(losses), parts if self.totals is None else self.totals + parts

    def read(self) -> dict[str, float]:
        """By name; none where there was no step."""
        return {} if self.totals is None else dict(zip(self.names, self.totals.tolist(), strict=True))


@dataclass
class Trainer:
    """A model and its optimizer steps.

    Args:
        model: A torchvision detector: in training mode it maps images and targets to a mapping of losses.
        optimizer: Steps once a batch.
        scheduler: Gets the number of steps taken, before each step.
        steps_per_epoch: Batches in an epoch.
        device: Where the model is.
        clip_norm: Largest norm of the gradient. None: no clipping.
        micro_batch: Images at once; gradients are added up over a batch. None: a batch at once.
        ema: The exponential moving average of the weights, updated after each step.
        share: By the step within its epoch, the share of this process; None: the batches are whole.
        on_halved: Called where memory ran out, before the batch is tried again with half the micro-batch. None: out of
            memory is an error.
    """

    model: nn.Module
    optimizer: Optimizer
    scheduler: Scheduler
    steps_per_epoch: int
    device: torch.device
    clip_norm: float | None = None
    micro_batch: int | None = None
    ema: ModelEmaV3 | None = None
    share: Callable[[int], Share] | None = None
    on_halved: Callable[[Halved], None] | None = None
    _last_finite: float | None = None

    @property
    def averaged(self) -> nn.Module | None:
        """The model with the average of the weights, where there is one."""
        return None if self.ema is None else self.ema.module

    @property
    def scored(self) -> nn.Module:
        """The model that is scored."""
        return self.averaged or _unwrapped(self.model)

    def epoch(self, epoch: int, batches: Iterable[Batch]) -> Seen:
        """Take an optimizer step for each batch.

        The host does not wait for a step's loss: it reads it before the next step's forward, when the GPU has computed
        it, and reads the sums once at the end.

        Raises:
            TrialError: A loss is not finite.
        """
        self.model.train()
        sums = _Sums()
        images_seen = 0
        awaited: _Awaited | None = None
        largest = torch.zeros((), device=self.device)
        for step, batch in enumerate(batches):
            self._check(awaited, epoch)
            steps = (epoch - 1) * self.steps_per_epoch + step
            self.scheduler.step_update(steps)
            images = len(batch[0])
            share = self.share(step) if self.share else Share(images, 1.0, images)
            losses = self._add_gradients(batch, share, epoch, step)
            awaited = _Awaited.sent(step, losses["loss"])
            largest = torch.maximum(largest, self._gradient_norm())
            self.optimizer.step()
            if self.ema is not None:
                self.ema.update(_unwrapped(self.model), steps + 1)
            images_seen += share.images
            sums.add(losses, share.images)
        self._check(awaited, epoch)
        norm = float(largest)
        lr = float(self.optimizer.param_groups[0]["lr"])
        return Seen(images_seen, sums.read(), lr, norm if math.isfinite(norm) else math.inf)

    def _gradient_norm(self) -> Tensor:
        """The norm over all weights, on their device; then the gradient is clipped to `clip_norm`, if set."""
        if self.clip_norm is not None:
            return nn.utils.clip_grad_norm_(self.model.parameters(), self.clip_norm)
        return nn.utils.get_total_norm([w.grad for w in self.model.parameters() if w.grad is not None])

    def _add_gradients(self, batch: Batch, share: Share, epoch: int, step: int) -> dict[str, Tensor]:
        """The gradients of a batch, with as many images at once as fit in memory; and its losses, `loss` their sum."""
        while True:
            try:
                return self._accumulate(batch, share)
            except (RuntimeError, MemoryError) as error:
                reason = out_of_memory_reason(error)
                at_once = min(self.micro_batch or len(batch[0]), len(batch[0]))
                if reason is None or self.on_halved is None or at_once == 1:
                    raise
            # Here, outside the handler, the tensors of the failed forward are freed.
            self.micro_batch = at_once // 2
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
            self.on_halved(Halved(epoch, step + 1, self.micro_batch, reason))

    def _accumulate(self, batch: Batch, share: Share) -> dict[str, Tensor]:
        images, targets = batch
        at_once = self.micro_batch or share.most
        self.optimizer.zero_grad(set_to_none=True)
        summed: dict[str, Tensor] = {}
        for first in range(0, share.most, at_once):
            part = images[first : first + at_once]
            fraction = len(part) / len(images)
            some = slice(first, first + at_once) if part else slice(1)  # the first image again, with weight 0
            on_device = [dict(zip(t, to_device(t.values(), self.device), strict=True)) for t in targets[some]]
            with nullcontext() if first + at_once >= share.most else self._apart():
                losses = self.model(to_device(images[some], self.device), on_device)
                total = torch.stack(list(losses.values())).sum()
                torch.autograd.backward(total * (share.weight * fraction))
            for name, loss in {"loss": total, **losses}.items():
                summed[name] = summed.get(name, 0.0) + fraction * loss.detach()
        return summed

    def _apart(self) -> AbstractContextManager[None]:
        """Gradients stay in this process until those of the rest of the batch are there."""
        return self.model.no_sync() if isinstance(self.model, DistributedDataParallel) else nullcontext()

    def _check(self, awaited: _Awaited | None, epoch: int) -> None:
        if awaited is None:
            return
        loss = awaited.value()
        if not math.isfinite(loss):
            last = self._last_finite
            before = "the first of this run" if last is None else f"last finite value {last:.4g}"
            raise TrialError(f"loss is {loss} at epoch {epoch}, step {awaited.step + 1}; {before}")
        self._last_finite = loss


def _unwrapped(model: nn.Module) -> nn.Module:
    return model.module if isinstance(model, DistributedDataParallel) else model


def to_device(tensors: Iterable[Tensor], device: torch.device) -> list[Tensor]:
    """Copy tensors to the device without waiting."""
    return [tensor.to(device, non_blocking=True) for tensor in tensors]


def out_of_memory_reason(error: BaseException) -> str | None:
    """What an out-of-memory error says; None: the error is of another kind."""
    said = str(error).partition("\n")[0]
    by_words = isinstance(error, RuntimeError) and _NO_MEMORY.search(said)
    if not by_words and not isinstance(error, torch.OutOfMemoryError | MemoryError):
        return None
    return said.rpartition(_CPU_ALLOCATOR)[2] or "none left"
