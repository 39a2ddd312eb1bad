"""How much memory a trial takes, and so how many share a GPU."""

import math
import os
import time
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import torch

from tune_cmx.config.trial import DetectorConfig, TrialConfig
from tune_cmx.data.dataset import PairedDataset, collate
from tune_cmx.data.pixel_range import scales_of
from tune_cmx.data.prepare import Prepared
from tune_cmx.errors import ConfigError, TrialError
from tune_cmx.training.assembly import build_trainer, build_trial_model
from tune_cmx.training.ddp.parent import end_with_parent
from tune_cmx.training.ddp.ranks import lead_rank
from tune_cmx.training.loop import detect, failure_reason
from tune_cmx.training.trainer import Batch

USABLE = 0.9
"""The fraction of a GPU's memory that trials share; the rest is for what no probe sees, such as fragmentation."""
CONTEXT_BYTES = 2**29
"""What CUDA keeps for each process beside its tensors: a reserve, not a measurement."""
_GIB = 2**30


@dataclass(frozen=True)
class MemoryProbe:
    """What a few real steps of a trial took."""

    peak: int
    """Bytes at most. On a GPU with what CUDA keeps for the process; on the CPU beyond what it had before the start."""
    total: int
    """Bytes of the GPU, or of the machine."""
    step_seconds: float
    """Of one training step, without the reading of images; the first step is not counted."""


def peak_memory(config: TrialConfig, prepared: Prepared, device: str, *, steps: int = 4) -> MemoryProbe:
    """Train a configuration for a few steps, and evaluate once, in a fresh process that leaves nothing behind.

    The batch has the training images that are largest for the network; as many at once are evaluated as in a
    trial. Of a trial over several processes it is the share of one.

    Args:
        config: The trial's.
        prepared: The data set, audited and split.
        device: As torch names it.
        steps: Training steps, at least 2: the optimizer takes its memory in the first.

    Raises:
        TrialError: The trial does not fit, or cannot train for another reason.
    """
    assert steps >= 2
    with ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn"), initializer=end_with_parent) as fresh:
        try:
            return fresh.submit(_probe, config, prepared, device, steps, torch.get_num_threads()).result()
        except BrokenProcessPool as error:
            asked = _asked(config)
            raise TrialError(
                f"memory probe with {asked}: its process was killed, as by a system out of memory; "
                "lower batch_size or image_size"
            ) from error


def gpu_total(device: str) -> int:
    """Bytes of the GPU, or of the machine where the device is its CPU."""
    if torch.device(device).type == "cuda":
        return int(torch.cuda.get_device_properties(torch.device(device)).total_memory)
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def share(peak: int, total: int) -> float:
    """The fraction of a GPU that a trial asks Ray for: 1/k, where k trials fit into 0.9 of it.

    Args:
        peak: Bytes that a trial takes, as of `peak_memory`.
        total: Bytes of the GPU.

    Raises:
        ConfigError: Not even one fits.
    """
    fitting = math.floor(USABLE * total / peak)
    if fitting < 1:
        raise ConfigError(
            f"a trial takes {peak / _GIB:.1f} GiB, and {USABLE:.0%} of the GPU's {total / _GIB:.1f} GiB are usable"
            "; lower schedule.batch_size or model.detector.image_size"
        )
    return 1 / fitting


def limit_memory(fraction: float, device: str) -> None:
    """Hold this process to its share of its GPU, so that it fails alone where it takes more; a no-op on the CPU.

    Args:
        fraction: Of the GPU, as of `share`; at 1 there is no limit.
        device: As torch names it.
    """
    place = torch.device(device)
    if place.type != "cuda" or fraction >= 1:
        return
    index = torch.cuda.current_device() if place.index is None else place.index  # torch takes no bare "cuda" here
    total = torch.cuda.get_device_properties(index).total_memory
    torch.cuda.set_per_process_memory_fraction(tensor_fraction(fraction, total), index)


def tensor_fraction(fraction: float, total: int) -> float:
    """What of a process's share of a GPU is left for tensors, beside what CUDA keeps; as a fraction of the GPU.

    Raises:
        ConfigError: Nothing is left.
    """
    left = fraction - CONTEXT_BYTES / total
    if left <= 0:
        raise ConfigError(
            f"a share of {fraction:g} of a GPU of {total / _GIB:.1f} GiB is less than what CUDA keeps for a process, "
            f"{CONTEXT_BYTES / _GIB:g} GiB; raise --gpus-per-trial"
        )
    return left


def _probe(config: TrialConfig, prepared: Prepared, device_name: str, steps: int, threads: int) -> MemoryProbe:
    """The measurement, in the fresh process."""
    torch.set_num_threads(threads)
    device = torch.device(device_name)
    before = peak_bytes(device)
    try:
        seconds = _steps(config, prepared, device, steps)
    except Exception as error:
        raise TrialError(f"memory probe with {_asked(config)}: {failure_reason(error)}") from error
    return MemoryProbe(peak_bytes(device) - before, gpu_total(device_name), seconds)


def _steps(config: TrialConfig, prepared: Prepared, device: torch.device, steps: int) -> float:
    """Train and evaluate; the seconds of a step."""
    alone = one_process(config)
    trainer = build_trainer(alone, prepared, build_trial_model(alone, prepared), lead_rank(1, device), None)
    images, targets = batch = _largest_batch(alone, prepared)
    trainer.epoch(1, [batch])
    began = time.monotonic()
    trainer.epoch(1, [batch] * (steps - 1))  # it reads the sums of the losses at its end, and so waits for the GPU
    seconds = (time.monotonic() - began) / (steps - 1)
    at_once = alone.schedule.images_at_once(trainer.micro_batch)
    detect(trainer.scored, [(images[:at_once], targets[:at_once])], device)
    return seconds


def one_process(config: TrialConfig) -> TrialConfig:
    """What one of a trial's processes does, as a trial of its own: its share of each batch."""
    schedule = config.schedule
    update = {"processes": 1, "batch_size": schedule.share}
    return config.model_copy(update={"schedule": schedule.model_copy(update=update)})


def _largest_batch(config: TrialConfig, prepared: Prepared) -> Batch:
    """Of the training images that are largest after the resize."""
    sizes, detector = prepared.audit.sizes, config.model.detector
    ids = sorted(prepared.split.train, key=lambda id: _resized_area(detector, *sizes[id]), reverse=True)
    count = config.schedule.batch_size
    repeated = (ids * math.ceil(count / len(ids)))[:count]
    scales = scales_of(prepared.pixel_statistics(config.data.range))
    dataset = PairedDataset(prepared.data, repeated, config.model.modalities(), augment=None, seed=0, scales=scales)
    return collate([dataset[index] for index in range(count)])


def _resized_area(detector: DetectorConfig, height: int, width: int) -> float:
    scale = min(detector.image_size / min(height, width), detector.max_size / max(height, width))
    return height * width * scale**2


def _asked(config: TrialConfig) -> str:
    return f"batch_size {config.schedule.batch_size} and image_size {config.model.detector.image_size}"


def peak_bytes(device: torch.device) -> int:
    """Bytes that this process has had at most: of a GPU, with what CUDA keeps for it, and 0 before it took any; else
    of the machine, where Linux alone counts them for a process and not its forebears.

    Raises:
        TrialError: On the CPU of another system.
    """
    if device.type == "cuda":
        reserved = torch.cuda.max_memory_reserved(device)
        return reserved + CONTEXT_BYTES if reserved else 0
    status = Path("/proc/self/status")
    if not status.exists():
        raise TrialError("memory on the CPU is measured on Linux alone")
    line = next(line for line in status.read_text(encoding="ascii").splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024
