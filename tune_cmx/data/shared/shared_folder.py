"""A folder that the processes of a machine share; the last of them removes it.

Each process holds a lock in it, which the kernel releases however the process ends. A folder without a lock is left
over from killed processes. The next process that needs a folder of the same family removes it.
"""

import fcntl
import os
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_LOCK = "lock"


@contextmanager
def shared_folder(base: Path, family: str, key: str, last_s: float = 0.0) -> Iterator[Path]:
    """A folder that exists while any process holds it; the last one removes it.

    Args:
        base: The parent folder; made if it is absent.
        family: Start of the name. Folders of the family that no process holds are removed.
        key: Rest of the name.
        last_s: Seconds to wait, on leaving, for the other processes to leave.

    Raises:
        OSError: The folder cannot be made, or belongs to another user.
    """
    folder = base / f"{family}{key}"
    lock = _join(folder)
    try:
        for other in base.glob(f"{family}*"):
            if other != folder:
                _remove_leftover(other)
        yield folder
    finally:
        deadline = time.monotonic() + last_s
        while not (alone := locked_alone(lock)) and time.monotonic() < deadline:
            time.sleep(0.1)
        if alone and _is_at(lock, folder / _LOCK):
            with suppress(OSError):  # the next process removes it
                _remove(folder)
        os.close(lock)


def locked_alone(lock: int) -> bool:
    """Take the lock exclusively if no other process holds it; a shared lock is given up in any case."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _join(folder: Path) -> int:
    """A file descriptor that holds the folder until it is closed."""
    while True:
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            with suppress(FileExistsError):  # exist_ok checks again, and the folder may be gone by then
                folder.mkdir(mode=0o700)
            _refuse_foreign(folder)
            lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        except FileNotFoundError:  # the last process has just removed it
            continue
        fcntl.flock(lock, fcntl.LOCK_SH)
        if _is_at(lock, folder / _LOCK):
            return lock
        os.close(lock)


def _refuse_foreign(folder: Path) -> None:
    """Raise PermissionError for a folder of another user: anybody may write to shared memory."""
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        raise PermissionError(f"{folder} belongs to another user, or is no folder")


def _is_at(lock: int, path: Path) -> bool:
    """Whether the lock is the folder's present one, not that of a folder removed before."""
    try:
        return os.path.samestat(os.fstat(lock), path.stat())
    except FileNotFoundError:
        return False


def _remove_leftover(folder: Path) -> None:
    """Remove a folder, unless a process holds it."""
    with suppress(OSError):  # another process removes it, or another user owns it
        _refuse_foreign(folder)
        lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            if locked_alone(lock) and _is_at(lock, folder / _LOCK):
                _remove(folder)
        finally:
            os.close(lock)


def _remove(folder: Path) -> None:
    """Rename first: no process may take a half removed folder for a whole one."""
    gone = folder.with_name(f"{folder.name}.{os.getpid()}")
    folder.rename(gone)
    shutil.rmtree(gone, ignore_errors=True)
