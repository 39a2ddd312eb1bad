"""The loggers of one session of a trial. One that fails does not end the trial."""

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING

from tune_cmx.training.loggers import LOGGERS
from tune_cmx.training.loggers.base import LoggedTrial, Logger, Row, Status

if TYPE_CHECKING:
    from tune_cmx.training.tensorboard.pictures import Picture
    from tune_cmx.training.tensorboard.pr_curves import Counts

_log = logging.getLogger(__name__)


class LoggedSession:
    """Passes what a trial reports to each of its loggers, in their order; a context.

    An exception of a logger is logged once a session. The logger is asked again at the next epoch; one that could not
    begin then begins.

    Args:
        names: Of the loggers.
        trial: What they log. Its history must have each epoch before `epoch` passes it.
    """

    def __init__(self, names: Sequence[str], trial: LoggedTrial) -> None:
        self._names, self._trial = names, trial
        self._loggers: dict[str, Logger] = {}
        self._failed: set[str] = set()
        self._results: Row = {}

    def __enter__(self) -> "LoggedSession":
        for name in self._names:
            self._ask(name, partial(self._begin, name))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        status: Status = "complete" if kind is None else "failed" if issubclass(kind, Exception) else "paused"
        for name, logger in self._loggers.items():
            self._ask(name, partial(logger.end, status, self._results if status == "complete" else {}))

    @property
    def shows(self) -> bool:
        """Whether any of them takes pictures."""
        return any(logger.shows for logger in self._loggers.values())

    def epoch(self, row: Row) -> None:
        """An epoch ended."""
        for name in self._names:
            begun = self._loggers.get(name)
            self._ask(name, partial(self._begin, name) if begun is None else partial(begun.epoch, row))

    def show(self, epoch: int, pictures: "Mapping[str, Picture]", curves: "Mapping[str, Counts]") -> None:
        """Pictures and curves, for those that take them."""
        for name, logger in self._loggers.items():
            if logger.shows:
                self._ask(name, partial(logger.show, epoch, pictures, curves))

    def results(self, results: Row) -> None:
        """The final metrics with their split, which the loggers get at the end."""
        self._results = dict(results)

    def _begin(self, name: str) -> None:
        logger = LOGGERS[name]()
        logger.begin(self._trial)
        self._loggers[name] = logger

    def _ask(self, name: str, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception as error:  # of a server, a disk or another package; training must not end for it
            if name not in self._failed:
                self._failed.add(name)
                reason = " ".join(str(error).split()) or type(error).__name__
                _log.warning(
                    "%s: logger %s failed: %s; the trial continues, and its run folder has all metrics",
                    self._trial.folder.name,
                    name,
                    reason,
                )
