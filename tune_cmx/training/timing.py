"""How long a trial takes, from a few real steps of it."""

import itertools
import math
import os
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.synchronize import Barrier
from pathlib import Path
from threading import BrokenBarrierError

import torch

from tune_cmx.config.trial import TrialConfig
from tune_cmx.data.dataset import PairedDataset, build_loader
from tune_cmx.data.prepare import Prepared
from tune_cmx.data.truth import ground_truth
from tune_cmx.errors import TrialError
from tune_cmx.evaluation import evaluate
from tune_cmx.training.build import TrialData, build_trainer, build_trial_model
from tune_cmx.training.checkpoint import save_checkpoint
from tune_cmx.training.distributed import lead_rank
from tune_cmx.training.loop import detect, failure_reason
from tune_cmx.training.memory import peak_bytes
from tune_cmx.training.parent import end_with_parent

STEPS, BUDGET_S = 12, 10.0
"""Steps that are timed, and after how long no other is begun; two are timed at least."""
_PATIENCE_S = 300.0
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
    """One frame of validation, reading and matching included."""
    save_s: float
    """A checkpoint."""
    peak: int
    """Bytes at most. On a card with what CUDA keeps for the process; on the CPU beyond what it had before the start."""

    def epoch_s(self, train_frames: int, val_frames: int, batch_size: int) -> float:
        """Training, validation and checkpoint."""
        return math.ceil(train_frames / batch_size) * self.step_s + val_frames * self.frame_s + self.save_s


def time_trials(
    configs: Sequence[TrialConfig], prepared: Prepared, device: str, *, threads: int, workers: int
) -> list[TrialTimes]:
    """Train each configuration for a few steps and evaluate a few frames, all at once, in fresh processes.

    Each begins when all are built, so that they share cores, memory and card as the trials of a study would. Nothing
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
    schedule = config.schedule
    share = {"processes": 1, "batch_size": schedule.batch_size // schedule.processes}
    alone = config.model_copy(update={"schedule": schedule.model_copy(update=share)})
    began, before = time.monotonic(), peak_bytes(device)
    rank = lead_rank(1, device)
    model = build_trial_model(alone, prepared)
    trainer = build_trainer(alone, prepared, model, rank, None)
    batches = iter(TrialData(alone, prepared, workers, rank).batches(1))
    start_s = time.monotonic() - began
    barrier.wait(_PATIENCE_S)
    trainer.epoch(1, itertools.islice(batches, 1))
    began, steps = time.monotonic(), 0
    while steps < STEPS and (steps < 2 or time.monotonic() - began < BUDGET_S):
        try:
            trainer.epoch(1, [next(batches)])
        except StopIteration:
            batches = iter(TrialData(alone, prepared, workers, rank).batches(2 + steps))
            continue
        steps += 1
    step_s = (time.monotonic() - began) / steps
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        save_checkpoint(Path(folder), model, trainer.optimizer, epoch=1, seconds=0.0, history=[])
        save_s = time.monotonic() - began
    ids = prepared.split.val[: max(round(STEPS * share["batch_size"]), 1)]
    began = time.monotonic()
    frames = PairedDataset(prepared.data, ids, alone.model.modalities(), augment=None, seed=0)
    loader = build_loader(frames, batch_size=share["batch_size"], shuffle=False, seed=0, epoch=0, workers=workers)
    found, _ = detect(model, loader, device)
    evaluate(found, ground_truth(prepared.data, ids, prepared.audit.sizes))
    frame_s = (time.monotonic() - began) / len(ids)
    return TrialTimes(process_s, start_s, step_s, frame_s, save_s, peak_bytes(device) - before)
