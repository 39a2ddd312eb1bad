"""What a trial is trained with: its data, its detector, its optimizer, each from a configuration and the data set."""

import math
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

from timm.utils import ModelEmaV3
from torch import nn

from tune_cmx.config.trial import TrialConfig
from tune_cmx.data.dataset import PairedDataset, build_loader
from tune_cmx.data.ground_truth import ground_truth
from tune_cmx.data.pixel_range import means_of, scales_of
from tune_cmx.data.prepare import Prepared
from tune_cmx.data.shared.image_cache import SharedImages
from tune_cmx.evaluation import by_class, by_condition
from tune_cmx.models.detector import Detector, build_detector, compute_as
from tune_cmx.seeding import derive
from tune_cmx.training.checkpoint import restore_checkpoint
from tune_cmx.training.ddp.ranks import Rank
from tune_cmx.training.loggers.session import LoggedSession
from tune_cmx.training.optim import build_optimizer, build_scheduler
from tune_cmx.training.random_state import seed_all
from tune_cmx.training.score import Score, score_images
from tune_cmx.training.tensorboard.pictures import Pictures
from tune_cmx.training.tensorboard.pr_curves import counts_by_score
from tune_cmx.training.trainer import Batch, Trainer


class TrialData:
    """Train, val and test as a trial sees them; of each batch, the share of its process."""

    def __init__(
        self,
        config: TrialConfig,
        prepared: Prepared,
        workers: int,
        rank: Rank,
        frames: SharedImages | None = None,
    ) -> None:
        split = prepared.split
        self._rank = rank
        self._order_seed = derive(config.seed, "order")
        self._schedule, self._workers = config.schedule, workers
        order = config.model.modalities()
        augment = config.data.augment
        statistics = prepared.pixel_statistics(config.data.range)
        scales = scales_of(statistics)
        self._train = PairedDataset(
            prepared.data,
            split.train,
            order,
            augment=augment,
            seed=derive(config.seed, "augment"),
            means=means_of(statistics),
            shared=frames,
            scales=scales,
        )
        held_out = {"val": split.val, "test": split.test}
        self._held_out = {
            part: PairedDataset(prepared.data, ids, order, augment=None, seed=0, shared=frames, scales=scales)
            for part, ids in held_out.items()
        }
        self._truth = {part: ground_truth(prepared.data, ids, prepared.audit.sizes) for part, ids in held_out.items()}
        self._pictures = Pictures(self._held_out["val"], self._truth["val"])

    @property
    def images(self) -> int:
        """Number of training images."""
        return len(self._train)

    def batches(self, epoch: int) -> Iterable[Batch]:
        """Training batches; order and augmentation follow from seed and epoch alone."""
        loader: Iterable[Batch]
        if self._rank.processes == 1:
            loader = build_loader(
                self._train,
                batch_size=self._schedule.batch_size,
                shuffle=True,
                seed=self._order_seed,
                epoch=epoch,
                workers=self._workers,
            )
        else:
            loader = self._rank.loader(
                self._train,
                batch_size=self._schedule.batch_size,
                seed=self._order_seed,
                epoch=epoch,
                workers=self._workers,
            )
        return loader

    def score(self, trainer: Trainer, part: str) -> Score:
        """How the trained model does on `val` or `test`, as many images at a time as in training."""
        at_once = self._schedule.images_at_once(trainer.micro_batch)
        frames, truth = self._held_out[part], self._truth[part]
        return score_images(trainer.scored, frames, truth, trainer.device, at_once=at_once, workers=self._workers)

    def breakdown(self, score: Score, part: str) -> dict[str, dict[str, dict[str, float]]]:
        """The score on `val` or `test` by class; by condition too, where the images have any."""
        truth = self._truth[part]
        conditions = by_condition(score.detections, truth)
        found = {"by_class": by_class(score.detections, truth)}
        return {**found, "by_condition": conditions} if conditions else found

    def show(self, session: LoggedSession, epoch: int, found: list[dict[str, Any]]) -> None:
        """A few images of `val` with their detections, and each class's counts."""
        session.show(epoch, self._pictures.draw(found), counts_by_score(found, self._truth["val"]))


def build_trial_model(config: TrialConfig, prepared: Prepared, *, batched: bool = True) -> Detector:
    """The trial's detector: bands and normalisation from the data, initial weights from the seed.

    Args:
        config: The trial's.
        prepared: The data set, audited and split.
        batched: As of `build_detector`.
    """
    bands, order = prepared.data.bands, config.model.modalities()
    statistics = prepared.pixel_statistics(config.data.range)
    seed_all(config.seed)
    detector = build_detector(
        config.model,
        bands=tuple(sum(len(bands[name]) for name in stream) for stream in config.model.stream_modalities()),
        num_classes=len(prepared.data.classes),
        mean=[value for name in order for value in statistics[name]["mean"]],
        std=[value for name in order for value in statistics[name]["std"]],
        batched=batched,
    )
    return compute_as(detector, config.compute)


def build_trainer(config: TrialConfig, prepared: Prepared, model: nn.Module, rank: Rank, saved: Path | None) -> Trainer:
    """The model on its device, with optimizer and schedule; a checkpoint restores them and the random state.

    Args:
        config: The trial's.
        prepared: The data set, audited and split.
        model: On the CPU.
        rank: This process.
        saved: The checkpoint to resume from; None: the trial begins.
    """
    schedule = config.schedule
    images = len(prepared.split.train)
    steps_per_epoch = math.ceil(images / schedule.batch_size)
    model.to(rank.device)
    optimizer = build_optimizer(model, schedule)
    scheduler = build_scheduler(optimizer, schedule, steps_per_epoch)
    ema = None
    if schedule.ema_decay is not None and rank.number == 0:
        ema = ModelEmaV3(model, schedule.ema_decay, use_warmup=True)
        compute_as(ema.module, config.compute)  # a copy does not keep what was compiled
    if saved is not None:
        restore_checkpoint(saved, model, optimizer, ema and ema.module)
    return Trainer(
        model,
        optimizer,
        scheduler,
        steps_per_epoch,
        rank.device,
        clip_norm=schedule.clip_norm,
        micro_batch=schedule.micro_batch,
        ema=ema,
        share=partial(rank.share, images=images, batch_size=schedule.batch_size) if rank.processes > 1 else None,
    )
