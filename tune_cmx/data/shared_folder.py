"""A folder that processes of a machine share, and that is gone when the last of them is.

Each holds a lock in it, of which the kernel lets go however the process ends. A folder that nobody holds is left over
from processes that were killed; whoever comes next for any of its family removes it.
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
    """A folder that is there as long as any process holds it; who holds it last removes it.

    Args:
        base: Where it lies, with the others of its family; made if it is not there.
        family: The first letters of their names. Of the others, those that nobody holds are removed.
        key: The rest of its name.
        last_s: How long to wait, on leaving, to be the last one.

    Raises:
        OSError: It cannot be made, or is another user's.
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
            with suppress(OSError):  # whoever comes next removes it
                _remove(folder)
        os.close(lock)


def locked_alone(lock: int) -> bool:
    """Whether nobody else holds it; a shared hold is given up, also where somebody does."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _join(folder: Path) -> int:
    """A descriptor that holds the folder until it is closed."""
    while True:
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            with suppress(FileExistsError):  # exist_ok would look again, when it may be gone
                folder.mkdir(mode=0o700)
            _refuse_foreign(folder)
            lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        except FileNotFoundError:  # the last one that held it has just removed it
            continue
        fcntl.flock(lock, fcntl.LOCK_SH)
        if _is_at(lock, folder / _LOCK):
            return lock
        os.close(lock)


def _refuse_foreign(folder: Path) -> None:
    """Everybody may write to shared memory: what another user has put there is neither read nor removed."""
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        raise PermissionError(f"{folder} is another user's, or no folder")


def _is_at(lock: int, path: Path) -> bool:
    """Whether the lock is that of the folder, or of one removed before it was taken."""
    try:
        return os.path.samestat(os.fstat(lock), path.stat())
    except FileNotFoundError:
        return False


def _remove_leftover(folder: Path) -> None:
    """Remove a folder, unless a process holds it."""
    with suppress(OSError):  # somebody else removes it, or it is theirs
        _refuse_foreign(folder)
        lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            if locked_alone(lock) and _is_at(lock, folder / _LOCK):
                _remove(folder)
        finally:
            os.close(lock)


def _remove(folder: Path) -> None:
    """At once for those who look for it, as one that is half removed must not be taken for a whole one."""
    gone = folder.with_name(f"{folder.name}.{os.getpid()}")
    folder.rename(gone)
    shutil.rmtree(gone, ignore_errors=True)
