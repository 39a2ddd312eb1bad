"""One trial from its configuration to its record. Nothing here knows of Ray."""

import contextlib
import math
import traceback
from collections.abc import Generator, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import nn

from tune_cmx.config.trial import TrialConfig
from tune_cmx.data.dataset import PairedDataset, build_loader, ground_truth
from tune_cmx.data.prepare import Prepared
from tune_cmx.errors import TrialError, TuneCmxError
from tune_cmx.evaluation import METRICS, evaluate
from tune_cmx.models.describe import audit as audit_model
from tune_cmx.models.describe import parameters
from tune_cmx.models.detector import Detector, build_detector
from tune_cmx.seeding import derive, seed_all
from tune_cmx.training.board import TrialBoard
from tune_cmx.training.checkpoint import (
    checkpoints,
    keep_weights_only,
    read_history,
    restore_checkpoint,
    save_checkpoint,
)
from tune_cmx.training.loop import Batch, EpochReport, detect, fit
from tune_cmx.training.optim import build_optimizer, build_scheduler
from tune_cmx.training.protocol import code_version, package_versions
from tune_cmx.training.record import Row, TrialRecord, now

_CPU_ALLOCATOR = "DefaultCPUAllocator: "


def run_trial(
    record: TrialRecord, prepared: Prepared, *, device: str = "cpu", workers: int = 0
) -> Generator[EpochReport, None, None]:
    """Train the record's configuration, from its last finished epoch on, and yield a report an epoch.

    Epochs that an earlier session finished are reported again from the record, not trained again.
    Ending the iteration early leaves a record that can be taken up later.

    Args:
        record: Planned; its `config.json` says what to train.
        prepared: The data set, audited and split.
        device: As torch names it.
        workers: Loader processes; 0 loads in this one.

    Raises:
        TrialError: The loss is not finite, memory ran out, or another process holds the record.
        DataError, ConfigError: The data or the configuration cannot be used together.
    """
    with record.held():
        if record.over:
            yield from _reports(record.rows(), record.config())
            return
        try:
            yield from _train(record, prepared, torch.device(device), workers)
        except GeneratorExit:
            raise
        except KeyboardInterrupt:
            record.update(status="interrupted", reason="interrupted by the user")
            raise
        except Exception as error:
            raise _failed(record, error) from error


def _failed(record: TrialRecord, error: Exception) -> TuneCmxError:
    """Note the failure on the record; an error that names memory or a bug becomes a TrialError that says so."""
    (record.folder / "error.txt").write_text("".join(traceback.format_exception(error)), encoding="utf-8")
    if _out_of_memory(error):
        first_line = (str(error).splitlines() or ["none left"])[0]
        reason = f"out of memory: {first_line.rpartition(_CPU_ALLOCATOR)[2]}; lower batch_size or image_size"
    elif isinstance(error, TuneCmxError):
        reason = str(error)
    else:
        reason = f"{type(error).__name__}: {error}"
    record.update(status="failed", reason=reason)
    place = f"trial {record.folder.name}: {reason}; config in {record.folder / 'config.json'}"
    return type(error)(place) if isinstance(error, TuneCmxError) else TrialError(place)


def _out_of_memory(error: Exception) -> bool:
    """Whether an allocation failed; on the CPU torch says so in the text of a RuntimeError alone."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and _CPU_ALLOCATOR in str(error)
    )


def _reports(rows: Sequence[Row], config: TrialConfig) -> Iterator[EpochReport]:
    """Rows of `metrics.csv` as the reports that they were."""
    for row in rows:
        metrics = {name: value for name, value in row.items() if name not in ("epoch", "fraction", "seconds")}
        yield EpochReport(int(row["epoch"]), config.schedule.epochs, row["seconds"], metrics)


class _TrialData:
    """The three parts of the split as this trial sees them."""

    def __init__(self, config: TrialConfig, prepared: Prepared, workers: int) -> None:
        split = prepared.split
        self._seed = config.seed
        self._loader = partial(build_loader, batch_size=config.schedule.batch_size, workers=workers)
        order = modality_order(config)
        augment = config.data.augment
        self._train = PairedDataset(
            prepared.data, split.train, order, augment=augment, seed=derive(config.seed, "augment")
        )
        held_out = {"val": split.val, "test": split.test}
        self._held_out = {
            part: PairedDataset(prepared.data, ids, order, augment=None, seed=0) for part, ids in held_out.items()
        }
        self._truth = {part: ground_truth(prepared.data, ids, prepared.audit.sizes) for part, ids in held_out.items()}
        self.steps_per_epoch = math.ceil(len(split.train) / config.schedule.batch_size)

    def batches(self, epoch: int) -> Iterable[Batch]:
        """Training batches; order and augmentation follow from seed and epoch alone."""
        self._train.set_epoch(epoch)
        loader: Iterable[Batch] = self._loader(self._train, shuffle=True, seed=derive(self._seed, "order"), epoch=epoch)
        return loader

    def score(self, model: nn.Module, part: str, device: torch.device) -> tuple[dict[str, float], list[dict[str, Any]]]:
        """Metrics in points and COCO results of the model on `val` or `test`."""
        dataset = self._held_out[part]
        found = detect(model, self._loader(dataset, shuffle=False, seed=0, epoch=0), device)
        return evaluate(found, self._truth[part]), found


def modality_order(config: TrialConfig) -> list[str]:
    """The modalities in the order in which their bands stand in an image."""
    return [name for stream in config.model.stream_modalities() for name in stream]


def build_trial_model(config: TrialConfig, prepared: Prepared) -> Detector:
    """The trial's detector: bands and normalisation from the data, initial weights from the seed."""
    bands, order = prepared.data.bands, modality_order(config)
    statistics = prepared.split.statistics
    seed_all(config.seed)
    return build_detector(
        config.model,
        bands=tuple(sum(len(bands[name]) for name in stream) for stream in config.model.stream_modalities()),
        num_classes=len(prepared.data.classes),
        mean=[value for name in order for value in statistics[name]["mean"]],
        std=[value for name in order for value in statistics[name]["std"]],
    )


def _train(record: TrialRecord, prepared: Prepared, device: torch.device, workers: int) -> Iterator[EpochReport]:
    config = record.config()
    schedule = config.schedule
    data = _TrialData(config, prepared, workers)
    model = build_trial_model(config, prepared)
    if "parameters" not in record.state():
        record.update(parameters=parameters(model), audit_warnings=audit_model(model, model.backbone.encoder.bands))
    model.to(device)
    optimizer = build_optimizer(model, schedule)
    scheduler = build_scheduler(optimizer, schedule, data.steps_per_epoch)

    history: list[Row] = []
    seconds_before = 0.0
    saved = checkpoints(record.checkpoints)
    if saved:
        history, seconds_before = read_history(saved[-1])
        restore_checkpoint(saved[-1], model, optimizer)
    record.complete_rows(history)
    record.begin_session(
        len(history) + 1,
        epochs=len(history),
        seconds=seconds_before,
        device=_device_name(device),
        code_version=code_version(),
        packages=package_versions(),
    )
    with contextlib.closing(TrialBoard(record.folder, config, history)) as board:
        yield from _reports(history, config)
        for report in fit(
            model,
            optimizer,
            scheduler,
            batches=data.batches,
            score=lambda: data.score(model, "val", device)[0],
            epochs=schedule.epochs,
            steps_per_epoch=data.steps_per_epoch,
            device=device,
            first_epoch=len(history) + 1,
            seconds_before=seconds_before,
            clip_norm=schedule.clip_norm,
        ):
            row: Row = {"epoch": report.epoch, "fraction": report.fraction, "seconds": report.seconds, **report.metrics}
            history.append(row)
            save_checkpoint(
                record.checkpoints, model, optimizer, epoch=report.epoch, seconds=report.seconds, history=history
            )
            record.add_epoch(row, session_seconds=report.seconds - seconds_before)
            board.add(row)
            yield report
    _finish(record, config, data, model, device)


def _finish(record: TrialRecord, config: TrialConfig, data: _TrialData, model: nn.Module, device: torch.device) -> None:
    """Write the results on the split that the configuration reports, and end the record."""
    last = record.rows()[-1]
    results = {"val": {name: last[f"val/{name}"] for name in METRICS}}
    results[config.report_split], detections = data.score(model, config.report_split, device)
    record.write_detections(detections)
    record.write_results(config, results, record.state()["parameters"]["total"])
    record.update(status="complete", finished=now())
    keep_weights_only(record.checkpoints)


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)}"
    return f"{device.type}, {torch.get_num_threads()} threads"
