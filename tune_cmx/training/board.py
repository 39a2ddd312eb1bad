"""TensorBoard events of one trial: scalars by epoch, and a row of the HParams table from the start."""

import contextlib
import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from tune_cmx.config.trial import TrialConfig

SHOWN = ("val/mAP", "val/mAP_50", "val/mAP_75")
"""The metric columns of the HParams table; each is also a scalar's name."""
Row = Mapping[str, float]
_log = logging.getLogger(__name__)


class TrialBoard:
    """Writes into the trial's folder. After a resumption the epochs of the history stand once, not twice.

    Curves are a copy of what the record has: where the disk takes none, the trial goes on, and they follow.
    """

    def __init__(self, folder: Path, config: TrialConfig, history: Sequence[Row]) -> None:
        self._folder, self._config, self._history = folder, config, list(history)
        self._writer: SummaryWriter | None = None
        self._write([])

    def add(self, row: Row) -> None:
        """One epoch's scalars, those that are defined."""
        self._history.append(row)
        self._write([row])

    def _write(self, rows: Sequence[Row]) -> None:
        """After a failure a new file is begun, with the whole history: a writer's thread does not outlive an error."""
        try:
            if self._writer is None:
                self._writer, rows = SummaryWriter(str(self._folder), purge_step=1), self._history
                for summary in hparams(columns(self._config), dict.fromkeys(SHOWN, 0.0)):  # type: ignore[no-untyped-call]
                    assert self._writer.file_writer is not None
                    self._writer.file_writer.add_summary(summary)
            for row in rows:
                for name, value in row.items():
                    if name not in ("epoch", "fraction") and math.isfinite(value):
                        self._writer.add_scalar(name, value, int(row["epoch"]))
            self._writer.flush()
        except OSError as error:
            _log.warning("%s: the curves wait for the next epoch: %s", self._folder, error)
            self._writer = None

    def close(self) -> None:
        """Write what is pending."""
        if self._writer is not None:
            with contextlib.suppress(OSError):
                self._writer.close()


def columns(config: TrialConfig) -> dict[str, str | float]:
    """A trial's choices as columns of the HParams table, few enough that TensorBoard shows the first five unasked.

    An option that a fusion does not have, or that its configuration leaves at the default, is left blank.
    """
    model, schedule = config.model, config.schedule
    curve = "" if schedule.curve == "constant" else f", {schedule.curve}"
    own = f"{schedule.epochs} epochs, batch {schedule.batch_size}, {schedule.optimizer} {schedule.lr:g}{curve}"
    shown: dict[str, str | float] = {
        "schedule": f"{schedule.preset}: {own}" if schedule.preset else own,
        "seed": str(config.seed),
        "using": model.streams,  # a name behind the others: TensorBoard sorts them
    }
    if len(model.stream_modalities()) < 2:
        return {**shown, "fusion": "none, one stream"}
    kinds = [entry.kind for entry in model.fusion.stage_fusions()]
    if model.fusion.kind is None:
        return {**shown, "fusion": "mixed", "stages": " / ".join(kinds)}
    stages = "+".join(str(stage) for stage, kind in enumerate(kinds, start=1) if kind == model.fusion.kind)
    options = {name: _cell(value) for name, value in model.fusion.options.items()}
    return {**shown, "fusion": model.fusion.kind, "stages": stages, **options}


def _cell(value: object) -> str | float:
    return value if isinstance(value, int | float | str) and not isinstance(value, bool) else str(value).lower()
