"""The cost of a trial: seconds by earlier run folders or a probe, bytes and operations by the model's shapes."""

import math
import statistics
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tune_cmx.config.parse import dump
from tune_cmx.config.trial import ModelConfig, TrialConfig
from tune_cmx.counting import count
from tune_cmx.data.prepare import Prepared
from tune_cmx.errors import ConfigError
from tune_cmx.models.describe import inspected
from tune_cmx.search.planning.model_sizes import ModelSizes, as_text
from tune_cmx.state.trial_state import TRIAL_FILE
from tune_cmx.training.model_probe import build_for
from tune_cmx.training.run_folder import RunFolder
from tune_cmx.training.timing import TrialTimes, time_trials

_BYTES = 4
"""Of a parameter in fp32."""
_MOMENTS = {"sgd": 1, "adamw": 2}
"""Numbers that the optimizer keeps for each parameter."""
PROCESS_S, START_S = 5.0, 1.0
"""A fresh process with torch and this package, and data and model within it, where no probe measured them: two x86-64
cores, 2026-11-24."""


@dataclass(frozen=True)
class EpochTime:
    """An epoch that was timed."""

    model: str
    """The model's configuration as text."""
    way: str
    """As of `way_text`."""
    gflop: float
    batch_size: int
    seconds: float


@dataclass(frozen=True)
class Probed:
    """What a few steps of a configuration took."""

    config: TrialConfig
    step_s: float
    peak: int
    """Bytes of memory at most."""


@dataclass(frozen=True)
class Times:
    """What is known of the time that trials take, and from where."""

    epochs: Sequence[EpochTime]
    image_s: float
    """To evaluate an image."""
    source: str
    """For people."""
    process_s: float = PROCESS_S
    start_s: float = START_S
    probed: Sequence[Probed] = ()
    """In the order of the configurations; none where earlier run folders give the times."""


@dataclass
class Costs:
    """Seconds and bytes of a trial by its configuration."""

    sizes: ModelSizes
    times: Times
    images: int
    """That a trial is evaluated on at its end."""
    check_s: float = 0.0
    """To build and audit a configuration, before the start."""
    _epoch_s: dict[str, float] = field(default_factory=dict)

    def epoch_s(self, config: TrialConfig) -> float:
        """Of that model, batch size and way, where it was timed; else scaled by operations between what was."""
        batch, way, model = config.schedule.batch_size, _planned_way(config), as_text(dump(config.model))
        key = f"{batch} {way} {model}"
        if key not in self._epoch_s:
            epochs = [found for found in self.times.epochs if found.way == way] or self.times.epochs
            self._epoch_s[key] = self._looked_up(epochs, config.model, batch)
        return self._epoch_s[key]

    def _looked_up(self, epochs: Sequence[EpochTime], model: ModelConfig, batch_size: int) -> float:
        nearest = min({found.batch_size for found in epochs}, key=lambda size: abs(math.log(size / batch_size)))
        alike = [found for found in epochs if found.batch_size == nearest]
        same = [found.seconds for found in alike if found.model == as_text(dump(model))]
        if same:
            return statistics.fmean(same)
        by_gflop: dict[float, list[float]] = {}
        for found in alike:
            by_gflop.setdefault(found.gflop, []).append(found.seconds)
        return _scaled(self.sizes.of(model).gflop, {gflop: statistics.fmean(s) for gflop, s in by_gflop.items()})

    def weights_bytes(self, config: TrialConfig) -> int:
        """Of a checkpoint's weights."""
        copies = 1 if config.schedule.ema_decay is None else 2
        return copies * _BYTES * self.sizes.of(config.model).parameters

    def state_bytes(self, config: TrialConfig) -> int:
        """Of what a checkpoint keeps beside them until the trial is complete."""
        return _MOMENTS[config.schedule.optimizer] * _BYTES * self.sizes.of(config.model).parameters


def _scaled(gflop: float, known: Mapping[float, float]) -> float:
    """Between two that are known on the line through them, outside in proportion to the nearest."""
    points = sorted(known)
    inside = min(max(gflop, points[0]), points[-1])
    return float(np.interp(inside, points, [known[point] for point in points])) * gflop / inside


def way_text(config: TrialConfig, micro_batch: int | None) -> str:
    """What the time and memory of a step depend on besides model and batch size, as a key.

    Args:
        config: The trial's.
        micro_batch: What it had in memory at once; None: its share of a batch.
    """
    return as_text([dump(config.compute), micro_batch, config.schedule.ema_decay is not None])


def _planned_way(config: TrialConfig) -> str:
    return way_text(config, config.schedule.micro_batch)


def earlier_times(
    folders: Sequence[Path], prepared: Prepared, configs: Sequence[TrialConfig], device: str, sizes: ModelSizes
) -> tuple[Times | None, str]:
    """The times of earlier trials of this data set and device, with the arms' image sizes and ways to compute.

    Args:
        folders: Study folders, folders of run folders, or run folders.
        prepared: The data set.
        configs: The arms', as far as they are known.
        device: `cpu` or `cuda`.
        sizes: Of the data set's detectors.

    Returns:
        The times, None where the trials do not tell them for each way to compute; and which trials were left out:
        `2 (another data set), 1 (another device)`.

    Raises:
        ConfigError: A folder has no run folders at all.
    """
    found: list[EpochTime] = []
    image_times: list[float] = []
    other: Counter[str] = Counter()
    for folder in folders:
        files = sorted(folder.rglob(TRIAL_FILE))
        if not files:
            raise ConfigError(f"--from: {folder} holds no run folders; name a study folder, as in runs/demo")
        for file in files:
            run_folder = RunFolder(file.parent)
            reason, rows = _refusal(run_folder, prepared, configs, device), run_folder.rows()
            if reason is not None or not rows:
                other[reason or "not begun"] += 1
                continue
            config, last = run_folder.config(), rows[-1]
            seconds = last["seconds"] / last["epoch"]
            gflop, way = sizes.of(config.model).gflop, _way_of(run_folder, config)
            found.append(EpochTime(as_text(dump(config.model)), way, gflop, config.schedule.batch_size, seconds))
            image_times.append(last["val/milliseconds"] / 1000)
    if found and not set(map(_planned_way, configs)) <= {epoch.way for epoch in found}:
        other["computed as only some of the configurations are"] += len(found)
        found = []
    left_out = ", ".join(f"{number} ({why})" for why, number in other.items())
    if not found:
        return None, left_out
    trials = count(len(found), "earlier trial")
    source = f"{trials} on {'a GPU' if device == 'cuda' else 'the CPU'}" + (f"; left out: {left_out}" if other else "")
    return Times(found, statistics.fmean(image_times), source), left_out


def _way_of(run_folder: RunFolder, config: TrialConfig) -> str:
    return way_text(config, run_folder.micro_batch(config.schedule.micro_batch))


def _refusal(run_folder: RunFolder, prepared: Prepared, configs: Sequence[TrialConfig], device: str) -> str | None:
    """Why a run folder says nothing about the study; None: it does."""
    state = run_folder.state()
    if state.data_fingerprint != prepared.audit.fingerprint:
        return "another data set"
    try:
        config = run_folder.config()
    except ConfigError:
        return "of another version"
    if _image_size(config) not in map(_image_size, configs):
        return "another image size"
    if _way_of(run_folder, config) not in map(_planned_way, configs):
        return "computed in another way"
    on_cpu = (state.device or "cpu").rpartition(" x ")[2].startswith("cpu")
    return None if on_cpu == (device == "cpu") else "another device"


def _image_size(config: TrialConfig) -> tuple[int, int]:
    return config.model.detector.image_size, config.model.detector.max_size


def probed_times(
    configs: Sequence[TrialConfig],
    prepared: Prepared,
    device: str,
    sizes: ModelSizes,
    *,
    side_by_side: int,
    threads: int,
    workers: int,
) -> Times:
    """Train some steps of the baseline, the largest and the smallest configuration, as many at a time as in the study.

    Args:
        configs: The arms', the baseline's first.
        prepared: The data set.
        device: As torch names it.
        sizes: Of the data set's detectors.
        side_by_side: Trials that share the machine's cores or a GPU.
        threads: Of each, on the CPU.
        workers: Loader processes of each.
    """
    chosen = _representative(configs, sizes)
    train, val = len(prepared.split.train), len(prepared.split.val)
    epochs: list[EpochTime] = []
    timed: list[TrialTimes] = []
    probed: dict[str, Probed] = {}
    for first in range(0, len(chosen), side_by_side):
        together = (chosen[first : first + side_by_side] * side_by_side)[:side_by_side]
        found = time_trials(together, prepared, device, threads=threads, workers=workers)
        timed += found
        for config, times in zip(together, found, strict=True):
            batch, gflop, way = config.schedule.batch_size, sizes.of(config.model).gflop, _planned_way(config)
            epochs.append(EpochTime(as_text(dump(config.model)), way, gflop, batch, times.epoch_s(train, val, batch)))
            probed.setdefault(as_text(dump(config)), Probed(config, times.step_s, times.peak))
    beside = f", {side_by_side} at a time" if side_by_side > 1 else ""
    return Times(
        epochs,
        statistics.fmean(found.frame_s for found in timed),
        f"a probe of {count(len(chosen), 'configuration')}{beside}, on {'this CPU' if device == 'cpu' else 'this GPU'}",
        process_s=statistics.fmean(found.process_s for found in timed),
        start_s=statistics.fmean(found.start_s for found in timed),
        probed=tuple(probed.values()),
    )


def seconds_to_check(model: ModelConfig, prepared: Prepared) -> float:
    """The time in which `check` builds and audits a configuration."""
    began = time.monotonic()
    detector = build_for(model, prepared)
    inspected(detector)
    return time.monotonic() - began


def _representative(configs: Sequence[TrialConfig], sizes: ModelSizes) -> list[TrialConfig]:
    """The first, and of each batch size and way to compute the ones that compute most and least."""
    groups: dict[tuple[int, str], list[TrialConfig]] = {}
    for config in configs:
        groups.setdefault(_batch_and_way(config), []).append(config)
    chosen = [configs[0]]
    for alike in groups.values():
        ranked = sorted(alike, key=lambda config: sizes.of(config.model).gflop)
        chosen += [ranked[-1], ranked[0]]
    return list({(*_batch_and_way(config), as_text(dump(config.model))): config for config in chosen}.values())


def _batch_and_way(config: TrialConfig) -> tuple[int, str]:
    return config.schedule.batch_size, _planned_way(config)
