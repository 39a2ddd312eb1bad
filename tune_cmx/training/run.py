"""One trial from its configuration to its record. Nothing here knows of Ray."""

import contextlib
import math
import traceback
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from timm.utils import ModelEmaV3
from torch import nn

from tune_cmx.config.trial import TrialConfig
from tune_cmx.data.dataset import PairedDataset, build_loader
from tune_cmx.data.frame_cache import SharedFrames, shared_frames
from tune_cmx.data.prepare import Prepared
from tune_cmx.data.truth import ground_truth
from tune_cmx.errors import TrialError, TuneCmxError
from tune_cmx.evaluation import METRICS, evaluate
from tune_cmx.models.describe import flops, inspected, network_size
from tune_cmx.models.detector import Detector, build_detector, compute_as
from tune_cmx.models.pretrained import load_pretrained
from tune_cmx.seeding import derive
from tune_cmx.training.board import TrialBoard, is_shown
from tune_cmx.training.checkpoint import (
    checkpoints,
    keep_weights_only,
    read_history,
    restore_checkpoint,
    save_checkpoint,
)
from tune_cmx.training.curves import counts_by_score
from tune_cmx.training.distributed import Rank, lead_rank
from tune_cmx.training.generators import seed_all
from tune_cmx.training.helpers import Helpers, Tasks
from tune_cmx.training.loop import EpochReport, detect, failure_reason, fit, memory_mib
from tune_cmx.training.optim import build_optimizer, build_scheduler
from tune_cmx.training.pictures import Pictures
from tune_cmx.training.protocol import code_version, package_versions
from tune_cmx.training.record import Row, TrialRecord, now
from tune_cmx.training.score import Score
from tune_cmx.training.trainer import Batch, Seen, Trainer


def run_trial(
    record: TrialRecord,
    prepared: Prepared,
    *,
    device: str = "cpu",
    workers: int = 0,
    gpus: float | None = None,
    shared_cache: bool = False,
) -> Generator[EpochReport, None, None]:
    """Train the record's configuration, from its last finished epoch on, and yield a report an epoch.

    Epochs that an earlier session finished are reported again from the record, not trained again.
    Ending the iteration early leaves a record that can be taken up later.

    Args:
        record: Planned; its `config.json` says what to train.
        prepared: The data set, audited and split.
        device: As torch names it. Several processes (`schedule.processes`) take the visible cards from the first on.
        workers: Loader processes, of each process that trains; 0 loads in that one.
        gpus: Cards that the trial takes, for its record: 0.5 where two share one. None: one a process.
        shared_cache: Read frames from memory that the trials of this machine share, if they fit. No number hangs on it.

    Raises:
        TrialError: The loss is not finite, memory ran out, one of several processes failed or was killed, or another
            process holds the record.
        DataError, ConfigError: The data or the configuration cannot be used together, or there are too few cards.
    """
    with record.held():
        if record.over:
            yield from _reports(record.rows(), record.config())
            return
        try:
            with _frames(prepared, shared_cache) as frames:
                yield from _train(record, prepared, torch.device(device), workers, gpus, frames)
        except GeneratorExit:
            raise
        except KeyboardInterrupt:
            record.update(status="interrupted", reason="interrupted by the user")
            raise
        except Exception as error:
            raise _failed(record, error) from error


def _frames(prepared: Prepared, shared_cache: bool) -> contextlib.AbstractContextManager[SharedFrames | None]:
    return shared_frames(prepared.data, prepared.audit) if shared_cache else contextlib.nullcontext()


def _failed(record: TrialRecord, error: Exception) -> TuneCmxError:
    """Note the failure on the record; an error that names memory or a bug becomes a TrialError that says so."""
    reason = failure_reason(error)
    record.fail(reason, "".join(traceback.format_exception(error)))
    place = f"trial {record.folder.name}: {reason}; config in {record.folder / 'config.json'}"
    return type(error)(place) if isinstance(error, TuneCmxError) else TrialError(place)


def _reports(rows: Sequence[Row], config: TrialConfig) -> Iterator[EpochReport]:
    """Rows of `metrics.csv` as the reports that they were."""
    for row in rows:
        metrics = {name: value for name, value in row.items() if name not in ("epoch", "fraction", "seconds")}
        yield EpochReport(int(row["epoch"]), config.schedule.epochs, row["seconds"], metrics)


class TrialData:
    """The three parts of the split as a trial sees them; of the batches, the share of its process."""

    def __init__(
        self,
        config: TrialConfig,
        prepared: Prepared,
        workers: int,
        rank: Rank,
        frames: SharedFrames | None = None,
    ) -> None:
        split = prepared.split
        self._rank = rank
        self._order_seed = derive(config.seed, "order")
        self._batch_size, self._workers = config.schedule.batch_size, workers
        order = modality_order(config)
        augment = config.data.augment
        self._train = PairedDataset(
            prepared.data, split.train, order, augment=augment, seed=derive(config.seed, "augment"), shared=frames
        )
        held_out = {"val": split.val, "test": split.test}
        self._held_out = {
            part: PairedDataset(prepared.data, ids, order, augment=None, seed=0, shared=frames)
            for part, ids in held_out.items()
        }
        self._truth = {part: ground_truth(prepared.data, ids, prepared.audit.sizes) for part, ids in held_out.items()}
        self._pictures = Pictures(self._held_out["val"], self._truth["val"])

    def batches(self, epoch: int) -> Iterable[Batch]:
        """Training batches; order and augmentation follow from seed and epoch alone."""
        loader: Iterable[Batch]
        if self._rank.processes == 1:
            loader = build_loader(
                self._train,
                batch_size=self._batch_size,
                shuffle=True,
                seed=self._order_seed,
                epoch=epoch,
                workers=self._workers,
            )
        else:
            loader = self._rank.loader(
                self._train, batch_size=self._batch_size, seed=self._order_seed, epoch=epoch, workers=self._workers
            )
        return loader

    def score(self, trainer: Trainer, part: str) -> Score:
        """How the trained model does on `val` or `test`, as many frames at a time as in training."""
        model, device = trainer.scored, trainer.device
        assert isinstance(model, Detector)
        at_once = trainer.micro_batch or math.ceil(self._batch_size / self._rank.processes)
        loader = build_loader(
            self._held_out[part], batch_size=at_once, shuffle=False, seed=0, epoch=0, workers=self._workers
        )
        found, milliseconds = detect(model, loader, device)
        return Score(evaluate(found, self._truth[part]), milliseconds, model.backbone.encoder.take_statistics(), found)

    def show(self, board: TrialBoard, epoch: int, found: list[dict[str, Any]]) -> None:
        """A few frames of `val` with what was found there, and each class's counts."""
        board.show(epoch, self._pictures.draw(found), counts_by_score(found, self._truth["val"]))


def modality_order(config: TrialConfig) -> list[str]:
    """The modalities in the order in which their bands stand in an image."""
    return [name for stream in config.model.stream_modalities() for name in stream]


def build_trial_model(config: TrialConfig, prepared: Prepared) -> Detector:
    """The trial's detector: bands and normalisation from the data, initial weights from the seed."""
    bands, order = prepared.data.bands, modality_order(config)
    statistics = prepared.split.statistics
    seed_all(config.seed)
    detector = build_detector(
        config.model,
        bands=tuple(sum(len(bands[name]) for name in stream) for stream in config.model.stream_modalities()),
        num_classes=len(prepared.data.classes),
        mean=[value for name in order for value in statistics[name]["mean"]],
        std=[value for name in order for value in statistics[name]["std"]],
    )
    return compute_as(detector, config.compute)


def build_trainer(config: TrialConfig, prepared: Prepared, model: nn.Module, rank: Rank, saved: Path | None) -> Trainer:
    """The model on its device, with optimizer and schedule, all of them and the generators as the checkpoint has them.

    Args:
        config: The trial's.
        prepared: The data set, audited and split.
        model: On the CPU.
        rank: This process.
        saved: The checkpoint to go on from; None: the beginning.
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


def _train(
    record: TrialRecord,
    prepared: Prepared,
    device: torch.device,
    workers: int,
    gpus: float | None,
    frames: SharedFrames | None,
) -> Iterator[EpochReport]:
    config = record.config()
    rank = lead_rank(config.schedule.processes, device)
    data = TrialData(config, prepared, workers, rank, frames)
    model = build_trial_model(config, prepared)
    saved = next(reversed(checkpoints(record.checkpoints)), None)
    if saved is None and config.model.pretrained is not None:  # a checkpoint has what became of those weights
        record.update(transfer=[part.short() for part in load_pretrained(model.backbone.encoder, config.model)])
    if "parameters" not in record.state():
        found = inspected(model)
        gflops = flops(model, *network_size(config.model.detector, *prepared.audit.usual_size))
        record.update(parameters=found.parameters, gflops=gflops, audit_warnings=found.warnings)
    trainer = build_trainer(config, prepared, model, rank, saved)
    if rank.processes == 1:  # several would have to agree
        trainer.micro_batch = record.micro_batch(trainer.micro_batch)
        trainer.on_halved = lambda halved: record.note_halving(**halved._asdict())
    history, seconds_before = read_history(saved) if saved else ([], 0.0)
    record.complete_rows(history)
    record.begin_session(
        len(history) + 1,
        epochs=len(history),
        seconds=seconds_before,
        device=_device_name(rank),
        gpus=0.0 if device.type == "cpu" else gpus or float(rank.processes),
        code_version=code_version(),
        packages=package_versions(),
    )
    with contextlib.closing(TrialBoard(record.folder, config, history, record.state().get("values"))) as board:
        yield from _reports(history, config)
        if len(history) < config.schedule.epochs:
            validation = _Validation(data, trainer)
            shared = frames is not None
            with _training(config, prepared, workers, rank, trainer, data, saved, shared) as train:
                for report in fit(
                    train,
                    validation,
                    partial(memory_mib, rank.device),
                    epochs=config.schedule.epochs,
                    first_epoch=len(history) + 1,
                    seconds_before=seconds_before,
                ):
                    row = _row(report, history)
                    history.append(row)
                    save_checkpoint(
                        record.checkpoints,
                        model,
                        trainer.optimizer,
                        trainer.ema and trainer.ema.module,
                        epoch=report.epoch,
                        seconds=report.seconds,
                        history=history,
                    )
                    record.add_epoch(row, session_seconds=report.seconds - seconds_before)
                    board.add(row)
                    validation.show(board, report.epoch, config.schedule.epochs)
                    yield report
    _finish(record, config, data, trainer)


@contextlib.contextmanager
def _training(
    config: TrialConfig,
    prepared: Prepared,
    workers: int,
    rank: Rank,
    trainer: Trainer,
    data: TrialData,
    saved: Path | None,
    shared_cache: bool,
) -> Iterator[Callable[[int], Seen]]:
    """What trains an epoch: this process, or several of which this one leads."""
    if rank.processes == 1:
        yield lambda epoch: trainer.epoch(epoch, data.batches(epoch))
        return
    with Helpers(rank, _help_train, config, prepared, workers, saved, shared_cache) as helpers:
        joined = helpers.join(trainer)

        def train(epoch: int) -> Seen:
            helpers.begin(epoch)
            return helpers.add(joined.epoch(epoch, data.batches(epoch)))

        yield train


def _help_train(
    rank: Rank,
    tasks: Tasks,
    config: TrialConfig,
    prepared: Prepared,
    workers: int,
    saved: Path | None,
    shared_cache: bool,
) -> None:
    """What the other processes do: the same steps on their shares."""
    with _frames(prepared, shared_cache) as frames:
        data = TrialData(config, prepared, workers, rank, frames)
        trainer = tasks.join(build_trainer(config, prepared, build_trial_model(config, prepared), rank, saved))
        for epoch in tasks:
            rank.seed(config.seed, epoch)
            tasks.done(trainer.epoch(epoch, data.batches(epoch)))


class _Validation:
    """Scores the model on `val` after each epoch, and shows some of what it found."""

    def __init__(self, data: TrialData, trainer: Trainer) -> None:
        self._data, self._trainer = data, trainer
        self._found: list[dict[str, Any]] = []

    def __call__(self) -> dict[str, float]:
        score = self._data.score(self._trainer, "val")
        self._found = score.detections
        return score.row()

    def show(self, board: TrialBoard, epoch: int, epochs: int) -> None:
        found, self._found = self._found, []  # they take much memory, and training goes on
        if is_shown(epoch, epochs):
            self._data.show(board, epoch, found)


def _row(report: EpochReport, history: Sequence[Row]) -> Row:
    """Its columns; those of the epochs before, where another version of this software began the trial."""
    row = {"epoch": report.epoch, "fraction": report.fraction, "seconds": report.seconds, **report.metrics}
    return {name: row.get(name, math.nan) for name in history[0]} if history else row


def _finish(record: TrialRecord, config: TrialConfig, data: TrialData, trainer: Trainer) -> None:
    """Write the results on the split that the configuration reports, and end the record."""
    last = record.rows()[-1]
    score = data.score(trainer, config.report_split)
    results = {"val": {name: last[f"val/{name}"] for name in METRICS}, str(config.report_split): dict(score.metrics)}
    record.write_detections(score.detections)
    record.write_results(config, results, record.state()["parameters"]["total"])
    record.update(status="complete", finished=now())
    keep_weights_only(record.checkpoints)


def _device_name(rank: Rank) -> str:
    device = rank.device
    name = (
        torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else f"{device.type}, {torch.get_num_threads()} threads"
    )
    return name if rank.processes == 1 else f"{rank.processes} x {name}"
