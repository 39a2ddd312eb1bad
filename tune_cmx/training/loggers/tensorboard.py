"""TensorBoard: event files in the run folder."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from tune_cmx.training.loggers.base import LoggedTrial, Logger, Row, Status

if TYPE_CHECKING:
    from tune_cmx.training.tensorboard.pictures import Picture
    from tune_cmx.training.tensorboard.pr_curves import Counts


class TensorBoardLogger(Logger):
    """TensorBoard's event files in the run folder: scalars, pictures, curves, and a row of the HParams table."""

    shows: ClassVar[bool] = True

    def begin(self, trial: LoggedTrial) -> None:
        from tune_cmx.training.tensorboard.events import TrialBoard  # it loads torch, which the driver does not

        self._board = TrialBoard(trial.folder, trial.config, trial.history, trial.values, name=trial.label)

    def epoch(self, row: Row) -> None:
        self._board.add(row)

    def show(self, epoch: int, pictures: "Mapping[str, Picture]", curves: "Mapping[str, Counts]") -> None:
        self._board.show(epoch, pictures, curves)

    def end(self, status: Status, results: Row) -> None:  # noqa: ARG002  # the epochs said it all
        self._board.close()
