"""How long a trial takes, from a few real steps of it."""

import itertools
import math
import os
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.synchronize import Barrier
from pathlib import Path
from threading import BrokenBarrierError

import torch

from tune_cmx.config.trial import TrialConfig
from tune_cmx.data.dataset import PairedDataset
from tune_cmx.data.ground_truth import ground_truth
from tune_cmx.data.pixel_range import scales_of
from tune_cmx.data.prepare import Prepared
from tune_cmx.errors import TrialError
from tune_cmx.training.assembly import TrialData, build_trainer, build_trial_model
from tune_cmx.training.checkpoint import save_checkpoint
from tune_cmx.training.ddp.parent import end_with_parent
from tune_cmx.training.ddp.ranks import lead_rank
from tune_cmx.training.loop import failure_reason
from tune_cmx.training.memory import one_process, peak_bytes
from tune_cmx.training.score import score_images
from tune_cmx.training.trainer import Batch, Trainer

STEPS, BUDGET_S = 12, 10.0
"""Steps that are timed, and after how long no other is begun; two are timed at least."""
_RETRY_S = 300.0
"""How long a probe waits for those that are to run beside it."""
_NICENESS = 15
"""Of a search's workers, as Ray sets it; on a machine that others use as well, it makes a difference."""
_side_by_side: Barrier | None = None


@dataclass(frozen=True)
class TrialTimes:
    """What the parts of a trial take, where as many train beside it as did in the probe."""

    process_s: float
    """A fresh process, up to the trial's first line."""
    start_s: float
    """Data and model."""
    step_s: float
    """One step of the optimizer, reading included; the first one is not counted."""
    frame_s: float
    """One image of validation, reading and matching included."""
    save_s: float
    """A checkpoint."""
    peak: int
    """Bytes at most: of a GPU with what CUDA keeps for the process, or of the machine, all of the process."""

    def epoch_s(self, train_frames: int, val_frames: int, batch_size: int) -> float:
        """Training, validation and checkpoint."""
        return math.ceil(train_frames / batch_size) * self.step_s + val_frames * self.frame_s + self.save_s


def time_trials(
    configs: Sequence[TrialConfig], prepared: Prepared, device: str, *, threads: int, workers: int
) -> list[TrialTimes]:
    """Train each configuration for a few steps and evaluate a few images, all at once, in fresh processes.

    Each begins when all are built, so that they share cores, memory and GPU as the trials of a study would. Nothing
    is left behind. Of a trial over several processes it is the share of one.

    Args:
        configs: The trials'; as many as run side by side.
        prepared: The data set, audited and split.
        device: As torch names it.
        threads: Of each trial, on the CPU.
        workers: Loader processes of each.

    Raises:
        TrialError: One of them cannot train.
    """
    context = get_context("spawn")
    barrier = context.Barrier(len(configs))
    with ProcessPoolExecutor(len(configs), context, initializer=_begin, initargs=(barrier,)) as fresh:
        asked = [fresh.submit(_probe, config, prepared, device, threads, workers, time.time()) for config in configs]
        try:
            return [found.result() for found in asked]
        except BrokenProcessPool as error:
            raise TrialError("probe: a process was killed, as by a system out of memory; try --no-probe") from error


def _begin(barrier: Barrier) -> None:
    global _side_by_side
    _side_by_side = barrier
    os.nice(_NICENESS)
    end_with_parent()


def _probe(
    config: TrialConfig, prepared: Prepared, device: str, threads: int, workers: int, asked: float
) -> TrialTimes:
    """The measurement, in the fresh process."""
    assert _side_by_side is not None
    process_s = time.time() - asked
    torch.set_num_threads(threads)
    try:
        return _timed(config, prepared, torch.device(device), workers, process_s, _side_by_side)
    except BrokenBarrierError as error:
        raise TrialError("probe: another one failed beside it") from error
    except Exception as error:
        _side_by_side.abort()
        raise TrialError(f"probe: {failure_reason(error)}") from error


def _timed(
    config: TrialConfig, prepared: Prepared, device: torch.device, workers: int, process_s: float, barrier: Barrier
) -> TrialTimes:
    alone = one_process(config)
    began = time.monotonic()
    rank = lead_rank(1, device)
    model = build_trial_model(alone, prepared)
    trainer = build_trainer(alone, prepared, model, rank, None)
    data = TrialData(alone, prepared, workers, rank)
    batches = itertools.chain.from_iterable(data.batches(epoch) for epoch in itertools.count(1))
    start_s = time.monotonic() - began
    barrier.wait(_RETRY_S)
    trainer.epoch(1, itertools.islice(batches, 1))
    step_s = seconds_a_step(trainer, batches)
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        save_checkpoint(
            Path(folder),
            model,
            trainer.optimizer,
            trainer.averaged,
            epoch=1,
            seconds=0.0,
            history=[],
        )
        save_s = time.monotonic() - began
    ids = prepared.split.val[: STEPS * alone.schedule.batch_size]
    began = time.monotonic()
    scales = scales_of(prepared.pixel_statistics(alone.data.range))
    frames = PairedDataset(prepared.data, ids, alone.model.modalities(), augment=None, seed=0, scales=scales)
    at_once = alone.schedule.images_at_once(trainer.micro_batch)
    truth = ground_truth(prepared.data, ids, prepared.audit.sizes)
    score_images(trainer.scored, frames, truth, device, at_once=at_once, workers=workers)
    frame_s = (time.monotonic() - began) / len(ids)
    return TrialTimes(process_s, start_s, step_s, frame_s, save_s, peak_bytes(device))


def seconds_a_step(trainer: Trainer, batches: Iterable[Batch]) -> float:
    """The mean over `STEPS` steps of one epoch, or over those that began within the budget.

    Args:
        trainer: Whose first step is behind it.
        batches: More of them than steps.
    """
    began, steps = time.monotonic(), 0

    def within_budget() -> Iterator[Batch]:
        nonlocal steps
        for batch in batches:
            yield batch
            steps += 1
            if steps == STEPS or (steps >= 2 and time.monotonic() - began >= BUDGET_S):
                return

    trainer.epoch(1, within_budget())
    return (time.monotonic() - began) / steps
