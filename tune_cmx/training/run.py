"""One trial from its configuration to its run folder. Nothing here knows of Ray."""

import contextlib
import logging
import math
import traceback
from collections.abc import Callable, Generator, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from tune_cmx import metrics
from tune_cmx.config.trial import TrialConfig
from tune_cmx.data.prepare import Prepared
from tune_cmx.data.shared.image_cache import SharedImages, shared_images
from tune_cmx.errors import TrialError, TuneCmxError
from tune_cmx.models.describe import flops, inspected, network_size
from tune_cmx.models.precision import lacks_bfloat16
from tune_cmx.models.pretrained import load_pretrained
from tune_cmx.state.trial_state import Divergence
from tune_cmx.training.assembly import TrialData, build_trainer, build_trial_model
from tune_cmx.training.checkpoint import (
    checkpoints,
    keep_weights_only,
    read_history,
    save_checkpoint,
)
from tune_cmx.training.ddp.ranks import Rank, lead_rank
from tune_cmx.training.ddp.workers import Tasks, Workers
from tune_cmx.training.divergence import SETTLED_STEPS, diverged
from tune_cmx.training.loggers import DEFAULT, LoggedTrial
from tune_cmx.training.loggers.session import LoggedSession
from tune_cmx.training.loop import EpochReport, failure_reason, fit, memory_mib
from tune_cmx.training.protocol import code_version, package_versions, plugins_of
from tune_cmx.training.run_folder import Row, RunFolder, now
from tune_cmx.training.tensorboard.events import is_shown
from tune_cmx.training.trainer import Seen, Trainer

_log = logging.getLogger(__name__)


def run_trial(
    run_folder: RunFolder,
    prepared: Prepared,
    *,
    device: str = "cpu",
    workers: int = 0,
    gpus: float | None = None,
    shared_cache: bool = False,
    loggers: Sequence[str] = DEFAULT,
    study: str | None = None,
) -> Generator[EpochReport, None, None]:
    """Train the configuration of a run folder, from its last finished epoch on, and yield a report an epoch.

    Epochs that an earlier session finished are reported again from the run folder, not trained again.
    Where the iteration ends early, the trial can be resumed later.

    Args:
        run_folder: Planned; its `config.json` says what to train.
        prepared: The data set, audited and split.
        device: As torch names it. Several processes (`schedule.processes`) take the visible GPUs from the first on.
        workers: Loader processes, of each process that trains; 0 loads in that one.
        gpus: GPUs that the trial takes, for its run folder: 0.5 where two share one. None: one a process.
        shared_cache: Read images from memory that the trials of this machine share, if they fit. It changes no result.
        loggers: Names in `LOGGERS`; they change no result.
        study: Name of the study, for the loggers; None outside a study.

    Raises:
        TrialError: The loss is not finite, memory ran out, one of several processes failed or was killed, or another
            process holds the run folder.
        DataError, ConfigError: The data or the configuration cannot be used together, or there are too few GPUs.
    """
    with run_folder.held():
        if run_folder.over:
            yield from _reports(run_folder.rows(), run_folder.config())
            return
        try:
            with _frames(prepared, shared_cache) as frames:
                log = partial(_session, run_folder, tuple(loggers), study)
                yield from _train(run_folder, prepared, torch.device(device), workers, gpus, frames, log)
        except GeneratorExit:
            raise
        except KeyboardInterrupt:
            run_folder.update(status="interrupted", reason="interrupted by the user")
            raise
        except Exception as error:
            raise _failed(run_folder, error) from error


def _frames(prepared: Prepared, shared_cache: bool) -> contextlib.AbstractContextManager[SharedImages | None]:
    return shared_images(prepared.data, prepared.audit) if shared_cache else contextlib.nullcontext()


def _failed(run_folder: RunFolder, error: Exception) -> TuneCmxError:
    """Write the failure to the run folder; another error than of this package becomes a TrialError."""
    reason = failure_reason(error)
    run_folder.fail(reason, "".join(traceback.format_exception(error)))
    place = f"trial {run_folder.folder.name}: {reason}; config in {run_folder.folder / 'config.json'}"
    return type(error)(place) if isinstance(error, TuneCmxError) else TrialError(place)


def _reports(rows: Sequence[Row], config: TrialConfig) -> Iterator[EpochReport]:
    """The reports that the rows of `metrics.csv` were written from."""
    for row in rows:
        values = {name: value for name, value in row.items() if name not in ("epoch", "fraction", "seconds")}
        yield EpochReport(int(row["epoch"]), config.schedule.epochs, row["seconds"], values)


def _train(
    run_folder: RunFolder,
    prepared: Prepared,
    device: torch.device,
    workers: int,
    gpus: float | None,
    frames: SharedImages | None,
    log: Callable[[Sequence[Row]], LoggedSession],
) -> Iterator[EpochReport]:
    config = run_folder.config()
    rank = lead_rank(config.schedule.processes, device)
    data = TrialData(config, prepared, workers, rank, frames)
    model = build_trial_model(config, prepared)
    saved = next(reversed(checkpoints(run_folder.checkpoints)), None)
    if saved is None and config.model.pretrained is not None:  # a checkpoint has what became of those weights
        run_folder.update(transfer=[part.short() for part in load_pretrained(model.backbone.encoder, config.model)])
    if run_folder.state().parameters is None:
        found = inspected(model)
        gflops = flops(model, *network_size(config.model.detector, *prepared.audit.usual_size))
        audit = [warning.as_record() for warning in found.warnings]
        run_folder.update(parameters=found.parameters, gflops=gflops, audit_warnings=audit)
    if config.compute.precision == "bf16" and lacks_bfloat16(rank.device):
        _log.warning("bfloat16 is imitated on this %s, and slow; compute.precision: fp32 is faster", rank.device.type)
    trainer = build_trainer(config, prepared, model, rank, saved)
    if rank.processes == 1:  # several would have to agree
        trainer.micro_batch = run_folder.micro_batch(trainer.micro_batch)
        trainer.on_halved = lambda halved: run_folder.note_halving(**halved._asdict())
    history, seconds_before = read_history(saved) if saved else ([], 0.0)
    run_folder.complete_rows(history)
    run_folder.begin_session(
        len(history) + 1,
        epochs=len(history),
        seconds=seconds_before,
        device=_device_name(rank),
        gpus=0.0 if device.type == "cpu" else gpus or float(rank.processes),
        code_version=code_version(),
        packages={**package_versions(), **plugins_of([config], prepared.data.layout, metrics.scored())},
    )
    with log(history) as session:
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
                    history.append(_row(report, history))
                    _keep(run_folder, trainer, history, session_seconds=report.seconds - seconds_before)
                    _note_divergence(run_folder, _diverged(report, history, config))
                    session.epoch(history[-1])
                    validation.show(session, report.epoch, config.schedule.epochs)
                    yield report
        session.results(_finish(run_folder, config, data, trainer))


def _session(run_folder: RunFolder, names: Sequence[str], study: str | None, history: Sequence[Row]) -> LoggedSession:
    """The loggers of this session of a trial."""
    state = run_folder.state()
    return LoggedSession(
        names,
        LoggedTrial(
            run_folder.folder, run_folder.config(), history, study=study, label=state.label, values=state.values
        ),
    )


def _diverged(report: EpochReport, history: Sequence[Row], config: TrialConfig) -> Divergence | None:
    clipped = config.schedule.clip_norm is not None
    return diverged(report.epoch, report.metrics, history[0]["train/loss"], clipped=clipped)


def _note_divergence(run_folder: RunFolder, found: Divergence | None) -> None:
    """Say so, once a trial: in `trial.json` and in the log. The trial continues."""
    if found is None or run_folder.state().divergence is not None:
        return
    run_folder.update(divergence=found.as_json())
    _log.warning(
        "%s: training diverged: %s; lower schedule.lr, or set schedule.clip_norm", run_folder.folder.name, found
    )


def _keep(run_folder: RunFolder, trainer: Trainer, history: list[Row], *, session_seconds: float) -> None:
    """Write the last epoch: its checkpoint first, as the row can be restored from that."""
    row = history[-1]
    save_checkpoint(
        run_folder.checkpoints,
        trainer.model,
        trainer.optimizer,
        trainer.averaged,
        epoch=int(row["epoch"]),
        seconds=row["seconds"],
        history=history,
    )
    run_folder.add_epoch(row, session_seconds=session_seconds)


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
    with Workers(rank, _train_as_worker, config, prepared, workers, saved, shared_cache) as others:
        joined = others.join(trainer)

        def train(epoch: int) -> Seen:
            others.begin(epoch)
            return others.add(joined.epoch(epoch, data.batches(epoch)))

        yield train


def _train_as_worker(
    rank: Rank,
    tasks: Tasks,
    config: TrialConfig,
    prepared: Prepared,
    workers: int,
    saved: Path | None,
    shared_cache: bool,
) -> None:
    """What DDP workers do: the same steps on their shares."""
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

    def show(self, session: LoggedSession, epoch: int, epochs: int) -> None:
        found, self._found = self._found, []  # they take much memory, and training goes on
        if session.shows and is_shown(epoch, epochs):
            self._data.show(session, epoch, found)


def _row(report: EpochReport, history: Sequence[Row]) -> Row:
    """Its columns; those of the epochs before, where another version of this software began the trial."""
    row = {"epoch": report.epoch, "fraction": report.fraction, "seconds": report.seconds, **report.metrics}
    return {name: row.get(name, math.nan) for name in history[0]} if history else row


def _finish(run_folder: RunFolder, config: TrialConfig, data: TrialData, trainer: Trainer) -> Row:
    """Write the results on the split that the configuration reports, and end the trial; the results, by split."""
    last = run_folder.rows()[-1]
    score = data.score(trainer, config.report_split)
    val = {name: last.get(f"val/{name}", math.nan) for name in metrics.scored()}
    results = {"val": val, str(config.report_split): dict(score.metrics)}
    if not score.detections:
        steps = math.ceil(data.images / config.schedule.batch_size) * config.schedule.epochs
        if steps >= SETTLED_STEPS:
            _note_divergence(run_folder, Divergence(epoch=int(last["epoch"]), what="detections", value=0.0))
        else:
            _log.warning("%s: no detections: %d steps of training are too few to learn", run_folder.folder.name, steps)
    run_folder.write_detections(score.detections)
    parameters = run_folder.state().parameters
    assert parameters is not None, "counted before the first epoch"
    run_folder.write_results(config, results, parameters.total, data.breakdown(score, config.report_split))
    run_folder.update(status="complete", finished=now())
    keep_weights_only(run_folder.checkpoints)
    return {f"{config.report_split}/{name}": value for name, value in score.metrics.items()}


def _device_name(rank: Rank) -> str:
    device = rank.device
    name = (
        torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else f"{device.type}, {torch.get_num_threads()} threads"
    )
    return name if rank.processes == 1 else f"{rank.processes} x {name}"
