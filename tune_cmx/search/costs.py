"""What a trial of an arm takes: seconds by earlier records or a probe, bytes and operations by the model's shapes."""

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
from tune_cmx.data.prepare import Prepared
from tune_cmx.errors import ConfigError
from tune_cmx.models.describe import inspected
from tune_cmx.search.build import build_for
from tune_cmx.search.sizes import ModelSizes, as_text
from tune_cmx.training.record import TrialRecord
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
    frame_s: float
    """To evaluate a frame."""
    source: str
    """For people."""
    process_s: float = PROCESS_S
    start_s: float = START_S
    probed: Sequence[Probed] = ()
    """In the order of the arms; none where earlier records tell the time."""


@dataclass
class Costs:
    """Seconds and bytes of a trial by its configuration."""

    sizes: ModelSizes
    times: Times
    frames: int
    """That a trial is evaluated on at its end."""
    check_s: float = 0.0
    """To build and audit an arm, before the start."""
    _epoch_s: dict[str, float] = field(default_factory=dict)

    def epoch_s(self, config: TrialConfig) -> float:
        """Of that model and batch size, where it was timed; else scaled by operations between what was."""
        batch = config.schedule.batch_size
        key = f"{batch} {as_text(dump(config.model))}"
        if key not in self._epoch_s:
            self._epoch_s[key] = self._looked_up(config.model, batch)
        return self._epoch_s[key]

    def _looked_up(self, model: ModelConfig, batch_size: int) -> float:
        sizes = {found.batch_size for found in self.times.epochs}
        nearest = min(sizes, key=lambda size: abs(math.log(size / batch_size)))
        alike = [found for found in self.times.epochs if found.batch_size == nearest]
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


def earlier_times(folders: Sequence[Path], prepared: Prepared, like: TrialConfig, device: str) -> Times | None:
    """The times of earlier trials of this data set, image size, way to compute and device; None: there are none.

    Args:
        folders: Studies, or folders of records, or records.
        prepared: The data set.
        like: A trial of the study that is planned.
        device: `cpu` or `cuda`.

    Raises:
        ConfigError: A folder has no records at all.
    """
    sizes = ModelSizes(prepared)
    found: list[EpochTime] = []
    frames: list[float] = []
    other: Counter[str] = Counter()
    for folder in folders:
        files = sorted(folder.rglob("trial.json"))
        if not files:
            raise ConfigError(f"--from: {folder} holds no records; name a study's folder, as in runs/demo")
        for file in files:
            record = TrialRecord(file.parent)
            reason, rows = _refusal(record, prepared, like, device), record.rows()
            if reason is not None or not rows:
                other[reason or "not begun"] += 1
                continue
            config, last = record.config(), rows[-1]
            seconds = last["seconds"] / last["epoch"]
            gflop = sizes.of(config.model).gflop
            found.append(EpochTime(as_text(dump(config.model)), gflop, config.schedule.batch_size, seconds))
            frames.append(last["val/milliseconds"] / 1000)
    if not found:
        return None
    left_out = "; left out: " + ", ".join(f"{count} ({why})" for why, count in other.items()) if other else ""
    trials = "1 earlier trial" if len(found) == 1 else f"{len(found)} earlier trials"
    source = f"{trials} on {'a GPU' if device == 'cuda' else 'the CPU'}{left_out}"
    return Times(found, statistics.fmean(frames), source)


def _refusal(record: TrialRecord, prepared: Prepared, like: TrialConfig, device: str) -> str | None:
    """Why a record says nothing about the study; None: it does."""
    state = record.state()
    if state.get("data_fingerprint") != prepared.audit.fingerprint:
        return "another data set"
    try:
        config = record.config()
    except ConfigError:
        return "of another version"
    kept, detector = config.model.detector, like.model.detector
    if (kept.image_size, kept.max_size) != (detector.image_size, detector.max_size):
        return "another image size"
    if config.compute != like.compute or config.schedule.micro_batch != like.schedule.micro_batch:
        return "computed in another way"
    on_cpu = str(state.get("device", "cpu")).rpartition(" x ")[2].startswith("cpu")
    return None if on_cpu == (device == "cpu") else "another device"


def probed_times(
    configs: Sequence[TrialConfig], prepared: Prepared, device: str, *, side_by_side: int, threads: int, workers: int
) -> Times:
    """Train some steps of the control and of the arms that compute most and least, as many at a time as in the study.

    Args:
        configs: The arms', the control's first.
        prepared: The data set.
        device: As torch names it.
        side_by_side: Trials that share the machine's cores or a card.
        threads: Of each, on the CPU.
        workers: Loader processes of each.
    """
    sizes = ModelSizes(prepared)
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
            batch, gflop = config.schedule.batch_size, sizes.of(config.model).gflop
            epochs.append(EpochTime(as_text(dump(config.model)), gflop, batch, times.epoch_s(train, val, batch)))
            probed.setdefault(as_text(dump(config)), Probed(config, times.step_s, times.peak))
    arms = "1 arm" if len(chosen) == 1 else f"{len(chosen)} arms"
    beside = f", {side_by_side} at a time" if side_by_side > 1 else ""
    return Times(
        epochs,
        statistics.fmean(found.frame_s for found in timed),
        f"a probe of {arms}{beside}, on {'this CPU' if device == 'cpu' else 'this GPU'}",
        process_s=statistics.fmean(found.process_s for found in timed),
        start_s=statistics.fmean(found.start_s for found in timed),
        probed=tuple(probed.values()),
    )


def seconds_to_check(model: ModelConfig, prepared: Prepared) -> float:
    """What `check` takes to build and audit an arm."""
    began = time.monotonic()
    detector = build_for(model, prepared)
    inspected(detector)
    return time.monotonic() - began


def _representative(configs: Sequence[TrialConfig], sizes: ModelSizes) -> list[TrialConfig]:
    """The first, and of each batch size the ones that compute most and least."""
    by_batch: dict[int, list[TrialConfig]] = {}
    for config in configs:
        by_batch.setdefault(config.schedule.batch_size, []).append(config)
    chosen = [configs[0]]
    for alike in by_batch.values():
        ranked = sorted(alike, key=lambda config: sizes.of(config.model).gflop)
        chosen += [ranked[-1], ranked[0]]
    return list({(config.schedule.batch_size, as_text(dump(config.model))): config for config in chosen}.values())
