"""Optuna's storage: a journal in a file, which works on a network file system and which optuna-dashboard opens."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from tune_cmx.errors import ConfigError
from tune_cmx.retry import on_disk

STORAGE = "search/optuna.log"
"""Where a study's folder has the storage; `optuna-dashboard FILE` opens it."""


def open_storage(path: Path) -> JournalStorage:
    """The storage in this file, made where there is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return JournalStorage(_Journal(path.resolve()))  # optuna's lock waits for ever on a path that is relative


def studies_of(folder: Path) -> list[optuna.Study]:
    """The searches in an earlier study's storage, which is only read.

    Raises:
        ConfigError: The folder has no storage.
    """
    path = folder / STORAGE
    if not path.is_file():
        raise ConfigError(f"searcher.continues: {path} is not there; name the folder of a study with searcher: tpe")
    storage = JournalStorage(JournalFileBackend(str(path.resolve())))
    return [optuna.load_study(study_name=name, storage=storage) for name in optuna.get_all_study_names(storage)]


@contextmanager
def quiet() -> Iterator[None]:
    """Without optuna's notes on what it creates, and on the keywords that it calls experimental."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(before)


class _Journal(JournalFileBackend):
    """Optuna's journal, patient with a disk that is full or away.

    A line that a crash or a full disk cut short is taken out before the next is written: optuna leaves it out as it
    reads, but would append to it, and then could not read the file any more.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        super().__init__(str(path))

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Write operations, one a line."""
        on_disk(self._path, lambda: self._append(logs))

    def _append(self, logs: list[dict[str, Any]]) -> None:
        self._mend()
        super().append_logs(logs)

    def _mend(self) -> None:
        with self._path.open("rb+") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - 1))
            if size and file.read() != b"\n":
                file.seek(0)
                file.truncate(file.read().rfind(b"\n") + 1)
