"""What a trial of an arm takes: seconds by earlier records or a probe, bytes and operations by the model's shapes."""

import json
import math
import statistics
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from tune_cmx.config.parse import dump
from tune_cmx.config.trial import DetectorConfig, FusionConfig, ModelConfig, StageFusion, TrialConfig
from tune_cmx.data.prepare import Prepared
from tune_cmx.errors import ConfigError
from tune_cmx.models.describe import audit, flops, network_size, parameters
from tune_cmx.models.fusion import build_fusion
from tune_cmx.models.mit import MIT
from tune_cmx.registry import lookup
from tune_cmx.search.check import build_for, build_plain
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
class ModelSize:
    """A detector in numbers."""

    parameters: int
    gflop: float
    """Of one forward of one image."""

    def __add__(self, other: "ModelSize") -> "ModelSize":
        return ModelSize(self.parameters + other.parameters, self.gflop + other.gflop)


class ModelSizes:
    """The sizes of detectors, each part that several share counted once; no weights are drawn."""

    def __init__(self, prepared: Prepared) -> None:
        self._bands = {name: len(found) for name, found in prepared.data.bands.items()}
        self._classes = len(prepared.data.classes)
        heights, widths = zip(*prepared.audit.sizes.values(), strict=True)
        self._frame = (float(np.median(heights)), float(np.median(widths)))
        self._detectors: dict[str, ModelSize] = {}
        self._fusions: dict[str, ModelSize] = {}

    def of(self, model: ModelConfig) -> ModelSize:
        """Parameters, and operations for a frame of the usual size.

        Raises:
            ConfigError: The model cannot be built, or the data lack a modality.
        """
        height, width = network_size(model.detector, *self._frame)
        plain = model.model_copy(update={"fusion": FusionConfig(kind="add"), "carry": "separate"})
        key = _text(dump(plain))
        if key not in self._detectors:
            with torch.device("meta"), torch.random.fork_rng(devices=[]):
                detector = build_plain(plain, self._bands, self._classes)
            count = sum(parameter.numel() for parameter in detector.parameters())
            self._detectors[key] = ModelSize(count, flops(detector, height, width))
        size = self._detectors[key]
        if len(model.stream_modalities()) > 1:
            for number, fusion in enumerate(model.fusion.stage_fusions()):
                size += self._fusion(model.backbone, number, fusion, height, width)
        return size

    def _fusion(self, backbone: str, number: int, fusion: StageFusion, height: int, width: int) -> ModelSize:
        """The fusion of stage `number` + 1, with maps of stride 4·2^number."""
        key = _text([backbone, number, dump(fusion), height, width])
        if key not in self._fusions:
            shape = lookup(MIT, backbone, "model.backbone: unknown backbone")
            channels, stride = shape.widths[number], 4 * 2**number
            with torch.device("meta"), torch.random.fork_rng(devices=[]):
                built = build_fusion(fusion.kind, channels, fusion.options, heads=shape.heads[number]).eval()
                maps = [torch.empty(1, channels, height // stride, width // stride) for _ in range(2)]
                with torch.no_grad(), FlopCounterMode(display=False) as counter:
                    built(*maps)
            count = sum(parameter.numel() for parameter in built.parameters())
            self._fusions[key] = ModelSize(count, counter.get_total_flops() / 1e9)
        return self._fusions[key]


@dataclass(frozen=True)
class EpochTime:
    """An epoch that was timed."""

    model: str
    """The model's configuration as text."""
    gflop: float
    batch_size: int
    seconds: float


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
        key = f"{batch} {_text(dump(config.model))}"
        if key not in self._epoch_s:
            self._epoch_s[key] = self._looked_up(config.model, batch)
        return self._epoch_s[key]

    def _looked_up(self, model: ModelConfig, batch_size: int) -> float:
        sizes = {found.batch_size for found in self.times.epochs}
        nearest = min(sizes, key=lambda size: abs(math.log(size / batch_size)))
        alike = [found for found in self.times.epochs if found.batch_size == nearest]
        same = [found.seconds for found in alike if found.model == _text(dump(model))]
        if same:
            return statistics.fmean(same)
        by_gflop: dict[float, list[float]] = {}
        for found in alike:
            by_gflop.setdefault(found.gflop, []).append(found.seconds)
        return _scaled(self.sizes.of(model).gflop, {gflop: statistics.fmean(s) for gflop, s in by_gflop.items()})

    def weights_bytes(self, config: TrialConfig) -> int:
        """Of a checkpoint's weights."""
        return _BYTES * self.sizes.of(config.model).parameters

    def state_bytes(self, config: TrialConfig) -> int:
        """Of what a checkpoint keeps beside them until the trial is complete."""
        return _MOMENTS[config.schedule.optimizer] * self.weights_bytes(config)


def _scaled(gflop: float, known: Mapping[float, float]) -> float:
    """Between two that are known on the line through them, outside in proportion to the nearest."""
    points = sorted(known)
    inside = min(max(gflop, points[0]), points[-1])
    return float(np.interp(inside, points, [known[point] for point in points])) * gflop / inside


def earlier_times(folders: Sequence[Path], prepared: Prepared, like: TrialConfig, device: str) -> Times | None:
    """The times of earlier trials of this data set, image size and kind of device; None: there are none.

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
            reason, rows = _refusal(record, prepared, like.model.detector, device), record.rows()
            if reason is not None or not rows:
                other[reason or "not begun"] += 1
                continue
            config, last = record.config(), rows[-1]
            seconds = last["seconds"] / last["epoch"]
            gflop = sizes.of(config.model).gflop
            found.append(EpochTime(_text(dump(config.model)), gflop, config.schedule.batch_size, seconds))
            frames.append(last["val/milliseconds"] / 1000)
    if not found:
        return None
    left_out = "; left out: " + ", ".join(f"{count} ({why})" for why, count in other.items()) if other else ""
    trials = "1 earlier trial" if len(found) == 1 else f"{len(found)} earlier trials"
    source = f"{trials} on {'a GPU' if device == 'cuda' else 'the CPU'}{left_out}"
    return Times(found, statistics.fmean(frames), source)


def _refusal(record: TrialRecord, prepared: Prepared, detector: DetectorConfig, device: str) -> str | None:
    """Why a record says nothing about the study; None: it does."""
    state = record.state()
    if state.get("data_fingerprint") != prepared.audit.fingerprint:
        return "another data set"
    try:
        config = record.config()
    except ConfigError:
        return "of another version"
    kept = config.model.detector
    if (kept.image_size, kept.max_size) != (detector.image_size, detector.max_size):
        return "another image size"
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
    for first in range(0, len(chosen), side_by_side):
        together = (chosen[first : first + side_by_side] * side_by_side)[:side_by_side]
        found = time_trials(together, prepared, device, threads=threads, workers=workers)
        timed += found
        for config, times in zip(together, found, strict=True):
            batch, gflop = config.schedule.batch_size, sizes.of(config.model).gflop
            epochs.append(EpochTime(_text(dump(config.model)), gflop, batch, times.epoch_s(train, val, batch)))
    arms = "1 arm" if len(chosen) == 1 else f"{len(chosen)} arms"
    beside = f", {side_by_side} at a time" if side_by_side > 1 else ""
    return Times(
        epochs,
        statistics.fmean(found.frame_s for found in timed),
        f"a probe of {arms}{beside}, on {'this CPU' if device == 'cpu' else 'this GPU'}",
        process_s=statistics.fmean(found.process_s for found in timed),
        start_s=statistics.fmean(found.start_s for found in timed),
    )


def seconds_to_check(model: ModelConfig, prepared: Prepared) -> float:
    """What `check` takes to build and audit an arm."""
    began = time.monotonic()
    detector = build_for(model, prepared)
    parameters(detector)
    audit(detector, detector.backbone.encoder.bands)
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
    return list({(config.schedule.batch_size, _text(dump(config.model))): config for config in chosen}.values())


def _text(content: object) -> str:
    return json.dumps(content, sort_keys=True)
