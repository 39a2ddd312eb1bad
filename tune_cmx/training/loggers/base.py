"""What a logger is: the contract that every entry of `LOGGERS` keeps. It needs no torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from tune_cmx.config.trial import TrialConfig

if TYPE_CHECKING:
    from tune_cmx.training.tensorboard.pictures import Picture
    from tune_cmx.training.tensorboard.pr_curves import Counts

Row = Mapping[str, float]
"""An epoch of `metrics.csv` by column; an undefined metric is nan."""
Status = Literal["complete", "paused", "failed"]
"""How a session of a trial ended: `paused` where the scheduler or the user ended it; the trial may be resumed."""


@dataclass(frozen=True)
class LoggedTrial:
    """The trial that a logger hears of."""

    folder: Path
    """The run folder. What a logger must know when the trial is resumed can be kept there."""
    config: TrialConfig
    """What is trained."""
    history: Sequence[Row]
    """The epochs of earlier sessions, which a logger may have heard of or not; empty where the trial begins."""
    study: str | None = None
    """Name of the study; None outside a study."""
    label: str | None = None
    """Name of the configuration; None outside a study."""
    values: Mapping[str, Any] = field(default_factory=dict)
    """Searched values by dotted path; empty outside a study."""


class Logger:
    """Hears of one session of a trial: `begin`, then `epoch` after each epoch, then `end`.

    A new object is made for each session. An exception of a logger is logged, and the trial continues. So a logger that
    writes to a server does well to keep what it could not send, and to send it with the next epoch.
    """

    shows: ClassVar[bool] = False
    """Whether it takes pictures and curves, a few times in a schedule; drawing them takes time."""

    @classmethod
    def require(cls) -> None:
        """Refuse, before anything is trained, a machine on which it cannot work; usually nothing.

        Raises:
            ConfigError: A package or a setting is missing; the message names the fix.
        """

    def begin(self, trial: LoggedTrial) -> None:
        """A session begins."""
        raise NotImplementedError

    def epoch(self, row: Row) -> None:
        """An epoch ended, and the run folder has it."""
        raise NotImplementedError

    def show(self, epoch: int, pictures: "Mapping[str, Picture]", curves: "Mapping[str, Counts]") -> None:
        """Images of the validation split by id, and counts by class at IoU 0.5."""

    def end(self, status: Status, results: Row) -> None:
        """The session ended.

        Args:
            status: How.
            results: The final metrics with their split, as in `test/mAP`; empty unless the trial is complete.
        """
        raise NotImplementedError
