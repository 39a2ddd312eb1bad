"""TensorBoard events of one trial: scalars by epoch, and a row of the HParams table from the start."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from tune_cmx.config.trial import TrialConfig

SHOWN = ("val/mAP", "val/mAP_50", "val/mAP_75")
"""The metric columns of the HParams table; each is also a scalar's name."""


class TrialBoard:
    """Writes into the trial's folder. After a resumption the epochs of the history stand once, not twice."""

    def __init__(
        self, folder: Path, config: TrialConfig, facts: Mapping[str, str], history: Sequence[Mapping[str, float]]
    ) -> None:
        self._writer = SummaryWriter(str(folder), purge_step=1 if history else None)
        row = hparams({**columns(config), **facts}, dict.fromkeys(SHOWN, 0.0))  # type: ignore[no-untyped-call]
        for summary in row:
            assert self._writer.file_writer is not None
            self._writer.file_writer.add_summary(summary)
        for row in history:
            self.add(row)

    def add(self, row: Mapping[str, float]) -> None:
        """One epoch's scalars, those that are defined."""
        for name, value in row.items():
            if name != "epoch" and math.isfinite(value):
                self._writer.add_scalar(name, value, int(row["epoch"]))
        self._writer.flush()

    def close(self) -> None:
        """Write what is pending."""
        self._writer.close()


def columns(config: TrialConfig) -> dict[str, str | float]:
    """A trial's choices as columns of the HParams table; what a fusion does not have is left blank."""
    schedule = config.schedule
    shown: dict[str, str | float] = {
        "backbone": config.model.backbone,
        "streams": config.model.streams,
        "schedule": schedule.preset or "own",
        "epochs": schedule.epochs,
        "batch_size": schedule.batch_size,
        "lr": schedule.lr,
        "seed": config.seed,
    }
    if len(config.model.stream_modalities()) < 2:
        return shown
    fusion = config.model.fusion
    kinds = [entry.kind for entry in fusion.stage_fusions()]
    main = fusion.kind or "mixed"
    shown["fusion"] = main
    shown["stages"] = (
        "+".join(str(i) for i, kind in enumerate(kinds, 1) if kind == main) if fusion.kind else "/".join(kinds)
    )
    shown["carry"] = config.model.carry
    for name, value in fusion.options.items():
        shown[f"option.{name}"] = value if isinstance(value, int | float | str) else str(value)
    return shown
