"""One trial over several processes of one machine: each trains on its share of every batch, gradients are averaged.

The process that started the trial is rank 0, the lead: it reports, evaluates and writes. The others are DDP workers:
they take the same steps on their shares, write nothing, and end with the lead, however that ends. Rank r has the images
r, r + n, r + 2n .. of each batch of n processes, so that their order and augmentation are those of a single process.

The gradient is the mean over the processes, each weighted with its share of the images. It differs from that of the
whole batch in what the detector computes over the images of one process. Its losses are means over the anchors and
proposals sampled there. Batch normalisation is over a process's images on the CPU, where the running statistics are
those of rank 0, and over the whole batch on GPUs. Sampling and
drop path draw from a stream of each process's own. So the number of processes is a part of a trial's configuration.
"""

import math
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

from tune_cmx.data.dataset import PairedDataset, Sample, collate, epoch_order
from tune_cmx.errors import ConfigError
from tune_cmx.seeding import derive
from tune_cmx.training.random_state import seed_all
from tune_cmx.training.trainer import Batch, Seen, Share, Trainer

RETRY_S = 600.0
"""How long one process waits for another, such as for its first images from a slow disk, before the trial fails."""


@dataclass(frozen=True)
class Rank:
    """One of the processes that train a trial together."""

    number: int
    """From 0, the lead."""
    processes: int
    device: torch.device

    def seed(self, seed: int, epoch: int) -> None:
        """Set a worker's random state for an epoch. A resumed trial needs no copy of it."""
        seed_all(derive(seed, "process", self.number, epoch))

    def share(self, step: int, *, images: int, batch_size: int) -> Share:
        """What this rank has of a step's batch, of an epoch of `images`."""
        whole = min(batch_size, images - step * batch_size)
        mine = len(range(self.number, whole, self.processes))
        return Share(mine, mine * self.processes / whole, math.ceil(whole / self.processes))

    def loader(
        self, dataset: PairedDataset, *, batch_size: int, seed: int, epoch: int, workers: int
    ) -> DataLoader[Sample]:
        """This rank's share of the batches that `build_loader` gives; the batch size is that of all ranks together.

        A rank without an image in the last batch gets the batch's first, as its gradient is waited for; `share` says
        that it does not count.
        """
        dataset.set_epoch(epoch)
        if workers > 0:
            dataset.preload()
        order = epoch_order(len(dataset), seed=seed, epoch=epoch)
        batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
        return DataLoader(
            dataset,
            batch_sampler=[batch[self.number :: self.processes] or batch[:1] for batch in batches],
            num_workers=workers,
            collate_fn=collate,
            pin_memory=torch.cuda.is_available(),
        )


def lead_rank(processes: int, device: torch.device) -> Rank:
    """Rank 0 of a trial's processes.

    Raises:
        ConfigError: There are fewer GPUs than processes, or the device is none that processes can share work on.
    """
    if processes == 1:
        return Rank(0, 1, device)
    place = f"schedule.processes: {processes} processes"
    if device.type not in ("cpu", "cuda"):
        raise ConfigError(f"{place} train on cpu or cuda; got device {device}")
    if device.type == "cpu":
        return Rank(0, processes, device)
    gpus = torch.cuda.device_count()
    if processes > gpus:
        raise ConfigError(
            f"{place} need a GPU each; {gpus} visible here. Lower it, or give the trial as many GPUs as processes"
        )
    if device.index:
        raise ConfigError(f"{place} take the visible GPUs from the first on; got device {device}, say cuda")
    return Rank(0, processes, torch.device("cuda", 0))


class _Joined(Trainer):
    """A trainer whose gradients are averaged with others', without DDP's warning of what costs speed at most."""

    def epoch(self, epoch: int, batches: Iterable[Batch]) -> Seen:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Grad strides do not match bucket view strides")
            return super().epoch(epoch, batches)


def join(rank: Rank, trainer: Trainer, rendezvous: Path) -> Trainer:
    """The trainer, its model taking part in the mean of the gradients; weights and buffers become those of rank 0."""
    dist.init_process_group(
        "nccl" if rank.device.type == "cuda" else "gloo",
        store=dist.FileStore(str(rendezvous), rank.processes),  # type: ignore[attr-defined]  # documented, but not in __all__
        rank=rank.number,
        world_size=rank.processes,
        timeout=timedelta(seconds=RETRY_S),
    )
    model = trainer.model
    if rank.device.type == "cuda":
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)  # type: ignore[no-untyped-call]
    # A fusion at the last stage may have weights that nothing reads, and they shall stay without a gradient. With it,
    # buckets keep their first form too, which sets the order of sums: a resumed trial gives the same bits.
    joined = DistributedDataParallel(model, find_unused_parameters=True)
    return _Joined(**{**vars(trainer), "model": joined})
