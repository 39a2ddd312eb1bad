"""A local folder of run folders and other files, and its copy on storage."""

import posixpath
import shutil
import tempfile
from pathlib import Path

from pyarrow.fs import FileInfo, FileType

from tune_cmx.errors import StorageError
from tune_cmx.retry import RETRY_S
from tune_cmx.storage.store import Store, hidden

_CONFIG, _STATE, _METRICS = "config.json", "trial.json", "metrics.csv"
_CHECKPOINTS, _MARKER = "checkpoint", "history.json"
_MODEL, _WEIGHTS = "model", ".safetensors"
"""The model folder of a run. Its weights are those of the checkpoint, and are stored there only."""
_TRIES = 5
"""Attempts to read a checkpoint while a writer replaces it."""


class Mirror:
    """A local folder and its copy on storage. Methods retry while the storage fails, then raise StorageError."""

    def __init__(self, local: Path, uri: str, *, retry_s: float = RETRY_S) -> None:
        """
        Args:
            local: This process's own folder; made when needed.
            uri: Of the folder on storage.
            retry_s: Seconds for which one request is tried again.
        """
        self.local, self.uri = local, uri
        self._store = Store(uri, retry_s)
        self._same: dict[str, tuple[int, int, int]] = {}  # local files that are as on the storage, by `_stamp`

    def exists(self, relative: str) -> bool:
        """Whether the storage has a file or folder of that name."""
        return bool(self._store.kind(relative) != FileType.NotFound)

    def names(self, relative: str = "") -> list[str]:
        """The sorted names in a folder on the storage; empty if there is no such folder."""
        return sorted(name for name in self._store.entries(relative, recursive=False) if not hidden(name))

    def push(self, relative: str = "") -> None:
        """Upload the changes of a file, of a run folder, or of a folder with any of these in it.

        From the storage only a run's checkpoints older than the newest are removed, and files that the newest lost.
        """
        path = self.local / relative
        if path.is_file():
            self._put(path)
        elif (path / _STATE).exists():
            self._push_run_folder(path)
        else:
            for entry in sorted(path.iterdir()):
                if not hidden(entry.name):
                    self.push(self._relative(entry))

    def pull(self, relative: str = "", *, checkpoints: bool = True) -> None:
        """Download a file, a run folder, or a folder with any of these in it.

        Args:
            relative: Its path in both folders.
            checkpoints: Also take each run's newest complete checkpoint, and make the local run folder equal to that
                on storage: an epoch that was not pushed is dropped. Otherwise local checkpoints stay.

        Raises:
            StorageError: It does not exist, or the storage did not answer in time.
        """
        if self._store.kind(relative) == FileType.File:
            files = [relative] if self._get(relative, self.local / relative) else []
        else:
            files = [posixpath.join(relative, name) for name in self._store.files(relative)]
        if not files:
            raise StorageError(f"{self._store.name}: nothing is at '{relative}'; was it pushed there?")
        if files == [relative]:
            return
        run_folders = {posixpath.dirname(name) for name in files if posixpath.basename(name) == _STATE}
        for name in files:
            if not any(_below(name, run_folder) for run_folder in run_folders):
                self._get(name, self.local / name)
        for run_folder in sorted(run_folders):
            self._pull_run_folder(run_folder, checkpoints)

    def pull_all(self) -> None:
        """Download everything except checkpoints: what a driver or a report needs."""
        self.pull(checkpoints=False)

    def _relative(self, path: Path) -> str:
        return path.relative_to(self.local).as_posix()

    def _put(self, file: Path) -> None:
        relative, stamp = self._relative(file), _stamp(file)
        if self._same.get(relative) != stamp:
            self._store.put(file, relative)
            self._same[relative] = stamp

    def _get(self, relative: str, file: Path) -> bool:
        found = self._store.get(relative, file)
        if found and file == self.local / relative:
            self._same[relative] = _stamp(file)
        return found

    def _push_run_folder(self, folder: Path) -> None:
        last = [folder / name for name in (_METRICS, _STATE)]
        saved = sorted(marker.parent for marker in folder.glob(f"{_CHECKPOINTS}/*/{_MARKER}"))
        newest = next((path for path in reversed(saved) if not hidden(path.name)), None)
        self._put(folder / _CONFIG)
        if newest:
            self._push_checkpoint(newest)
        for file in sorted(folder.iterdir()):
            if file.is_file() and file not in last and not hidden(file.name):
                self._put(file)
        for file in sorted((folder / _MODEL).glob("*")):
            if file.suffix != _WEIGHTS and not hidden(file.name):
                self._put(file)
        for file in last:
            if file.exists():
                self._put(file)
        if newest:
            self._remove_beside(newest)

    def _push_checkpoint(self, folder: Path) -> None:
        marker = folder / _MARKER
        if self._same.get(self._relative(marker)) == _stamp(marker):
            return
        self._store.remove(self._relative(marker))
        for file in sorted(folder.iterdir()):
            if file != marker:
                self._put(file)
        self._put(marker)

    def _remove_beside(self, newest: Path) -> None:
        """Remove other checkpoints from the storage, each with its marker first, and files that the newest lost."""
        parent = self._relative(newest.parent)
        for name in self.names(parent):
            if name != newest.name:
                self._store.remove(f"{parent}/{name}/{_MARKER}")
                self._store.remove(f"{parent}/{name}")
        for name in self.names(f"{parent}/{newest.name}"):
            if not (newest / name).exists():
                self._store.remove(f"{parent}/{newest.name}/{name}")

    def _pull_run_folder(self, run_folder: str, checkpoints: bool) -> None:
        """Download in the opposite order of a push, and put the files in place in the order of a push."""
        folder = self.local / run_folder
        held = posixpath.join(run_folder, _CHECKPOINTS)
        state, metrics = posixpath.join(run_folder, _STATE), posixpath.join(run_folder, _METRICS)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.", suffix=".partial") as made:
            place = Path(made)
            taken = [state] if self._fetch(state, place) else []
            # only now: the state may name files that did not exist before
            there = [posixpath.join(run_folder, name) for name in self._store.files(run_folder)]
            others = [name for name in there if name != state and not _below(name, held)]
            taken += [name for name in sorted(others, key=lambda name: name != metrics) if self._fetch(name, place)]
            if checkpoints:
                self._pull_checkpoint(held, place)
                kept = {self.local / name for name in taken}
                for file in folder.glob("*"):
                    if file.is_file() and not hidden(file.name) and file not in kept:
                        file.unlink()
            for name in reversed(taken):
                target = self.local / name
                target.parent.mkdir(parents=True, exist_ok=True)
                (place / name).replace(target)
                self._same[name] = _stamp(target)

    def _fetch(self, relative: str, place: Path) -> bool:
        return self._store.get(relative, place / relative)

    def _pull_checkpoint(self, held: str, place: Path) -> None:
        """Make the newest complete checkpoint of the storage the only local one."""
        for _ in range(_TRIES):
            files = self._store.files(held)  # after the rows were read: it is at least as new as they are
            complete = [posixpath.dirname(name) for name in files if posixpath.basename(name) == _MARKER]
            newest = max(complete, default="")
            if not newest or self._take(posixpath.join(held, newest), files, place):
                break
        else:
            raise StorageError(f"{self._store.name}: {held} changes while it is read; is it trained twice?")
        for folder in (self.local / held).glob("*"):
            if folder.name != newest:
                shutil.rmtree(folder)

    def _take(self, checkpoint: str, files: dict[str, FileInfo], place: Path) -> bool:
        """Download one checkpoint, unless the local one is the same; False if it was removed meanwhile."""
        local, fetched = self.local / checkpoint, place / checkpoint
        sizes = {posixpath.basename(name): entry.size for name, entry in files.items() if _below(name, local.name)}
        if not self._fetch(f"{checkpoint}/{_MARKER}", place):
            return False
        here = {file.name: file.stat().st_size for file in local.glob("*")}
        if here != sizes or (local / _MARKER).read_bytes() != (fetched / _MARKER).read_bytes():
            if not all(self._fetch(f"{checkpoint}/{name}", place) for name in sizes):
                return False
            shutil.rmtree(local, ignore_errors=True)
            local.parent.mkdir(parents=True, exist_ok=True)
            fetched.rename(local)
        self._same |= {f"{checkpoint}/{name}": _stamp(local / name) for name in sizes}
        return True


def _below(name: str, folder: str) -> bool:
    return not folder or name.startswith(f"{folder}/")


def _stamp(file: Path) -> tuple[int, int, int]:
    """Differs for every content: files are replaced by a rename, or grow."""
    status = file.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns
