"""The table of loggers. A new one is a file beside this one and a line here, or an entry point of another package."""

from collections.abc import Sequence
from typing import Any

from tune_cmx.errors import ConfigError
from tune_cmx.registry import Table, suggestion, undescribed
from tune_cmx.training.loggers.base import LoggedTrial, Logger, Row, Status

__all__ = ["DEFAULT", "LOGGERS", "LoggedTrial", "Logger", "Row", "Status", "require_loggers"]

DEFAULT = ("tensorboard",)
_HERE = "tune_cmx.training.loggers"


def _not_a_logger(name: str, entry: Any) -> str | None:  # noqa: ARG001  # as each table's
    """What is wrong with the object of an entry point."""
    return undescribed(entry, Logger)


LOGGERS: Table[type[Logger]] = Table(
    "tune_cmx.loggers",
    {},
    _not_a_logger,
    later={"tensorboard": f"{_HERE}.tensorboard:TensorBoardLogger", "mlflow": f"{_HERE}.mlflow:MlflowLogger"},
)
"""By name; each is imported when a trial uses it."""


def require_loggers(names: Sequence[str], place: str) -> None:
    """Refuse loggers that cannot be used, before anything is trained.

    Args:
        names: Of the loggers.
        place: What names them, for messages, such as `space.yaml: line 3: loggers`.

    Raises:
        ConfigError: A logger is unknown, named twice, or lacks a package or a setting.
    """
    for number, name in enumerate(names):
        if name not in LOGGERS:
            known = f"Known: {', '.join(sorted(LOGGERS))}.{suggestion(name, LOGGERS)}"
            raise ConfigError(f"{place}: unknown logger '{name}'. {known}")
        if name in names[:number]:
            raise ConfigError(f"{place}: names '{name}' twice; name each logger once")
        LOGGERS[name].require()
