"""TensorBoard events of one trial: scalars by epoch, now and then pictures and curves, a row of the HParams table."""

import contextlib
import logging
import math
from collections.abc import Container, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tensorboard.backend.event_processing.event_file_loader import EventFileLoader  # type: ignore[import-untyped]
from tensorboard.compat.proto.event_pb2 import SessionLog  # type: ignore[import-untyped]
from tensorboard.compat.proto.summary_pb2 import Summary  # type: ignore[import-untyped]
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from tune_cmx import metrics
from tune_cmx.config.names import fusion_title, value_text
from tune_cmx.config.parse import flatten
from tune_cmx.config.trial import ModelConfig, TrialConfig
from tune_cmx.training.tensorboard.pictures import Picture
from tune_cmx.training.tensorboard.pr_curves import THRESHOLDS, Counts

Row = Mapping[str, float]
_TIMES = 4
"""How often in a schedule pictures and curves are shown."""
_FUSION, _OPTIONS = "model.fusion.", "model.fusion.options."
_log = logging.getLogger(__name__)


def is_shown(epoch: int, epochs: int) -> bool:
    """Whether pictures and curves belong to this epoch: at most four of a schedule, the last among them."""
    return epoch == epochs or epoch % math.ceil(epochs / _TIMES) == 0


class TrialBoard:
    """Writes into the run folder. A resumed trial has each epoch once, not twice.

    The events are a copy of what the run folder has. Where the disk takes none, the trial continues, and the curves
    follow later.

    Args:
        folder: The trial's.
        config: What it trains.
        history: Rows of the epochs so far; what an earlier session's files lack of them is written.
        values: The searched values of the trial's configuration by dotted path; none outside a study.
        name: Of the configuration, for the HParams table; none outside a study.
    """

    def __init__(
        self,
        folder: Path,
        config: TrialConfig,
        history: Sequence[Row],
        values: Mapping[str, Any] | None = None,
        *,
        name: str | None = None,
    ) -> None:
        self._folder, self._history = folder, list(history)
        named: dict[str, str | float] = {"configuration": name} if name else {}
        self._columns = {**named, **columns(config, values or {})}
        self._writer: SummaryWriter | None = None
        with self._patiently("the curves wait for the next epoch"):
            self._opened()

    def add(self, row: Row) -> None:
        """One epoch's scalars, those that are defined."""
        self._history.append(row)
        with self._patiently("the curves wait for the next epoch"):
            if self._writer is None:
                self._opened()
            else:
                self._scalars(self._writer, row, set())

    def show(self, epoch: int, pictures: Mapping[str, Picture], curves: Mapping[str, Counts]) -> None:
        """Images by id, and counts by class at IoU 0.5, as they are on the validation split."""
        with self._patiently(f"the pictures of epoch {epoch} are left out"):
            writer = self._opened()
            assert writer.file_writer is not None
            for frame, picture in pictures.items():
                image = Summary.Image(
                    height=picture.height, width=picture.width, colorspace=3, encoded_image_string=picture.jpeg
                )
                value = Summary.Value(tag=f"detections/{frame}", image=image)
                writer.file_writer.add_summary(Summary(value=[value]), epoch)
            for name, counts in curves.items():
                writer.add_pr_curve_raw(
                    f"val_iou_50/{name}",
                    true_positive_counts=counts.right,
                    false_positive_counts=counts.wrong,
                    true_negative_counts=0 * counts.right,  # a detector has none
                    false_negative_counts=counts.objects - counts.right,
                    precision=counts.precision,
                    recall=counts.recall,
                    global_step=epoch,
                    num_thresholds=THRESHOLDS,
                )

    @contextlib.contextmanager
    def _patiently(self, consequence: str) -> Iterator[None]:
        """Write out what the body wrote; a failure ends the file, as the writer's thread does not outlive one."""
        try:
            yield
            if self._writer is not None:
                self._writer.flush()
        except OSError as error:
            _log.warning("%s: %s: %s", self._folder, consequence, error)
            self._writer = None

    def _opened(self) -> SummaryWriter:
        """The writer; a new one first writes the table's row, and what earlier files lack of the history.

        Readers of its file drop what earlier ones say of epochs behind the history.
        """
        if self._writer is None:
            there = _written(self._folder)
            last = int(self._history[-1]["epoch"]) if self._history else 0
            self._writer = SummaryWriter(str(self._folder), purge_step=last + 1)
            for summary in hparams(self._columns, dict.fromkeys(metrics.selectable(), 0.0)):  # type: ignore[no-untyped-call]
                assert self._writer.file_writer is not None
                self._writer.file_writer.add_summary(summary)
            for row in self._history:
                self._scalars(self._writer, row, there)
        return self._writer

    def _scalars(self, writer: SummaryWriter, row: Row, there: Container[tuple[str, int]]) -> None:
        step = int(row["epoch"])
        for name, value in row.items():
            if name not in ("epoch", "fraction") and math.isfinite(value) and (name, step) not in there:
                writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Write what is pending."""
        if self._writer is not None:
            with contextlib.suppress(OSError):
                self._writer.close()


def _written(folder: Path) -> set[tuple[str, int]]:
    """Tag and step of all that the folder's event files hold, less what a later file takes back."""
    held: set[tuple[str, int]] = set()
    for file in sorted(folder.glob("events.out.tfevents.*")):
        for event in EventFileLoader(str(file)).Load():  # ends at a torn record, as a killed process leaves it
            if event.HasField("session_log") and event.session_log.status == SessionLog.START:
                held = {(tag, step) for tag, step in held if step < event.step}
            held |= {(value.tag, event.step) for value in event.summary.value}
    return held


def columns(config: TrialConfig, values: Mapping[str, Any]) -> dict[str, str | float]:
    """A trial's row of the HParams table: what the study varies, and the seed.

    Lists are text, as in `1, 2`. An option that a fusion does not have is left blank. Outside a study, where nothing
    says what varies, it is what trials mostly differ in.

    Args:
        config: The trial's.
        values: The searched values of its arm by dotted path; empty outside a study.
    """
    seed: dict[str, str | float] = {"seed": str(config.seed)}
    if not values:
        schedule = config.schedule
        curve = "" if schedule.curve == "constant" else f", {schedule.curve}"
        own = f"{schedule.epochs} epochs, batch {schedule.batch_size}, {schedule.optimizer} {schedule.lr:g}{curve}"
        named = {"schedule": f"{schedule.preset}: {own}" if schedule.preset else own, "streams": config.model.streams}
        options = {name: _cell(value) for name, value in config.model.fusion.options.items()}
        return {**seed, **named, **_fusion(config.model), **options}
    shown: dict[str, str | float] = {}
    for path, value in flatten(values).items():
        if not path.startswith(_FUSION):
            shown[path.rpartition(".")[2]] = _cell(value)
        elif path.startswith(_OPTIONS):
            shown[path.removeprefix(_OPTIONS)] = _cell(value)
    varies = any(path.startswith(_FUSION) for path in flatten(values))
    return {**seed, **(_fusion(config.model) if varies else {}), **shown}


def _fusion(model: ModelConfig) -> dict[str, str]:
    """Which fusion, and where."""
    if len(model.stream_modalities()) < 2:
        return {"fusion": "none, one stream"}
    kinds = [entry.kind for entry in model.fusion.stage_fusions()]
    if model.fusion.kind is None:
        return {"fusion": "mixed", "stages": " / ".join(map(fusion_title, kinds))}
    stages = [stage for stage, kind in enumerate(kinds, start=1) if kind == model.fusion.kind]
    return {"fusion": fusion_title(model.fusion.kind), "stages": value_text(stages)}


def _cell(value: object) -> str | float:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else value_text(value)
